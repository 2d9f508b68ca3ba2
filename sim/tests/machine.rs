//! A whole machine and everything that can go wrong in a pass, at the registers: faults, soft resets, a memory that
//! never answers. After each of them a good pass must give the bits of the first one.

use hw::preset::{self, Machine};
use sim::axi::{Faults, Timing};
use sim::compile::Speed;
use sim::device::{SimDevice, SimOptions, VectorWrite, build};
use sim::ffi::Library;
use sim::rng::Rng;
use sim::waves::{Failure, replayed};
use spec::program::{Descriptor, LABEL_NONE, Op, quant, stream, wait, write_packets};
use spec::regs::{fault, offset};
use spec::transport::{Event, Transport};
use std::sync::LazyLock;
use std::time::Duration;

const MEMORY: u64 = 64 << 10;
/// Lines of the program, norm weights, embedding and rotary factors.
const PROGRAM: u64 = 0;
const NORM: u64 = 2 * 64;
const EMBED: u64 = 6 * 64;
const ROPE: u64 = 8 * 64;
/// Column words of a vector.
const WORDS: u64 = 100;
/// Vectors that the program normalises: their weights fill more than one packet.
const NORMS: u64 = 9;
const GATHER_AT: u32 = 1;
/// A pass lasts no longer than this.
const DEADLINE: Duration = Duration::from_secs(20);

const START: u32 = 1;
const RESET: u32 = 2;
const BUSY: u32 = 1;
const DONE: u32 = 2;
const FAULT: u32 = 4;
const DRAINING: u32 = 8;
const STUCK: u32 = 16;

static MACHINE: LazyLock<Machine> = LazyLock::new(|| preset::load("sim-tiny").unwrap());
static LIBRARY: LazyLock<Library> = LazyLock::new(|| build(&MACHINE, Speed::Quick, false).unwrap());

/// Embedding rows and norms, nothing that needs a compiler.
fn program() -> Vec<Descriptor> {
    let with = |op, wait, label, fields: &[(&str, u64)]| {
        let mut d = Descriptor::new(op, wait, label);
        fields.iter().for_each(|(name, value)| d.set(name, *value).unwrap());
        d
    };
    let columns = WORDS * MACHINE.shape().lanes() as u64;
    let packets = MACHINE.shape().packets(4 * columns * NORMS);
    let run = [("stream", stream::NORM.into()), ("addr", NORM), ("packets", packets), ("words", WORDS * NORMS)];
    let beats = 1 + columns.div_ceil(4);
    let gather = [("embed", EMBED), ("embed_beats", beats), ("words", WORDS), ("rope", ROPE), ("rope_beats", 8)];
    let mut program = vec![with(Op::Stream, 0, LABEL_NONE, &run), with(Op::Gather, 0, 7, &gather)];
    for at in 0..NORMS {
        let norm = [
            ("mode", quant::NORM.into()),
            ("norm", 1),
            ("words", WORDS),
            ("vectors", 1),
            ("dst", WORDS * (1 + at % 4)),
            ("count", (columns as f32).to_bits().into()),
            ("eps", 1e-5f32.to_bits().into()),
        ];
        program.push(with(Op::Quant, wait::GATHER | wait::QUANT, 10 + at as u16, &norm));
    }
    program.push(with(Op::End, 0, LABEL_NONE, &[]));
    program
}

struct Rig {
    device: SimDevice,
    pass: u32,
    longest: u64,
}

impl Rig {
    fn new(options: &SimOptions) -> Rig {
        let device = match options.waves {
            None if std::env::var_os("WAVES").is_none() => SimDevice::start(&LIBRARY, &MACHINE, options),
            _ => SimDevice::new(&MACHINE, options),
        };
        let mut rig = Rig { device: device.unwrap(), pass: 0, longest: 0 };
        let mut rng = Rng::new(5);
        let columns = WORDS as usize * MACHINE.shape().lanes();
        let floats = |rng: &mut Rng, n: usize| -> Vec<u8> {
            (0..n).flat_map(|_| (rng.below(2000) as f32 / 1000.0 - 1.0).to_le_bytes()).collect()
        };
        let mut packets = Vec::new();
        write_packets(&floats(&mut rng, columns * NORMS as usize), rig.beat(), 0, &mut packets);
        rig.put(NORM, &packets);
        let mut rows = Vec::new();
        for _ in 0..8 {
            rows.extend(0.02f32.to_le_bytes());
            rows.extend((0..columns).map(|_| rng.bits() as u8));
        }
        rig.put(EMBED, &rows);
        let factors = floats(&mut rng, 8 * 8);
        rig.put(ROPE, &factors);
        rig.load(&program());
        rig.reset();
        rig
    }

