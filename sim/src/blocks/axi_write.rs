//! The writing port in front of the simulated memory.

use crate::axi::{Memory, Timing};
use crate::bench::{Beat, Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::axi_read::fault;
use hw::blocks::axi_write::AxiWrite;
use hw::ir::{Design, Interface, IrError};
use std::cell::RefCell;
use std::rc::Rc;

const COMMANDS: [&str; 3] = ["a_cmd", "b_cmd", "c_cmd"];
const DATA: [&str; 3] = ["a_data", "b_data", "c_data"];
/// Where the memory lies.
const BASE: u64 = 0x7_0000_1000;
/// Bytes of each client's part of the memory.
const PART: u64 = 5 * 4096 + 512;

/// A writing port with up to three clients `a`, `b`, `c` and its memory.
pub struct AxiWriteCase {
    port: AxiWrite,
    memory: Rc<RefCell<Memory>>,
    /// What the memory should hold.
    expected: RefCell<Vec<u8>>,
}

impl AxiWriteCase {
    /// Byte that is answered with an error; client a's.
    const BROKEN: u64 = 2 * 4096 + 520;

    /// A port of `bits` with so many clients.
    pub fn new(bits: u32, clients: usize) -> AxiWriteCase {
        let names = ["a", "b", "c"].iter().take(clients).map(|n| n.to_string()).collect();
        let bytes = vec![0x55; PART as usize * clients];
        let mut memory = Memory::new(bytes.clone(), BASE, Timing::ideal(), 3);
        memory.faults_mut().error_at = Some(Self::BROKEN);
        let (memory, expected) = (Rc::new(RefCell::new(memory)), RefCell::new(bytes));
        AxiWriteCase { port: AxiWrite { bits, clients: names }, memory, expected }
    }

    /// Beats of a command with random data and strobes, written to the oracle where `lands` says so.
    fn beats(&self, from: u64, beats: u64, rng: &mut Rng, lands: impl Fn(u64) -> bool) -> Vec<Beat> {
        let width = u64::from(self.port.bits / 8);
        let mut expected = self.expected.borrow_mut();
        let beat = |i: u64| {
            let all = rng.one_in(2);
            let strobes: Vec<u64> = (0..width).map(|_| u64::from(all || rng.one_in(2))).collect();
            let bytes: Vec<u64> = (0..width).map(|_| rng.below(256)).collect();
            for (at, (byte, set)) in bytes.iter().zip(&strobes).enumerate() {
                let place = from + i * width + at as u64;
                if *set == 1 && lands(place) {
                    expected[place as usize] = *byte as u8;
                }
            }
            vec![pack(8, bytes), pack(1, strobes)]
        };
        (0..beats).map(beat).collect()
    }
}

impl Block for AxiWriteCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.port.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let width = u64::from(self.port.bits / 8);
        let (clients, mut packet, mut faults) = (self.port.clients.len() as u64, Packet::default(), Vec::new());
        let total = PART * clients;
        let info = |client: u64, at: u64| vec![(client as u32) << 24 | (at / 4096) as u32];
        for client in 0..clients {
            let (mut commands, mut data) = (Vec::new(), Vec::new());
            let (low, places) = (client * PART, PART / width);
            for turn in 0..rng.within(1, 12) {
                let beats = match size {
                    Size::Min => 1,
                    Size::Max => u64::from(AxiWrite::BEATS),
                    // short ones as a cache's rows are on most machines, and any
                    Size::Any if rng.one_in(4) => rng.within(1, u64::from(AxiWrite::BEATS)),
                    Size::Any => rng.within(1, 16),
                };
                let mut from = low + width * rng.below(places - beats + 1);
                let broken = |from: u64| (from..from + beats * width).contains(&Self::BROKEN);
                let hit = size == Size::Max && client == 0 && turn == 0;
                if hit {
                    from = Self::BROKEN / width * width;
                    faults.push(vec![vec![fault::WRITE_ERROR as u32], info(client, Self::BROKEN)]);
                } else if broken(from) {
                    from = Self::BROKEN.next_multiple_of(4096);
                }
                let end = from + beats * width;
                cover.count("crosses_page", from / 4096 != (end - 1) / 4096);
                cover.count("end_of_memory", end == total);
                let (lost, page) = (hit, Self::BROKEN / 4096);
                data.extend(self.beats(from, beats, rng, |at| !(lost && at / 4096 == page)));
                commands.push(vec![vec![from as u32, 0], vec![beats as u32]]);
            }
            let end = total - 2 * width;
            if size == Size::Min && client == 0 {
                // one beat too many: its data are lost; and no beat at all
                commands.push(vec![vec![end as u32, 0], vec![3]]);
                data.extend((0..3).map(|_| vec![vec![7; width.div_ceil(4) as usize], vec![1]]));
                faults.push(vec![vec![fault::BAD_ADDRESS as u32], info(client, end)]);
                commands.push(vec![vec![0, 0], vec![0]]);
            }
            if size == Size::Min && client + 1 == clients {
                commands.push(vec![vec![end as u32, 0], vec![2]]);
                data.extend(self.beats(end, 2, rng, |_| true));
                cover.count("end_of_memory", true);
            }
            packet.inputs.push((COMMANDS[client as usize], commands));
            packet.inputs.push((DATA[client as usize], data));
        }
        packet.outputs.push(("fault", faults));
        packet
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "end_of_memory", "crosses_page"]
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        let wide = |value: u64| vec![value as u32, (value >> 32) as u32];
        let total = PART * self.port.clients.len() as u64;
        vec![("mem_base_i", wide(BASE)), ("mem_bytes_i", wide(total + 3)), ("stop_i", vec![0])]
    }

    fn memory(&self) -> Option<(Rc<RefCell<Memory>>, Vec<String>)> {
        Some((self.memory.clone(), vec!["m".into()]))
    }

    fn settle(&self) -> u64 {
        400
    }

    fn forget(&self) {
        self.expected.borrow_mut().copy_from_slice(self.memory.borrow().bytes());
    }

    fn after(&self) -> Result<(), String> {
        let (memory, expected) = (self.memory.borrow(), self.expected.borrow());
        match memory.bytes().iter().zip(&*expected).position(|(a, b)| a != b) {
            Some(at) => Err(format!("byte {at:#x} is {:#x}, expected {:#x}", memory.bytes()[at], expected[at])),
            None => Ok(()),
        }
    }
}

fn port() -> Box<dyn Block> {
    Box::new(AxiWriteCase::new(64, 2))
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("axi_write: end of memory off by one", port, "end_q > ", "end_q >= "),
    bug("axi_write: strobes lost", port, "m_wstrb_o = w_strb_q", "m_wstrb_o = ~8'h0"),
    bug("axi_write: a data beat overwritten", port, "void_q | m_wready_i", "void_q | 1'b1 | m_wready_i"),
    bug("axi_write: pages not told", port, " all = ", " all = 1'b1 | "),
];
