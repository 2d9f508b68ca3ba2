//! Runs the real program.
#![allow(dead_code)] // each test file uses a part of this

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run left behind.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The only object on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Fails unless the run ended well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the run ended with this code and one line of error that contains `text`.
    pub fn fails(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        assert!(errors[0].contains(text), "expected {text:?} in {:?}", errors[0]);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// The program, with an environment that names no model.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(arguments).env_remove("TERCET_MODEL").stdin(Stdio::null());
    command
}

/// Runs the program without input.
pub fn host(arguments: &[&str]) -> Run {
    finish(command(arguments))
}

/// Runs the program with bytes on standard input.
pub fn host_with_input(arguments: &[&str], input: &[u8]) -> Run {
    let mut command = command(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // a program that ends early closes the pipe, which is not what a test looks for here
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("the program ends");
    run_of(output)
}

/// Runs a prepared command.
pub fn finish(mut command: Command) -> Run {
    run_of(command.output().expect("the program starts"))
}

fn run_of(output: std::process::Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The folder of the shipped model.
pub fn shipped() -> PathBuf {
    let run = host(&["inspect", "--json"]).ok();
    PathBuf::from(run.json()["path"].as_str().expect("a path"))
}

/// A copy of the shipped model without some files.
pub fn copy_without(files: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(shipped()).expect("the model's folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        if !files.iter().any(|file| name == **file) {
            std::fs::copy(&path, copy.path().join(name)).expect("a copy");
        }
    }
    copy
}

/// A file with this content.
pub fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path_text(&path)
}

/// A path as an argument.
pub fn path_text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").into()
}
