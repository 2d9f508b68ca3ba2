//! `cargo xtask synth`: area of a preset by Yosys, per module, against the board's capacity.
//!
//! Counts of open synthesis, no place and route: an estimate, and a guard against growth. A budget file holds totals and
//! every module's own resources and longest way; nothing may exceed it silently.

use crate::levels::{self, Timing};
use crate::run::{output, root, run, target};
use crate::tools;
use anyhow::{Context, Result, ensure};
use clap::Args;
use hw::preset::{self, Board};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[derive(Args, Default)]
pub struct SynthArgs {
    /// Built-in preset or a path ending in .toml
    #[arg(long, default_value = "kv260")]
    preset: String,
    /// Module to synthesise instead of the whole machine
    #[arg(long)]
    top: Option<String>,
    /// Map logic with abc9, which counts fewer LUTs for the same design: not comparable with figures without it
    #[arg(long)]
    abc9: bool,
    /// Write totals and modules to this JSON file
    #[arg(long)]
    json: Option<String>,
    /// Fail if a resource or a module exceeds the one in this JSON file by more than 2 %, or has longer ways
    #[arg(long)]
    budget: Option<String>,
    /// Compare totals only, and allow 5 % more: after a change untouched modules map a little differently, too
    #[arg(long, requires = "budget")]
    totals: bool,
    /// Modules in the list of longest ways
    #[arg(long, default_value_t = 12)]
    worst: usize,
}

/// Levels between registers that 250 MHz leaves room for, as a rule of thumb.
const LEVELS: u32 = 6;
/// Inputs that a net may drive without copies of its register.
const FANOUT: u64 = 1000;

/// What is counted, in the order of the columns.
const RESOURCES: [&str; 7] = ["LUT", "LUTRAM", "SRL", "FF", "DSP48E2", "RAMB36", "URAM288"];

/// Amounts in the order of [`RESOURCES`], in units of a half: a RAMB18E2 is half a RAMB36.
type Amounts = [u64; RESOURCES.len()];

/// What a cell of `synth_xilinx` costs: the resource's place in [`RESOURCES`] and twice the amount.
fn cost(cell: &str) -> Option<(usize, u64)> {
    let at = |name: &str, twice: u64| RESOURCES.iter().position(|r| *r == name).map(|at| (at, twice));
    match cell {
        "RAM32M16" | "RAM64M8" => at("LUTRAM", 16),
        "RAM32M" | "RAM64M" | "RAM128X1D" => at("LUTRAM", 8),
        "RAM32X1D" | "RAM64X1D" => at("LUTRAM", 4),
        "SRL16E" | "SRLC32E" | "SRLC16E" => at("SRL", 2),
        "DSP48E2" => at("DSP48E2", 2),
        "RAMB36E2" => at("RAMB36", 2),
        "RAMB18E2" => at("RAMB36", 1),
        "URAM288" => at("URAM288", 2),
        "INV" => at("LUT", 2),
        _ if cell.strip_prefix("LUT").is_some_and(|n| n.parse::<u32>().is_ok()) => at("LUT", 2),
        _ if cell.starts_with("FD") || cell.starts_with("LD") => at("FF", 2),
        _ => None,
    }
}

/// One module of the report of `stat`.
#[derive(Default)]
struct Area {
    own: Amounts,
    children: BTreeMap<String, u64>,
}

fn parse(text: &str) -> BTreeMap<String, Area> {
    let mut modules: BTreeMap<String, Area> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ").and_then(|l| l.strip_suffix(" ===")) {
            names.push(name.to_string());
            continue;
        }
        let Some(name) = names.last().filter(|n| *n != "design hierarchy") else { continue };
        let area = modules.entry(name.clone()).or_default();
        let mut words = line.split_whitespace();
        let (Some(cell), Some(count), None) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        match cost(cell) {
            Some((at, twice)) => area.own[at] += twice * count,
            None => *area.children.entry(cell.to_string()).or_default() += count,
        }
    }
    let known: Vec<String> = modules.keys().cloned().collect();
    for area in modules.values_mut() {
        area.children.retain(|cell, _| known.contains(cell));
    }
    modules
}

/// Everything below and in `name`, and how often each module occurs.
fn total(modules: &BTreeMap<String, Area>, name: &str, copies: u64, seen: &mut BTreeMap<String, u64>) -> Amounts {
    *seen.entry(name.to_string()).or_default() += copies;
    let Some(area) = modules.get(name) else { return Amounts::default() };
    let mut sum = area.own;
    for (child, count) in &area.children {
        let below = total(modules, child, copies * count, seen);
        sum.iter_mut().zip(below).for_each(|(sum, n)| *sum += n * count);
    }
    sum
}

fn capacity(board: &Board) -> [u64; RESOURCES.len()] {
    let luts = u64::from(board.luts);
    [luts, luts, luts, board.ffs.into(), board.dsps.into(), board.brams.into(), board.urams.into()]
}

fn show(twice: u64) -> String {
    if twice.is_multiple_of(2) { (twice / 2).to_string() } else { format!("{}.5", twice / 2) }
}

