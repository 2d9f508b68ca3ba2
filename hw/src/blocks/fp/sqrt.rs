//! Square root.

use super::iterate::Iteration;
use super::round::{Unrounded, decide_when, pack};
use super::{BIAS, Fields};
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// Root bits: 24 and a round bit.
const STEPS: u32 = 25;
/// Bits of the remainder: at most twice the root.
const REMAINDER: u32 = 26;

/// The square root, one at a time.
pub struct Sqrt;

impl Sqrt {
    /// Cycles from the operand to the root; the next operand is taken one cycle after it.
    pub const LATENCY: u32 = STEPS + 3;

    /// Adds the module `tern_fsqrt`: sink `in` {`a`}, source `out` {`y`}.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fsqrt");
        m.header(&format!(
            "y = sqrt(a) in binary32, nearest even; below zero it is NaN, the root of -0 is -0.\n\n\
             Shapes   binary32 in and out; root u{STEPS} and remainder u{REMAINDER}, one bit a cycle\n\
             Latency  {0} cycles; one result in {0} cycles and one more\n\
             Stalls   in_ready_o is low from the operand until the result is taken\n\
             Oracle   spec::numerics::f32ops::sqrt (sim::blocks::fp)",
            Self::LATENCY
        ));
        let input = m.sink("in", &[("a", uint(32))]);
        let output = m.source("out", &[("y", uint(32))]);
        let run = Iteration::new(&mut m, &input, &output, Self::LATENCY);

        m.comment("a = sig * 4^k with sig in [1, 4); the exponent of the root is k, half of the field's and 63.5.");
        let a = input.field("a");
        let f = Fields::of(&mut m, "a", &a);
        let odd = f.exp.bit(0);
        let exp = cat([&lit(0, 3), &f.exp.slice(1, 7)]).add_wrap(&lit(BIAS as u128 / 2, 10)).add_wrap(&odd.extend(10));
        let radicand = odd.mux(&cat([&lit(0, 1), &f.sig, &lit(0, 1)]), &cat([&f.sig, &lit(0, 2)]));
        let nan = &f.nan | &(&f.sign & &!&f.zero);
        let aside_q = m.reg("aside_q", uint(14));
        m.next_when(&aside_q, &run.load, &cat([&f.sign, &nan, &f.inf, &f.zero, &exp]));

        m.comment("Restoring: subtract 4 root + 1 if that leaves something, two bits of the radicand a step.");
        let radicand_q = m.reg("radicand_q", uint(26));
        let remainder_q = m.reg("remainder_q", uint(REMAINDER));
        let root_q = m.reg("root_q", uint(STEPS));
        let step = m.wire("step", &run.before(STEPS + 1));
        let change = m.wire("change", &(&run.load | &step));
        let old = m.wire("old", &cat([&remainder_q, &radicand_q.slice(24, 2)]));
        let trial = m.wire("trial", &old.sub_wrap(&cat([&lit(0, 1), &root_q, &lit(1, 2)])));
        let fits = m.wire("fits", &!trial.bit(REMAINDER + 1));
        let left = fits.mux(&trial.low(REMAINDER), &old.low(REMAINDER));
        m.next_when(&radicand_q, &change, &run.load.mux(&radicand, &cat([&radicand_q.low(24), &lit(0, 2)])));
        m.next_when(&remainder_q, &change, &run.load.mux(&lit(0, REMAINDER), &left));
        let grown = cat([&root_q.low(STEPS - 1), &fits]);
        m.next_when(&root_q, &change, &run.load.mux(&lit(0, STEPS), &grown));
        m.unused("trial", &[trial.bit(REMAINDER)]);

        let unrounded = Unrounded {
            sign: aside_q.bit(13),
            exp: aside_q.low(10).as_signed(),
            sig: root_q.slice(1, 24),
            round: root_q.bit(0),
            sticky: remainder_q.any(),
            nan: aside_q.bit(12),
            inf: aside_q.bit(11),
            zero: aside_q.bit(10),
        };
        let decided = decide_when(&mut m, &unrounded, Some(&run.at(STEPS + 1)));
        let packed = pack(&mut m, &decided);
        let y_q = m.reg("y_q", uint(32));
        m.next_when(&y_q, &run.at(STEPS + 2), &packed);
        m.drive(&output.field("y"), &y_q);
        design.add(m)
    }
}
