//! Float units against `spec::numerics::f32ops`: edges against edges, then biased random operands.

mod operands;
mod stream;

pub use operands::{Operands, edges};
pub use stream::{Iterative, MUTATIONS, Streamed};

use crate::SimError;
use crate::bench::{BenchError, Cover};
use crate::compile::{Job, Speed, compile};
use crate::ffi::Library;
use crate::rng::Rng;
use hw::blocks::fp;
use hw::ir::{Design, Interface, IrError};
use spec::numerics::f32ops;
use std::collections::VecDeque;
use std::rc::Rc;

type Built = Result<Rc<Interface>, IrError>;

/// The NaN that the units make. Users may only rely on it being one.
pub const NAN: u32 = 0x7fc0_0000;

/// A unit, its operands and what it must compute.
#[derive(Clone, Copy)]
pub struct Unit {
    /// Its name in messages.
    pub name: &'static str,
    /// Adds it to a design.
    pub build: fn(&mut Design) -> Built,
    /// Cycles from operands to result; of an iterative unit at most.
    pub latency: u32,
    /// What it takes.
    pub operands: Operands,
    /// The result in the low bits of a word.
    pub oracle: fn(u64, u64) -> u64,
    /// The result before rounding (or nearly: binary64), for the counters.
    exact: fn(u64, u64) -> f64,
    /// Counters that must not stay zero.
    pub must_cover: &'static [&'static str],
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn wide(bits: u64) -> f64 {
    f64::from(float(bits))
}

fn bits(value: f32) -> u64 {
    if value.is_nan() { NAN.into() } else { value.to_bits().into() }
}

/// `a + b`
pub const ADD: Unit = Unit {
    name: "fadd",
    build: fp::Add::build,
    latency: fp::Add::LATENCY,
    operands: Operands::Sum,
    oracle: |a, b| bits(f32ops::add(float(a), float(b))),
    exact: |a, b| wide(a) + wide(b),
    must_cover: &["up", "down", "tie", "flushed", "overflow", "cancelled", "nan", "minus_zero"],
};

/// `a * b`
pub const MUL: Unit = Unit {
    name: "fmul",
    build: fp::Mul::build,
    latency: fp::Mul::LATENCY,
    operands: Operands::Product,
    oracle: |a, b| bits(f32ops::mul(float(a), float(b))),
    exact: |a, b| wide(a) * wide(b),
    must_cover: &["up", "down", "tie", "flushed", "reaches_min", "misses_min", "overflow", "nan", "minus_zero"],
};

/// `a / b`
pub const DIV: Unit = Unit {
    name: "fdiv",
    build: fp::Div::build,
    latency: fp::Div::LATENCY,
    operands: Operands::Quotient,
    oracle: |a, b| bits(f32ops::div(float(a), float(b))),
    exact: |a, b| wide(a) / wide(b),
    must_cover: &["up", "down", "exact", "flushed", "reaches_min", "misses_min", "overflow", "nan", "minus_zero"],
};

/// `a / b`, one at a time
pub const DIV_ITER: Unit = Unit { name: "fdiv_iter", build: fp::DivIter::build, latency: fp::DivIter::LATENCY, ..DIV };

/// The square root, one at a time
pub const SQRT: Unit = Unit {
    name: "fsqrt",
    build: fp::Sqrt::build,
    latency: fp::Sqrt::LATENCY,
    operands: Operands::Root,
    oracle: |a, _| bits(f32ops::sqrt(float(a))),
    exact: |a, _| wide(a).sqrt(),
    must_cover: &["up", "down", "exact", "nan", "minus_zero"],
};

/// The nearest i32
pub const TO_INT: Unit = Unit {
    name: "f2i",
    build: fp::ToInt::build,
    latency: fp::ToInt::LATENCY,
    operands: Operands::Whole,
    oracle: |a, _| f32ops::round_to_i32(float(a)) as u32 as u64,
    exact: |a, _| wide(a),
    must_cover: &["int_tie", "int_up", "int_down", "saturated", "small", "nan_in"],
};

const FROM_MUST: &[&str] = &["up", "down", "tie"];

