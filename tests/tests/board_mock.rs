//! The fault matrix where a card fails below the system calls (level M): every row ends in time, no wrong logits are
//! taken for good, nothing panics, and the next run on a healthy card is exact. Numbers are rows of
//! docs/architecture/faults.md.

use host::compile::DeviceImage;
use host::cpu::CpuEngine;
use host::device::board::expected;
use host::device::doctor::{self, Verdict};
use host::device::driver::{Driver, Expected, Patience};
use host::device::error::Trouble;
use host::device::open::Opened;
use host::device::xdma::{CHUNK, Xdma};
use host::device::{DeviceEngine, PassRunner, RunError};
use host::engine::{Engine, EngineError, Step, Want};
use sim::rng::Rng;
use spec::program::LINE;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::boards::{MACHINE, image, tokens, trouble, weights, weights_of};
use tests::mock::{Card, Mock};

const MEMORY: u64 = 4 << 20;
const PROMPT: [u32; 3] = [7, 3, 9];
const COUNT: usize = 4;
/// Deadlines that a test can wait for.
const SHORT: Patience = Patience {
    pass: Duration::from_millis(300),
    reset: Duration::from_millis(300),
    poll: Some(Duration::from_millis(10)),
};

static IMAGE: LazyLock<DeviceImage> = LazyLock::new(|| image(&weights(1)));
static GOLDEN: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut cpu = CpuEngine::new(&weights(1), 1).unwrap();
    tokens(&mut cpu, &PROMPT, COUNT).0
});

type Engined = DeviceEngine<Driver<Xdma>>;

fn driver(mock: &Mock, patience: Patience) -> Result<Driver<Xdma>, RunError> {
    Driver::new(mock.transport()?, expected(&MACHINE), "mock card".into(), patience)
}

fn engine(mock: &Mock, patience: Patience) -> Result<Engined, EngineError> {
    DeviceEngine::new(IMAGE.clone(), driver(mock, patience)?)
}

fn card() -> Mock {
    Mock::new(MEMORY)
}

/// The universal oracles: tokens are the first of the golden ones, the trouble is the expected one, and a healthy
/// card gives all golden tokens afterwards.
#[track_caller]
fn row(
    mock: &Mock,
    patience: Patience,
    wanted: Option<Trouble>,
    what: &str,
    break_it: impl FnOnce(&mut Card),
) -> Engined {
    let mut device = engine(mock, patience).unwrap();
    break_it(&mut mock.card());
    let begin = Instant::now();
    let (found, error) = tokens(&mut device, &PROMPT, COUNT);
    assert!(begin.elapsed() < Duration::from_secs(20), "{what}: ended after {:?}", begin.elapsed());
    assert!(GOLDEN.starts_with(&found), "{what}: wrong tokens");
    match (wanted, &error) {
        (None, None) => assert_eq!(found.len(), COUNT, "{what}"),
        (Some(wanted), Some(error)) => assert_eq!(trouble(error), Some(wanted), "{what}: {error}"),
        (wanted, error) => panic!("{what}: expected {wanted:?}, found {error:?}"),
    }
    if let Some(error) = error {
        println!("{what}: {error}");
    }
    mock.card().plan = Default::default();
    again(mock, what);
    device
}

/// A healthy card after whatever was before.
#[track_caller]
fn again(mock: &Mock, what: &str) {
    let mut device = engine(mock, SHORT).unwrap_or_else(|e| panic!("{what}: after it: {e}"));
    let (found, error) = tokens(&mut device, &PROMPT, COUNT);
    assert!(error.is_none() && found == *GOLDEN, "{what}: the run after it: {error:?}");
}

#[test]
fn row_07_and_23_registers_of_ones_are_a_lost_device() {
    let mock = card();
    row(&mock, SHORT, Some(Trouble::Lost), "all ones in the middle", |card| card.plan.vanished = true);
    mock.card().plan.vanished = true;
    let error = engine(&mock, SHORT).err().unwrap();
    assert_eq!(trouble(&error), Some(Trouble::Lost), "{error}");
}

