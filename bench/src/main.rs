//! Whole models of real shapes on the RTL of a preset in Verilator: cycles, bytes, and where they go.
#![forbid(unsafe_code)]

mod cases;
mod profile;
mod rig;
mod shapes;

use anyhow::{Context, Result};
use clap::Parser;
use hw::preset;
use profile::{Cause, PHASES};
use rig::{Outcome, Rig};
use sim::axi::Timing;
use std::time::Instant;

/// Cycles of whole models in Verilator
#[derive(Parser)]
struct Cli {
    /// Built-in preset or a path ending in .toml
    #[arg(long, default_value = "kv260")]
    preset: String,
    /// Memory models, comma-separated: ideal, measured, ddr
    #[arg(long, value_delimiter = ',', default_value = "measured,ideal,ddr")]
    memory: Vec<String>,
    /// Only cases whose name contains one of these, comma-separated
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The short form
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let machine = preset::load(&cli.preset)?;
    let cases: Vec<_> = cases::all(cli.quick)
        .into_iter()
        .filter(|case| cli.only.is_empty() || cli.only.iter().any(|name| case.to_string().contains(name)))
        .collect();
    for group in cases.chunk_by(|a, b| (a.shape, a.sherry) == (b.shape, b.sherry)) {
        let start = Instant::now();
        let image = match shapes::image(&machine, group[0].shape, group[0].sherry) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("{error:#}");
                continue;
            }
        };
        eprintln!("compiled in {:.1} s\n{}", start.elapsed().as_secs_f64(), image.report());
        let start = Instant::now();
        let mut rig = Rig::new(&machine, image, Timing::ideal())?;
        eprintln!("machine ready in {:.1} s", start.elapsed().as_secs_f64());
        for case in group {
            for memory in &cli.memory {
                rig.set_timing(Timing::named(memory).with_context(|| format!("{memory}: no such memory model"))?);
                let outcome = rig.run(case)?;
                show(&format!("{case} {memory}"), &outcome, machine.mhz, case.tokens());
            }
        }
    }
    Ok(())
}

fn show(name: &str, outcome: &Outcome, mhz: u32, tokens: usize) {
    let rate = tokens as f64 * f64::from(mhz) * 1e6 / outcome.cycles as f64;
    let kcps = outcome.cycles as f64 / outcome.seconds / 1e3;
    println!("{name}: {} cycles, {rate:.1} tok/s ({:.0} s, {kcps:.0} kcycles/s)", outcome.cycles, outcome.seconds);
    let counters: Vec<String> = outcome.counters.iter().map(|(name, value)| format!("{name} {value}")).collect();
    println!("  {}", counters.join(", "));
    println!("  weight bytes {}, ports {:?}", outcome.weight_bytes, outcome.ports);
    let total = outcome.profile.total() as f64;
    for cause in Cause::ALL {
        let n = outcome.profile.cause(cause);
        println!("  {:<24}{n:>10} {:>5.1} %", cause.name(), 100.0 * n as f64 / total);
    }
    for (phase, name) in PHASES.iter().enumerate() {
        let causes: Vec<String> = Cause::ALL
            .iter()
            .filter_map(|c| outcome.profile.cycles.get(&(phase, *c)).map(|n| format!("{} {n}", c.name())))
            .collect();
        println!("  {name:<12}{:>10}: {}", outcome.profile.phase(phase), causes.join(", "));
    }
    println!("  best {:?}", outcome.best);
}
