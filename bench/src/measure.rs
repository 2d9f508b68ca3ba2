//! Runs cases: models one after the other, cases of a model as many at once as wanted.

use crate::Cli;
use crate::cases::{Case, MEMORIES};
use crate::rig::{self, Rig};
use crate::rows::{self, Origin, Rows};
use crate::{shapes, trial};
use anyhow::{Context, Result, anyhow};
use host::compile::DeviceImage;
use hw::preset::Machine;
use sim::axi::Timing;
use sim::compile::Speed;
use std::cmp::Reverse;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Runs the cases that are missing.
pub fn all(cli: &Cli, machine: &Machine, cases: &[Case], rows: &mut Rows) -> Result<()> {
    let origin = Origin::new(machine)?;
    let named = !cli.memory.is_empty();
    let defaults = if cli.quick { &MEMORIES[..1] } else { &MEMORIES };
    let names: Vec<&str> = if named { cli.memory.iter().map(String::as_str).collect() } else { defaults.to_vec() };
    let mut memories = Vec::new();
    for name in names {
        let timing = Timing::named(name).with_context(|| format!("{name}: no memory model has this name"))?;
        memories.push((name, timing));
    }
    for group in cases.chunk_by(Case::same_model) {
        let image = match shapes::image(machine, group[0].shape, group[0].sherry, cli.layers) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("{}: left out: {error:#}", group[0].shape);
                continue;
            }
        };
        let mut units = Vec::new();
        let programs: Vec<String> = group.iter().map(|case| rows::programs(&image, case)).collect();
        if cli.layers.is_none() {
            group.iter().zip(&programs).for_each(|(case, programs)| rows.compiled(case, &origin, programs));
            rows.write()?;
        }
        for (memory, timing) in &memories {
            let chosen = |(case, _): &(&Case, &String)| named || *memory == MEMORIES[0] || case.compared();
            for (case, programs) in group.iter().zip(&programs).filter(chosen) {
                if cli.again || cli.layers.is_some() || !rows.has(case, memory, &origin, programs) {
                    let programs = programs.clone();
                    units.push(Unit { memory, timing: timing.clone(), case: case.clone(), programs });
                }
            }
        }
        if units.is_empty() {
            continue;
        }
        if cli.layers.is_none() {
            rig::record_profile(machine)?;
        }
        work(cli, machine, &image, &units, &origin, rows)?;
    }
    Ok(())
}

/// A case with a memory model.
struct Unit<'a> {
    memory: &'a str,
    timing: Timing,
    case: Case,
    /// Hash of its programs.
    programs: String,
}

/// Runs cases of a model, as many at once as were asked for, the longest first.
fn work(
    cli: &Cli,
    machine: &Machine,
    image: &DeviceImage,
    units: &[Unit<'_>],
    origin: &Origin,
    rows: &mut Rows,
) -> Result<()> {
    let mut order: Vec<&Unit<'_>> = units.iter().collect();
    if cli.jobs > 1 {
        order.sort_by_key(|unit| Reverse(unit.case.tokens()));
    }
    // once, before several jobs look for it
    sim::device::build(machine, Speed::Full, false).context("building the machine in Verilator")?;
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(rows));
    let cases = || -> Result<()> {
        let start = Instant::now();
        let mut rig = Rig::new(machine, image)?;
        eprintln!("{}: loaded in {:.0} s", units[0].case.shape, start.elapsed().as_secs_f64());
        rig.last_shown = cli.layers.is_some();
        while let Some(unit) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Unit { memory, timing, case, programs } = unit;
            rig.restart(timing.clone());
            let outcome = rig.run(case)?;
            let rate = outcome.cycles as f64 / outcome.seconds / 1e3;
            let row = rows::row(case, memory, origin, &rig, programs, &outcome);
            eprintln!(
                "{case} {memory}: {} cycles, {} tok/s ({:.0} s, {rate:.0} kcycles/s)",
                row["cycles"], row["tok_s"], outcome.seconds
            );
            match cli.layers {
                Some(layers) => println!("{}", trial::text(&rig, case, &outcome, layers.saturating_sub(1) / 2)?),
                None => rows.lock().map_err(|_| anyhow!("another job stopped while it kept a result"))?.put(row)?,
            }
        }
        Ok(())
    };
    // the first error ends the other jobs, each after its case
    let job = || {
        cases().inspect_err(|error| {
            eprintln!("{error:#}");
            next.store(order.len(), Ordering::Relaxed);
        })
    };
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..cli.jobs.clamp(1, order.len())).map(|_| scope.spawn(job)).collect();
        jobs.into_iter().try_for_each(|job| job.join().map_err(|_| anyhow!("a job panicked"))?)
    })
}
