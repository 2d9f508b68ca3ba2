//! The fault matrix where the RTL takes part (levels K and C): a simulated board behind real nodes, and the driver
//! that would drive a real one. Numbers are rows of docs/architecture/faults.md.

use host::compile::DeviceImage;
use host::cpu::CpuEngine;
use host::device::driver::Patience;
use host::device::error::Trouble;
use host::engine::EngineError;
use sim::axi::Timing;
use sim::board::{Kind, Mishaps};
use spec::program::LINE;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tests::boards::{BoardEngine, KINDS, MACHINE, MEMORY, PATIENCE, Served, address, image, tokens, trouble, weights};

const PROMPT: [u32; 5] = [7, 3, 9, 40, 11];
const COUNT: usize = 4;

static IMAGE: LazyLock<DeviceImage> = LazyLock::new(|| image(&weights(1)));
static GOLDEN: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut cpu = CpuEngine::new(&weights(1), 1).unwrap();
    tokens(&mut cpu, &PROMPT, COUNT).0
});

/// Byte of a section's first line, where the machine's window and so the bus have it.
fn section(name: &str) -> u64 {
    IMAGE.sections.iter().find(|s| s.name.starts_with(name)).unwrap().line * LINE
}

/// In the board's memory the machine's window begins behind the header.
fn on_board(window: u64) -> u64 {
    window + host::device::residency::HEADER
}

/// Runs the prompt; checks tokens and trouble.
#[track_caller]
fn run(device: &mut BoardEngine, wanted: Option<Trouble>, what: &str) -> String {
    let begin = Instant::now();
    let (found, error) = tokens(device, &PROMPT, COUNT);
    assert!(begin.elapsed() < Duration::from_secs(120), "{what}: ended after {:?}", begin.elapsed());
    assert!(GOLDEN.starts_with(&found), "{what}: wrong tokens");
    match (wanted, &error) {
        (None, None) => assert_eq!(found, *GOLDEN, "{what}"),
        (Some(wanted), Some(error)) => assert_eq!(trouble(error), Some(wanted), "{what}: {error}"),
        (wanted, error) => panic!("{what}: expected {wanted:?}, found {error:?}"),
    }
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    println!("{what}: {text}");
    text
}

/// A good run on the board as it is now.
#[track_caller]
fn good(board: &Served, what: &str) {
    let mut device = board.engine(&IMAGE).unwrap_or_else(|e| panic!("{what}: {e}"));
    run(&mut device, None, what);
}

#[test]
fn row_01_02_03_errors_of_memory_name_the_place() {
    for kind in KINDS {
        let board = Served::healthy(kind);
        let mut device = board.engine(&IMAGE).unwrap();
        // reads of weights: tried once more, then given up
        board.with(|m| m.memory.error_at = Some(on_board(section("weights") + 4200)));
        let text = run(&mut device, Some(Trouble::Io), "row 1: a refused read");
        assert!(text.contains("read with an error") && text.contains("descriptor"), "{text}");
        assert_eq!(device.runner().stats().retries, 1);
        // writes of logits
        board.with(|m| m.memory.error_at = Some(on_board(IMAGE.logits_line * LINE)));
        drop(device);
        let mut device = board.engine(&IMAGE).unwrap();
        let text = run(&mut device, Some(Trouble::Io), "row 3: a refused write");
        assert!(text.contains("write with an error"), "{text}");
        assert_eq!(device.runner().stats().retries, 0, "results that are lost are not computed again");
        board.with(|m| m.memory.error_at = None);
        drop(device);
        good(&board, "row 1 and 3: after it");
        // an address outside of the window
        let mut device = board.engine(&IMAGE).unwrap();
        let far = spec::device::Pass {
            program_line: (MEMORY / LINE) as u32,
            program_words: 4,
            slots: vec![spec::device::Slot { valid: true, run: 1, ..Default::default() }],
            want_logits: 0,
            want_best: 0,
        };
        let error = device.run(&far).unwrap_err();
        assert!(error.to_string().contains("outside device memory"), "{error}");
        assert_eq!((trouble(&error), device.runner().stats().retries), (Some(Trouble::Io), 0), "row 2: no retry");
        run(&mut device, None, "row 2: after it");
    }
}