#[test]
fn row_08_a_lost_interrupt_costs_only_time() {
    let device = row(&card(), SHORT, None, "no interrupts", |card| card.plan.silent = true);
    // the prompt is one pass on both banks of slots
    assert_eq!(device.runner().stats().lost_interrupts, 1 + COUNT as u64 - 1, "every pass ended without one");
    // without the polling the same is a failure, so this test sees it
    let deaf = Patience { poll: None, ..SHORT };
    row(&card(), deaf, Some(Trouble::Io), "no interrupts and no polling", |card| card.plan.silent = true);
}

#[test]
fn row_09_old_interrupts_say_nothing() {
    let mock = card();
    mock.card().plan.storm = true;
    let device = driver(&mock, SHORT);
    mock.card().plan.storm = false;
    device.unwrap();
    again(&mock, "events at the opening");
}

#[test]
fn row_10_a_stuck_interrupt_is_left_alone() {
    let storm = |card: &mut Card| (card.plan.storm, card.plan.endless) = (true, true);
    row(&card(), SHORT, Some(Trouble::Io), "storm and no end", storm);
    row(&card(), SHORT, None, "storm", |card| card.plan.storm = true);
}

#[test]
fn row_11_short_transfers_are_completed_and_nothing_is_an_error() {
    for most in [1, 7, 4095] {
        let mock = card();
        let mut driver = driver(&mock, SHORT).unwrap();
        mock.card().plan.most = Some(most);
        let bytes: Vec<u8> = (0..9000u32).map(|i| (i * 31) as u8).collect();
        driver.upload(100, &bytes).unwrap();
        assert_eq!(driver.read(100, 9000).unwrap(), bytes, "{most} bytes a call");
        mock.card().plan.most = Some(0);
        assert!(driver.upload(0, &bytes).is_err() && driver.read(0, 1).is_err());
        mock.card().plan = Default::default();
        mock.card().plan.boast = true;
        assert!(driver.upload(0, &bytes).is_err() && driver.read(0, 9).is_err(), "more than was asked is a lie");
    }
    row(&card(), SHORT, None, "short transfers", |card| card.plan.most = Some(13));
}

#[test]
fn large_writes_go_without_a_copy_where_the_card_takes_them() {
    for picky in [false, true] {
        let mock = card();
        let mut driver = driver(&mock, SHORT).unwrap();
        mock.card().plan.picky = picky;
        let bytes: Vec<u8> = (0..3_000_001u32).map(|i| ((i * 31) >> 5) as u8).collect();
        driver.upload(64, &bytes[1..]).unwrap();
        assert_eq!(driver.read(64, 3_000_000).unwrap(), bytes[1..], "picky: {picky}");
        assert!(mock.card().largest <= CHUNK && mock.card().unaligned == 1, "picky: {picky}");
    }
}

#[test]
fn row_12_every_error_number_has_an_answer() {
    for (errno, wanted) in [
        (512, Trouble::Io),
        (110, Trouble::Io),
        (5, Trouble::Io),
        (4, Trouble::Io),
        (11, Trouble::Io),
        (14, Trouble::Internal),
        (19, Trouble::Lost),
        (16, Trouble::Busy),
    ] {
        // a result that is read, and a model that is written
        row(&card(), SHORT, Some(wanted), &format!("error {errno}"), |card| {
            card.plan.fail = Some((card.transfers + 1, u64::MAX, errno));
        });
        let mock = card();
        mock.card().plan.fail = Some((3, u64::MAX, errno));
        let error = engine(&mock, SHORT).err().unwrap();
        assert_eq!(trouble(&error), Some(wanted), "{error}");
        mock.card().plan = Default::default();
        again(&mock, "after a failed upload");
        row(&card(), SHORT, Some(wanted), "events", |card| card.plan.events = Some(errno));
    }
    // now and then is no trouble
    for errno in [4, 11] {
        row(&card(), SHORT, None, "one transfer again", |card| card.plan.fail = Some((card.transfers + 1, 2, errno)));
    }
}

