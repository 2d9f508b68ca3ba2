//! Small pieces of which the parts of attention are made.

use crate::ir::{Expr, Module, lit};

/// `e == value`
pub(super) fn is(e: &Expr, value: u64) -> Expr {
    e.eq(&lit(value.into(), e.width()))
}

/// `e != value`
pub(super) fn not(e: &Expr, value: u64) -> Expr {
    e.ne(&lit(value.into(), e.width()))
}

/// `e >= value`
pub(super) fn reaches(e: &Expr, value: u64) -> Expr {
    if value == 0 { lit(1, 1) } else { e.ge(&lit(value.into(), e.width())) }
}

/// `e > value`
pub(super) fn above(e: &Expr, value: u64) -> Expr {
    if (value + 1) >> e.width() != 0 { lit(0, 1) } else { e.gt(&lit(value.into(), e.width())) }
}

/// `e + 1` in the same width.
pub(super) fn inc(e: &Expr) -> Expr {
    e.add_wrap(&lit(1, e.width()))
}

/// `e - 1` in the same width.
pub(super) fn dec(e: &Expr) -> Expr {
    e.sub_wrap(&lit(1, e.width())).as_unsigned()
}

/// The low bits of `e`, or `e` with zeros above it.
pub(super) fn fit(e: &Expr, width: u32) -> Expr {
    let e = e.as_unsigned();
    if width <= e.width() { e.low(width) } else { e.extend(width) }
}

/// `items[index]`, a tree of multiplexers.
pub(super) fn select(index: &Expr, items: &[Expr]) -> Expr {
    let mut level = items.to_vec();
    let mut bit = 0;
    while level.len() > 1 {
        let pick = index.bit(bit);
        level = level.chunks(2).map(|p| p.get(1).map_or_else(|| p[0].clone(), |high| pick.mux(high, &p[0]))).collect();
        bit += 1;
    }
    level.pop().unwrap_or_else(|| lit(0, 1))
}

/// The lanes of a word, lane 0 first.
pub(super) fn lanes(word: &Expr, width: u32) -> Vec<Expr> {
    (0..word.width() / width).map(|i| word.lane(i, width)).collect()
}

/// A register without reset that loads `value` with `enable`.
pub(super) fn held(m: &mut Module, name: &str, enable: &Expr, value: &Expr) -> Expr {
    let q = m.reg(name, value.ty());
    m.next_when(&q, enable, value);
    q
}

/// A value and the same value later and later.
pub(super) struct Line {
    name: String,
    reset: bool,
    stages: Vec<Expr>,
}

impl Line {
    /// A line of values; one that `reset` clears is for valid bits.
    pub(super) fn new(name: &str, value: &Expr, reset: bool) -> Line {
        Line { name: name.to_string(), reset, stages: vec![value.clone()] }
    }

    /// The value `cycles` later.
    pub(super) fn at(&mut self, m: &mut Module, cycles: u32) -> Expr {
        while self.stages.len() <= cycles as usize {
            let before = self.stages[self.stages.len() - 1].clone();
            let name = format!("{}_{}q", self.name, self.stages.len());
            let q = match self.reset {
                true => m.reg_reset(&name, &lit(0, before.width())),
                false => m.reg(&name, before.ty()),
            };
            m.next(&q, &before);
            self.stages.push(q);
        }
        self.stages[cycles as usize].clone()
    }
}
