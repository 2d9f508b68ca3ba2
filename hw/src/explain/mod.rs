//! What a preset costs and how fast it can be. Cycles are estimates by formula; memories are those of the
//! generated machine.

mod budget;
mod cost;
mod memories;

pub use cost::{CacheCost, Cost, MODELS, ModelShape, attention, head, layers, matrix};

use crate::blocks::attend::Attend;
use crate::blocks::axi_read::AxiRead;
use crate::blocks::axi_write::AxiWrite;
use crate::blocks::fp;
use crate::blocks::gather::Gather;
use crate::blocks::psum::{MULT_BITS, Psum};
use crate::blocks::regs::Regs;
use crate::blocks::sequencer::Sequencer;
use crate::blocks::stream_read::StreamRead;
use crate::blocks::table_build::{DENSE_ENTRIES, SHERRY_ENTRIES, sum_width};
use crate::blocks::vmem::Vmem;
use crate::ir::{Design, IrError};
use crate::preset::Machine;
use crate::top::ports::clients;

/// The text of `--explain`.
pub fn explain(machine: &Machine) -> Result<String, IrError> {
    let mut design = Design::default();
    let top = machine.build(&mut design)?;
    let stored = design.memories(&top.name);
    let lines = [
        preset(machine),
        engine(machine),
        widths(machine),
        vectors(machine),
        attention_units(machine),
        latencies(machine),
        ports(machine),
        memories::memories(machine, &stored),
        budget::budget(machine),
    ];
    Ok(lines.concat().iter().map(|line| format!("{}\n", line.trim_end())).collect())
}

fn preset(machine: &Machine) -> Vec<String> {
    let (board, hash) = (machine.board, machine.hash());
    let mut out = vec![format!("preset {}, configuration {hash}, board {} ({})", machine.name, board.name, board.part)];
    out.extend(machine.canonical().lines().map(|l| format!("  {l}")));
    out.push(String::new());
    out
}

fn engine(machine: &Machine) -> Vec<String> {
    let e = &machine.engine;
    let (row, lookups) = (e.row(), e.tables * e.rows * e.tokens);
    let passes = row.passes();
    let (dense, sherry) = (passes * DENSE_ENTRIES, passes * SHERRY_ENTRIES);
    vec![
        "engine".into(),
        format!("  {} tables x {} rows x {} tokens = {lookups} look-ups a cycle", e.tables, e.rows, e.tokens),
        format!("  {} weights a cycle dense, {} Sherry", 3 * e.tables * e.rows, 4 * e.tables * e.rows),
        format!("  tables built in {dense} cycles dense, {sherry} Sherry ({} at a time, {passes} passes),", e.groups),
        "  behind segments of more words".into(),
        format!("  partial sums: the same word again after {} cycles at the earliest", Psum::REVISIT),
    ]
}

fn widths(machine: &Machine) -> Vec<String> {
    let (e, a) = (&machine.engine, machine.attend());
    let [dot, sum, acc] = [a.dot_bits(), a.sum_bits(), a.acc_bits()];
    vec![
        "widths".into(),
        format!(
            "  engine: table entry i{}, tree i{}, multiplier u{MULT_BITS}, accumulator i{} ({} inputs)",
            sum_width(),
            e.row().width(),
            e.psum().acc,
            e.cols
        ),
        format!("  attention: dot i{dot}, weight u{}, sum of weights u{sum}, of values i{acc}", Attend::WEIGHT_BITS),
        "  vectors: binary32; codes i8".into(),
    ]
}

fn vectors(machine: &Machine) -> Vec<String> {
    let (v, l, groups) = (machine.vector_tokens, machine.lanes(), machine.token_groups());
    vec![
        "vector units".into(),
        format!("  {v} slots x {l} columns = {} values a cycle, {groups} groups of slots one after the other", v * l),
        format!("  vector memory: {} words a group", machine.vector_words()),
        "  quantiser: each vector twice, a word of a group a cycle at best".into(),
        format!("  epilogue: a word of sums in {} cycles", groups * machine.engine.rows / l),
    ]
}

fn attention_units(machine: &Machine) -> Vec<String> {
    let (units, queries, bytes) = (machine.units, machine.queries, machine.port_bits / 8);
    let half = match machine.attend().halves() {
        true => format!(", {} queries beyond {}", queries / 2, machine.full_blocks),
        false => String::new(),
    };
    vec![
        "attention".into(),
        format!("  {units} units x {queries} queries x {bytes} products a cycle, keys and values alike"),
        format!("  {} positions{half}, rows of at most {} codes", machine.max_context, machine.row_codes()),
    ]
}

fn latencies(machine: &Machine) -> Vec<String> {
    let e = &machine.engine;
    let levels = e.row().levels();
    let all = [
        ("engine", e.latency(), format!("fold, look up, {levels} tree levels, carry, multiply, add, queue")),
        ("weights", machine.weights().latency(), "beat to word, through an empty ring".into()),
        ("row, norm, mult", StreamRead::LATENCY, "beat to word".into()),
        ("epilogue", machine.epilogue().latency(), "sums to the first result".into()),
        ("output head", machine.head().latency(), "logits to the best one".into()),
        ("vector memory", Vmem::LATENCY, "request to answer".into()),
        ("gather", Gather::LATENCY, "code to column".into()),
        ("sequencer", Sequencer::LATENCY, "descriptor to commands".into()),
        ("read port", AxiRead::LATENCY, "command to address".into()),
        ("write port", AxiWrite::LATENCY, "command to address".into()),
        ("registers", Regs::LATENCY, "address to data".into()),
        ("add, multiply", fp::Add::LATENCY, format!("binary32; multiply {}", fp::Mul::LATENCY)),
        ("divide", fp::Div::LATENCY, format!("binary32; square root {}", fp::Sqrt::LATENCY)),
    ];
    let line = |(name, cycles, what): &(&str, u32, String)| format!("  {name:<16}{cycles:>3}  {what}");
    std::iter::once("latencies in cycles".into()).chain(all.iter().map(line)).collect()
}

/// Bytes a second of all ports, in GB.
fn bandwidth(machine: &Machine) -> f64 {
    f64::from(machine.ports * machine.port_bits / 8 * machine.mhz) / 1e3
}

fn ports(machine: &Machine) -> Vec<String> {
    let (n, bits, all) = (machine.ports, machine.port_bits, clients(machine));
    let mut out = vec![
        format!("ports: {n} x {bits} bits at {} MHz = {:.1} GB/s", machine.mhz, bandwidth(machine)),
        "  s_axi_ctrl    AXI4-Lite, 32 bits: registers".into(),
    ];
    for port in 0..n {
        let own = all.iter().filter(|c| c.port == port).map(|c| format!("{} ({})", c.name, c.fifo));
        let writes = if port == 0 { "; writes kv, head" } else { "" };
        let own = own.collect::<Vec<_>>().join(", ");
        out.push(format!("  {:<14}reads {own}{writes}", format!("m_axi_gmem{port}")));
    }
    out.push("  in falling priority; in brackets the beats that wait for a client".into());
    out
}
