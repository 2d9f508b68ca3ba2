//! Whole models of real shapes on the RTL of a preset in Verilator: cycles, bytes, and where they go.
#![forbid(unsafe_code)]

mod cases;
mod energy;
mod markdown;
mod measure;
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
use rows::{Origin, Rows};
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    /// The short form, 0.73B: decode at 0 and 512, with the shortlist at 0, a prompt of 64 tokens
    #[arg(long)]
    quick: bool,
    /// Cases at once; each takes a core, and memory for the model: 2 to 4 GB
    #[arg(short, long, default_value_t = 1)]
    jobs: usize,
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
    /// Another file of results than bench/PRESET.json; no document is renewed from it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

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
        measure::all(&cli, &machine, &cases, &mut rows)?;
    }
    if cli.layers.is_some() {
        return Ok(());
    }
    report(&machine, &rows, cli.json.is_none())
}

/// LUTs of all kinds that Yosys counted for a machine; 0 if nobody has.
fn luts(machine: &Machine) -> Result<f64> {
    let path = root().join("bench").join(format!("{}-area.json", machine.name));
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(0.0) };
    let area: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(["LUT", "LUTRAM", "SRL"].iter().filter_map(|kind| area[*kind].as_f64()).sum())
}

/// What follows the name of a case whose result is not of today's machine, or not of the programs as last compiled.
const EARLIER_RTL: &str = " (earlier RTL)";
const EARLIER_PROGRAMS: &str = " (earlier programs)";

/// Prints the tables; renews documents and pictures if the results are the repository's of the board's preset.
fn report(machine: &Machine, rows: &Rows, renews: bool) -> Result<()> {
    let rtl = Origin::new(machine)?.rtl;
    let mut own: Vec<Value> = rows.all().iter().filter(|row| row["preset"] == machine.name).cloned().collect();
    let names: Vec<String> = cases::all(false).iter().map(Case::to_string).collect();
    own.sort_by_key(|row| names.iter().position(|name| row["case"] == name.as_str()).unwrap_or(names.len()));
    for row in &mut own {
        let case = row["case"].as_str().unwrap_or_default();
        match (row["rtl"] == rtl.as_str(), rows.is_of_earlier_programs(row)) {
            (false, _) => row["case"] = format!("{case}{EARLIER_RTL}").into(),
            (true, true) => row["case"] = format!("{case}{EARLIER_PROGRAMS}").into(),
            _ => {}
        }
    }
    let tables = markdown::tables(&own, luts(machine)?);
    println!("{tables}");
    if machine.name != "kv260" || !renews {
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
            let case = row["case"].as_str().unwrap_or("case");
            let case = case.trim_end_matches(EARLIER_RTL).trim_end_matches(EARLIER_PROGRAMS);
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