/// The report as Markdown.
fn report(modules: &BTreeMap<String, Area>, seen: &BTreeMap<String, u64>, sum: &Amounts, board: &Board) -> String {
    let mut text = format!("| module | copies | {} |\n|---|--:|{}\n", RESOURCES.join(" | "), "--:|".repeat(7));
    for (name, copies) in seen {
        let cells = modules.get(name).map(|m| m.own.map(show).join(" | ")).unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {copies} | {cells} |");
    }
    let _ = writeln!(text, "| **total** | | {} |", sum.map(show).join(" | "));
    let luts = sum[0] + sum[1] + sum[2];
    let all = capacity(board);
    if board.luts != u32::MAX {
        let share = |used: u64, of: u64| format!("{:.1} %", used as f64 / 2.0 / of as f64 * 100.0);
        let shares: Vec<String> = sum.iter().zip(all).map(|(used, of)| share(*used, of)).collect();
        let _ = writeln!(text, "| of {} ({}) | | {} |", board.name, board.part, shares.join(" | "));
        let _ = writeln!(text, "\nLUTs of all kinds: {}, {} of {}", show(luts), share(luts, all[0]), all[0]);
    }
    text
}

/// The committed budget of the board's preset.
pub fn budget() -> Result<()> {
    let (preset, budget) = ("kv260".to_string(), Some("bench/kv260-area.json".to_string()));
    synth(&SynthArgs { preset, budget, totals: true, worst: 12, ..SynthArgs::default() })
}

/// Synthesises a preset and prints what it takes.
pub fn synth(args: &SynthArgs) -> Result<()> {
    let machine = preset::load(&args.preset)?;
    let dir = target().join("synth").join(&machine.name);
    std::fs::create_dir_all(&dir)?;
    // from the root, where tools run: Yosys's names and so its choices hang on the paths that it reads
    let path = dir.strip_prefix(root()).unwrap_or(&dir).to_str().context("the target folder's path is not UTF-8")?;
    run("cargo", &["run", "--quiet", "-p", "hw", "--", "--preset", &args.preset, "--out", path])?;
    let top = args.top.as_deref().unwrap_or("tercet_top");
    let script = format!(
        "read_verilog {path}/rtl/*.v; synth_xilinx -family xcup -top {top} -uram -noiopad -noclkbuf{}; write_json {path}/netlist.json; tee -o {path}/stat.txt stat",
        if args.abc9 { " -abc9" } else { "" }
    );
    let tool = tools::yosys()?;
    run(tool, &["-q", "-l", &format!("{path}/yosys.log"), "-p", &script])?;
    let modules = parse(&std::fs::read_to_string(dir.join("stat.txt"))?);
    let mut seen = BTreeMap::new();
    let sum = total(&modules, top, 1, &mut seen);
    let text = report(&modules, &seen, &sum, machine.board);
    print!("\n{top} of preset {}, estimated by {}\n\n{text}", machine.name, output(tool, &["-V"])?.trim());
    let text = std::fs::read_to_string(dir.join("netlist.json")).context("the netlist that Yosys wrote")?;
    let timings = levels::of(&serde_json::from_str(&text)?, top)?;
    print!("{}", ways(&timings, &seen, args.worst));
    let mut amounts = listed(&sum);
    let own = |(name, copies): (&String, &u64)| {
        let mut entry = listed(&modules.get(name).map(|m| m.own).unwrap_or_default());
        entry["copies"] = json!(copies);
        entry["levels"] = json!(timings.get(name).and_then(|t| t.worst.as_ref()).map_or(0, |worst| worst.0));
        (name.clone(), entry)
    };
    amounts["modules"] = Value::Object(seen.iter().map(own).collect());
    amounts["tool"] = json!(output(tool, &["-V"])?.trim());
    if let Some(file) = &args.json {
        std::fs::write(root().join(file), format!("{amounts:#}\n"))?;
    }
    if let Some(file) = &args.budget {
        check(&amounts, &root().join(file), args.totals)?;
    }
    fits(&sum, machine.board)
}

/// Fails if the machine is larger than the board.
fn fits(sum: &Amounts, board: &Board) -> Result<()> {
    let all = capacity(board);
    ensure!((sum[0] + sum[1] + sum[2]) / 2 <= all[0], "the machine does not fit {}: too many LUTs", board.name);
    for ((name, used), of) in RESOURCES.iter().zip(sum).zip(all) {
        ensure!(used / 2 <= of, "the machine does not fit {}: {} {name} of {of}", board.name, show(*used));
    }
    Ok(())
}

/// Amounts by name.
fn listed(twice: &Amounts) -> Value {
    RESOURCES.iter().zip(twice).map(|(r, n)| (r.to_string(), json!(*n as f64 / 2.0))).collect()
}