#[test]
fn row_12_nothing_follows_a_transfer_that_timed_out() {
    for errno in [512, 110] {
        let mock = card();
        let mut driver = driver(&mock, SHORT).unwrap();
        let first = mock.card().transfers;
        mock.card().plan.fail = Some((first, 1, errno));
        assert!(driver.read(0, 64).is_err());
        assert_eq!(mock.card().transfers, first + 1);
        let error = driver.read(0, 64).unwrap_err().to_string();
        assert!(error.contains("timed out before"), "{error}");
        assert_eq!(mock.card().transfers, first + 1, "no call was made after the timeout");
    }
}

#[test]
fn row_13_no_signal_reaches_a_transfer() {
    let mock = card();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // a signal that is ignored unless somebody handles it, but ends system calls that wait
                let _ = rustix_kill();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        row(&mock, SHORT, None, "signals", |_| ());
        stop.store(true, Ordering::Relaxed);
    });
    let card = mock.card();
    assert!(card.transfers > 20);
    assert_eq!(card.open_signals, 0, "every transfer ran with its thread's signals blocked");
    assert_eq!(card.unaligned, 0, "every buffer lay at a page");
    assert!(card.largest <= CHUNK);
}

/// Sends this process SIGWINCH.
fn rustix_kill() -> std::io::Result<std::process::ExitStatus> {
    std::process::Command::new("kill").args(["-WINCH", &std::process::id().to_string()]).status()
}

#[test]
fn row_14_a_turned_bit_is_written_again() {
    let weights_at = IMAGE.sections.iter().find(|s| s.name.starts_with("weights")).unwrap().line * LINE;
    let device = row(&card(), SHORT, None, "one bit", |card| card.flip(weights_at + 77));
    assert_eq!(device.runner().stats().retries, 1);
}

#[test]
fn row_18_other_bitstreams_are_refused_before_anything_is_written() {
    let refused = |what: &str, wanted: Trouble, change: &dyn Fn(&mut Card)| {
        let mock = card();
        change(&mut mock.card());
        let Err(error) = driver(&mock, SHORT).map_err(EngineError::from) else { panic!("{what}: accepted") };
        assert_eq!(trouble(&error), Some(wanted), "{what}: {error}");
        let card = mock.card();
        assert_eq!((card.transfers, card.resets, card.starts), (0, 0, 0), "{what}: something was touched");
        error.to_string()
    };
    refused("no bitstream", Trouble::Mismatch, &|card| card.set("ID", 0));
    refused("another bitstream", Trouble::Mismatch, &|card| card.set("ID", 0x1234_5678));
    refused("nobody there", Trouble::Lost, &|card| card.set("ID", u32::MAX));
    refused("another major version", Trouble::Mismatch, &|card| card.set("ABI", spec::regs::ABI + 0x1_0000));
    refused("an older map", Trouble::Mismatch, &|card| card.set("ABI", spec::regs::ABI - 1));
    let text = refused("another preset", Trouble::Mismatch, &|card| card.set("CONFIG_HASH_LO", 5));
    let hash = format!("{:016x}", MACHINE.identity().config_hash);
    assert!(text.contains(&hash) && text.contains("00000005") && text.contains("--preset sim-tiny"), "{text}");
    let text = refused("other sizes", Trouble::Mismatch, &|card| card.set("CAP_SLOTS", 7));
    assert!(text.contains("7 slots") && text.contains("4 slots"), "{text}");
    // a newer map of the same major version is fine
    let mock = card();
    mock.card().set("ABI", spec::regs::ABI + 3);
    driver(&mock, SHORT).unwrap();
}

