//! `cargo xtask bench sim`: simulated cycles a second of whole machines, by the processor's time.
//!
//! The shipped model runs a prompt and some tokens on each preset. Only the time that this process spends on a
//! processor counts, so a neighbour on the same machine does not disturb the figure much.

use host::compile::Options;
use host::device::SimulatedDevice;
use host::engine::{Engine, Step, Want};
use hw::preset;
use sim::axi::Timing;
use std::error::Error;
use std::time::Instant;
use tests::shipped_weights;

/// Seconds of processor time of this process so far; the clock's ticks are hundredths of a second on Linux.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name of the program may hold blanks: fields are counted from behind it
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut presets: Vec<String> = std::env::args().skip(1).collect();
    if presets.is_empty() {
        presets = ["sim-tiny", "kv260"].map(String::from).into();
    }
    let weights = shipped_weights();
    println!("| preset | work | cycles | kcycles/s of processor time | of time on the wall |\n|---|---|--:|--:|--:|");
    for name in presets {
        let machine = preset::load(&name)?;
        SimulatedDevice::record_profile(&weights, &machine)?;
        let context = Some(weights.config.max_context.min(machine.max_context as usize));
        let options = Options { context, shortlist: None };
        let mut rtl = SimulatedDevice::simulated(&weights, &machine, options, 1, Timing::measured())?;
        let id = rtl.new_sequence()?;
        for (what, steps) in [("prefill of 16", vec![vec![7; 16]]), ("decode of 4", (9..13).map(|t| vec![t]).collect())]
        {
            let (before, wall, busy) = (rtl.runner().transport().cycles(), Instant::now(), processor_seconds());
            for tokens in &steps {
                rtl.forward(&[Step { sequence: id, tokens, want: Want::Last }])?;
            }
            let cycles = rtl.runner().transport().cycles() - before;
            let rate = |seconds: f64| format!("{:.0}", cycles as f64 / seconds / 1e3);
            let busy = processor_seconds().zip(busy).map(|(now, then)| rate(now - then));
            let wall = rate(wall.elapsed().as_secs_f64());
            println!("| {name} | {what} | {cycles} | {} | {wall} |", busy.unwrap_or("-".into()));
        }
    }
    Ok(())
}
