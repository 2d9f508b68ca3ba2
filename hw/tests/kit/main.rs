//! Kits: the scripts run with Vivado's commands mocked, and what Linux gets goes through its own tools.
//!
//! * `dry_run`: from Verilog to bitstream, and everything that must stop it.
//! * `planted`: mistakes in scripts and Verilog, each of which the mock has to find.
//! * `linux`: device tree, scripts of the board, names that the driver looks for.
//! * `files`: manifests, the copies in `bitstreams`, Verilog of the IP core.

mod dry_run;
mod files;
mod linux;
mod planted;

use hw::kit::{self, KitError};
use hw::preset::{self, Machine};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Presets that have a kit.
const PRESETS: [&str; 2] = ["kv260", "u50"];

/// A preset's Verilog and kit, written once for all tests.
fn original(preset: &str) -> &'static Path {
    static KITS: [OnceLock<TempDir>; PRESETS.len()] = [const { OnceLock::new() }; PRESETS.len()];
    let at = PRESETS.iter().position(|p| *p == preset).unwrap();
    let dir = KITS[at].get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        kit::write(&preset::load(preset).unwrap(), dir.path()).unwrap();
        dir
    });
    dir.path()
}

/// A copy that may be changed; the Verilog is the original's.
struct Copy(TempDir);

impl Copy {
    fn of(preset: &str) -> Copy {
        Copy::from(original(preset))
    }

    fn from(original: &Path) -> Copy {
        let dir = tempfile::tempdir().unwrap();
        for file in ["manifest.json", "filelist.f"] {
            fs::copy(original.join(file), dir.path().join(file)).unwrap();
        }
        std::os::unix::fs::symlink(original.join("rtl"), dir.path().join("rtl")).unwrap();
        fs::create_dir(dir.path().join("kit")).unwrap();
        for entry in fs::read_dir(original.join("kit")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join("kit").join(path.file_name().unwrap())).unwrap();
        }
        Copy(dir)
    }

    fn kit(&self) -> PathBuf {
        self.0.path().join("kit")
    }

    /// Changes a file; its name is relative to the kit.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.kit().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Runs the build with Vivado mocked.
    fn build(&self, words: &[&str]) -> Output {
        self.script("build.tcl", words)
    }

    fn script(&self, name: &str, words: &[&str]) -> Output {
        let mock = concat!(env!("CARGO_MANIFEST_DIR"), "/../bitstreams/mock/run.tcl");
        run("tclsh", &[&[mock, self.kit().join(name).to_str().unwrap()], words].concat())
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.kit().join("manifest.json")).unwrap()).unwrap()
    }

    /// Names of files in `out`.
    fn products(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.kit().join("out")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn run(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask tools` installs what the tests use"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The kv260 preset with one line changed, and with fewer columns, for other ports take more UltraRAMs.
fn variant(from: &str, to: &str) -> Machine {
    let (_, text) = preset::BUILT_IN.iter().find(|(name, _)| *name == "kv260").unwrap();
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1).replace("columns = 20480", "columns = 10240");
    Machine::parse("variant", &text).unwrap()
}

#[test]
fn presets_without_a_board_have_no_kit() {
    let dir = tempfile::tempdir().unwrap();
    let error = kit::write(&preset::load("sim-tiny").unwrap(), dir.path()).unwrap_err();
    assert!(matches!(error, KitError::NoBoard { .. }), "{error}");
    assert!(error.to_string().contains("kv260"), "{error}");
    assert!(!dir.path().join("rtl").exists(), "something was written");
}

#[test]
fn a_machine_with_more_than_the_board_has_is_refused_with_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to, says) in [
        ("ports = 4", "ports = 8", "memory.ports = 8; board kv260 takes at most 4 ports"),
        ("port_bits = 128", "port_bits = 256", "memory.port_bits = 256; board kv260 takes 32, 64 or 128 bits"),
    ] {
        let error = kit::write(&variant(from, to), dir.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