#[test]
fn row_20_weights_of_another_run_are_not_believed() {
    let mock = card();
    again(&mock, "first");
    let uploaded = |mock: &Mock| {
        let device = engine(mock, SHORT).unwrap();
        (device.runner().stats().uploaded, tokens(&mut { device }, &PROMPT, COUNT).0)
    };
    assert_eq!(uploaded(&mock), (0, GOLDEN.clone()), "the same model is not written twice");
    mock.card().reload();
    assert!(uploaded(&mock).0 > 0, "after a bitstream is loaded the memory is not believed");
    let embedding = IMAGE.sections.iter().find(|s| s.name == "embedding").unwrap();
    mock.card().flip(embedding.line * LINE + 9);
    let (bytes, found) = uploaded(&mock);
    assert!(bytes > 0 && found == *GOLDEN, "what no checksum covers is read back");
    // another model in between
    let other = image(&weights(2));
    DeviceEngine::new(other.clone(), driver(&mock, SHORT).unwrap()).unwrap();
    let (bytes, found) = uploaded(&mock);
    assert!(bytes > 0 && found == *GOLDEN);
    // a driver that believes the header without its hash computes with the other model's weights
    DeviceEngine::new(other, driver(&mock, SHORT).unwrap()).unwrap();
    let mut gullible = driver(&mock, SHORT).unwrap();
    gullible.loading_mut().gullible = true;
    let mut device = DeviceEngine::new(IMAGE.clone(), gullible).unwrap();
    let (found, error) = tokens(&mut device, &PROMPT, COUNT);
    assert!(error.is_some() || found != *GOLDEN, "the check is what makes the difference");
}

#[test]
fn row_21_models_that_do_not_fit_are_refused_with_numbers() {
    let small = Mock::new(16 << 10);
    let error = engine(&small, SHORT).err().unwrap();
    assert!(matches!(error, EngineError::Memory { .. }) && error.to_string().contains("bytes"), "{error}");
    assert_eq!(small.card().transfers, 0);
    let wide = Expected { shape: spec::program::DeviceShape { ports: 2, ..MACHINE.shape() }, ..expected(&MACHINE) };
    assert!(Driver::new(card().transport().unwrap(), wide, "card".into(), SHORT).is_err());
}

#[test]
fn row_22_a_bitstream_loaded_in_the_middle_is_noticed() {
    row(&card(), SHORT, Some(Trouble::Lost), "loaded anew", |card| card.plan.reload = true);
}

#[test]
fn row_26_passes_of_a_stranger_are_not_taken_for_ours() {
    row(&card(), SHORT, Some(Trouble::Io), "a stranger at the registers", |card| card.plan.foreign = true);
}

#[test]
fn row_06_and_35_a_pass_that_never_ends_has_a_deadline() {
    let mock = card();
    let begin = Instant::now();
    row(&mock, SHORT, Some(Trouble::Io), "endless", |card| card.plan.endless = true);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(mock.card().resets >= 3, "the machine was reset after it");
}

#[test]
fn row_24_a_driver_that_went_away_leaves_nothing_behind() {
    let mock = card();
    let mut device = engine(&mock, Patience { pass: Duration::from_secs(60), ..SHORT }).unwrap();
    mock.card().plan.endless = true;
    let (found, error) = tokens(&mut device, &PROMPT[..1], 0);
    assert!(found.is_empty() && error.is_none());
    // kill -9: nothing is cleaned up, the machine is left at work
    std::mem::forget(device);
    mock.card().set("STATUS", 1);
    mock.card().plan = Default::default();
    again(&mock, "after kill -9");
    // without the reset at the opening the machine would still be busy, and starts would be ignored
    mock.card().set("STATUS", 1);
    mock.card().write_start();
    assert_eq!(mock.card().get("STATUS"), 1);
}

