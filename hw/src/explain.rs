//! What a preset costs and how fast it can be. All figures here are estimates by formula; those of
//! attention, norms and the head's refinement are not in them.

use crate::blocks::psum::Psum;
use crate::blocks::table_build::{DENSE_ENTRIES, SHERRY_ENTRIES, TableBuild, sum_width};
use crate::preset::Machine;
use std::fmt::Write;

/// Shape of a known model: what its matrices are.
pub struct ModelShape {
    /// Name for people.
    pub name: &'static str,
    /// Blocks.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width of the feed-forward network.
    pub ffn: u64,
    /// Width of all query heads.
    pub q: u64,
    /// Width of all key (or value) heads.
    pub kv: u64,
    /// Vocabulary.
    pub vocab: u64,
}

/// Models whose budget is printed.
pub const MODELS: [ModelShape; 3] = [
    ModelShape { name: "BitNet 0.73B", layers: 24, hidden: 1536, ffn: 4096, q: 1536, kv: 1536, vocab: 32_002 },
    ModelShape { name: "BitNet 2B-4T", layers: 30, hidden: 2560, ffn: 6912, q: 2560, kv: 640, vocab: 128_256 },
    ModelShape { name: "story model", layers: 6, hidden: 256, ffn: 768, q: 256, kv: 128, vocab: 2_048 },
];

/// Cost of one pass over matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights that are read.
    pub bytes: u64,
    /// Cycles in which the ports bring them.
    pub memory_cycles: u64,
    /// Cycles of the engine, table builds that are not hidden included.
    pub engine_cycles: u64,
}

impl Cost {
    /// Cycles of a pass in which the ports and the engine overlap.
    pub fn cycles(&self) -> u64 {
        self.memory_cycles.max(self.engine_cycles)
    }

    fn add(self, other: Cost) -> Cost {
        Cost {
            bytes: self.bytes + other.bytes,
            memory_cycles: self.memory_cycles + other.memory_cycles,
            engine_cycles: self.engine_cycles + other.engine_cycles,
        }
    }

    fn times(self, n: u64) -> Cost {
        Cost { bytes: n * self.bytes, memory_cycles: n * self.memory_cycles, engine_cycles: n * self.engine_cycles }
    }
}

/// Cost of a matrix of `rows` x `cols`, dense or Sherry, for up to `tokens` tokens.
pub fn matrix(machine: &Machine, rows: u64, cols: u64, sherry: bool) -> Cost {
    let e = &machine.engine;
    let (group, entries) = if sherry { (4, SHERRY_ENTRIES) } else { (3, DENSE_ENTRIES) };
    let segments = cols.div_ceil(group * u64::from(e.tables));
    let words = rows.div_ceil(u64::from(e.rows));
    let codes = words * segments * u64::from(e.tables * e.rows);
    let bytes = if sherry { (codes * 5).div_ceil(8) } else { (codes * 3).div_ceil(5) };
    let build = u64::from(e.row().passes() * entries + TableBuild::SET_GAP);
    let tiles = rows.div_ceil(e.tile_rows);
    let per_segment = (words / tiles).max(build);
    Cost {
        bytes,
        memory_cycles: bytes.div_ceil(u64::from(machine.ports * machine.port_bits / 8)),
        engine_cycles: tiles * segments * per_segment + build + u64::from(e.latency()),
    }
}

/// Cost of all layers of a model, q, k, v and gate, up each fused.
pub fn layers(machine: &Machine, model: &ModelShape, sherry: bool) -> Cost {
    let one = [
        (model.q + 2 * model.kv, model.hidden),
        (model.hidden, model.q),
        (2 * model.ffn, model.hidden),
        (model.hidden, model.ffn),
    ];
    one.iter()
        .fold(Cost::default(), |sum, (rows, cols)| sum.add(matrix(machine, *rows, *cols, sherry)))
        .times(model.layers)
}

