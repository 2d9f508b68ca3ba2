//! One suite for every way to a device: the reference, the RTL in this process, and boards behind the nodes of XDMA
//! and a Zynq. What passes here is the same program on each of them.

use host::cpu::CpuEngine;
use host::device::board::expected;
use host::device::driver::Driver;
use host::device::{DeviceEngine, PassRunner, ReferenceRunner};
use host::engine::{Engine, Step, Want};
use sim::axi::Timing;
use sim::compile::Speed;
use sim::device::{SimDevice, SimOptions};
use spec::regs::{MAGIC, WINDOW, offset};
use spec::transport::{Event, Transport, TransportError};
use std::time::{Duration, Instant};
use tests::boards::{KINDS, MACHINE, MEMORY, PATIENCE, Served, image, weights};

fn in_process() -> SimDevice {
    let options =
        SimOptions { memory_bytes: MEMORY, timing: Timing::ideal(), seed: 1, speed: Speed::Full, waves: None };
    SimDevice::new(&MACHINE, &options).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Memory, a prompt, single tokens, two sequences at once, going back: the bits of the CPU backend.
fn conforms(what: &str, mut runner: impl PassRunner) {
    let memory = runner.memory_bytes();
    for (at, len) in [(0, 1), (3, 4093), (4095, 2), (memory - 5, 5), (memory, 0)] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + at as usize) as u8 ^ 0x5a).collect();
        runner.upload(at, &bytes).unwrap_or_else(|e| panic!("{what}: {len} bytes at {at}: {e}"));
        assert_eq!(runner.read(at, len).unwrap(), bytes, "{what}: {len} bytes at {at}");
    }
    assert!(runner.upload(memory - 1, &[1, 2]).is_err(), "{what}: a write past the end");
    assert!(runner.read(memory - 1, 2).is_err(), "{what}: a read past the end");
    assert!(runner.read(u64::MAX, 2).is_err(), "{what}: a read far past the end");

    let weights = weights(1);
    let mut cpu = CpuEngine::new(&weights, 1).unwrap();
    let mut device = DeviceEngine::new(image(&weights), runner).unwrap_or_else(|e| panic!("{what}: {e}"));
    let ids = [0, 1].map(|_| (cpu.new_sequence().unwrap(), device.new_sequence().unwrap()));
    let mut both = |parts: &[(usize, &[u32], Want)]| {
        let step = |on_cpu: bool| -> Vec<Step<'_>> {
            let one = |&(id, tokens, want)| {
                let (a, b) = ids[id];
                Step { sequence: if on_cpu { a } else { b }, tokens, want }
            };
            parts.iter().map(one).collect()
        };
        let wanted = cpu.forward(&step(true)).unwrap();
        let found = device.forward(&step(false)).unwrap_or_else(|e| panic!("{what}: {e}"));
        for (wanted, found) in wanted.iter().zip(&found) {
            assert!(bits(wanted) == bits(found), "{what}: other logits");
        }
        if let [(id, [_], Want::Nothing)] = parts {
            cpu.truncate(ids[*id].0, 2);
            device.truncate(ids[*id].1, 2);
        }
    };
    both(&[(0, &[7, 3, 9, 40, 11], Want::All)]);
    both(&[(0, &[2], Want::Last), (1, &[30, 31], Want::Last)]);
    both(&[(1, &[5], Want::Last), (0, &[6], Want::Last)]);
    both(&[(0, &[8], Want::Nothing)]);
    both(&[(0, &[44, 45], Want::All)]);
    let past = device.forward(&[Step { sequence: ids[0].1, tokens: &[1; 40], want: Want::Last }]);
    assert!(past.is_err(), "{what}: a context that is too long");
    assert!(device.forward(&[Step { sequence: ids[0].1, tokens: &[1], want: Want::Last }]).is_ok(), "{what}");
}

#[test]
fn the_reference_conforms() {
    conforms("reference", ReferenceRunner::new(MACHINE.shape(), MEMORY).unwrap());
}

#[test]
fn the_rtl_in_this_process_conforms() {
    conforms("sim", Driver::new(in_process(), expected(&MACHINE), "sim".into(), PATIENCE).unwrap());
}

#[test]
fn a_board_behind_xdma_conforms() {
    let board = Served::healthy(KINDS[0]);
    conforms("xdma", board.driver(PATIENCE).unwrap());
}

#[test]
fn a_board_behind_uio_conforms() {
    let board = Served::healthy(KINDS[1]);
    conforms("axi", board.driver(PATIENCE).unwrap());
}

