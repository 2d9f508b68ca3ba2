//! The README's test command.

use crate::run::{run, run_with, target, works};
use crate::{synth, tools};
use anyhow::{Context, Result};
use hw::preset::BUILT_IN;

/// Format and clippy, warnings as errors.
pub fn lint() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

/// Yosys reads the Verilog of every preset as a whole machine.
fn verilog() -> Result<()> {
    for (preset, _) in BUILT_IN {
        let dir = target().join("check").join(preset);
        let path = dir.to_str().context("the target folder's path is not UTF-8")?;
        run("cargo", &["run", "--quiet", "--locked", "-p", "hw", "--", "--preset", preset, "--out", path])?;
        let script = format!(
            "read_verilog -lib +/xilinx/cells_xtra.v; read_verilog {path}/rtl/*.v; hierarchy -check -top tercet_top"
        );
        run(tools::yosys()?, &["-q", "-e", ".", "-p", &script])?;
    }
    Ok(())
}

/// FuseSoC, where there is one, takes the core file and sets its targets up.
fn fusesoc() -> Result<()> {
    if !works("fusesoc", &["--version"]) {
        println!("no fusesoc on the PATH (PyPI has it): tercet.core is not tried");
        return Ok(());
    }
    let dir = target().join("check/kv260");
    let path = dir.to_str().context("the target folder's path is not UTF-8")?;
    run("cargo", &["run", "--quiet", "--locked", "-p", "hw", "--", "--preset", "kv260", "--kit", "--out", path])?;
    for set_up in ["lint", "synth"] {
        let flag = format!("--target={set_up}");
        let work = format!("{path}/fusesoc-{set_up}");
        let core = "tercet:accelerator:tercet_kv260";
        run("fusesoc", &["--cores-root", path, "run", "--setup", &flag, "--work-root", &work, core])?;
    }
    Ok(())
}

/// Everything that has to pass before a change lands.
pub fn everything() -> Result<()> {
    tools::install()?;
    lint()?;
    verilog()?;
    fusesoc()?;
    run("cargo", &["test", "--workspace", "--locked"])?;
    synth::budget()?;
    run_with("cargo", &["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    println!("all checks passed");
    Ok(())
}
