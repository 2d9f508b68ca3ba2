//! The reading port in front of the simulated memory.

use crate::axi::{Memory, Timing};
use crate::bench::{Beat, Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::axi_read::{AxiRead, fault};
use hw::blocks::fifo_ram::FifoRam;
use hw::ir::{Design, Interface, IrError};
use std::cell::RefCell;
use std::rc::Rc;

const COMMANDS: [&str; 3] = ["a_cmd", "b_cmd", "c_cmd"];
const DATA: [&str; 3] = ["a_data", "b_data", "c_data"];
/// Where the memory lies.
const BASE: u64 = 0x12_3456_7000;

/// A reading port with up to three clients `a`, `b`, `c` and its memory.
pub struct AxiReadCase {
    port: AxiRead,
    memory: Rc<RefCell<Memory>>,
    /// Whether the port should be busy all the time, so that cycles are counted.
    pub full_rate: bool,
}

impl AxiReadCase {
    /// Bytes of the memory, not a multiple of a page.
    const BYTES: u64 = 40 * 4096 + 1024;
    /// Byte that is answered with an error.
    const BROKEN: u64 = 17 * 4096 + 520;

    /// Clients with queues of these lengths.
    pub fn new(bits: u32, queues: &[u32], burst: u32, full_rate: bool) -> AxiReadCase {
        let clients: Vec<_> =
            ["a", "b", "c"].iter().zip(queues).map(|(name, beats)| (name.to_string(), *beats)).collect();
        let mut rng = Rng::new(5);
        let bytes = (0..Self::BYTES).map(|_| rng.bits() as u8).collect();
        let mut memory = Memory::new(bytes, BASE, Timing::ideal(), 3);
        memory.faults_mut().error_at = Some(Self::BROKEN);
        let urgent = if queues.len() > 1 { vec!["a".to_string()] } else { Vec::new() };
        AxiReadCase { port: AxiRead { bits, clients, urgent, burst }, memory: Rc::new(RefCell::new(memory)), full_rate }
    }

    fn beat_bytes(&self) -> u64 {
        u64::from(self.port.bits / 8)
    }
}

/// A command, the beats that it must give, and the page of the beat with an error.
fn command(case: &AxiReadCase, from: u64, beats: u64) -> (Beat, Vec<Beat>) {
    let (beat, memory) = (case.beat_bytes(), case.memory.borrow());
    let data = (0..beats).map(|i| {
        let at = (from + i * beat) as usize;
        let bytes = memory.bytes()[at..at + beat as usize].iter().map(|b| u64::from(*b));
        vec![pack(8, bytes), vec![u32::from(i + 1 == beats)]]
    });
    (vec![vec![from as u32, 0], vec![beats as u32]], data.collect())
}

fn fault_beat(code: u128, client: usize, address: u64) -> Beat {
    vec![vec![code as u32], vec![(client as u32) << 24 | (address / 4096) as u32]]
}

impl Block for AxiReadCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.port.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let beat = self.beat_bytes();
        let (most, mut packet, mut faults) = (Self::BYTES / beat, Packet::default(), Vec::new());
        let longest = if self.full_rate { 900 } else { 70 };
        for client in 0..self.port.clients.len() {
            let (mut commands, mut data) = (Vec::new(), Vec::new());
            for turn in 0..rng.within(1, 3) {
                let beats = match size {
                    Size::Min => 1,
                    Size::Max => longest.min(most / 2),
                    Size::Any => rng.within(1, longest),
                };
                let mut first = rng.below(most - beats + 1);
                let end = |first: u64| (first + beats) * beat;
                let broken = |first: u64| (first * beat..end(first)).contains(&Self::BROKEN);
                if size == Size::Max && client == 0 && turn == 0 {
                    first = Self::BROKEN / beat - rng.below(beats);
                    faults.push(fault_beat(fault::READ_ERROR, client, Self::BROKEN));
                } else if broken(first) {
                    first = Self::BROKEN / beat + 1;
                }
                cover.count("end_of_memory", end(first) == Self::BYTES);
                cover.count("crosses_page", first * beat / 4096 != (end(first) - 1) / 4096);
                let (cmd, mut got) = command(self, first * beat, beats);
                commands.push(cmd);
                data.append(&mut got);
            }
            if size == Size::Min && client == 0 {
                // one beat too many, and no beat at all; then the very last beat
                let first = most - 3;
                commands.insert(0, vec![vec![(first * beat) as u32, 0], vec![4]]);
                commands.insert(1, vec![vec![0, 0], vec![0]]);
                faults.push(fault_beat(fault::BAD_ADDRESS, client, first * beat));
                let (cmd, mut got) = command(self, (most - 1) * beat, 1);
                cover.count("end_of_memory", true);
                commands.push(cmd);
                data.append(&mut got);
            }
            packet.inputs.push((COMMANDS[client], commands));
            packet.outputs.push((DATA[client], data));
        }
        packet.outputs.push(("fault", faults));
        packet
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "end_of_memory", "crosses_page"]
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        let wide = |value: u64| vec![value as u32, (value >> 32) as u32];
        // parts of a beat at the end are of no use
        let mut steady = vec![("mem_base_i", wide(BASE)), ("mem_bytes_i", wide(Self::BYTES + 3)), ("stop_i", vec![0])];
        if !self.port.urgent.is_empty() {
            steady.push(("hurry_i", vec![u32::from(!self.full_rate)]));
        }
        steady
    }

    fn memory(&self) -> Option<(Rc<RefCell<Memory>>, Vec<String>)> {
        Some((self.memory.clone(), vec!["m".into()]))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let all = packets.iter().flat_map(|p| &p.outputs).filter(|(name, _)| DATA.contains(name));
        let beats: u64 = all.map(|(_, beats)| beats.len() as u64).sum();
        self.full_rate.then_some(beats + beats / 50 + 60)
    }
}

impl Block for FifoRam {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, _: &mut Cover) -> Packet {
        super::pass_through(rng, size, self.width)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("in", "out", self.latency().into()))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        (self.depth > 4).then(|| super::beats(packets, "in") + u64::from(self.latency()))
    }
}

fn port() -> Box<dyn Block> {
    Box::new(AxiReadCase::new(64, &[64, 9], 16, false))
}

fn deep() -> Box<dyn Block> {
    Box::new(FifoRam { width: 9, depth: 7, ultra: false })
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("axi_read: places not reserved", port, "& (places_q >= ", "& (4'd15 >= "),
    bug("axi_read: end of the last burst lost", port, "beat_last_i & ", "1'b0 & "),
    bug(
        "axi_read: a beat of another client",
        port,
        "beat1 = beat_valid_q & (beat_id_q ==",
        "beat1 = beat_valid_q & (beat_id_q !=",
    ),
    bug("axi_read: end of memory off by one", port, "end_q > ", "end_q >= "),
    bug("fifo_ram: full seen late", deep, "room_q <= pop |", "room_q <= 1'b1 | pop |"),
];
