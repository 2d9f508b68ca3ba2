//! Division: a pipeline, and an iterative unit that shares its arithmetic.
//!
//! Both divide significands without restoring: the partial remainder `r` stays in `[-b, b)` and each step
//! takes `2r - b` or `2r + b`; the quotient bit says that the new one is not negative. The bits are those
//! of the restoring division.

use super::iterate::Iteration;
use super::round::{Unrounded, decide, decide_when, pack};
use super::{BIAS, FRACTION, Fields};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, repeat, slit, uint};
use std::rc::Rc;

/// Quotient bits behind the first: the quotient lies in (1/2, 2), so 26 bits hold 24, a round bit and one
/// that is sticky or of no use.
const STEPS: u32 = 25;
/// Bits of a partial remainder, two's complement.
const REMAINDER: u32 = 25;

/// What goes past the division: sign, NaN, infinity, zero, i10 exponent.
const ASIDE: u32 = 14;

/// First remainder `a - b` and what goes past the division.
fn start(m: &mut Module, a: &Expr, b: &Expr) -> (Expr, Expr) {
    let (fa, fb) = (Fields::of(m, "a", a), Fields::of(m, "b", b));
    let nan = &(&fa.nan | &fb.nan) | &((&fa.zero & &fb.zero) | (&fa.inf & &fb.inf));
    let difference = (&fa.exp - &fb.exp).extend(10);
    let exp = difference.add_wrap(&slit(BIAS - 1, 10));
    let aside = cat([&(&fa.sign ^ &fb.sign), &nan, &(&fa.inf | &fb.zero), &(&fa.zero | &fb.inf), &exp]);
    (fa.sig.extend(REMAINDER).sub_wrap(&fb.sig.extend(REMAINDER)), aside)
}

fn negative(r: &Expr) -> Expr {
    r.bit(REMAINDER - 1)
}

fn divisor(fraction: &Expr) -> Expr {
    cat([&lit(1, 2), fraction])
}

/// `2r - b` or `2r + b`; the one that completes `-b` stands in the empty low bit of `2r`.
fn step(r: &Expr, fraction: &Expr) -> Expr {
    let minus = !negative(r);
    cat([&r.low(REMAINDER - 1), &minus]).add_wrap(&(divisor(fraction) ^ repeat(REMAINDER, &minus)))
}

/// The remainder of the restoring division.
fn restored(r: &Expr, fraction: &Expr) -> Expr {
    r.add_wrap(&(divisor(fraction) & repeat(REMAINDER, &negative(r))))
}

fn unrounded(m: &mut Module, quotient: &Expr, remainder: &Expr, aside: &Expr) -> Unrounded {
    let one = quotient.bit(STEPS);
    let exp = m.wire("exp", &aside.low(10).as_signed().add_wrap(&one.extend(10).as_signed()));
    let sig = m.wire("sig", &one.mux(&quotient.slice(2, 24), &quotient.slice(1, 24)));
    Unrounded {
        sign: aside.bit(13),
        exp,
        sig,
        round: one.mux(&quotient.bit(1), &quotient.bit(0)),
        sticky: remainder.any() | (&one & &quotient.bit(0)),
        nan: aside.bit(12),
        inf: aside.bit(11),
        zero: aside.bit(10),
    }
}

/// `a / b`, one a cycle.
pub struct Div;

impl Div {
    /// Cycles from the operands to the quotient: the first remainder, the steps, the last remainder,
    /// rounding, packing.
    pub const LATENCY: u32 = STEPS + 4;