    fn beat(&self) -> usize {
        MACHINE.shape().port_bits / 8
    }

    fn put(&mut self, line: u64, bytes: &[u8]) {
        self.device.write(64 * line, bytes).unwrap();
    }

    fn load(&mut self, program: &[Descriptor]) {
        let bytes: Vec<u8> = program.iter().flat_map(Descriptor::to_bytes).collect();
        let mut packets = Vec::new();
        write_packets(&bytes, self.beat(), 0, &mut packets);
        self.put(PROGRAM, &packets);
    }

    /// Every access has to be answered, whatever the machine does; the device refuses one that takes 1,000 cycles.
    fn write(&mut self, name: &str, value: u32) {
        let before = self.device.cycles();
        self.device.write32(offset(name), value).unwrap();
        self.longest = self.longest.max(self.device.cycles() - before);
    }

    fn read(&mut self, name: &str) -> u32 {
        let before = self.device.cycles();
        let value = self.device.read32(offset(name)).unwrap();
        self.longest = self.longest.max(self.device.cycles() - before);
        value
    }

    /// Soft reset; returns its cycles and the status after it.
    fn reset(&mut self) -> (u64, u32) {
        let before = self.device.cycles();
        self.write("CONTROL", RESET);
        let mut status = self.read("STATUS");
        while status & DRAINING != 0 {
            assert!(self.device.cycles() - before < 3 << 20, "the soft reset does not end");
            if self.device.cycles() - before > 20_000 {
                self.device.wait(Duration::ZERO).unwrap();
            }
            status = self.read("STATUS");
        }
        let cycles = self.device.cycles() - before;
        assert_eq!(status & (BUSY | DONE | FAULT), 0, "status {status:#x} after a soft reset");
        let (base, bytes) = (self.device.memory_base(), self.device.memory_bytes());
        for (name, value) in [("MEM_BASE", base), ("MEM_BYTES", bytes)] {
            self.write(&format!("{name}_LO"), value as u32);
            self.write(&format!("{name}_HI"), (value >> 32) as u32);
        }
        self.write("WATCHDOG", 1 << 20);
        self.write("IRQ_STATUS", u32::MAX);
        self.write("IRQ_ENABLE", 3);
        (cycles, status)
    }

    fn start(&mut self) {
        let words = program().len() as u32;
        for (slot, token, position) in [(0, 3, 2), (1, 5, 1)] {
            for (name, value) in [("TOKEN", token), ("POSITION", position), ("CACHE", 0), ("FLAGS", 1 | 1 << 8)] {
                self.device.write32(offset(&format!("SLOT_{name}")) + 16 * slot, value).unwrap();
            }
        }
        self.pass += 1;
        let packets = MACHINE.shape().packets(64 * u64::from(words)) as u32;
        for (name, value) in [
            ("SLOTS", 2),
            ("PASS", self.pass),
            ("PROGRAM", PROGRAM as u32),
            ("PROGRAM_PACKETS", packets),
            ("PROGRAM_WORDS", words),
            ("CONTROL", START),
        ] {
            self.write(name, value);
        }
    }

    /// A pass that must end well: its writes and cycles.
    fn good(&mut self, what: &str) -> (Vec<VectorWrite>, u64) {
        self.device.record_writes();
        let before = self.device.cycles();
        self.start();
        let event = self.device.wait(DEADLINE).unwrap();
        let (status, cycles) = (self.read("STATUS"), self.device.cycles() - before);
        let (code, info) = (self.read("FAULT_CODE"), self.read("FAULT_INFO"));
        let hint = self.device.replay_hint();
        let end = (event, status & (BUSY | DONE | FAULT), self.read("DONE_PASS"));
        assert_eq!(end, (Event::Interrupt, DONE, self.pass), "{what}: code {code}, {info:#x}; {hint}");
        self.write("IRQ_STATUS", u32::MAX);
        let mut writes = self.device.take_writes();
        writes.iter_mut().for_each(|w| w.cycle = 0);
        assert_eq!(writes.len() as u64, 2 * WORDS * (1 + NORMS), "{what}");
        (writes, cycles)
    }

