//! Results as JSON, kept in a file after every case so that an interrupted run keeps what it has.

use crate::cases::{Case, Head, Kind};
use crate::plan::PHASES;
use crate::profile::{Cause, Span};
use crate::rig::{Outcome, Rig};
use anyhow::{Context, Result};
use host::compile::{DeviceImage, Programs};
use hw::ir::Design;
use hw::preset::Machine;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use spec::model::ModelConfig;
use spec::program::Descriptor;
use std::path::{Path, PathBuf};

/// A short hash of some bytes.
fn short(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// A line of Verilog without its comment; `None` if nothing is left.
fn code(line: &str) -> Option<&str> {
    let code = line.split("//").next().unwrap_or(line).trim();
    (!code.is_empty()).then_some(code)
}

/// What a result belongs to: results of another RTL or program are out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    preset: String,
    /// Hash of the Verilog without its comments.
    pub rtl: String,
    mhz: u32,
}

impl Origin {
    /// Of a machine's generated Verilog.
    pub fn new(machine: &Machine) -> Result<Origin> {
        let mut design = Design::default();
        machine.build(&mut design)?;
        let rtl = short(design.text().lines().filter_map(code).map(|line| format!("{line}\n").into_bytes()));
        Ok(Origin { preset: machine.name.clone(), rtl, mhz: machine.mhz })
    }
}

/// A short hash of the programs that a case runs: one for one bank of slots; in a prompt also those for two banks, and those
/// before the last pass.
pub fn programs(image: &DeviceImage, case: &Case) -> String {
    let prompt = matches!(case.kind, Kind::Prefill { .. });
    let wide = image.wide.as_ref().filter(|_| prompt);
    let of = |programs: &Programs| {
        let last = match case.head {
            Head::Exact => Some(&programs.full),
            Head::Shortlist => programs.shortlist.as_ref(),
        };
        let all = [Some(&programs.body).filter(|_| prompt), last]
            .into_iter()
            .flatten()
            .flat_map(|program| &program.descriptors);
        all.map(|d| Descriptor::to_bytes(d).to_vec()).collect::<Vec<_>>()
    };
    short([Some(&image.narrow), wide].into_iter().flatten().flat_map(of))
}

/// Multiply-adds that a token's matrices, head and attention stand for; `heads`: share of the tokens whose logits are
/// wanted. The others need no more than keys and values of the last layer.
pub fn multiply_adds(config: &ModelConfig, context: f64, heads: f64) -> f64 {
    let c = config;
    let kept = (2 * c.kv_dim() * c.hidden) as f64;
    let attention = 2.0 * c.q_dim() as f64 * (context + 1.0);
    let rest = (2 * c.q_dim() * c.hidden + 3 * c.ffn * c.hidden) as f64 + attention;
    (c.layers - 1) as f64 * (kept + rest) + kept + heads * (rest + (c.vocab * c.hidden) as f64)
}

/// The results in a file.
pub struct Rows {
    path: PathBuf,
    rows: Vec<Value>,
    /// Hash of the RTL of the last result.
    rtl: Value,
    /// Hash of the programs of each preset and case, as last compiled.
    programs: Map<String, Value>,
}

