//! Signals, pipes, help and completions.

mod support;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{command, host, path_text};

const ENDLESS: [&str; 9] =
    ["generate", "Once upon a time", "-n", "-1", "--ignore-eos", "--backend", "reference", "-s", "2"];

fn spawn(arguments: &[&str]) -> Child {
    command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for the first bytes of the text.
fn wait_for_text(child: &mut Child) -> Vec<u8> {
    let mut text = vec![0; 24];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut text).expect("some text");
    text
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("the program runs");
}

#[test]
fn ctrl_c_ends_the_text_and_still_tells_the_statistics() {
    let mut child = spawn(&ENDLESS);
    wait_for_text(&mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("end      cancelled"), "{stderr}");
    assert!(!stderr.contains("error"), "{stderr}");
    assert!(output.stdout.ends_with(b"\n"));
}

#[test]
fn ctrl_c_with_json_still_gives_the_object() {
    let mut child = spawn(&[&ENDLESS[..], &["--format", "jsonl"]].concat());
    wait_for_text(&mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_string();
    let value: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(value["finish_reason"], "cancelled");
}

#[test]
fn ctrl_c_ends_long_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let text = support::file(&folder, "text.txt", "The fox and the crow. ".repeat(2000));
    for arguments in [
        &["perplexity", "-f", &text, "--backend", "reference"][..],
        &["bench", "-r", "1000", "-n", "64", "-p", "0", "--backend", "reference"],
    ] {
        let mut child = spawn(arguments);
        std::thread::sleep(Duration::from_millis(700));
        interrupt(&child);
        // a pass of the slow model may take a while; the second Ctrl-C does not wait for it
        std::thread::sleep(Duration::from_millis(100));
        if child.try_wait().unwrap().is_none() {
            interrupt(&child);
        }
        let begin = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{arguments:?}");
        assert!(begin.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = spawn(&ENDLESS);
    wait_for_text(&mut child);
    drop(child.stdout.take());
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(begin.elapsed() < Duration::from_secs(2), "stops at the next token");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let version = host(&["--version"]).ok();
    assert!(version.stdout.starts_with("host "), "{}", version.stdout);
    let help = host(&["--help"]).ok().stdout;
    assert!(help.contains("Exit codes:") && help.contains("130"), "{help}");
    for command in ["generate", "chat", "serve", "eval", "perplexity", "pack", "inspect", "bench", "completions"] {
        assert!(help.contains(command), "{command}");
        let text = host(&[command, "--help"]).ok().stdout;
        assert!(text.contains("Example"), "{command} has no examples: {text}");
    }
    host(&["-h"]).ok();
    assert_eq!(host(&[]).code, Some(2));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = host(&["completions", shell]).ok().stdout;
        assert!(script.contains("perplexity") && script.contains("top-k"), "{shell}");
    }
}

#[test]
fn packing_twice_gives_the_same_bytes_and_the_same_texts() {
    let folder = tempfile::tempdir().unwrap();
    let model = path_text(&support::shipped());
    let (a, b) = (path_text(&folder.path().join("a.tercet")), path_text(&folder.path().join("b.tercet")));
    host(&["pack", &model, "-o", &a]).ok();
    let packed = host(&["pack", &a, "-o", &b, "--json"]).ok().json();
    let bytes = std::fs::read(&a).unwrap();
    assert_eq!(bytes, std::fs::read(&b).unwrap());
    assert_eq!(packed["bytes"].as_u64(), Some(bytes.len() as u64));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let text = |model: &str| host(&["generate", "The fox", "-n", "12", "-q", "-m", model]).ok().stdout;
    assert_eq!(text(&a), text(&model));
    let inspected = host(&["inspect", &a, "--json"]).ok().json();
    assert_eq!(inspected["hash"], packed["hash"]);
    for arguments in [&["inspect", &a][..], &["inspect", &a, "--sections"], &["inspect"]] {
        assert!(host(arguments).ok().stdout.contains("ternary weights"), "{arguments:?}");
    }
}

#[test]
fn sigterm_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = || -> Vec<_> { std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect() };
    let model = path_text(&support::shipped());
    let mut child = spawn(&["pack", &model, "-o", &path_text(&folder.path().join("out"))]);
    while names().is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    // the signal may come too late to stop anything
    let (code, names) = (child.wait().unwrap().code(), names());
    assert!(matches!(code, Some(0 | 130)), "{code:?}");
    assert_eq!(names.len(), usize::from(code == Some(0)), "{names:?}");
}
