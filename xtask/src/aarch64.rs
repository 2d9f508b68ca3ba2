//! `cargo xtask aarch64`: the CPU backend for a Zynq's cores, cross-built and run under QEMU.

use crate::run::{output, run, run_with};
use crate::tools::debian;
use anyhow::{Context, Result};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Processors to imitate: one without the dot product (Zynq UltraScale+), one with everything.
const PROCESSORS: [&str; 2] = ["cortex-a53", "max"];

/// Builds the host's tests for aarch64 and runs those of the CPU backend.
pub fn test() -> Result<()> {
    debian("gcc-aarch64-linux-gnu", &[("aarch64-linux-gnu-gcc", &["--version"])])?;
    debian("qemu-user-static", &[("qemu-aarch64-static", &["--version"])])?;
    if !output("rustup", &["target", "list", "--installed"])?.contains(TARGET) {
        run("rustup", &["target", "add", TARGET]).context("the standard library for aarch64 could not be had")?;
    }
    for processor in PROCESSORS {
        let env = [
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64-static -L /usr/aarch64-linux-gnu"),
            ("CARGO_PROFILE_DEV_DEBUG", "0"),
            ("QEMU_CPU", processor),
        ];
        run_with("cargo", &["test", "--locked", "--target", TARGET, "-p", "host", "--lib", "cpu::"], &env)?;
    }
    Ok(())
}
