//! A board in Verilator: `cargo run --release -p sim --bin board -- --kind xdma --preset sim-tiny --dir DIR`.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Parser, ValueEnum};
use sim::axi::Timing;
use sim::board::{Board, Kind, Mishaps};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// A card behind AMD's XDMA driver
    Xdma,
    /// Zynq's programmable logic: UIO and u-dma-buf
    Axi,
}

/// A board in Verilator, as a process of its own with the nodes of a real one
#[derive(Parser, Debug)]
#[command(name = "board", max_term_width = 100)]
struct Args {
    /// What the board looks like
    #[arg(long, value_enum)]
    kind: KindArg,
    /// Built-in preset or path ending in .toml
    #[arg(long, default_value = "sim-tiny")]
    preset: String,
    /// Folder for the nodes
    #[arg(long)]
    dir: PathBuf,
    /// Device memory in MiB
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Memory behind the ports: ideal, measured, ddr or harsh
    #[arg(long, default_value = "ideal")]
    memory: String,
    /// Lose so many interrupts
    #[arg(long, default_value_t = 0, help_heading = "What goes wrong")]
    lose_interrupts: u64,
    /// Tell so many interrupts more for each one
    #[arg(long, default_value_t = 0, help_heading = "What goes wrong")]
    storm: u64,
    /// All registers read as ones after so many accesses
    #[arg(long, help_heading = "What goes wrong")]
    vanish_after: Option<u64>,
    /// Load the bitstream anew in the pass with this number
    #[arg(long, help_heading = "What goes wrong")]
    reload_in_pass: Option<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!((1..=1 << 16).contains(&args.memory_mib), "--memory-mib = {}: expected 1 to 65536", args.memory_mib);
    let machine = hw::preset::load(&args.preset).context("--preset")?;
    let timing = Timing::named(&args.memory);
    let timing = timing.ok_or_else(|| anyhow!("--memory = {}: expected ideal, measured, ddr or harsh", args.memory))?;
    let kind = match args.kind {
        KindArg::Xdma => Kind::Xdma,
        KindArg::Axi => Kind::Axi,
    };
    let mishaps = Mishaps {
        lose_interrupts: args.lose_interrupts,
        storm: args.storm,
        vanish_after: args.vanish_after,
        reload_in_pass: args.reload_in_pass,
        ..Mishaps::default()
    };
    let mut board = Board::new(kind, &machine, &args.dir, args.memory_mib << 20, timing, mishaps)?;
    println!("board {} is up in {}", board.preset(), args.dir.display());
    board.serve(&AtomicBool::new(false))?;
    Ok(())
}
