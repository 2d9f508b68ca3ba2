//! Who gets which descriptor, and what of it.

use crate::ir::{Expr, Module, Source, Ty, lit, uint};
use spec::program::{FIELDS, Field, Op, WORDS, quant, stream, wait};

/// What makes a descriptor one for a unit, beside its operation.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// Field `stream`.
    Stream(u32),
    /// Field `mode` of Quant is one of these.
    Modes(&'static [u32]),
}

/// A command source of the sequencer.
pub(super) struct Target {
    pub(super) name: &'static str,
    op: Op,
    when: When,
    /// Fields of the operation that the unit wants; all if empty.
    fields: &'static [&'static str],
    /// It works on groups of slots.
    groups: bool,
}

const fn t(name: &'static str, op: Op, when: When, fields: &'static [&'static str], groups: bool) -> Target {
    Target { name, op, when, fields, groups }
}

const RUN: &[&str] = &["addr", "packets", "words"];
const WEIGHTS: &[&str] = &["sherry", "listed", "addr", "stride", "packets", "words", "each"];
const KV: &[&str] = &["bank", "vectors", "kv_off", "kv_stride", "row_beats", "scale_off"];
const QUANT: &[&str] = &["bank", "first", "mode", "norm", "src", "words", "vectors", "dst", "count", "eps", "factor"];
const PACK: &[&str] = &["act", "cols", "seg_cols", "group_cols", "sherry"];
const MATRIX: &[&str] = &["act", "words", "segs", "planes", "grouped", "sherry"];
const EPILOGUE: &[&str] = &[
    "bank",
    "words",
    "mode",
    "accumulate",
    "bias",
    "row_scale",
    "rope_words",
    "scale_a",
    "scale_b",
    "dst",
    "acc",
    "cols",
    "base",
    "final",
    "keep",
];

/// All command sources.
pub(super) const TARGETS: [Target; 12] = [
    t("w_cmd", Op::Stream, When::Stream(stream::WEIGHT), WEIGHTS, false),
    t("row_cmd", Op::Stream, When::Stream(stream::ROW), RUN, false),
    t("norm_cmd", Op::Stream, When::Stream(stream::NORM), RUN, false),
    t("mult_cmd", Op::Stream, When::Stream(stream::MULT), RUN, false),
    t("gather_cmd", Op::Gather, When::Always, &[], true),
    t("quant_cmd", Op::Quant, When::Always, QUANT, true),
    t("pack_cmd", Op::Quant, When::Modes(&[quant::ACT]), PACK, true),
    t("kv_cmd", Op::Quant, When::Modes(&[quant::KEY, quant::VALUE]), KV, true),
    t("matrix_cmd", Op::Linear, When::Always, MATRIX, true),
    t("take_cmd", Op::Linear, When::Always, &["hold", "again", "total"], false),
    t("epi_cmd", Op::Linear, When::Always, EPILOGUE, true),
    t("attend_cmd", Op::Attend, When::Always, &[], false),
];

/// The most that `mode` of these operations may be; Linear has a mode for every number.
pub(super) const MODES: [(Op, u32); 1] = [(Op::Quant, quant::NORM)];

/// A field of a descriptor.
pub(super) fn field_of(descriptor: &Expr, field: &Field) -> Expr {
    descriptor.slice(32 * field.word as u32 + field.low, field.width)
}

/// A field by its name; an expression that does not check if there is none.
pub(super) fn named(descriptor: &Expr, op: Op, name: &str) -> Expr {
    spec::program::field(op, name).map_or_else(|| lit(0, 0), |field| field_of(descriptor, field))
}

/// Whether the operation is `op`.
pub(super) fn is_op(descriptor: &Expr, op: Op) -> Expr {
    descriptor.low(8).eq(&lit(op as u128, 8))
}

impl Target {
    /// Whether a descriptor is for this unit.
    pub(super) fn wanted(&self, descriptor: &Expr) -> Expr {
        let is = |name: &str, value: u32| {
            let field = named(descriptor, self.op, name);
            field.eq(&lit(value.into(), field.width()))
        };
        let when = match self.when {
            When::Always => lit(1, 1),
            When::Stream(number) => is("stream", number),
            When::Modes(modes) => modes.iter().fold(lit(0, 1), |any, mode| any | is("mode", *mode)),
        };
        is_op(descriptor, self.op) & when
    }

    fn own(&self) -> Vec<&'static Field> {
        let wants = |f: &&Field| f.op == self.op && (self.fields.is_empty() || self.fields.contains(&f.name));
        FIELDS.iter().filter(wants).collect()
    }

    /// Names and widths of the command's fields: those of the descriptor, then `value` (of the cache
    /// writer), then `groups`.
    pub(super) fn ports(&self, groups: u32) -> Vec<(&'static str, Ty)> {
        let mut ports: Vec<(&str, Ty)> = self.own().iter().map(|f| (f.name, uint(f.width))).collect();
        if self.name == "kv_cmd" {
            ports.push(("value", uint(1)));
        }
        if self.groups {
            ports.push(("groups", uint(groups)));
        }
        ports
    }

    /// Drives the fields of the command.
    pub(super) fn drive(&self, m: &mut Module, source: &Source, descriptor: &Expr, groups: &[Expr]) {
        for field in self.own() {
            m.drive(&source.field(field.name), &field_of(descriptor, field));
        }
        if self.name == "kv_cmd" {
            let mode = named(descriptor, Op::Quant, "mode");
            m.drive(&source.field("value"), &mode.eq(&lit(quant::VALUE.into(), mode.width())));
        }
        if self.groups {
            let bank = named(descriptor, self.op, "bank");
            let of_bank = groups.iter().skip(1).fold(groups[0].clone(), |first, second| bank.mux(second, &first));
            m.drive(&source.field("groups"), &of_bank);
        }
    }
}

/// Runs of bits of a descriptor that nothing uses.
pub(super) fn unused_bits(descriptor: &Expr) -> Vec<Expr> {
    let mut used = [0u32; WORDS];
    used[0] = u32::MAX;
    used[wait::LAG_WORD] = (1 << (wait::LAG_BITS * wait::LAGGED.len() as u32)) - 1;
    for target in &TARGETS {
        target.own().iter().for_each(|f| used[f.word] |= f.mask() << f.low);
    }
    for name in ["stream", "mode"] {
        let fields = FIELDS.iter().filter(|f| f.name == name);
        fields.for_each(|f| used[f.word] |= f.mask() << f.low);
    }
    let bits = 32 * WORDS as u32;
    let free = |bit: u32| used[(bit / 32) as usize] >> (bit % 32) & 1 == 0;
    let (mut runs, mut bit) = (Vec::new(), 0);
    while bit < bits {
        let end = (bit..bits).find(|b| !free(*b)).unwrap_or(bits);
        if end > bit {
            runs.push(descriptor.slice(bit, end - bit));
        }
        bit = end.max(bit + 1);
    }
    runs
}
