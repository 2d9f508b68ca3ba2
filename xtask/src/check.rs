//! The README's test command.

use crate::run::{run, run_with};
use crate::tools;
use anyhow::Result;

/// Format and clippy, warnings as errors.
pub fn lint() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

/// Everything that has to pass before a change lands.
pub fn everything() -> Result<()> {
    tools::install()?;
    lint()?;
    run("cargo", &["test", "--workspace", "--locked"])?;
    run_with("cargo", &["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    println!("all checks passed");
    Ok(())
}