    /// A pass that must end with this fault; the index of the descriptor in issue, and the information.
    fn faulty(&mut self, what: &str, code: u8) -> (u32, u32) {
        let before = self.device.cycles();
        self.start();
        let event = self.device.wait(DEADLINE).unwrap();
        let cycles = self.device.cycles() - before;
        let status = self.read("STATUS");
        let found = self.read("FAULT_CODE");
        let (info, index, label) = (self.read("FAULT_INFO"), self.read("FAULT_INDEX"), self.read("FAULT_LABEL"));
        println!("{what}: fault {found}, info {info:#x}, descriptor {index}, label {label:#x}, {cycles} cycles");
        assert_eq!((event, status & (BUSY | DONE | FAULT)), (Event::Interrupt, FAULT), "{what}: status {status:#x}");
        assert_eq!(found, u32::from(code), "{what}");
        // a start is ignored now
        self.write("CONTROL", START);
        assert_eq!(self.read("STATUS") & (BUSY | FAULT), FAULT, "{what}");
        (index, info)
    }

    /// A pass with one bit of a packet turned over; the bit is mended after it.
    fn turned_bit(&mut self, line: u64) -> (u32, u32) {
        let (mut byte, at) = ([0], 64 * line + 100);
        self.device.read(at, &mut byte).unwrap();
        self.device.write(at, &[byte[0] ^ 0x10]).unwrap();
        let found = self.faulty(&format!("bit in the packet of line {line:#x}"), fault::CRC);
        self.device.write(at, &byte).unwrap();
        found
    }
}

fn options(timing: Timing, seed: u64) -> SimOptions {
    SimOptions { memory_bytes: MEMORY, timing, seed, speed: Speed::Quick, waves: None }
}

#[test]
fn faults_stop_a_pass_and_a_reset_mends_it() {
    for (timing, seed) in [(Timing::ideal(), 1), (Timing::harsh(), 2)] {
        let mut rig = Rig::new(&options(timing, seed));
        let (wanted, cycles) = rig.good("first");
        println!("good pass: {cycles} cycles");
        assert!(rig.good("second").0 == wanted, "a pass does not depend on the one before");
        let mend = |rig: &mut Rig, what: &str| {
            *rig.device.faults_mut() = Faults::default();
            rig.load(&program());
            let (cycles, status) = rig.reset();
            assert_eq!(status & STUCK, 0, "{what}");
            assert!(rig.good(what).0 == wanted, "{what}: other values after it");
            println!("{what}: soft reset in {cycles} cycles, good pass after it");
        };
        let mut bad = program();
        bad[GATHER_AT as usize].set("embed", MEMORY / 64 + 1).unwrap();
        rig.load(&bad);
        let (index, info) = rig.faulty("row outside of memory", fault::BAD_ADDRESS);
        assert_eq!((index, info & 0xff_ffff), (GATHER_AT, (MEMORY / 4096) as u32));
        mend(&mut rig, "row outside of memory");

        let mut bad = program();
        bad[0].set("addr", MEMORY / 64 - 64).unwrap();
        rig.load(&bad);
        rig.faulty("stream runs out of memory", fault::BAD_ADDRESS);
        mend(&mut rig, "stream runs out of memory");

        // the answer comes later: the next descriptor waits for the unit
        rig.device.faults_mut().error_at = Some(64 * EMBED + 5 * (4 + 2 * WORDS) + 9);
        let (index, info) = rig.faulty("read of a row refused", fault::READ_ERROR);
        assert_eq!((index, info & 0xff_ffff), (GATHER_AT + 1, (EMBED / 64) as u32));
        mend(&mut rig, "read of a row refused");

        rig.device.faults_mut().error_at = Some(64 * PROGRAM + 70);
        rig.faulty("read of the program refused", fault::READ_ERROR);
        mend(&mut rig, "read of the program refused");

        let (index, info) = rig.turned_bit(NORM);
        assert!(index > GATHER_AT, "a stream is checked while its users work");
        assert_eq!(u64::from(info), NORM);
        mend(&mut rig, "bit of a stream");

        let mut bad = program();
        bad[4].words[0] = bad[4].words[0] & !0xff | 0x2a;
        rig.load(&bad);
        let (index, info) = rig.faulty("unknown operation", fault::BAD_OPCODE);
        assert_eq!((index, info), (4, bad[4].words[0]));
        mend(&mut rig, "unknown operation");

        let mut bad = program();
        bad.swap(5, 6);
        bad[5] = Descriptor::new(Op::End, 0, LABEL_NONE);
        rig.load(&bad);
        rig.faulty("end too early", fault::PROGRAM_END);
        mend(&mut rig, "end too early");
        println!("longest register access: {} cycles", rig.longest);
    }
}