    /// Adds the module `tern_fdiv`: `valid_i`, `a_i`, `b_i` -> `y_o`.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fdiv");
        m.header(&format!(
            "y = a / b in binary32, nearest even, results below 2^-126 are zeros.\n\n\
             Shapes   binary32 in and out; remainder i{REMAINDER}, one quotient bit a stage, not restoring\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::f32ops::div (sim::blocks::fp)",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", uint(32));
        let b = m.input("b_i", uint(32));
        let y = m.output("y_o", uint(32));

        m.comment("1: is there a one before the point?");
        let (first, aside) = start(&mut m, &a, &b);
        let mut r = m.delay("r0_q", &first);
        let mut divisor_q = m.delay("b0_q", &b.low(FRACTION));
        let aside_q = delay_n(&mut m, "aside", &aside, STEPS + 2);
        let mut quotient = m.wire("quotient0", &!negative(&r));

        m.comment("One quotient bit a stage.");
        for at in 1..=STEPS {
            let next = m.delay(&format!("r{at}_q"), &step(&r, &divisor_q));
            divisor_q = m.delay(&format!("b{at}_q"), &divisor_q);
            let earlier = m.delay(&format!("quotient{}_q", at - 1), &quotient);
            quotient = m.wire(&format!("quotient{at}"), &cat([&earlier, &!negative(&next)]));
            r = next;
        }

        // The round bit is never set with a remainder of zero: a would need 25 bits. So this stage could go.
        m.comment("The last remainder; rounding; packing.");
        let remainder_q = m.delay("remainder_q", &restored(&r, &divisor_q));
        let quotient_q = m.delay("quotient_q", &quotient);
        let unrounded = unrounded(&mut m, &quotient_q, &remainder_q, &aside_q);
        let decided = decide(&mut m, &unrounded);
        let packed = pack(&mut m, &decided);
        let y_out_q = m.delay("y_out_q", &packed);
        m.drive(&y, &y_out_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}

/// `a / b`, one at a time.
pub struct DivIter;

impl DivIter {
    /// Cycles from the operands to the quotient; the next operands are taken one cycle after it.
    pub const LATENCY: u32 = STEPS + 4;

    /// Adds the module `tern_fdiv_iter`: sink `in` {`a`, `b`}, source `out` {`y`}.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fdiv_iter");
        m.header(&format!(
            "y = a / b in binary32, nearest even, results below 2^-126 are zeros.\n\n\
             Shapes   binary32 in and out; remainder i{REMAINDER}, one quotient bit a cycle, not restoring\n\
             Latency  {0} cycles; one result in {0} cycles and one more\n\
             Stalls   in_ready_o is low from the operands until the result is taken\n\
             Oracle   spec::numerics::f32ops::div (sim::blocks::fp)",
            Self::LATENCY
        ));
        let input = m.sink("in", &[("a", uint(32)), ("b", uint(32))]);
        let output = m.source("out", &[("y", uint(32))]);
        let run = Iteration::new(&mut m, &input, &output, Self::LATENCY);

        m.comment("The first remainder, then one quotient bit a cycle, then the remainder restored.");
        let (a, b) = (input.field("a"), input.field("b"));
        let (first, aside) = start(&mut m, &a, &b);
        let aside_q = m.reg("aside_q", uint(ASIDE));
        let divisor_q = m.reg("divisor_q", uint(FRACTION));
        let remainder_q = m.reg("remainder_q", uint(REMAINDER));
        let quotient_q = m.reg("quotient_q", uint(STEPS + 1));
        m.next_when(&aside_q, &run.load, &aside);
        m.next_when(&divisor_q, &run.load, &b.low(FRACTION));
        let last = run.at(STEPS + 1);
        let divide = run.before(STEPS + 2);
        let (stepped, fixed) = (step(&remainder_q, &divisor_q), restored(&remainder_q, &divisor_q));
        let next = run.load.mux(&first, &last.mux(&fixed, &stepped));
        m.next_when(&remainder_q, &(&run.load | &divide), &next);
        let bit = !negative(&remainder_q);
        m.next_when(&quotient_q, &divide, &cat([&quotient_q.low(STEPS), &bit]));

        let unrounded = unrounded(&mut m, &quotient_q, &remainder_q, &aside_q);
        let decided = decide_when(&mut m, &unrounded, Some(&run.at(STEPS + 2)));
        let packed = pack(&mut m, &decided);
        let y_q = m.reg("y_q", uint(32));
        m.next_when(&y_q, &run.at(STEPS + 3), &packed);
        m.drive(&output.field("y"), &y_q);
        design.add(m)
    }
}
