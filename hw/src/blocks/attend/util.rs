//! Small pieces of which the parts of attention are made.

use crate::ir::{Expr, Module, lit};
use std::cell::RefCell;
use std::rc::Rc;

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

/// A value and the same value later and later.
#[derive(Clone)]
pub(super) struct Line(Rc<RefCell<Stages>>);

struct Stages {
    name: String,
    reset: bool,
    valid: Option<Line>,
    stages: Vec<Expr>,
}

impl Line {
    /// A line of values; one that `reset` clears is for valid bits.
    pub(super) fn new(name: &str, value: &Expr, reset: bool) -> Line {
        Line::make(name, value, reset, None)
    }

    /// A line of values beside a line of valid bits: a stage moves only with a value.
    pub(super) fn of(name: &str, value: &Expr, valid: &Line) -> Line {
        Line::make(name, value, false, Some(valid.clone()))
    }

    fn make(name: &str, value: &Expr, reset: bool, valid: Option<Line>) -> Line {
        Line(Rc::new(RefCell::new(Stages { name: name.to_string(), reset, valid, stages: vec![value.clone()] })))
    }

    /// The value `cycles` later.
    pub(super) fn at(&self, m: &mut Module, cycles: u32) -> Expr {
        let mut line = self.0.borrow_mut();
        while line.stages.len() <= cycles as usize {
            let count = line.stages.len();
            let before = line.stages[count - 1].clone();
            let name = format!("{}_{count}q", line.name);
            let q = match line.reset {
                true => m.reg_reset(&name, &lit(0, before.width())),
                false => m.reg(&name, before.ty()),
            };
            match &line.valid {
                Some(valid) => {
                    let valid = valid.at(m, count as u32 - 1);
                    m.next_when(&q, &valid, &before);
                }
                None => m.next(&q, &before),
            }
            line.stages.push(q);
        }
        line.stages[cycles as usize].clone()
    }
}
