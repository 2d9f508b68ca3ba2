//! One lane of the epilogue.

use super::sigmoid::Sigmoid;
use crate::blocks::fp::{Add, FromInt, Mul};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, RamStyle, lit, sint, uint};
use crate::width::index_width;
use std::rc::Rc;

/// Arithmetic of one slot and one row: dequantise, two sums, gate or rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Bits of a sum.
    pub acc: u32,
    /// First halves of pairs that are kept.
    pub pairs: u64,
}

/// When things happen in a lane. Cycle 0 has the operands `acc_i`, `act_i`, `row_i`.
impl Lane {
    /// Cycles of the two conversions side by side.
    pub const SCALE: u32 = if Mul::LATENCY > FromInt::LATENCY { Mul::LATENCY } else { FromInt::LATENCY };
    /// The first summand `other_i` is taken.
    pub const ADD: u32 = Self::SCALE + Mul::LATENCY;
    /// Register that makes the way around the adder an odd number of cycles, so that two sums fit every second cycle.
    const AGAIN_EXTRA: u32 = Add::LATENCY % 2;
    /// Cycles around the adder.
    pub const AGAIN: u32 = 1 + Add::LATENCY + Self::AGAIN_EXTRA;
    /// The sum is there: `keep_i`, `take_i`. With two sums `AGAIN` later.
    pub const SUM: u32 = Self::ADD + 1 + Add::LATENCY;
    /// From here on cycle 0 has the operands of the second part in their registers, one after `take_i`.
    /// `cos_i` is taken.
    pub const COS: u32 = Sigmoid::LATENCY;
    /// `sin_i` is taken.
    pub const SIN: u32 = Self::COS + Mul::LATENCY;
    /// The last summand `old_i` is taken.
    pub const OLD: u32 = Self::SIN + Mul::LATENCY;
    /// The result is there.
    pub const RESULT: u32 = Self::OLD + 1 + Add::LATENCY;
    /// Stages of the second part where units take operands.
    pub const LATE: [u32; 5] = [0, Self::COS, Self::SIN, Self::OLD, Self::OLD + 1];
}

impl Lane {
    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let acc = self.acc;
        let (from_int, mul, add) = (FromInt { width: acc }.build(design)?, Mul::build(design)?, Add::build(design)?);
        let sigmoid = Sigmoid::build(design)?;
        let mut m = Module::new(format!("tern_epilogue_lane_a{acc}_d{}", self.pairs));
        m.header(&format!(
            "A lane of the epilogue: y = acc * (act * row) + other (+ other again), then one of\n\
             y (+ old) | silu(a) b | (relu(a) relu(a)) b | a cos - b sin, b cos + a sin, with a kept from earlier.\n\n\
             Shapes   acc i{acc}, all others binary32; {} kept values\n\
             Timing   acc, act, row at 0; other at {}, and at {} for a second sum (again_i); sum at {} ({}): keep_i\n\
             \x20        writes it to kept word pair_i, take_i takes it as b and the kept word as a, in the next\n\
             \x20        cycle swap_i exchanges them. Counted from the cycle after take_i or swap_i: cos at {},\n\
             \x20        sin (negative in the first of two) at {}, old at {}, y at {}\n\
             Latency  {} cycles ({}), one result per cycle; two sums or a rotation every second cycle\n\
             Stalls   none, no reset: valid_i at 0, scaled_i at {}, other_valid_i with other, sum_i a cycle later, then\n\
             \x20        the bits of late_i at {:?}\n\
             \x20        after take_i or swap_i, and moving_i from there on. Adding -0 changes nothing, so what is not\n\
             \x20        asked for adds -0\n\
             Oracle   sim::blocks::epilogue",
            self.pairs,
            Self::ADD,
            Self::ADD + Self::AGAIN,
            Self::SUM,
            Self::SUM + Self::AGAIN,
            Self::COS,
            Self::SIN,
            Self::OLD,
            Self::RESULT,
            Self::SUM + 1 + Self::RESULT,
            Self::SUM + Self::AGAIN + 1 + Self::RESULT,
            Self::SCALE,
            Self::LATE,
        ));
        let [valid, scaled, adds, summing] =
            ["valid_i", "scaled_i", "other_valid_i", "sum_i"].map(|n| m.input(n, uint(1)));
        let late = m.input("late_i", uint(Self::LATE.len() as u32));
        let [loaded, at_cos, at_sin, at_old, at_result] = [0, 1, 2, 3, 4].map(|at| late.bit(at));
        let moving = m.input("moving_i", uint(1));
        let sum_in = m.input("acc_i", sint(acc));
        let [act, row, other] = ["act_i", "row_i", "other_i"].map(|n| m.input(n, uint(32)));
        let again = m.input("again_i", uint(1));
        let [keep, take, swap] = ["keep_i", "take_i", "swap_i"].map(|n| m.input(n, uint(1)));
        let pair = m.input("pair_i", uint(index_width(self.pairs)));
        let [silu, relu, rope] = ["silu_i", "relu_i", "rope_i"].map(|n| m.input(n, uint(1)));
        let [cos, sin, old] = ["cos_i", "sin_i", "old_i"].map(|n| m.input(n, uint(32)));
        let y = m.output("y_o", uint(32));
        let unit = |m: &mut Module, role: &str, of: &Interface, valid: &Expr, a: &Expr, b: &Expr| -> Expr {
            let out: Outputs = m.instance(role, of, &[("valid_i", valid), ("a_i", a), ("b_i", b)]);
            out.get("y_o")
        };