impl Rows {
    /// Those that the file has, if there is one.
    pub fn open(path: &Path) -> Result<Rows> {
        let (rows, rtl, programs) = match std::fs::read_to_string(path) {
            Ok(text) => {
                let all: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
                let rows = all["rows"].as_array().cloned();
                let rows = rows.with_context(|| format!("{}: no list `rows`", path.display()))?;
                (rows, all["rtl"].clone(), all["programs"].as_object().cloned().unwrap_or_default())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Rows { path: path.to_path_buf(), rows, rtl, programs })
    }

    /// Keeps in mind what the compiler makes of a case today.
    pub fn compiled(&mut self, case: &Case, origin: &Origin, programs: &str) {
        self.programs.insert(format!("{}/{case}", origin.preset), programs.into());
    }

    /// Whether the compiler made other programs of the case when it was compiled last.
    pub fn is_of_earlier_programs(&self, row: &Value) -> bool {
        let [preset, case] = ["preset", "case"].map(|key| row[key].as_str().unwrap_or_default());
        self.programs.get(&format!("{preset}/{case}")).is_some_and(|today| *today != row["programs"])
    }

    /// All of them.
    pub fn all(&self) -> &[Value] {
        &self.rows
    }

    fn place(&self, case: &str, memory: &str, preset: &str) -> Option<usize> {
        self.rows.iter().position(|r| r["case"] == case && r["memory"] == memory && r["preset"] == preset)
    }

    /// Whether a result of this RTL and program is there.
    pub fn has(&self, case: &Case, memory: &str, origin: &Origin, programs: &str) -> bool {
        let row = self.place(&case.to_string(), memory, &origin.preset).map(|at| &self.rows[at]);
        row.is_some_and(|row| row["rtl"] == origin.rtl && row["programs"] == programs)
    }

    /// Enters a result, in place of an older one, and writes the file.
    pub fn put(&mut self, row: Value) -> Result<()> {
        self.rtl = row["rtl"].clone();
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        match self.place(&text("case"), &text("memory"), &text("preset")) {
            Some(at) => self.rows[at] = row,
            None => self.rows.push(row),
        }
        self.write()
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        let about = "RTL in Verilator, cycles of whole forward passes; `cargo xtask bench kv260`";
        let Rows { rows, rtl, programs, .. } = self;
        let all = json!({ "evidence": "simulated", "about": about, "rtl": rtl, "programs": programs, "rows": rows });
        let temporary = self.path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            std::fs::write(&temporary, serde_json::to_string_pretty(&all)? + "\n")?;
            std::fs::rename(&temporary, &self.path)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

/// Stretches of the middle layer, for the picture: from, to, phase, busy units, beats of all ports.
fn timeline(spans: &[Span], layers: usize) -> Vec<Value> {
    let layer = layers as u16 / 2;
    let mut merged: Vec<Span> = Vec::new();
    for &span in spans.iter().filter(|span| span.label == layer) {
        match merged.last_mut() {
            Some(last) if last.phase == span.phase && last.busy == span.busy && last.to == span.from => {
                last.to = span.to;
                last.beats += span.beats;
            }
            _ => merged.push(span),
        }
    }
    merged.iter().map(|s| json!([s.from, s.to, s.phase, s.busy, s.beats])).collect()
}

/// A result as JSON.
pub fn row(case: &Case, memory: &str, origin: &Origin, rig: &Rig<'_>, programs: &str, outcome: &Outcome) -> Value {
    let image = rig.image();
    let (config, beat) = (&image.config, image.shape.beat() as u64);
    let (context, sequences, logits) = match case.kind {
        Kind::Decode { context } => (context as f64, 1, 1.0),
        Kind::Prefill { tokens } => ((tokens as f64 - 1.0) / 2.0, 1, 1.0 / tokens as f64),
        Kind::Batch { sequences, context } => (context as f64, sequences, 1.0),
    };
    let seconds = outcome.cycles as f64 / (f64::from(origin.mhz) * 1e6);
    let tokens = case.tokens() as f64;
    let read: u64 = outcome.ports.iter().map(|port| port.read_beats * beat).sum();
    let written: u64 = outcome.ports.iter().map(|port| port.write_beats * beat).sum();
    let share = |n: u64| (n as f64 / outcome.cycles as f64 * 1e4).round() / 1e4;
    let beats = outcome.counters.iter().find(|(name, _)| *name == "ENGINE_BEATS").map_or(0, |(_, n)| *n);
    let causes: Map<String, Value> =
        Cause::ALL.iter().map(|&cause| (cause.name().into(), outcome.profile.cause(cause).into())).collect();
    let phases = PHASES.iter().enumerate().map(|(phase, name)| {
        let of = |&cause: &Cause| {
            let n = outcome.profile.cycles(phase, cause);
            (n > 0).then(|| (cause.name().to_string(), json!(n)))
        };
        let causes: Map<String, Value> = Cause::ALL.iter().filter_map(of).collect();
        let (cycles, beats) = (outcome.profile.phase(phase), outcome.profile.beats[phase]);
        (name.to_string(), json!({ "cycles": cycles, "beats": beats, "causes": causes }))
    });
    let mut row = json!({
        "case": case.to_string(),
        "shape": case.shape,
        "weights": if case.sherry { "sherry" } else { "trit5" },
        "head": case.head.name(),
        "kind": case.kind.name(),
        "context": context,
        "tokens": case.tokens(),
        "sequences": sequences,
        "memory": memory,
        "preset": origin.preset,
        "rtl": origin.rtl,
        "programs": programs,
        "mhz": origin.mhz,
        "cycles": outcome.cycles,
        "passes": outcome.passes,
        "ms": (seconds * 1e6).round() / 1e3,
        "tok_s": (tokens / seconds * 10.0).round() / 10.0,
        "bytes_read": read,
        "bytes_written": written,
        "weight_bytes": outcome.weight_bytes,
        "multiply_adds": tokens * multiply_adds(config, context, logits),
        "port_share": outcome.ports.iter().map(|port| share(port.read_beats)).collect::<Vec<_>>(),
        "engine_share": share(beats),
        "causes": causes,
        "phases": Map::from_iter(phases),
        "counters": Map::from_iter(outcome.counters.iter().map(|(name, n)| (name.to_string(), json!(n)))),
        "best": outcome.best.iter().map(|best| best.map(|(token, _)| token)).collect::<Vec<_>>(),
        "simulation_seconds": outcome.seconds.round(),
    });
    if case.pictured() {
        row["timeline"] = timeline(&outcome.profile.spans, config.layers).into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::model::random;

    #[test]
    fn tokens_without_logits_need_no_more_than_keys_and_values_of_the_last_layer() {
        let c = random::small();
        let (kept, rest) = (2 * 32 * 48, 2 * 64 * 48 + 3 * 72 * 48 + 2 * 64 * 11);
        assert_eq!(multiply_adds(&c, 10.0, 1.0), f64::from(2 * (kept + rest) + 50 * 48));
        assert_eq!(multiply_adds(&c, 10.0, 0.0), f64::from(2 * kept + rest));
    }

    #[test]
    fn results_of_earlier_programs_are_told() {
        let mut rows = Rows { path: PathBuf::new(), rows: Vec::new(), rtl: Value::Null, programs: Map::new() };
        let case = crate::cases::all(true).remove(0);
        let row = json!({ "preset": "kv260", "case": case.to_string(), "programs": "a" });
        assert!(!rows.is_of_earlier_programs(&row), "nobody knows");
        let origin = Origin { preset: "kv260".into(), rtl: String::new(), mhz: 250 };
        for (programs, earlier) in [("a", false), ("b", true)] {
            rows.compiled(&case, &origin, programs);
            assert_eq!(rows.is_of_earlier_programs(&row), earlier);
        }
        rows.compiled(&case, &Origin { preset: "other".into(), ..origin }, "a");
        assert!(rows.is_of_earlier_programs(&row), "another preset's programs say nothing");
    }
}
