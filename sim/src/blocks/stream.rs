//! Linear streams behind a reading port, in front of the simulated memory.

use crate::axi::{Memory, Timing};
use crate::bench::{Block, Cover, Packet, Size, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::axi_ports::AxiPorts;
use hw::blocks::axi_read::{AxiRead, fault};
use hw::blocks::stream_read::StreamRead;
use hw::ir::{Design, Expr, Interface, IrError, Module, lit, uint};
use spec::program::{LINE, PACKET, write_packets};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Bytes of the memory: what a run of the harness needs.
const BYTES: u64 = 4 << 20;
/// Codes that a port's queue holds.
pub(super) const QUEUE: u32 = 64;

/// Memory that work is laid out in, from the beginning again when it is full.
pub(super) struct Store {
    pub(super) memory: Rc<RefCell<Memory>>,
    next: Cell<u64>,
}

impl Store {
    pub(super) fn new(timing: Timing) -> Store {
        let memory = Memory::new(vec![0; BYTES as usize], 0, timing, 3);
        Store { memory: Rc::new(RefCell::new(memory)), next: Cell::new(0) }
    }

    /// Puts packets of a payload somewhere; returns their line. `broken` turns over a bit of that packet.
    fn put(&self, payload: &[u8], beat: usize, broken: Option<u64>, rng: &mut Rng) -> u64 {
        let mut packets = Vec::new();
        write_packets(payload, beat, rng.below(243) as u8, &mut packets);
        if let Some(packet) = broken {
            // in the checksum, so that the words stay what they are
            let at = (packet + 1) * PACKET - beat as u64 + rng.below(4);
            packets[at as usize] ^= 1 << rng.below(8);
        }
        // packets may begin at any line
        let mut at = self.next.get() + LINE * rng.below(3);
        if at + packets.len() as u64 > BYTES {
            at = 0;
        }
        self.next.set(at + packets.len() as u64);
        let mut memory = self.memory.borrow_mut();
        memory.bytes_mut()[at as usize..at as usize + packets.len()].copy_from_slice(&packets);
        at / LINE
    }

    /// Puts bytes at a line.
    pub(super) fn put_image(&self, image: &[u8]) -> u64 {
        let mut at = self.next.get().next_multiple_of(LINE);
        if at + image.len() as u64 > BYTES {
            at = 0;
        }
        self.next.set(at + image.len() as u64);
        self.memory.borrow_mut().bytes_mut()[at as usize..at as usize + image.len()].copy_from_slice(image);
        at / LINE
    }
}

/// A module with the block and a reading port for each of its clients `<rd>_cmd`, `<rd>_data`.
pub(super) fn behind_ports(
    design: &mut Design,
    name: &str,
    block: &Interface,
    bits: u32,
    clients: &[String],
    (queue, burst): (u32, u32),
) -> Result<Rc<Interface>, IrError> {
    let port_of = AxiRead { bits, clients: vec![("a".into(), queue)], urgent: vec![], burst }.build(design)?;
    let mut m = Module::new(name);
    m.header("Bench: a block behind reading ports.");
    let mut own: Vec<(String, Expr)> = Vec::new();
    let mut outs: Vec<(String, Expr)> = Vec::new();
    for port in &block.ports {
        let client = clients.iter().any(|c| port.name.starts_with(&format!("{c}_")));
        match port.dir {
            _ if client || ["clk_i", "rst_i"].contains(&port.name.as_str()) => {}
            hw::ir::Dir::In => own.push((port.name.clone(), m.input(&port.name, port.ty))),
            hw::ir::Dir::Out => outs.push((port.name.clone(), m.output(&port.name, port.ty))),
        }
    }
    let net =
        |m: &mut Module, client: &str, suffix: &str, width: u32| m.net(&format!("{client}_{suffix}"), uint(width));
    let (zero, all) = (lit(0, 40), lit(u128::from(BYTES), 40));
    let mut joins = Vec::new();
    for (i, client) in clients.iter().enumerate() {
        let cmd_ready = net(&mut m, client, "ask_ready", 1);
        let beat =
            [("valid", 1), ("data", bits), ("last", 1)].map(|(n, w)| net(&mut m, client, &format!("got_{n}"), w));
        own.push((format!("{client}_cmd_ready_i"), cmd_ready.clone()));
        own.push((format!("{client}_data_valid_i"), beat[0].clone()));
        own.push((format!("{client}_data_data_i"), beat[1].clone()));
        own.push((format!("{client}_data_last_i"), beat[2].clone()));
        let axi = AxiPorts::new(&mut m, &port_of, &format!("m{i}"));
        let fault = [("valid", 1), ("code", 8), ("info", 32)];
        let fault = fault.map(|(n, w)| m.output(&format!("axi{i}_fault_{n}_o"), uint(w)));
        joins.push((client, cmd_ready, beat, axi, fault));
    }
    let inputs: Vec<(&str, &Expr)> = own.iter().map(|(name, e)| (name.as_str(), e)).collect();
    let got = m.instance("dut", block, &inputs);
    for (name, port) in &outs {
        m.drive(port, &got.get(name));
    }
    for (i, (client, cmd_ready, beat, axi, fault)) in joins.iter().enumerate() {
        let [valid, addr, beats, ready] =
            ["cmd_valid_o", "cmd_addr_o", "cmd_beats_o", "data_ready_o"].map(|n| got.get(&format!("{client}_{n}")));
        let stop = lit(0, 1);
        let mut inputs: Vec<(&str, &Expr)> = axi.inputs().collect();
        inputs.extend([("a_cmd_valid_i", &valid), ("a_cmd_addr_i", &addr), ("a_cmd_beats_i", &beats)]);
        inputs.extend([("a_data_ready_i", &ready), ("mem_base_i", &zero), ("mem_bytes_i", &all), ("stop_i", &stop)]);
        let port = m.instance(&format!("axi{i}"), &port_of, &inputs);
        axi.drive(&mut m, &port);
        m.drive(cmd_ready, &port.get("a_cmd_ready_o"));
        for (net, name) in beat.iter().zip(["valid", "data", "last"]) {
            m.drive(net, &port.get(&format!("a_data_{name}_o")));
        }
        for (out, name) in fault.iter().zip(["valid", "code", "info"]) {
            m.drive(out, &port.get(&format!("fault_{name}_o")));
        }
        m.unused(&format!("busy{i}"), &[port.get("busy_o")]);
    }
    design.add(m)
}

/// A linear stream behind a port.
pub struct StreamCase {
    stream: StreamRead,
    store: Store,
    /// Whether every run is long and the port should never rest.
    full_rate: bool,
    /// Built as simulations of whole models have it.
    pub for_simulation: bool,
}

impl StreamCase {
    /// A stream of words of `word` bits.
    pub fn new(bits: u32, word: u32, full_rate: bool) -> StreamCase {
        StreamCase {
            stream: StreamRead { bits, word },
            store: Store::new(Timing::ideal()),
            full_rate,
            for_simulation: false,
        }
    }
}

impl Block for StreamCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, word) = (self.stream.bits, self.stream.word);
        let block = self.stream.build(design)?;
        let name = format!("tern_bench_stream_b{bits}_w{word}");
        behind_ports(design, &name, &block, bits, &["rd".to_string()], (QUEUE, 16))
    }

    fn for_simulation(&self) -> bool {
        self.for_simulation
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let (beat, word) = (self.stream.bits as usize / 8, self.stream.word as usize);
        let packets = match size {
            Size::Min => 1,
            Size::Max => 3,
            Size::Any => rng.within(1, 2),
        };
        let payload = PACKET as usize - beat;
        let most = packets as usize * payload * 8 / word;
        let least = ((packets as usize - 1) * payload * 8).div_ceil(word).max(1);
        let words = match size {
            Size::Min => 1,
            _ if self.full_rate || rng.one_in(3) => most,
            _ => rng.within(least.max(most.saturating_sub(150)) as u64, most as u64) as usize,
        };
        cover.count("exact", words == most && (most * word).is_multiple_of(payload * 8));
        cover.count("dropped", words < most);
        let bytes: Vec<u8> = (0..packets as usize * payload).map(|_| rng.bits() as u8).collect();
        let broken = (size == Size::Max).then(|| rng.below(packets));
        let line = self.store.put(&bytes, beat, broken, rng);
        let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
        let out = (0..words).map(|w| vec![pack(1, (0..word).map(|b| bit(w * word + b)))]).collect();
        let error = broken.map(|b| vec![vec![fault::CRC as u32], vec![(line + b * PACKET / LINE) as u32]]);
        Packet {
            inputs: vec![("cmd", vec![vec![vec![line as u32], vec![packets as u32], vec![words as u32]]])],
            outputs: vec![("out", out), ("fault", error.into_iter().collect())],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "dropped"]
    }

    fn memory(&self) -> Option<(Rc<RefCell<Memory>>, Vec<String>)> {
        Some((self.store.memory.clone(), vec!["m0".into()]))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let beats = PACKET / u64::from(self.stream.bits / 8);
        let of = |p: &Packet| p.inputs[0].1.iter().map(|cmd| u64::from(cmd[1][0])).sum::<u64>() * beats;
        let all: u64 = packets.iter().map(of).sum();
        self.full_rate.then_some(all + 4 * packets.len() as u64 + 60)
    }
}

fn stream() -> Box<dyn Block> {
    Box::new(StreamCase::new(64, 24, false))
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("stream: the sum is never compared", stream, "differs_q <= check_q &", "differs_q <= 1'b0 &"),
    bug("stream: what is left over stays", stream, "wire clear = rst_i |", "wire clear = rst_i & "),
    bug("crc32c: not begun anew", stream, "crc_q <= begins ?", "crc_q <= 1'b0 ?"),
    bug("packets: the last packet is forgotten", stream, "final_q <= next_done ==", "final_q <= done_q + 26'd2 =="),
    bug("packets: a fault names the run", stream, "from_q[31:6] + done_q", "from_q[31:6]"),
    bug("crc32c: a bit of the remainder lost", stream, "crc_q[0]", "1'b0"),
];
