//! `cargo xtask explore`: machines of other sizes by formula, and which of them are worth building.

mod area;
mod model;

use crate::run::root;
use anyhow::{Context, Result, ensure};
use clap::Args;
use hw::explain::{MODELS, ModelShape};
use hw::preset::{self, Machine};
use model::{MEMORIES, Memory, Pass, cycles};
use serde_json::Value;

/// Options of `explore`.
#[derive(Args)]
pub struct ExploreArgs {
    /// Preset to start from
    #[arg(long, default_value = "kv260")]
    preset: String,
    /// Memory model: ideal, measured or ddr
    #[arg(long, default_value = "measured")]
    memory: String,
    /// Only compare the formula with the results of `bench kv260`; fail if one is off by more than 5 %
    #[arg(long)]
    check: bool,
    /// Rows of the table
    #[arg(long, default_value_t = 20)]
    rows: usize,
}

/// Most that the formula may be off, in percent.
const TOLERANCE: f64 = 5.0;
/// Planes of the exact head.
const PLANES: u64 = 5;

fn memory(name: &str) -> Result<&'static Memory> {
    MEMORIES.iter().find(|m| m.name == name).with_context(|| format!("{name}: no memory model has this name"))
}

fn shape(name: &str) -> Option<&'static ModelShape> {
    let full = match name {
        "0.73b" => "BitNet 0.73B",
        "2b4t" => "BitNet 2B-4T",
        _ => return None,
    };
    MODELS.iter().find(|model| model.name == full)
}

/// The formula's cycles for a result of the benchmark; `None` if it does not know the shape.
fn predicted(machine: &Machine, row: &Value) -> Result<Option<f64>> {
    let text = |key: &str| row[key].as_str().unwrap_or("");
    let number = |key: &str| row[key].as_u64().unwrap_or(0);
    let Some(model) = shape(text("shape")) else { return Ok(None) };
    let memory = memory(text("memory"))?;
    let sherry = text("weights") == "sherry";
    let slots = u64::from(machine.engine.tokens * machine.banks);
    let context = row["context"].as_f64().unwrap_or(0.0) as u64;
    Ok(Some(match text("kind") {
        "prefill" => (0..number("tokens"))
            .step_by(slots as usize)
            .map(|first| {
                let planes = if first + slots >= number("tokens") { PLANES } else { 0 };
                let pass =
                    Pass { slots: slots.min(number("tokens") - first), run: true, context: first, planes, sherry };
                cycles(machine, model, memory, pass)
            })
            .sum(),
        _ => {
            let pass = Pass { slots: number("sequences"), run: false, context, planes: PLANES, sherry };
            cycles(machine, model, memory, pass)
        }
    }))
}

/// Compares formula and the results of the last measured RTL and of programs as last compiled; returns the largest difference
/// in percent.
fn compare(machine: &Machine) -> Result<f64> {
    let path = root().join("bench").join(format!("{}.json", machine.name));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let all: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    println!("| case | memory | RTL cycles | formula | difference % |\n|---|---|--:|--:|--:|");
    let mut worst = 0.0f64;
    let today = |row: &&Value| {
        let [preset, case] = ["preset", "case"].map(|key| row[key].as_str().unwrap_or_default());
        let same = |of: &Value, newest: &Value| newest.is_null() || of == newest;
        same(&row["rtl"], &all["rtl"]) && same(&row["programs"], &all["programs"][format!("{preset}/{case}")])
    };
    for row in all["rows"].as_array().into_iter().flatten().filter(|row| row["head"] == "exact").filter(today) {
        let Some(formula) = predicted(machine, row)? else { continue };
        let rtl = row["cycles"].as_f64().context("a row without cycles")?;
        let off = 100.0 * (formula - rtl) / rtl;
        worst = worst.max(off.abs());
        let (case, memory) = (row["case"].as_str().unwrap_or(""), row["memory"].as_str().unwrap_or(""));
        println!("| {case} | {memory} | {rtl:.0} | {formula:.0} | {off:+.1} |");
    }
    Ok(worst)
}

/// A machine with what it costs and gives.
struct Candidate {
    name: String,
    luts: f64,
    dsps: f64,
    urams: u64,
    brams: f64,
    /// Tokens a second: decode at 0 and 1,024, prefill of 64, on the 0.73B shape, and decode on 2B-4T.
    speeds: [f64; 4],
}

