//! The ports to memory against the simulated memory.

use hw::blocks::axi_read::AxiRead;
use hw::blocks::axi_write::AxiWrite;
use hw::blocks::fifo_ram::FifoRam;
use hw::ir::{Design, Interface};
use sim::axi::{Faults, Memory, Timing};
use sim::bench::{Block, Cover, check};
use sim::blocks::axi_read::AxiReadCase;
use sim::blocks::axi_write::AxiWriteCase;
use sim::blocks::stream::StreamCase;
use sim::blocks::weights::WeightsCase;
use sim::compile::{Job, Speed, compile};
use sim::ffi::{Library, Model};
use sim::rng::Rng;
use std::rc::Rc;

fn must_pass(name: &str, rng: &mut Rng, block: &dyn Block) -> Cover {
    match check(block, rng) {
        Ok(cover) => {
            println!("{name}: {cover}");
            cover
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn fifo_ram() {
    let mut rng = Rng::announced("fifo_ram", 31);
    for (depth, ultra) in [(1, false), (7, false), (rng.within(8, 40), true)] {
        let width = rng.within(1, 90) as u32;
        must_pass(&format!("w{width} d{depth}"), &mut rng, &FifoRam { width, depth, ultra });
    }
}

#[test]
fn axi_read() {
    let mut rng = Rng::announced("axi_read", 32);
    for (bits, queues, burst) in [(32, vec![5, 16], 8), (64, vec![64, 100, 3], 16)] {
        let case = AxiReadCase::new(bits, &queues, burst, false);
        must_pass(&format!("b{bits} {queues:?}"), &mut rng, &case);
    }
}

#[test]
fn axi_read_at_full_rate() {
    let mut rng = Rng::announced("axi_read rate", 33);
    must_pass("b128", &mut rng, &AxiReadCase::new(128, &[128, 64], 32, true));
}

#[test]
fn stream() {
    let mut rng = Rng::announced("stream", 34);
    for (bits, word) in [(32, 40), (64, 96), (128, 32)] {
        must_pass(&format!("b{bits} w{word}"), &mut rng, &StreamCase::new(bits, word, false));
    }
}

/// The checksums of another text, and clients of ports that rest.
#[test]
fn stream_as_simulations_have_it() {
    let mut rng = Rng::announced("stream simulated", 38);
    for (bits, word, full_rate) in [(32, 40, false), (64, 96, false), (128, 128, true)] {
        let mut case = StreamCase::new(bits, word, full_rate);
        case.for_simulation = true;
        must_pass(&format!("b{bits} w{word}"), &mut rng, &case);
    }
}

#[test]
fn stream_at_full_rate() {
    let mut rng = Rng::announced("stream rate", 35);
    must_pass("b128 w128", &mut rng, &StreamCase::new(128, 128, true));
}

#[test]
fn weights() {
    let mut rng = Rng::announced("weights", 36);
    for (bits, ports, codes) in [(32, 1, 8), (64, 2, 32), (64, 3, 21)] {
        must_pass(&format!("b{bits} n{ports} c{codes}"), &mut rng, &WeightsCase::new(bits, ports, codes, 20, false));
    }
}

#[test]
fn weights_at_full_rate() {
    let mut rng = Rng::announced("weights rate", 37);
    must_pass("b128 n4 c128", &mut rng, &WeightsCase::new(128, 4, 128, 256, true));
}

#[test]
fn balanced_weights() {
    let mut rng = Rng::announced("balance", 39);
    for (bits, ports, codes, frames) in [(64, 3, 21, 2), (128, 2, 8, 4)] {
        let case = WeightsCase::new(bits, ports, codes, 20, false).balanced(frames);
        must_pass(&format!("b{bits} n{ports} f{frames}"), &mut rng, &case);
    }
}

#[test]
fn balanced_weights_but_for_one_port() {
    let mut rng = Rng::announced("balanced weights but one", 36);
    must_pass("b64 n3 f4", &mut rng, &WeightsCase::new(64, 3, 21, 20, false).but_one(4));
}

#[test]
fn balanced_weights_at_full_rate() {
    let mut rng = Rng::announced("balance rate", 40);
    must_pass("b128 n4 f4", &mut rng, &WeightsCase::new(128, 4, 128, 256, true).balanced(4));
}

#[test]
fn axi_write() {
    let mut rng = Rng::announced("axi_write", 38);
    for (bits, clients) in [(32, 1), (64, 2), (128, 3)] {
        must_pass(&format!("b{bits} {clients} clients"), &mut rng, &AxiWriteCase::new(bits, clients));
    }
}

/// A model and its memory of 64 KiB at 0x4000, outside of the harness.
struct Rig {
    library: Library,
    model: Model,
    memory: Memory,
}

impl Rig {
    fn new(design: &Design, top: &Rc<Interface>, timing: Timing) -> Rig {
        let verilog = design.text();
        let job = Job { top: &top.name, verilog: &verilog, ports: &top.ports, speed: Speed::Quick, lint: true };
        let library = compile(&job).unwrap();
        let mut memory = Memory::new((0..65536u32).map(|i| ((i * 7) >> 3) as u8).collect(), 0x4000, timing, 9);
        memory.attach(&library, "m").unwrap();
        let mut rig = Rig { model: library.start(1), library, memory };
        for port in &top.ports {
            if port.dir == hw::ir::Dir::In {
                rig.set(&port.name, 0);
            }
        }
        rig.set("mem_base_i", 0x4000);
        rig.set("mem_bytes_i", 65536);
        rig.set("rst_i", 1);
        rig.model.tick();
        rig.model.tick();
        rig.set("rst_i", 0);
        rig.model.eval();
        rig
    }

    fn set(&mut self, port: &str, value: u64) {
        self.model.set(self.library.port(port).unwrap(), value);
    }

    fn get(&self, port: &str) -> u64 {
        self.model.get(self.library.port(port).unwrap())
    }

    fn step(&mut self) {
        self.memory.step(&mut self.model).unwrap();
        self.model.eval();
        self.model.tick();
    }

    /// Cycles until an output is 0, at most 500.
    fn until_low(&mut self, port: &str) -> u32 {
        (0..500)
            .find(|_| {
                let low = self.get(port) == 0;
                self.step();
                low
            })
            .unwrap_or(500)
    }
}

fn reader() -> Rig {
    let mut design = Design::default();
    let port = AxiRead { bits: 64, clients: vec![("a".into(), 64), ("b".into(), 64)], urgent: vec![], burst: 16 };
    let top = port.build(&mut design).unwrap();
    let mut rig = Rig::new(&design, &top, Timing { latency: (30, 30), ..Timing::default() });
    rig.set("a_data_ready_i", 1);
    rig.set("a_cmd_beats_i", 4000);
    rig.set("a_cmd_valid_i", 1);
    rig.step();
    rig.set("a_cmd_valid_i", 0);
    rig
}

#[test]
fn a_stopped_reader_drains() {
    let mut rig = reader();
    (0..100).for_each(|_| rig.step());
    assert_eq!(rig.get("busy_o"), 1);
    rig.set("stop_i", 1);
    assert!(rig.until_low("busy_o") < 150);
    let counters = rig.memory.counters(0);
    assert_eq!(counters.read_beats, 16 * counters.read_bursts, "what was asked for has come");
    (0..200).for_each(|_| rig.step());
    assert_eq!(rig.memory.counters(0), counters, "nothing more is asked for");
}

#[test]
fn a_silent_memory_leaves_the_reader_busy() {
    for faults in
        [Faults { silent: Some((0, 1)), ..Faults::default() }, Faults { drop_last: Some((0, 1)), ..Faults::default() }]
    {
        let mut rig = reader();
        *rig.memory.faults_mut() = faults;
        (0..100).for_each(|_| rig.step());
        rig.set("stop_i", 1);
        assert_eq!(rig.until_low("busy_o"), 500);
    }
}

#[test]
fn a_stopped_writer_fills_up_its_burst() {
    let mut design = Design::default();
    let top = AxiWrite { bits: 64, clients: vec!["a".into(), "b".into()] }.build(&mut design).unwrap();
    let mut rig = Rig::new(&design, &top, Timing::ideal());
    let before = rig.memory.bytes().to_vec();
    rig.set("b_cmd_addr_i", 256);
    rig.set("b_cmd_beats_i", 16);
    rig.set("b_cmd_valid_i", 1);
    rig.step();
    rig.set("b_cmd_valid_i", 0);
    rig.set("b_data_strb_i", 0xff);
    rig.set("b_data_data_i", u64::MAX);
    rig.set("b_data_valid_i", 1);
    let mut taken = 0;
    while taken < 5 {
        // ready follows the memory's answer in the same cycle
        rig.memory.step(&mut rig.model).unwrap();
        rig.model.eval();
        taken += rig.get("b_data_ready_o");
        rig.model.tick();
    }
    rig.set("b_data_valid_i", 0);
    (0..50).for_each(|_| rig.step());
    assert_eq!((rig.get("busy_o"), rig.get("a_idle_o"), rig.get("b_idle_o")), (1, 1, 0));
    rig.set("stop_i", 1);
    assert!(rig.until_low("busy_o") < 100);
    assert_eq!(rig.get("b_idle_o"), 1);
    assert_eq!(rig.memory.bytes()[256..296], [0xff; 40]);
    assert!(rig.memory.bytes()[296..] == before[296..]);
    assert_eq!(rig.memory.counters(0).write_beats, 16);
}
