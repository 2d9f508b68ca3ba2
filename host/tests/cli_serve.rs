//! `host serve` as a process: its line, its flags, its signals, its memory. What it answers is tested in `serve/`.

#[path = "serve/client.rs"]
#[allow(dead_code)]
mod client;
mod support;

use client::{answer, connect, exchange, request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{command, host, path_text};

/// A server's process; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Process {
    /// Starts it at any port and waits until its model is there.
    fn start(arguments: &[&str]) -> Process {
        let line = [&["serve", "--port", "0", "-t", "1"], arguments].concat();
        let mut child = command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        let process = Process { address: address.parse().unwrap(), child, stderr };
        let begin = Instant::now();
        while process.get("/health").status != 200 {
            assert!(begin.elapsed() < Duration::from_secs(60), "the model does not load");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn get(&self, path: &str) -> client::Answer {
        exchange(self.address, &request("GET", path, "", b""))
    }

    fn post(&self, body: &Value) -> client::Answer {
        exchange(self.address, &request("POST", "/v1/completions", "", body.to_string().as_bytes()))
    }

    /// Sends a signal; returns exit code and the rest of what was logged.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let begin = Instant::now();
        let code = self.child.wait().unwrap().code();
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (code, log)
    }

    /// Kilobytes of memory, at most so far.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_says_what_generate_says_and_logs_no_texts() {
    let server = Process::start(&[]);
    let ask = json!({"prompt": "The quick xylophone", "max_tokens": 20, "seed": 4});
    let answer = server.post(&ask).ok().json();
    let arguments = ["generate", "The quick xylophone", "-n", "20", "-s", "4", "--json"];
    assert_eq!(answer["choices"][0]["text"], host(&arguments).ok().json()["text"]);
    assert_eq!(answer["model"], "tercet-stories-5m");
    server.post(&json!({"prompt": "xylophone", "n": 2})).fails(400, "unsupported_parameter");
    let (code, log) = server.end(Signal::INT);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ready") && log.contains("stopping") && !log.contains("xylophone"), "{log}");
}

#[test]
fn sigterm_ends_a_stream_with_an_error_and_the_server_with_0() {
    // the plain model is slow enough to be interrupted
    let server = Process::start(&["--backend", "reference", "--grace", "0", "-q", "--alias", "slow"]);
    let ask = json!({"prompt": "x", "stream": true, "ignore_eos": true}).to_string();
    let mut stream = connect(server.address);
    stream.write_all(&request("POST", "/v1/completions", "", ask.as_bytes())).unwrap();
    let mut seen = vec![0; 400];
    stream.read_exact(&mut seen).unwrap();
    let address = server.address;
    let (code, log) = server.end(Signal::TERM);
    assert_eq!((code, log.as_str()), (Some(0), ""));
    stream.read_to_end(&mut seen).unwrap();
    let stream = client::parse(&seen).ok();
    assert!(stream.body.contains("\"model\":\"slow\"") && stream.body.contains("shutting_down"), "{}", stream.body);
    assert!(!stream.body.contains("[DONE]"));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn row_33_a_flood_needs_bounded_memory() {
    let server = Process::start(&["--max-body", "1000000", "--client-timeout", "2"]);
    assert_eq!(server.post(&json!({"prompt": "x", "max_tokens": 1})).status, 200);
    let before = server.peak();
    // bodies of a megabyte that stay open, on more connections than there may be, and values that are many and small
    let body = format!("{{\"prompt\": [{}1", "[],".repeat(330_000));
    let begun = request("POST", "/v1/completions", "", body.as_bytes());
    let sends: Vec<_> = (0..250)
        .map(|number| {
            let mut stream = connect(server.address);
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            let part = if number % 2 == 0 { &begun[..] } else { &begun[..begun.len() - 1] };
            let _ = stream.write_all(part);
            stream
        })
        .collect();
    let mut statuses: Vec<u16> = Vec::new();
    for mut stream in sends {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        if !bytes.is_empty() {
            statuses.push(client::parse(&bytes).status);
        }
    }
    assert!(statuses.iter().all(|status| [400, 408, 503].contains(status)), "{statuses:?}");
    let grown = server.peak() - before;
    println!("{grown} kB more than before; {} of 250 got an answer", statuses.len());
    assert!(grown < 300_000, "{grown} kB more than before");
    server.post(&json!({"prompt": "x", "max_tokens": 1})).ok();
}

#[test]
fn who_may_reach_the_server_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0", "::"] {
        host(&["serve", "--host", address, "--port", "0"]).fails(2, "--insecure");
    }
    let none = support::file(&folder, "none.txt", "\n \n");
    host(&["serve", "--port", "0", "--api-key-file", &none]).fails(65, "no key");
    host(&["serve", "--port", "0", "--api-key-file", "/nonexistent"]).fails(66, "/nonexistent");
    host(&["serve", "--host", "no such name"]).fails(2, "--host");
    let keys = support::file(&folder, "keys.txt", "first\n\n second \n");
    let server = Process::start(&["--host", "0.0.0.0", "--api-key-file", &keys]);
    let ask = |key: &str| {
        let text = format!("authorization: Bearer {key}\r\n");
        exchange(SocketAddr::from(([127, 0, 0, 1], server.address.port())), &request("GET", "/v1/models", &text, b""))
    };
    assert_eq!(["first", "second", "third", ""].map(|key| ask(key).status), [200, 200, 401, 401]);
}

#[test]
fn what_cannot_be_served_ends_with_its_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    host(&["serve", "--port", &port]).fails(75, &port);
    host(&["serve", "--port", "0", "-m", "/nonexistent"]).fails(66, "/nonexistent");
    host(&["serve", "--port", "0", "-c", "100000"]).fails(2, "--ctx-size");
    let model = path_text(&support::shipped());
    host(&["serve", "--port", "0", "-m", &model]).fails(65, "plain");
    let bare = support::copy_without(&["tokenizer.json"]);
    host(&["serve", "--port", "0", "-m", &path_text(bare.path())]).fails(66, "tokenizer");
    host(&["serve", "--queue", "9999"]).fails(2, "--queue");
    host(&["serve", "--client-timeout", "0"]).fails(2, "--client-timeout");
}

#[test]
fn the_key_may_be_in_the_environment() {
    let mut command = command(&["serve", "--port", "0", "--host", "0.0.0.0", "-q"]);
    let mut child = command.env("TERCET_API_KEY", "key").stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = connect(SocketAddr::from(([127, 0, 0, 1], port)));
    stream.write_all(&request("GET", "/metrics", "", b"")).unwrap();
    let refused = answer(&mut stream);
    let _ = child.kill();
    child.wait().unwrap();
    refused.fails(401, "invalid_api_key");
}
