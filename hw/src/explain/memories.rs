//! Memories of the generated machine and the blocks that they take.

use crate::ir::{RamStyle, Stored};
use crate::preset::{Machine, half_brams, urams};

/// What people call a memory: begin of the module's name, memory, name.
const NAMES: [(&str, &str, &str); 15] = [
    ("tern_ring", "mem", "weight ring"),
    ("tern_vmem", "mem", "vector memory"),
    ("tern_act_buffer", "mem", "activation buffer"),
    ("tern_psum", "mem", "partial sums"),
    ("tern_fifo_deep", "mem", "sum queue"),
    ("tern_quant", "weight", "norm weights"),
    ("tern_attend_queries", "codes", "query codes"),
    ("tern_attend_queries", "scales", "query scales"),
    ("tern_attend_unit", "scores", "scores"),
    ("tern_attend_unit", "scales", "key scales"),
    ("tern_attend_unit", "value_scales", "value scales"),
    ("tern_epilogue", "cos", "rotary factors, cos"),
    ("tern_epilogue", "sin", "rotary factors, sin"),
    ("tern_fifo_bram", "mem", "queues of ports and of y"),
    ("tern_table_w", "mem", "look-up tables"),
];

/// The name of a memory, if it has one that matters.
fn name(stored: &Stored) -> Option<&'static str> {
    let known = NAMES.iter().find(|(module, memory, _)| stored.module.starts_with(module) && stored.memory == *memory);
    known.map(|(_, _, name)| *name)
}

/// Block RAMs in halves and UltraRAMs of all copies.
fn blocks(stored: &Stored) -> (u64, u64) {
    match stored.style {
        RamStyle::Distributed => (0, 0),
        RamStyle::Block => (stored.copies * half_brams(stored.width, stored.depth), 0),
        RamStyle::Ultra => (0, stored.copies * urams(stored.width, stored.depth)),
    }
}

fn halves(n: u64) -> String {
    format!("{}{}", n / 2, if n.is_multiple_of(2) { "" } else { ".5" })
}

/// Lines on memories: the large ones by name, the others of LUT RAM together.
pub(super) fn memories(machine: &Machine, stored: &[Stored]) -> Vec<String> {
    let mut out =
        vec![format!("{:<26}{:>22}{:>12}{:>8}{:>7}", "memories", "copies x words x bits", "of", "RAMB36", "URAM")];
    let (mut brams, mut ultra, mut rest) = (0, 0, 0);
    let mut known: Vec<(&'static str, &Stored)> = Vec::new();
    for memory in stored {
        let (b, u) = blocks(memory);
        brams += b;
        ultra += u;
        match name(memory) {
            Some(name) => known.push((name, memory)),
            None if b + u > 0 => known.push(("others", memory)),
            None => rest += memory.copies * u64::from(memory.width) * memory.depth,
        }
    }
    known.sort_by_key(|(name, _)| NAMES.iter().position(|(_, _, n)| n == name).unwrap_or(NAMES.len()));
    for (name, m) in known {
        let (b, u) = blocks(m);
        let shape = format!("{} x [{}] u{}", m.copies, m.depth, m.width);
        let of = m.style.name();
        out.push(format!("  {name:<24}{shape:>22}{of:>12}{:>8}{u:>7}", halves(b)));
    }
    out.push(format!("  {:<24}{:>22}{:>12}{:>8}{:>7}", "small ones", format!("{rest} bits"), "distributed", "", ""));
    out.push(format!("  {:<24}{:>22}{:>12}{:>8}{ultra:>7}", "together", "", "", halves(brams)));
    if machine.board.urams != u32::MAX {
        let (b, u) = (machine.board.brams, machine.board.urams);
        out.push(format!("  {:<24}{:>22}{:>12}{b:>8}{u:>7}", machine.board.name, "", ""));
    }
    out
}