#[test]
fn row_05_slow_memory_only_costs_time() {
    for kind in KINDS {
        let board = Served::new(kind.0, kind.1, Timing::harsh(), Mishaps::default());
        good(&board, "row 5: harsh memory");
    }
}

#[test]
fn row_06_memory_that_never_answers_ends_in_the_watchdog() {
    let board = Served::healthy(KINDS[0]);
    let mut device = board.engine(&IMAGE).unwrap();
    let (found, _) = tokens(&mut device, &PROMPT, 1);
    assert_eq!(found, GOLDEN[..1]);
    // some burst of the next pass; the soft reset gives up on it too
    device.runner_mut().transport_mut().write32(spec::regs::offset("WATCHDOG"), 20_000).unwrap();
    board.with(|m| m.mute = true);
    let text = run(&mut device, Some(Trouble::Io), "row 6: silence");
    assert!(text.contains("memory never answered") || text.contains("nothing moved"), "{text}");
    board.with(|m| {
        m.mute = false;
        m.reset_memory = true;
    });
    drop(device);
    good(&board, "row 6: after the bus was reset");
}

#[test]
fn row_07_registers_that_read_as_ones() {
    for kind in KINDS {
        let board = Served::healthy(kind);
        let mut device = board.engine(&IMAGE).unwrap();
        board.with(|m| m.vanish_after = Some(0));
        run(&mut device, Some(Trouble::Lost), "row 7: all ones");
        let error = board.driver(PATIENCE).map(|_| ()).unwrap_err();
        drop(device);
        // the first still had it
        assert!(error.to_string().contains("in use"), "{error}");
        let error = EngineError::from(board.driver(PATIENCE).map(|_| ()).unwrap_err());
        assert_eq!(trouble(&error), Some(Trouble::Lost), "{error}");
        board.with(|m| m.vanish_after = None);
        good(&board, "row 7: after it");
    }
}

#[test]
fn row_08_lost_interrupts_are_noticed_and_cost_only_time() {
    for kind in KINDS {
        let board = Served::new(kind.0, kind.1, Timing::ideal(), Mishaps { lose_interrupts: 3, ..Mishaps::default() });
        let mut device = board.engine(&IMAGE).unwrap();
        run(&mut device, None, "row 8: lost interrupts");
        assert!(device.runner().stats().lost_interrupts > 0);
        drop(device);
        // without polling the same hangs until the deadline
        board.with(|m| m.lose_interrupts = 9);
        let deaf = Patience { pass: Duration::from_secs(2), poll: None, ..PATIENCE };
        let mut device = host::device::DeviceEngine::new(IMAGE.clone(), board.driver(deaf).unwrap()).unwrap();
        let (_, error) = tokens(&mut device, &PROMPT, COUNT);
        assert!(error.is_some(), "row 8: the polling is what makes the difference");
        board.with(|m| m.lose_interrupts = 0);
        drop(device);
        good(&board, "row 8: after it");
    }
}

#[test]
fn row_09_and_10_too_many_interrupts_are_harmless() {
    for kind in KINDS {
        let board = Served::new(kind.0, kind.1, Timing::ideal(), Mishaps { storm: 40, ..Mishaps::default() });
        good(&board, "row 9: many interrupts for one, and some at the opening");
    }
}