/// The longest ways between registers, as Markdown.
fn ways(timings: &BTreeMap<String, Timing>, seen: &BTreeMap<String, u64>, count: usize) -> String {
    let mut text =
        String::from("\nLevels of logic between registers (LUTs and ways into carry chains; estimated):\n\n");
    text += "| module | levels | from | to | widest net | loads |\n|---|--:|---|---|---|--:|\n";
    let mut worst: Vec<(&String, &Timing)> = timings.iter().collect();
    worst.sort_by_key(|(name, t)| (std::cmp::Reverse(t.worst.as_ref().map_or(0, |w| w.0)), *name));
    for (name, t) in worst.iter().take(count) {
        let (levels, from, to) = t.worst.clone().unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {levels} | `{from}` | `{to}` | `{}` | {} |", t.fanout.1, t.fanout.0);
    }
    let ends = |wanted: &dyn Fn(u32) -> bool| -> u64 {
        let one = |(name, t): (&String, &Timing)| {
            let some: u64 = t.ends.iter().filter(|(levels, _)| wanted(**levels)).map(|(_, n)| n).sum();
            some * seen.get(name).copied().unwrap_or(0)
        };
        timings.iter().map(one).sum()
    };
    let (all, long) = (ends(&|_| true), ends(&|levels| levels > LEVELS));
    let _ = writeln!(text, "\nWays of more than {LEVELS} levels end in {long} of {all} places.");
    let wide: Vec<String> = timings
        .iter()
        .filter(|(_, t)| t.fanout.0 > FANOUT)
        .map(|(name, t)| format!("`{name}` {} ({})", t.fanout.1, t.fanout.0))
        .collect();
    let _ = writeln!(
        text,
        "Nets with more than {FANOUT} loads in a module: {}",
        if wide.is_empty() { "none".into() } else { wide.join(", ") }
    );
    text
}

/// Fails if a resource or a module has grown past a committed budget.
fn check(amounts: &Value, file: &Path, totals: bool) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let budget: Value = serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
    let grown = grown(amounts, &budget, totals);
    ensure!(
        grown.is_empty(),
        "{} past the budget in {}:\n{}\nshrink the change, or renew the budget with --json and say why in the commit",
        grown.len(),
        file.display(),
        grown.join("\n")
    );
    println!("within the budget of {}", file.display());
    Ok(())
}

/// What exceeds a budget: totals by 2 %, modules by 2 % or 8, levels by one. A module that the budget does not know
/// counts only in the totals, and is named. `totals`: nothing else counts, and 5 % more are allowed; with another version
/// of Yosys than the budget's 10 %.
fn grown(amounts: &Value, budget: &Value, totals: bool) -> Vec<String> {
    let mut grown = Vec::new();
    let same_tool = amounts["tool"] == budget["tool"];
    let factor = match (same_tool, totals) {
        (false, _) => 1.1,
        (true, true) => 1.05,
        (true, false) => 1.02,
    };
    let mut compare = |place: &str, now: &Value, allowed: &Value, slack: f64| {
        for name in RESOURCES {
            let (now, allowed) = (now[name].as_f64().unwrap_or(0.0), allowed[name].as_f64().unwrap_or(0.0));
            if now > (allowed * factor).max(allowed + slack) {
                grown.push(format!("  {place}: {name} grew from {allowed} to {now}"));
            }
        }
    };
    compare("total", amounts, budget, 0.0);
    if !same_tool {
        println!("the budget was counted by {}, this by {}: only totals count", budget["tool"], amounts["tool"]);
    }
    if totals || !same_tool {
        return grown;
    }
    let none = serde_json::Map::new();
    let modules = amounts["modules"].as_object().unwrap_or(&none);
    for (name, now) in modules {
        let allowed = &budget["modules"][name.as_str()];
        if allowed.is_null() {
            println!("not in the budget: {name}");
            continue;
        }
        compare(name, now, allowed, 8.0);
    }
    for (name, now) in modules {
        let levels = |value: &Value| value["levels"].as_u64();
        if let (Some(now), Some(allowed)) = (levels(now), levels(&budget["modules"][name.as_str()]))
            && now > allowed
        {
            grown.push(format!("  {name}: the longest way grew from {allowed} to {now} levels"));
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_named() {
        let of = |lut: f64, levels: u64| json!({ "LUT": lut, "modules": { "m": { "LUT": lut, "levels": levels } } });
        assert_eq!(grown(&of(1000.0, 6), &of(1000.0, 6), false), [""; 0]);
        assert_eq!(grown(&of(1019.0, 5), &of(1000.0, 6), false), [""; 0]);
        let all = grown(&of(1021.0, 7), &of(1000.0, 6), false);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[2].contains("6 to 7 levels"));
        let mut other = of(1090.0, 7);
        other["tool"] = json!("another one");
        assert_eq!(grown(&other, &of(1000.0, 6), false), [""; 0]);
        other["LUT"] = json!(1110.0);
        assert_eq!(grown(&other, &of(1000.0, 6), false).len(), 1);
        assert_eq!(grown(&of(1040.0, 7), &of(1000.0, 6), true), [""; 0]);
        assert_eq!(grown(&of(1060.0, 6), &of(1000.0, 6), true).len(), 1);
        // small modules may grow by a few LUTs
        assert_eq!(grown(&of(18.0, 6), &of(10.0, 6), false), ["  total: LUT grew from 10 to 18"]);
    }
}
