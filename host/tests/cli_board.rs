//! The program against simulated boards in processes of their own: what works, and every end with its exit code.
#![cfg(feature = "sim")]

#[path = "serve/client.rs"]
#[allow(dead_code)]
mod client;
mod support;
use rustix::process::{Pid, Signal, kill_process};
use sim::axi::Timing;
use sim::board::{Board, Kind, Mishaps};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use support::{command, host, path_text};

const KINDS: [(&str, Kind); 2] = [("xdma", Kind::Xdma), ("axi", Kind::Axi)];

/// A board's process; killed when dropped.
struct Process {
    child: Child,
    dir: tempfile::TempDir,
}

impl Process {
    fn start(kind: &str) -> Process {
        Process::start_at(kind, tempfile::tempdir().unwrap())
    }

    fn start_at(kind: &str, dir: tempfile::TempDir) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "board_process", "--ignored", "--nocapture"])
            .env("TERCET_TEST_BOARD", kind)
            .env("TERCET_TEST_DIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(out.lines().map_while(Result::ok).any(|line| line.contains("the board is up")));
        Process { child, dir }
    }

    fn path(&self) -> String {
        path_text(self.dir.path())
    }

    /// Kills the board's process and starts another at the same place, as a power cycle would.
    fn again(mut self, kind: &str, between: impl FnOnce()) -> Process {
        self.kill();
        between();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Process::start_at(kind, dir)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "not a test: the board that other tests start"]
fn board_process() {
    let Ok(kind) = std::env::var("TERCET_TEST_BOARD") else { return };
    let dir = std::env::var("TERCET_TEST_DIR").unwrap();
    let kind = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
    let machine = hw::preset::load("sim-tiny").unwrap();
    let mut board = Board::new(kind, &machine, Path::new(&dir), 64 << 20, Timing::ideal(), Mishaps::default()).unwrap();
    println!("the board is up");
    board.serve(&AtomicBool::new(false)).unwrap();
}

/// Reads the first bytes of a running program's text.
fn first_text(child: &mut Child, bytes: usize) {
    let mut text = vec![0; bytes];
    child.stdout.as_mut().unwrap().read_exact(&mut text).unwrap();
}

#[test]
fn boards_write_the_text_of_the_cpu() {
    let text = |extra: &[&str]| {
        let arguments = [&["generate", "--ids", "0,418", "-n", "2", "--json"][..], extra].concat();
        host(&arguments).ok().json()
    };
    let wanted = text(&[]);
    for (name, _) in KINDS {
        let board = Process::start(name);
        let found = text(&["--backend", name, "--device", &board.path()]);
        assert_eq!(found["ids"], wanted["ids"], "{name}");
        let stats = host(&["stats", "--backend", name, "--device", &board.path(), "-n", "1", "--json"]).ok().json();
        assert_eq!(stats["driver"]["uploaded_bytes"], 0, "{name}: the model was there: {stats}");
        let doctor = host(&["doctor", "--backend", name, "--device", &board.path(), "--json"]).ok().json();
        assert_eq!(doctor["ok"], true, "{doctor}");
        let verify = host(&["verify", "--backend", name, "--device", &board.path(), "--json"]).ok().json();
        assert_eq!(verify["ok"], true, "{verify}");
        let equal = verify["results"].as_array().unwrap().iter().filter(|r| r["result"] == "equal").count();
        assert_eq!(equal, 5, "{verify}");
    }
}

/// A bitstream's manifest is compared with what the board shows: of another preset, it says what to load.
#[test]
fn doctor_compares_the_manifest() {
    let kit = tempfile::tempdir().unwrap();
    hw::kit::write(&hw::preset::load("kv260").unwrap(), kit.path()).unwrap();
    let manifest = path_text(&kit.path().join("kit/manifest.json"));
    let board = Process::start("axi");
    let line = ["doctor", "--backend", "axi", "--device", &board.path(), "--manifest", &manifest];
    let other = host(&line);
    assert_eq!(other.code, Some(76), "{}", other.stdout);
    for part in ["on the board", "xmutil loadapp tercet-kv260"] {
        assert!(other.stdout.contains(part), "{part}: {}", other.stdout);
    }
    // of this board, but nothing was built from it: works, and is remarked upon
    let hash = hw::preset::load("sim-tiny").unwrap().hash();
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace(&hw::preset::load("kv260").unwrap().hash(), &hash)).unwrap();
    let own = host(&line).ok();
    assert!(own.stdout.contains("nothing was built from it"), "{}", own.stdout);
}

#[test]
fn the_cycles_of_the_engine_add_up() {
    let board = Process::start("axi");
    let run = host(&["stats", "--backend", "axi", "--device", &format!("{}/uio0", board.path()), "-n", "1"]).ok();
    let numbers = |what: &str| -> Vec<u64> {
        let lines = run.stdout.lines().filter(|line| line.trim_start().starts_with(what));
        lines.filter_map(|line| line[42..].split_whitespace().next()?.parse().ok()).collect()
    };
    let parts = ["multiplies", "waits for weights", "waits for its", "waits for room", "has nothing"].map(numbers);
    let cycles = numbers("CYCLES");
    assert_eq!(cycles.len(), 2, "{}", run.stdout);
    for (phase, cycles) in cycles.iter().enumerate() {
        assert_eq!(parts.iter().map(|part| part[phase]).sum::<u64>(), *cycles, "{}", run.stdout);
    }
}