#[test]
fn row_14_turned_bits_are_mended_once() {
    for kind in KINDS {
        let board = Served::healthy(kind);
        let mut device = board.engine(&IMAGE).unwrap();
        // in transit, once: a bit of a beat of the second pass
        board.with(|m| m.memory.flip = Some((0, 9000, 5)));
        run(&mut device, None, "row 14: a bit in transit");
        assert_eq!(device.runner().stats().retries, 1, "the bit was turned in a pass");
        // at rest, one and a burst
        for bytes in [vec![0x10u8], vec![0xff; 9]] {
            let at = section("weights") + 500;
            let good_bytes = host::device::PassRunner::read(device.runner_mut(), at, bytes.len()).unwrap();
            let bad: Vec<u8> = good_bytes.iter().zip(&bytes).map(|(a, b)| a ^ b).collect();
            host::device::PassRunner::upload(device.runner_mut(), at, &bad).unwrap();
            let before = device.runner().stats().retries;
            run(&mut device, None, "row 14: bits at rest");
            assert_eq!(device.runner().stats().retries, before + 1);
        }
    }
}

#[test]
fn row_15_and_16_packets_in_wrong_places_and_codes_that_mean_nothing() {
    let board = Served::healthy(KINDS[0]);
    let mut device = board.engine(&IMAGE).unwrap();
    // a packet cut off: the rest is of another
    let at = section("weights");
    let half = vec![0u8; 2048];
    host::device::PassRunner::upload(device.runner_mut(), at + 2048, &half).unwrap();
    run(&mut device, None, "row 15: a truncated packet");
    assert_eq!(device.runner().stats().retries, 1);
    // a whole packet of illegal codes with a right checksum
    let beat = MACHINE.shape().port_bits / 8;
    let mut packet = Vec::new();
    spec::program::write_packets(&vec![0xff; 4096 - beat], beat, 0, &mut packet);
    host::device::PassRunner::upload(device.runner_mut(), at, &packet).unwrap();
    run(&mut device, None, "row 16: illegal codes");
    assert_eq!(device.runner().stats().retries, 2);
}

#[test]
fn row_17_without_the_cache_sync_results_are_wrong() {
    let board = Served::healthy(KINDS[1]);
    good(&board, "row 17: with the sync");
    // the same program with syncs that do nothing must fail: otherwise the stand-in would not show a missing one
    let board = Served::new(Kind::Axi, KINDS[1].1, Timing::ideal(), Mishaps { no_sync: true, ..Mishaps::default() });
    let failed = match board.engine(&IMAGE) {
        Err(_) => true,
        Ok(mut device) => {
            let (found, error) = tokens(&mut device, &PROMPT, COUNT);
            error.is_some() || found != *GOLDEN
        }
    };
    assert!(failed, "row 17: nothing was synced and nothing went wrong");
}

#[test]
fn row_20_and_22_a_bitstream_loaded_in_the_middle() {
    for kind in KINDS {
        let board = Served::healthy(kind);
        good(&board, "row 22: before");
        let mut device = board.engine(&IMAGE).unwrap();
        assert_eq!(device.runner().stats().uploaded, 0, "row 20: the model is there");
        // doorbells so far: three of the first run's prompt and its tokens
        board.with(|m| m.reload_now = true);
        let text = run(&mut device, Some(Trouble::Lost), "row 22: loaded anew");
        assert!(text.contains("anew"), "{text}");
        drop(device);
        let mut device = board.engine(&IMAGE).unwrap();
        assert!(device.runner().stats().uploaded > 0, "row 20: memory is not believed after it");
        run(&mut device, None, "row 22: after it");
    }
}

#[test]
fn row_25_the_second_program_is_told_who_has_it() {
    for kind in KINDS {
        let board = Served::healthy(kind);
        let first = board.open().unwrap();
        let error = board.open().map(|_| ()).unwrap_err();
        assert_eq!(error.trouble, Trouble::Busy);
        assert!(error.text.contains(&format!("process {} ", std::process::id())), "{error}");
        drop(first);
        board.open().unwrap();
    }
}