#[test]
fn row_37_a_hostile_device_cannot_do_harm() {
    for seed in 1..200 {
        let mock = card();
        let patience = Patience { pass: Duration::from_millis(5), reset: Duration::from_millis(5), poll: SHORT.poll };
        mock.card().plan.hostile = (seed % 2 == 0).then(|| Rng::new(seed));
        let Ok(mut device) = engine(&mock, patience) else { continue };
        mock.card().plan.hostile = Some(Rng::new(seed));
        let sequence = device.new_sequence().unwrap();
        for token in 0..3 {
            // whatever comes back, it comes back, and has the size that it must have
            if let Ok(found) = device.forward(&[Step { sequence, tokens: &[token], want: Want::Last }]) {
                assert_eq!(found[0].len(), 50, "seed {seed}");
            }
        }
        let _ = device.runner_mut().all_counters();
    }
}

#[test]
fn row_38_pass_numbers_wrap() {
    let mock = card();
    let mut device = engine(&mock, SHORT).unwrap();
    device.runner_mut().number_from(u32::MAX - 1);
    assert_eq!(tokens(&mut device, &PROMPT, COUNT).0, *GOLDEN);
    assert!(mock.card().get("DONE_PASS") < 5);
}

#[test]
fn row_27_a_system_without_room_is_told() {
    let error = host::device::error::DeviceError::system("mapping", &std::io::Error::from_raw_os_error(12));
    assert_eq!(error.trouble, Trouble::System);
}

#[test]
fn row_19_and_35_a_wrong_clock_is_diagnosed() {
    let clock = |hz: f64| {
        let mock = card();
        mock.card().plan.clock_hz = Some(hz);
        mock.card().set("SCRATCH", 4711);
        let opened = Opened { transport: Box::new(mock.transport().unwrap()), name: "mock".into(), simulated: false };
        let findings = doctor::machine::examine(opened, None);
        assert_eq!(mock.card().get("SCRATCH"), 4711, "what was there is put back");
        findings.into_iter().find(|finding| finding.check == "clock").unwrap()
    };
    // half of what is declared: a busy machine only makes it slower
    let found = clock(50e6);
    assert_eq!(found.verdict, Verdict::Bad(Trouble::Mismatch), "{found:?}");
    assert!(found.found.contains("100 MHz declared") && found.fix.is_some(), "{found:?}");
    let found = clock(0.0);
    assert_eq!(found.verdict, Verdict::Bad(Trouble::Io), "{found:?}");
}

#[test]
fn memory_that_folds_its_addresses_is_diagnosed() {
    let mock = card();
    mock.card().plan.clock_hz = Some(100e6);
    mock.card().plan.fold = Some(1 << 20);
    let opened = Opened { transport: Box::new(mock.transport().unwrap()), name: "mock".into(), simulated: false };
    let findings = doctor::machine::examine(opened, None);
    let memory = findings.iter().find(|finding| finding.check == "memory").unwrap();
    assert_eq!(memory.verdict, Verdict::Bad(Trouble::Io), "{memory:?}");
}

/// Everything of a token that is not the device's, with a device that answers at once.
/// `cargo test --release -p tests --test board_mock overhead -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn overhead_of_the_host() {
    for vocab in [50, 32_000] {
        let mock = Mock::new(64 << 20);
        let image = image(&weights_of(1, vocab));
        let mut device = DeviceEngine::new(image, driver(&mock, SHORT).unwrap()).unwrap();
        mock.card().plan.instant = true;
        let sequence = device.new_sequence().unwrap();
        let mut best = Duration::MAX;
        for _ in 0..20 {
            device.truncate(sequence, 0);
            let begin = Instant::now();
            for token in 0..30 {
                device.forward(&[Step { sequence, tokens: &[token], want: Want::Last }]).unwrap();
            }
            best = best.min(begin.elapsed() / 30);
        }
        let us = best.as_secs_f64() * 1e6;
        println!("host: {us:.2} us a token with {vocab} logits of it (best of 20 rounds of 30 tokens)");
    }
}