        m.comment("Dequantise.");
        let float = m.instance("float", &from_int, &[("valid_i", &valid), ("a_i", &sum_in)]).get("y_o");
        let float = delay_n(&mut m, "float", &float, Self::SCALE - FromInt::LATENCY);
        let scale = unit(&mut m, "scale", &mul, &valid, &act, &row);
        let scale = delay_n(&mut m, "scale", &scale, Self::SCALE - Mul::LATENCY);
        let value = unit(&mut m, "value", &mul, &scaled, &float, &scale);

        m.comment("Add the other summand, and another one to the sum.");
        let sum = m.net("sum", uint(32));
        let around = delay_n(&mut m, "around", &sum, Self::AGAIN_EXTRA);
        let left_q = hold(&mut m, "left_q", &adds, &again.mux(&around, &value));
        let right_q = hold(&mut m, "right_q", &adds, &other);
        let added = unit(&mut m, "add", &add, &summing, &left_q, &right_q);
        m.drive(&sum, &added);

        m.comment("First halves of pairs wait for the second.");
        let kept = m.memory("kept", 32, self.pairs, RamStyle::Distributed);
        m.write(&kept, &keep, &pair, &sum);
        let first = m.read(&kept, &pair);
        let a_q = m.reg("a_q", uint(32));
        let b_q = m.reg("b_q", uint(32));
        let load = m.wire("load", &(&take | &swap));
        m.next_when(&a_q, &load, &swap.mux(&b_q, &first));
        m.next_when(&b_q, &load, &swap.mux(&a_q, &sum));

        m.comment("a sigmoid(a) | relu(a) relu(a) | a cos");
        let sig = m.instance("sigmoid", &sigmoid, &[("valid_i", &loaded), ("x_i", &a_q)]).get("y_o");
        let a = moved(&mut m, "a_late", &moving, &a_q, Self::COS);
        let nan = a.slice(23, 8).all() & a.low(23).any();
        let rectified = m.wire("rectified", &(a.bit(31) | nan).mux(&lit(0, 32), &a));
        let left = m.wire("gate_left", &relu.mux(&rectified, &a));
        let right = m.wire("gate_right", &silu.mux(&sig, &relu.mux(&rectified, &cos)));
        let gate = unit(&mut m, "gate", &mul, &at_cos, &left, &right);

        m.comment("act(a) b | b sin | b 1");
        let gated = m.wire("gated", &(&silu | &relu));
        let b = moved(&mut m, "b_late", &moving, &b_q, Self::SIN);
        let one = lit(1f32.to_bits().into(), 32);
        let left = m.wire("product_left", &gated.mux(&gate, &b));
        let right = m.wire("product_right", &gated.mux(&b, &rope.mux(&sin, &one)));
        let product = unit(&mut m, "product", &mul, &at_sin, &left, &right);

        m.comment("a cos + b sin | product + old");
        let turned = moved(&mut m, "turned", &moving, &gate, Mul::LATENCY);
        let first_q = hold(&mut m, "first_q", &at_old, &rope.mux(&turned, &old));
        let second_q = hold(&mut m, "second_q", &at_old, &product);
        let result = unit(&mut m, "result", &add, &at_result, &first_q, &second_q);
        m.drive(&y, &result);
        design.add(m)
    }
}

/// A register without reset that loads `value` with `enable`.
fn hold(m: &mut Module, name: &str, enable: &Expr, value: &Expr) -> Expr {
    let q = m.reg(name, value.ty());
    m.next_when(&q, enable, value);
    q
}

/// `value`, `cycles` of those with `moving` later: one enable, so that the registers are shift registers of LUTs.
fn moved(m: &mut Module, name: &str, moving: &Expr, value: &Expr, cycles: u32) -> Expr {
    (1..=cycles).fold(value.clone(), |value, at| hold(m, &format!("{name}{at}_q"), moving, &value))
}

/// What adds nothing to any number.
pub(super) fn nothing() -> Expr {
    lit((-0f32).to_bits().into(), 32)
}