/// A board or a driver in a process of its own: this test program again.
fn process(role: &str, kind: usize, dir: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--ignored", "--nocapture"])
        .env("TERCET_TEST_ROLE", format!("{role} {kind}"))
        .env("TERCET_TEST_DIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for a line of a process.
fn line(child: &mut Child, wanted: &str) {
    use std::io::{BufRead, BufReader};
    let out = BufReader::new(child.stdout.take().unwrap());
    assert!(out.lines().map_while(Result::ok).any(|line| line.contains(wanted)), "no {wanted:?}");
}

#[test]
#[ignore = "not a test: what other tests start as a process of its own"]
fn other_process() {
    let Ok(role) = std::env::var("TERCET_TEST_ROLE") else { return };
    let dir = std::path::PathBuf::from(std::env::var("TERCET_TEST_DIR").unwrap());
    let (role, kind) = role.split_once(' ').unwrap();
    let (kind, connection) = KINDS[kind.parse::<usize>().unwrap()];
    if role == "board" {
        let mut board =
            sim::board::Board::new(kind, &MACHINE, &dir, MEMORY, Timing::ideal(), Mishaps::default()).unwrap();
        println!("the board is up");
        board.serve(&AtomicBool::new(false)).unwrap();
    } else {
        let driver = host::device::driver::Driver::new(
            address(connection, &dir).open().unwrap().transport,
            host::device::board::expected(&MACHINE),
            "driver".into(),
            PATIENCE,
        );
        let mut device = host::device::DeviceEngine::new(IMAGE.clone(), driver.unwrap()).unwrap();
        println!("the model is there");
        loop {
            // other tokens than the test's: what they leave in memory must not help
            tokens(&mut device, &[1, 2, 30, 31, 32], 30);
        }
    }
}

#[test]
fn row_22_and_23_a_board_that_is_killed_is_a_lost_device() {
    for (kind, (_, connection)) in KINDS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let mut board = process("board", kind, dir.path());
            line(&mut board, "the board is up");
            board
        };
        let mut board = start();
        let open = || {
            let opened = address(connection, dir.path()).open()?;
            let driver = host::device::driver::Driver::new(
                opened.transport,
                host::device::board::expected(&MACHINE),
                "board".into(),
                PATIENCE,
            );
            host::device::DeviceEngine::new(IMAGE.clone(), driver?)
        };
        let mut device: BoardEngine = open().unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            board.kill().unwrap();
            board.wait().unwrap();
        });
        // runs until the board dies
        let error = loop {
            let (found, error) = tokens(&mut device, &PROMPT, COUNT);
            assert!(GOLDEN.starts_with(&found));
            if let Some(error) = error {
                break error;
            }
        };
        assert_eq!(trouble(&error), Some(Trouble::Lost), "{error}");
        println!("{error}");
        killer.join().unwrap();
        drop(device);
        let error = open().map(|_| ()).unwrap_err();
        assert_eq!(trouble(&error), Some(Trouble::Lost), "{error}");
        // and the next board is as good as the first
        let mut board = start();
        run(&mut open().unwrap(), None, "row 22: another board");
        board.kill().unwrap();
        board.wait().unwrap();
    }
}

#[test]
fn row_24_a_driver_that_is_killed_leaves_a_board_that_works() {
    for (kind, _) in KINDS.into_iter().enumerate() {
        let board = Served::healthy(KINDS[kind]);
        let mut at_work = 0;
        for round in 0..3 {
            let mut driver = process("driver", kind, board.dir.path());
            line(&mut driver, "the model is there");
            std::thread::sleep(Duration::from_millis(20 + 37 * round));
            // time stands still, so that the machine is still at work when the next driver comes
            board.with(|m| m.frozen = true);
            std::thread::sleep(Duration::from_millis(120));
            driver.kill().unwrap();
            driver.wait().unwrap();
            let mut opened = board.open().unwrap();
            let status = opened.transport.read32(spec::regs::offset("STATUS")).unwrap();
            at_work += status & 1;
            drop(opened);
            // the lock went with its holder, whatever the machine was at is reset, and the model is still there
            let mut device = board.engine(&IMAGE).unwrap();
            board.with(|m| m.frozen = false);
            if round > 0 {
                assert_eq!(device.runner().stats().uploaded, 0);
            }
            run(&mut device, None, "row 24: after kill -9");
        }
        assert!(at_work > 0, "no driver was killed in a pass");
    }
}