#[test]
fn a_killed_board_ends_the_text_with_69() {
    for (name, _) in KINDS {
        let mut board = Process::start(name);
        let arguments = ["generate", "--ids", "0", "-n", "99", "--format", "jsonl", "--backend", name, "--device"];
        let path = board.path();
        let arguments = [&arguments[..], &[&path]].concat();
        let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        first_text(&mut child, 8);
        board.kill();
        let output = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(69), "{name}: {err}");
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], 69, "{name}: {out}");
        assert!(err.contains("does not answer") && !err.contains("panicked"), "{name}: {err}");
        host(&arguments).fails(69, "process is gone");
    }
}

#[test]
fn row_22_a_server_outlives_its_board() {
    let name = "xdma";
    let board = Process::start(name);
    let line = ["serve", "--port", "0", "--backend", name, "--device", &board.path()];
    let mut server = command(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    let ask = |path: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        client::exchange(address, &client::request(method, path, "", body.as_bytes()))
    };
    let until = |status: u16| {
        let begin = Instant::now();
        while ask("/health", "").status != status {
            assert!(begin.elapsed() < Duration::from_secs(120), "no {status} from {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(200);
    let mut stream = client::connect(address);
    let long = "{\"prompt\": [0], \"stream\": true, \"temperature\": 0}";
    stream.write_all(&client::request("POST", "/v1/completions", "", long.as_bytes())).unwrap();
    let mut seen = vec![0; 400];
    stream.read_exact(&mut seen).unwrap();
    let board = board.again(name, || {
        stream.read_to_end(&mut seen).unwrap();
        let stream = client::parse(&seen).ok();
        assert!(stream.body.contains("\"code\":\"device_lost\"") && !stream.body.contains("[DONE]"), "{stream:?}");
        until(503);
        assert_eq!(ask("/health", "").json()["status"], "faulted");
        ask("/v1/completions", long).fails(503, "device_lost");
    });
    until(200);
    let short = "{\"prompt\": [0, 418], \"max_tokens\": 2, \"temperature\": 0}";
    let text = ask("/v1/completions", short).ok().json()["choices"][0]["text"].clone();
    let wanted = host(&["generate", "--ids", "0,418", "-n", "2", "--greedy", "--json"]).ok().json();
    assert_eq!(text, wanted["text"], "{name}");
    assert!(ask("/metrics", "").body.contains("tercet_device_resets_total 1"));
    // the end leaves the board idle and free
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    host(&["doctor", "--backend", name, "--device", &board.path()]).ok();
}

#[test]
fn a_board_has_one_user_who_is_named() {
    let board = Process::start("xdma");
    let path = board.path();
    let arguments = ["generate", "--ids", "0", "-n", "99", "--format", "jsonl", "--backend", "xdma", "--device", &path];
    let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    first_text(&mut child, 8);
    host(&arguments).fails(75, &format!("process {} (host)", child.id()));
    let doctor = host(&["doctor", "--backend", "xdma", "--device", &path]);
    assert_eq!(doctor.code, Some(75), "{}", doctor.stdout);
    // Ctrl-C: the text ends, the board is idle and free
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    host(&["doctor", "--backend", "xdma", "--device", &path]).ok();
}

#[test]
fn what_is_not_there_or_not_right_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let path = path_text(empty.path());
    let run = |backend: &str, device: &str, more: &[&str]| {
        host(&[&["generate", "x", "--backend", backend, "--device", device][..], more].concat())
    };
    run("xdma", &path, &[]).fails(69, "xdma0_h2c_0");
    run("axi", &path, &[]).fails(69, "found nothing");
    run("axi", &path, &["--device-memory", "0:8192"]).fails(2, "--device-memory");
    run("xdma", &path, &["--device-memory", "1:2"]).fails(2, "ADDRESS:BYTES");
    run("axi", &path, &["--numerics", "float"]).fails(2, "--numerics device only");
    host(&["doctor", "--backend", "cpu"]).fails(2, "needs a board");
    let doctor = host(&["doctor", "--backend", "xdma", "--device", &path, "--json"]);
    assert_eq!((doctor.code, doctor.json()["ok"].as_bool()), (Some(69), Some(false)));
    let board = Process::start("axi");
    run("axi", &board.path(), &["--preset", "odd"]).fails(76, "this program needs");
    // a folder of files that are no nodes
    std::fs::write(empty.path().join("xdma0_user"), "x").unwrap();
    for end in ["h2c_0", "c2h_0", "events_0"] {
        std::fs::write(empty.path().join(format!("xdma0_{end}")), "x").unwrap();
    }
    run("xdma", &path, &[]).fails(69, "not the window of a simulated board");
}