/// The nearest float of an i32
pub const FROM_I32: Unit = Unit {
    name: "i2f_32",
    build: |design| fp::FromInt { width: 32 }.build(design),
    latency: fp::FromInt::LATENCY,
    operands: Operands::Int(32),
    oracle: |a, _| bits(f32ops::from_i32(a as u32 as i32)),
    exact: |a, _| f64::from(a as u32 as i32),
    must_cover: FROM_MUST,
};

/// The nearest float of an i48
pub const FROM_I48: Unit = Unit {
    name: "i2f_48",
    build: |design| fp::FromInt { width: 48 }.build(design),
    operands: Operands::Int(48),
    oracle: |a, _| bits(f32ops::from_i64((a << 16) as i64 >> 16)),
    exact: |a, _| ((a << 16) as i64 >> 16) as f64,
    ..FROM_I32
};

/// The nearest float of an i25: one bit is lost at most
pub const FROM_I25: Unit = Unit {
    name: "i2f_25",
    build: |design| fp::FromInt { width: 25 }.build(design),
    operands: Operands::Int(25),
    oracle: |a, _| bits(f32ops::from_i64((a << 39) as i64 >> 39)),
    exact: |a, _| ((a << 39) as i64 >> 39) as f64,
    must_cover: &[],
    ..FROM_I32
};

/// The nearest float of an i17: exact
pub const FROM_I17: Unit = Unit {
    name: "i2f_17",
    build: |design| fp::FromInt { width: 17 }.build(design),
    operands: Operands::Int(17),
    oracle: |a, _| bits(f32ops::from_i64((a << 47) as i64 >> 47)),
    exact: |a, _| ((a << 47) as i64 >> 47) as f64,
    must_cover: &[],
    ..FROM_I32
};

impl Unit {
    /// Counts what a pair of operands exercises.
    fn count(&self, a: u64, b: u64, cover: &mut Cover) {
        let exact = (self.exact)(a, b);
        if let Operands::Whole = self.operands {
            let result = f64::from((self.oracle)(a, b) as u32 as i32);
            cover.count("nan_in", exact.is_nan());
            cover.count("saturated", exact.is_infinite() || (exact - result).abs() > 1.0);
            cover.count("int_tie", (exact - result).abs() == 0.5);
            cover.count("int_up", exact < result && result - exact < 0.5);
            cover.count("int_down", exact > result && exact - result < 0.5);
            cover.count("small", exact != 0.0 && result == 0.0);
            return;
        }
        let result = wide((self.oracle)(a, b));
        let (size, error) = (result.abs(), result.abs() - exact.abs());
        let ulp = f64::from((result.abs() as f32).next_up()) - size;
        let normal = size.is_normal() && exact.abs() > f64::from(f32::MIN_POSITIVE);
        cover.count("up", normal && error > 0.0);
        cover.count("down", normal && error < 0.0);
        cover.count("exact", normal && error == 0.0);
        cover.count("tie", normal && error.abs() * 2.0 == ulp);
        cover.count("flushed", result == 0.0 && exact != 0.0 && exact.is_finite());
        let (min, step) = (f64::from(f32::MIN_POSITIVE), 2f64.powi(-150));
        cover.count("reaches_min", size == min && exact.abs() < min);
        cover.count("misses_min", size == 0.0 && exact.abs() < min - step && exact.abs() > min - 3.0 * step);
        cover.count("overflow", size.is_infinite() && exact.is_finite() && float(a).is_finite());
        cover.count("cancelled", result == 0.0 && exact == 0.0 && float(a) != 0.0 && float(b) != 0.0);
        cover.count("nan", result.is_nan());
        cover.count("minus_zero", result == 0.0 && result.is_sign_negative());
    }

    fn library(&self) -> Result<Library, SimError> {
        let mut design = Design::default();
        let top = (self.build)(&mut design)?;
        let verilog = design.text();
        compile(&Job { top: &top.name, verilog: &verilog, ports: &top.ports, speed: Speed::Quick, lint: true })
    }

    fn compare(&self, index: usize, cycle: u64, pair: (u64, u64), found: u64) -> Result<(), SimError> {
        let expected = (self.oracle)(pair.0, pair.1);
        if found == expected {
            return Ok(());
        }
        let difference = format!("{found:#x}, expected {expected:#x} of {:#x}, {:#x}", pair.0, pair.1);
        let (block, run, stream) = (self.name.to_string(), "pairs".into(), "y".into());
        Err(BenchError::Value { block, run, cycle, stream, index, difference }.into())
    }