impl Candidate {
    /// Whether another is at least as good in everything and better in something.
    fn beaten_by(&self, other: &Candidate) -> bool {
        let costs = |c: &Candidate| [c.luts, c.dsps, c.urams as f64, c.brams];
        let no_worse = costs(other).iter().zip(costs(self)).all(|(o, s)| *o <= s)
            && other.speeds.iter().zip(self.speeds).all(|(o, s)| *o >= s);
        let better = costs(other).iter().zip(costs(self)).any(|(o, s)| *o < s)
            || other.speeds.iter().zip(self.speeds).any(|(o, s)| *o > s);
        no_worse && better
    }
}

fn speeds(machine: &Machine, memory: &Memory) -> [f64; 4] {
    let clock = f64::from(machine.mhz) * 1e6;
    let slots = u64::from(machine.engine.tokens * machine.banks);
    let decode = |model: &ModelShape, context: u64| {
        let pass = Pass { slots: 1, run: true, context, planes: PLANES, sherry: false };
        clock / cycles(machine, model, memory, pass)
    };
    let prefill: f64 = (0..64)
        .step_by(slots as usize)
        .map(|first| {
            let planes = if first + slots >= 64 { PLANES } else { 0 };
            let pass = Pass { slots: slots.min(64 - first), run: true, context: first, planes, sherry: false };
            cycles(machine, &MODELS[0], memory, pass)
        })
        .sum();
    [decode(&MODELS[0], 0), decode(&MODELS[0], 1024), 64.0 * clock / prefill, decode(&MODELS[1], 0)]
}

/// Presets around one: other tables, rows, slots, vector lanes, attention units and rings.
fn variants(base: &str) -> Result<Vec<(String, Machine)>> {
    let mut all = Vec::new();
    for tables in [16, 24, 32, 40, 48] {
        for rows in [2, 4, 8] {
            for tokens in [4, 8, 16] {
                for vector in [1, 2] {
                    for units in [1, 2] {
                        for ring in [480, 960] {
                            let name = format!("T{tables} Q{rows} P{tokens} V{vector} U{units} ring {ring}");
                            let text = area::changed(
                                base,
                                &[
                                    ("engine.tables", tables),
                                    ("engine.rows", rows),
                                    ("engine.tokens", tokens),
                                    ("vector.tokens", vector),
                                    ("attention.units", units),
                                    ("memory.buffer_kib", ring),
                                ],
                            );
                            if let Ok(machine) = Machine::parse("variant", &text) {
                                all.push((name, machine));
                            }
                        }
                    }
                }
            }
        }
    }
    ensure!(!all.is_empty(), "no variant of the preset is a legal machine");
    Ok(all)
}

/// Prints the comparison, then the machines that no other beats in everything.
pub fn explore(args: &ExploreArgs) -> Result<()> {
    let machine = preset::load(&args.preset)?;
    let memory = memory(&args.memory)?;
    let worst = compare(&machine)?;
    println!("\nlargest difference {worst:.1} %, at most {TOLERANCE} allowed");
    if args.check {
        ensure!(
            worst <= TOLERANCE,
            "the formula is off by {worst:.1} %: fit the constants of xtask/src/explore/model.rs"
        );
        return Ok(());
    }
    let board = machine.board;
    let area = area::Area::read(&root().join("bench/kv260-area.json"), &machine)?;
    let mut candidates: Vec<Candidate> = Vec::new();
    for (name, variant) in variants(machine.canonical())? {
        let (luts, dsps) = area.of(&variant);
        let (urams, brams) = (variant.urams(), area.brams(&variant));
        let fits = brams <= f64::from(board.brams)
            && luts <= f64::from(board.luts)
            && urams <= u64::from(board.urams)
            && dsps <= f64::from(board.dsps);
        if fits {
            candidates.push(Candidate { name, luts, dsps, urams, brams, speeds: speeds(&variant, memory) });
        }
    }
    let mut front: Vec<&Candidate> =
        candidates.iter().filter(|c| !candidates.iter().any(|other| c.beaten_by(other))).collect();
    front.sort_by(|a, b| b.speeds[2].total_cmp(&a.speeds[2]));
    println!(
        "\n{} machines fit {}, {} are beaten by no other; memory model {}, exact head; all estimated by formula, tok/s\n",
        candidates.len(),
        board.name,
        front.len(),
        memory.name
    );
    println!("| machine | LUT | DSP | URAM | RAMB36 | 0.73B at 0 | at 1,024 | prefill 64 | 2B-4T at 0 |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for c in front.iter().take(args.rows) {
        let [short, long, prefill, large] = c.speeds;
        println!(
            "| {} | {:.0} | {:.0} | {} | {:.1} | {short:.1} | {long:.1} | {prefill:.0} | {large:.1} |",
            c.name, c.luts, c.dsps, c.urams, c.brams
        );
    }
    Ok(())
}