/// What the trait promises, below any driver.
fn transport(what: &str, mut device: impl Transport) {
    assert_eq!(device.read32(offset("ID")).unwrap(), MAGIC, "{what}");
    for value in [0, u32::MAX, 0xa5a5_a5a5, 1 << 31] {
        device.write32(offset("SCRATCH"), value).unwrap();
        assert_eq!(device.read32(offset("SCRATCH")).unwrap(), value, "{what}");
    }
    let illegal = |device: &mut dyn Transport| device.read32(offset("STATUS")).unwrap() >> 5 & 1;
    assert_eq!(illegal(&mut device), 0, "{what}: nothing but registers so far");
    assert_eq!(device.read32(WINDOW - 4).unwrap(), 0, "{what}: a hole reads zero");
    assert_eq!(illegal(&mut device), 1, "{what}: and is not forgotten");
    for bad in [2, WINDOW, u32::MAX] {
        assert!(matches!(device.read32(bad), Err(TransportError::Offset { .. })), "{what}: {bad:#x}");
        assert!(matches!(device.write32(bad, 0), Err(TransportError::Offset { .. })), "{what}: {bad:#x}");
    }
    let size = device.memory_bytes();
    assert!(device.memory_base().is_multiple_of(4096) && size == MEMORY, "{what}");
    let mut two = [0; 2];
    assert!(matches!(device.read(size - 1, &mut two), Err(TransportError::Range { .. })), "{what}");
    assert!(matches!(device.write(u64::MAX, &two), Err(TransportError::Range { .. })), "{what}");
    // nothing happens: the wait ends in time
    let begin = Instant::now();
    assert_eq!(device.wait(Duration::from_millis(20)).unwrap(), Event::Timeout, "{what}");
    assert!(begin.elapsed() >= Duration::from_millis(20), "{what}");
    // a pass without a program: the watchdog ends it, which is an interrupt
    for (register, value) in [("WATCHDOG", 500), ("IRQ_ENABLE", 3), ("PASS", 77), ("CONTROL", 1)] {
        device.write32(offset(register), value).unwrap();
    }
    let mut looks = 0;
    while device.wait(Duration::from_secs(20)).unwrap() != Event::Interrupt {
        looks += 1;
        assert!(looks < 6, "{what}: no interrupt");
    }
    let status = device.read32(offset("STATUS")).unwrap();
    assert_eq!(status & 5, 4, "{what}: STATUS {status:#x} has fault and not busy");
    assert_eq!(device.read32(offset("DONE_PASS")).unwrap(), 77, "{what}");
    assert_ne!(device.read32(offset("IRQ_STATUS")).unwrap(), 0, "{what}");
    device.write32(offset("IRQ_STATUS"), u32::MAX).unwrap();
    assert_eq!(device.read32(offset("IRQ_STATUS")).unwrap(), 0, "{what}");
    assert_eq!(device.wait(Duration::ZERO).unwrap(), Event::Timeout, "{what}: the interrupt fell");
    device.write32(offset("CONTROL"), 2).unwrap();
    let begin = Instant::now();
    while device.read32(offset("STATUS")).unwrap() & 8 != 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: the reset does not end");
    }
    assert_eq!(illegal(&mut device), 0, "{what}: a reset forgets");
}

#[test]
fn transports_keep_their_promises() {
    transport("sim", in_process());
    for kind in KINDS {
        let board = Served::healthy(kind);
        transport(&format!("{:?}", kind.0), board.open().unwrap().transport);
    }
}

/// How fast a model goes to a card, beside a plain copy of as many bytes between the same files:
/// `cargo test --release -p tests --test board upload -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn upload_beside_a_plain_copy() {
    use std::os::unix::fs::FileExt;
    const BYTES: usize = 256 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (memory, mishaps) = (BYTES as u64 + (4 << 20), sim::board::Mishaps::default());
    let mut board = sim::board::Board::new(KINDS[0].0, &MACHINE, dir.path(), memory, Timing::ideal(), mishaps).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || board.serve(&flag));
    let mut card = tests::boards::address(KINDS[0].1, dir.path()).open().unwrap().transport;
    let source: Vec<u8> = (0..BYTES as u32).map(|i| (i >> 3) as u8).collect();
    let plain = std::fs::File::create(dir.path().join("plain")).unwrap();
    let rate = |time: Duration| BYTES as f64 / time.as_secs_f64() / 1e9;
    let (mut best_card, mut best_plain) = (0f64, 0f64);
    for _ in 0..6 {
        let begin = Instant::now();
        card.write(0, &source).unwrap();
        best_card = best_card.max(rate(begin.elapsed()));
        let begin = Instant::now();
        plain.write_all_at(&source, 0).unwrap();
        best_plain = best_plain.max(rate(begin.elapsed()));
    }
    println!("to the card {best_card:.2} GB/s, plain copy {best_plain:.2} GB/s (best of 6, {BYTES} bytes)");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(card);
    let _ = thread.join();
}
