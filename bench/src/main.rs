//! Whole models of real shapes on the RTL of a preset in Verilator: cycles, bytes, and where they go.
#![forbid(unsafe_code)]

mod cases;
mod energy;
mod markdown;
mod picture;
mod plan;
mod profile;
mod rig;
mod rows;
mod shapes;
mod targets;
mod trial;

use anyhow::{Context, Result, ensure};
use cases::Case;
use clap::Parser;
use hw::preset::{self, Machine};
use picture::Roof;
use rig::Rig;
use rows::{Origin, Rows};
use serde_json::Value;
use sim::axi::Timing;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Cycles of whole models on the RTL of a preset in Verilator
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// Built-in preset or a path ending in .toml
    #[arg(long, default_value = "kv260")]
    preset: String,
    /// Memory models, comma-separated: measured, ideal, ddr; default: measured, some cases with the other two, none of the
    /// short form's
    #[arg(long, value_delimiter = ',')]
    memory: Vec<String>,
    /// Only cases whose name contains one of these, comma-separated
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The short form: decode at 0 and 512 and a prefill of 64 tokens on the 0.73B shape
    #[arg(long)]
    quick: bool,
    /// Run cases again whose results are there
    #[arg(long)]
    again: bool,
    /// List the cases and stop
    #[arg(long)]
    list: bool,
    /// Only print and draw the results that are there
    #[arg(long)]
    report: bool,
    /// To try something out: models of so many layers only, nothing is kept; prints the middle layer of the last pass,
    /// its descriptors and what was busy when
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// File of results; default bench/PRESET.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The memory models; the first one's results are the headline figures.
const MEMORIES: [&str; 3] = ["measured", "ideal", "ddr"];

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let machine = preset::load(&cli.preset)?;
    let chosen = |case: &Case| cli.only.is_empty() || cli.only.iter().any(|part| case.to_string().contains(part));
    let cases: Vec<Case> = cases::all(cli.quick).into_iter().filter(chosen).collect();
    if cli.list {
        cases.iter().for_each(|case| println!("{case}"));
        return Ok(());
    }
    ensure!(!cases.is_empty(), "no case has {} in its name; --list shows all", cli.only.join(" or "));
    let path = cli.json.clone().unwrap_or_else(|| root().join("bench").join(format!("{}.json", machine.name)));
    let mut rows = Rows::open(&path)?;
    if !cli.report {
        measure(&cli, &machine, &cases, &mut rows)?;
    }
    if cli.layers.is_some() {
        return Ok(());
    }
    report(&machine, &rows)
}

/// Runs the cases that are missing.
fn measure(cli: &Cli, machine: &Machine, cases: &[Case], rows: &mut Rows) -> Result<()> {
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
        let start = Instant::now();
        let image = match shapes::image(machine, group[0].shape, group[0].sherry, cli.layers) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("{}: left out: {error:#}", group[0].shape);
                continue;
            }
        };
        let programs: HashMap<String, String> =
            group.iter().map(|case| (case.to_string(), rows::programs(&image, case))).collect();
        let programs = |case: &Case| programs[&case.to_string()].as_str();
        let again = cli.again || cli.layers.is_some();
        let runs = |case: &Case, memory: &str| named || memory == MEMORIES[0] || case.compared();
        let missing = |case: &Case, memory: &str| {
            runs(case, memory) && (again || !rows.has(case, memory, &origin, programs(case)))
        };
        let wanted = |memory: &str| group.iter().filter(|case| missing(case, memory)).cloned().collect::<Vec<_>>();
        let work: Vec<(&str, &Timing, Vec<Case>)> =
            memories.iter().map(|(name, timing)| (*name, timing, wanted(name))).collect();
        if work.iter().all(|(_, _, cases)| cases.is_empty()) {
            continue;
        }
        if cli.layers.is_none() {
            rig::record_profile(machine)?;
        }
        let mut rig = Rig::new(machine, image)?;
        rig.last_shown = cli.layers.is_some();
        eprintln!("{}: compiled and loaded in {:.0} s", group[0].shape, start.elapsed().as_secs_f64());
        for (memory, timing, cases) in work {
            for case in cases {
                rig.restart(timing.clone());
                let outcome = rig.run(&case)?;
                let rate = outcome.cycles as f64 / outcome.seconds / 1e3;
                let row = rows::row(&case, memory, &origin, &rig, programs(&case), &outcome);
                eprintln!(
                    "{case} {memory}: {} cycles, {} tok/s ({:.0} s, {rate:.0} kcycles/s)",
                    row["cycles"], row["tok_s"], outcome.seconds
                );
                match cli.layers {
                    Some(layers) => println!("{}", trial::text(&rig, &case, &outcome, layers / 2)?),
                    None => rows.put(row)?,
                }
            }
        }
    }
    Ok(())
}

/// LUTs of all kinds that Yosys counted for a machine; 0 if nobody has.
fn luts(machine: &Machine) -> Result<f64> {
    let path = root().join("bench").join(format!("{}-area.json", machine.name));
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(0.0) };
    let area: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(["LUT", "LUTRAM", "SRL"].iter().filter_map(|kind| area[*kind].as_f64()).sum())
}

/// Prints the tables, and renews document and pictures of the board's preset.
fn report(machine: &Machine, rows: &Rows) -> Result<()> {
    let rtl = Origin::new(machine)?.rtl;
    let mut own: Vec<Value> = rows.all().iter().filter(|row| row["preset"] == machine.name).cloned().collect();
    for row in own.iter_mut().filter(|row| row["rtl"] != rtl.as_str()) {
        row["case"] = format!("{} (earlier RTL)", row["case"].as_str().unwrap_or("")).into();
    }
    let tables = markdown::tables(&own, luts(machine)?);
    println!("{tables}");
    if machine.name != "kv260" {
        return Ok(());
    }
    let write = |path: &Path, text: &str| std::fs::write(path, text).with_context(|| path.display().to_string());
    let figures = root().join("docs/figures");
    std::fs::create_dir_all(&figures)?;
    let (e, mhz) = (&machine.engine, f64::from(machine.mhz));
    let one = f64::from(3 * e.tables * e.rows) * mhz / 1e3;
    let memory = f64::from(machine.ports * machine.port_bits / 8) * mhz / 1e3;
    let roof = Roof { peak: one * f64::from(e.tokens), one, memory };
    write(&figures.join("kv260-roofline.svg"), &picture::roofline(&own, "measured", roof))?;
    for row in own.iter().filter(|row| row["memory"] == "measured") {
        if let Some(text) = picture::timeline(row) {
            let case = row["case"].as_str().unwrap_or("case").trim_end_matches(" (earlier RTL)");
            write(&figures.join(format!("kv260-{case}.svg")), &text)?;
        }
    }
    for (name, part) in [("docs/benchmarks.md", &tables), ("README.md", &targets::table(&own))] {
        let document = root().join(name);
        let old = std::fs::read_to_string(&document).with_context(|| document.display().to_string())?;
        write(&document, &markdown::renew(&old, part))?;
    }
    Ok(())
}