/// Cost of the head's top plane.
pub fn head(machine: &Machine, model: &ModelShape) -> Cost {
    matrix(machine, model.vocab, model.hidden, false)
}

fn rate(machine: &Machine, cycles: u64, tokens: u64) -> f64 {
    f64::from(machine.mhz) * 1e6 * tokens as f64 / cycles as f64
}

/// The text of `--explain`.
pub fn explain(machine: &Machine) -> String {
    let e = &machine.engine;
    let (psum, row, mut out) = (e.psum(), e.row(), String::new());
    let bandwidth = f64::from(machine.ports * machine.port_bits / 8 * machine.mhz) / 1e3;
    let lookups = e.tables * e.rows * e.tokens;
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "preset {}, configuration {}, board {} ({})",
        machine.name,
        machine.hash(),
        machine.board.name,
        machine.board.part
    ));
    line(machine.canonical().trim_end().lines().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n"));
    line("\nengine".into());
    line(format!("  {} tables x {} rows x {} tokens = {lookups} look-ups a cycle", e.tables, e.rows, e.tokens));
    line(format!("  {} weights a cycle dense, {} Sherry", 3 * e.tables * e.rows, 4 * e.tables * e.rows));
    line(format!("  latency {} cycles: fold, look up, {} tree levels, accumulate, queue", e.latency(), row.levels()));
    let passes = row.passes();
    line(format!(
        "  tables built in {} cycles dense, {} Sherry ({} at a time, {passes} passes), behind segments of more words",
        passes * DENSE_ENTRIES,
        passes * SHERRY_ENTRIES,
        e.groups
    ));
    line(format!("  partial sums: the same word again after {} cycles at the earliest", Psum::REVISIT));
    line("widths".into());
    line(format!(
        "  table entry i{}, tree i{}, accumulator i{} ({} inputs)",
        sum_width(),
        row.width(),
        psum.acc,
        e.cols
    ));
    line("memories".into());
    let table_bits = e.tokens * sum_width();
    line(format!("  tables        {} x [32] u{table_bits}, LUT RAM", e.tables * e.rows));
    line(format!("  partial sums  [{}] u{}", psum.words, psum.lanes * psum.acc));
    let queue_ram = if e.queue_in_luts() { "LUT" } else { "Block" };
    line(format!("  sum queue     [{}] u{}, {queue_ram} RAM", e.queue(), psum.lanes * psum.acc + 1));
    line(format!(
        "  weight buffer [{}] u{}, {} URAMs (planned)",
        machine.buffer_words(),
        5 * e.tables * e.rows,
        machine.urams()
    ));
    line(format!(
        "ports\n  {} x {} bits at {} MHz = {bandwidth:.1} GB/s\n",
        machine.ports, machine.port_bits, machine.mhz
    ));
    line("estimated by formula, linear layers alone; attention, norms and memory losses are not in it".into());
    line(format!(
        "{:<15}{:<8}{:>10}{:>12}{:>12}{:>10}{:>9}{:>15}",
        "model", "weights", "MB/token", "port cyc", "engine cyc", "binds", "tok/s", "prefill tok/s"
    ));
    for model in &MODELS {
        let widest = model.hidden.max(model.ffn).max(model.q);
        if widest > e.cols {
            line(format!("{:<15}does not fit: a layer of {widest} inputs, max_cols = {}", model.name, e.cols));
            continue;
        }
        for (weights, sherry) in [("dense", false), ("Sherry", true)] {
            let layers = layers(machine, model, sherry);
            let token = layers.add(head(machine, model));
            let binds = if token.memory_cycles >= token.engine_cycles { "ports" } else { "engine" };
            line(format!(
                "{:<15}{weights:<8}{:>10.1}{:>12}{:>12}{binds:>10}{:>9.1}{:>15.0}",
                model.name,
                token.bytes as f64 / 1e6,
                token.memory_cycles,
                token.engine_cycles,
                rate(machine, token.cycles(), 1),
                rate(machine, layers.engine_cycles, e.tokens.into())
            ));
        }
    }
    out
}