#[test]
fn a_memory_that_does_not_answer_ends_in_the_watchdog() {
    let mut rig = Rig::new(&options(Timing::ideal(), 3));
    let (wanted, _) = rig.good("first");
    for burst in [0, 3, 9] {
        // answered at last, while the reset drains
        let hang = |rig: &mut Rig| {
            let next = rig.device.port_counters(0).read_bursts;
            rig.device.faults_mut().silent = Some((0, next + burst));
            rig.write("WATCHDOG", 3000);
            rig.faulty(&format!("burst {burst} without an answer"), fault::WATCHDOG);
        };
        hang(&mut rig);
        *rig.device.faults_mut() = Faults::default();
        let (cycles, status) = rig.reset();
        assert_eq!(status & STUCK, 0);
        println!("answered late: soft reset in {cycles} cycles");
        assert!(rig.good("after a late answer").0 == wanted);
        if burst != 3 {
            continue; // a million cycles
        }
        // never answered: the reset gives up, and the memory is reset as well
        hang(&mut rig);
        let (cycles, status) = rig.reset();
        assert_eq!(status & STUCK, STUCK, "memory still owes an answer");
        println!("never answered: soft reset gives up after {cycles} cycles");
        rig.device.reset_memory();
        *rig.device.faults_mut() = Faults::default();
        let (_, status) = rig.reset();
        assert_eq!(status & STUCK, 0);
        assert!(rig.good("after a dead memory").0 == wanted);
    }
    println!("longest register access: {} cycles", rig.longest);
}

#[test]
fn a_soft_reset_in_the_middle_of_a_pass() {
    for (timing, seed) in [(Timing::ideal(), 4), (Timing::harsh(), 5)] {
        let mut rig = Rig::new(&options(timing, seed));
        let (wanted, cycles) = rig.good("first");
        let (mut open, mut rng, mut most) = (0, Rng::new(seed), 0);
        for round in 0..24 {
            rig.start();
            let stop = rig.device.cycles() + rng.below(if round % 2 == 0 { cycles } else { cycles / 6 });
            while rig.device.cycles() < stop {
                rig.read("STATUS");
            }
            open += u32::from(rig.read("STATUS") & BUSY != 0);
            let (drained, status) = rig.reset();
            most = most.max(drained);
            assert_eq!(status & STUCK, 0, "round {round}");
            if round % 4 == 3 {
                assert!(rig.good("after a reset").0 == wanted, "round {round}: other values");
            }
        }
        assert!(open > 12, "only {open} passes were at work when they were reset");
        println!("{open} of 24 passes cut off, soft resets in at most {most} cycles; {} a register", rig.longest);
    }
}

/// The last packet of a stream, of which the pass needs only a part.
#[test]
fn a_turned_bit_in_a_last_packet_is_a_fault_of_its_pass() {
    for (timing, seed) in [(Timing::ideal(), 7), (Timing::harsh(), 2)] {
        let mut rig = Rig::new(&options(timing, seed));
        rig.good("first");
        let (_, info) = rig.turned_bit(NORM + 64);
        assert_eq!(u64::from(info), NORM + 64);
    }
}

/// What a failing test does: the run again, with waves that end after the failure.
#[test]
#[ignore = "builds a traced machine: cargo test -p sim --test machine -- --ignored --nocapture"]
fn a_failure_is_run_again_with_waves() {
    let error = replayed("machine-test", &options(Timing::ideal(), 6), |options| {
        let mut rig = Rig::new(options);
        let wrong = Failure { cycle: 6000, text: "a planted failure".into() };
        rig.start();
        rig.device.wait(Duration::from_secs(5)).map(|_| ()).map_err(|_| wrong.clone())?;
        Err::<(), _>(wrong)
    });
    let error = error.unwrap_err();
    println!("{error}");
    let path = error.split("gtkwave ").nth(1).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    // the file begins with the values of cycle 0 and ends with the last cycle before the stop
    let last = text.lines().rfind(|l| l.starts_with('#')).unwrap();
    assert_eq!(last, format!("#{}", 10 * (6000 + sim::waves::AFTER) - 5), "waves end where they should");
}