    /// All edges against all edges, then `random` pairs.
    fn pairs(&self, rng: &mut Rng, random: usize, cover: &mut Cover) -> Vec<(u64, u64)> {
        let mut pairs = self.operands.cross();
        pairs.extend((0..random).map(|_| self.operands.pair(rng)));
        for (a, b) in &pairs {
            self.count(*a, *b, cover);
        }
        pairs
    }

    fn covered(&self, cover: Cover) -> Result<Cover, SimError> {
        match self.must_cover.iter().find(|counter| cover.get(counter) == 0) {
            Some(counter) => {
                Err(BenchError::Uncovered { block: self.name.into(), counter: counter.to_string() }.into())
            }
            None => Ok(cover),
        }
    }

    /// Operands through a pipelined unit, with gaps; a result stays until the next one.
    pub fn check(&self, rng: &mut Rng, random: usize) -> Result<Cover, SimError> {
        let library = self.library()?;
        let (valid_port, a_port) = (library.port("valid_i")?, library.port("a_i")?);
        let b_port = self.operands.two().then(|| library.port("b_i")).transpose()?;
        let y_port = library.port("y_o")?;
        let mut model = library.start(rng.bits() as u32);
        let mut cover = Cover::default();
        let pairs = self.pairs(rng, random, &mut cover);
        let mut waiting = VecDeque::new();
        let (mut given, mut done, mut shown, mut cycle) = (0, 0, None, 0);
        while done < pairs.len() {
            if waiting.len() == self.latency as usize {
                if let Some(Some(pair)) = waiting.pop_front() {
                    shown = Some((done, pair));
                    done += 1;
                }
                if let Some((index, pair)) = shown {
                    self.compare(index, cycle, pair, model.get(y_port))?;
                }
            }
            let valid = given < pairs.len() && !rng.one_in(4);
            // anything may come in a gap
            let pair = if valid { pairs[given] } else { self.operands.pair(rng) };
            given += usize::from(valid);
            model.set(valid_port, valid.into());
            model.set(a_port, pair.0);
            if let Some(port) = b_port {
                model.set(port, pair.1);
            }
            waiting.push_back(valid.then_some(pair));
            model.tick();
            cycle += 1;
        }
        self.covered(cover)
    }

    /// Operands one after the other through a unit with streams; returns also the cycles that all took.
    pub fn check_iterative(&self, rng: &mut Rng, random: usize) -> Result<(Cover, u64), SimError> {
        let library = self.library()?;
        let a_port = library.port("in_a_i")?;
        let b_port = self.operands.two().then(|| library.port("in_b_i")).transpose()?;
        let [reset, in_valid, in_ready] = ["rst_i", "in_valid_i", "in_ready_o"].map(|name| library.port(name));
        let [out_valid, out_ready, out] = ["out_valid_o", "out_ready_i", "out_y_o"].map(|name| library.port(name));
        let (reset, in_valid, in_ready) = (reset?, in_valid?, in_ready?);
        let (out_valid, out_ready, out) = (out_valid?, out_ready?, out?);
        let mut model = library.start(rng.bits() as u32);
        let mut cover = Cover::default();
        let pairs = self.pairs(rng, random, &mut cover);
        model.set(in_valid, 0);
        model.set(out_ready, 1);
        model.set(reset, 1);
        model.tick();
        model.set(reset, 0);
        model.set(in_valid, 1);
        let (mut cycle, mut sent, mut received, mut idle) = (0u64, 0, 0, 0);
        while received < pairs.len() {
            let pair = pairs.get(sent).copied().unwrap_or_default();
            model.set(a_port, pair.0);
            if let Some(port) = b_port {
                model.set(port, pair.1);
            }
            // ready, valid and the result come from registers
            let take = model.get(in_ready) == 1;
            if model.get(out_valid) == 1 {
                self.compare(received, cycle, pairs[received], model.get(out))?;
                received += 1;
                idle = 0;
            }
            sent += usize::from(take);
            model.tick();
            (cycle, idle) = (cycle + 1, idle + 1);
            if idle > 100 {
                let (block, missing) = (self.name.to_string(), pairs.len() - received);
                return Err(BenchError::Stuck { block, run: "pairs".into(), cycles: idle, missing }.into());
            }
        }
        Ok((self.covered(cover)?, cycle))
    }
}
