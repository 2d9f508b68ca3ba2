//! Addition.

use super::round::{Unrounded, decide, pack};
use super::{Fields, gt_abs, leading_zeros, shift_right};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, repeat, slit, uint};
use std::rc::Rc;

/// `a + b`, one a cycle.
pub struct Add;

impl Add {
    /// Cycles from the operands to the sum.
    pub const LATENCY: u32 = 6;

    /// Adds the module `tern_fadd`: `valid_i`, `a_i`, `b_i` -> `y_o`.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fadd");
        m.header(&format!(
            "y = a + b in binary32, nearest even, results below 2^-126 are zeros.\n\n\
             Shapes   binary32 in and out; aligned sum u28: carry, 24 bits, guard, round, sticky\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Not here an underflow that needs rounding: a sum below 2^-126 is a multiple of 2^-149\n\
             Oracle   spec::numerics::f32ops::add (sim::blocks::fp)",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", uint(32));
        let b = m.input("b_i", uint(32));
        let y = m.output("y_o", uint(32));

        m.comment("1: the operand of larger magnitude becomes x; distance of the exponents.");
        let (fa, fb) = (Fields::of(&mut m, "a", &a), Fields::of(&mut m, "b", &b));
        let swap = m.wire("swap", &gt_abs(&b, &a));
        let subtract = m.wire("subtract", &(&fa.sign ^ &fb.sign));
        let forward = m.wire("forward", &fa.exp.sub_wrap(&fb.exp));
        let backward = m.wire("backward", &fb.exp.sub_wrap(&fa.exp));
        let distance = m.wire("distance", &swap.mux(&backward, &forward));
        let far = distance.slice(5, 3).any();
        let nan = &(&fa.nan | &fb.nan) | &(&(&fa.inf & &fb.inf) & &subtract);
        let sign_q = m.delay("sign_q", &swap.mux(&fb.sign, &fa.sign));
        let exp_q = m.delay("exp_q", &swap.mux(&fb.exp, &fa.exp));
        let x_q = m.delay("x_q", &swap.mux(&fb.sig, &fa.sig));
        let y_q = m.delay("y_q", &swap.mux(&fa.sig, &fb.sig));
        let shift_q = m.delay("shift_q", &(distance.low(5) | repeat(5, &far)));
        let subtract_q = m.delay("subtract_q", &subtract);
        let nan_q = m.delay("nan_q", &nan);
        let inf_q = m.delay("inf_q", &(&fa.inf | &fb.inf));

        m.comment("2: align; 31 places or more leave only the sticky bit.");
        let (aligned, lost) = shift_right(&mut m, "align", &cat([&y_q, &lit(0, 2)]), &shift_q);
        let aligned_q = m.delay("aligned_q", &cat([&aligned, &lost]));
        let x_q2 = m.delay("x_q2", &x_q);
        let subtract_q2 = m.delay("subtract_q2", &subtract_q);

        m.comment("3: add or subtract; the one below the operands is the carry in of a subtraction.");
        let left = cat([&lit(0, 1), &x_q2, &lit(0, 3), &subtract_q2]);
        let right = cat([&(cat([&lit(0, 1), &aligned_q]) ^ repeat(28, &subtract_q2)), &subtract_q2]);
        let total = m.wire("total", &left.add_wrap(&right));
        let sum_q = m.delay("sum_q", &total.slice(1, 28));
        m.unused("total", &[total.bit(0)]);
        let exp_q3 = delay_n(&mut m, "exp_late", &exp_q, 2);
        let sign_q3 = delay_n(&mut m, "sign_late", &sign_q, 2);
        let subtract_q3 = m.delay("subtract_q3", &subtract_q2);

        m.comment("4: leading zeros; an exact zero is positive unless both operands were negative.");
        let zeros = leading_zeros(&mut m, "zeros", &sum_q);
        let none = m.wire("none", &!sum_q.any());
        let zeros_q = m.delay("zeros_q", &zeros);
        let sum_q2 = m.delay("sum_q2", &sum_q);
        let zero_q = m.delay("zero_q", &none);
        let sign_q4 = m.delay("sign_q4", &(&sign_q3 & !(&none & &subtract_q3)));
        let exp_q4 = m.delay("exp_q4", &exp_q3);

        m.comment("5: normalise.");
        let normal = m.wire("normal", &sum_q2.shl(&zeros_q));
        let grown = cat([&lit(0, 2), &exp_q4]).as_signed().add_wrap(&slit(1, 10));
        let exp = m.wire("exp", &grown.sub_wrap(&zeros_q.extend(10).as_signed()));
        let unrounded = Unrounded {
            sign: sign_q4,
            exp,
            sig: normal.slice(4, 24),
            round: normal.bit(3),
            sticky: normal.low(3).any(),
            nan: delay_n(&mut m, "nan_late", &nan_q, 3),
            inf: delay_n(&mut m, "inf_late", &inf_q, 3),
            zero: zero_q,
        };
        let decided = decide(&mut m, &unrounded);

        m.comment("6: round and pack.");
        let packed = pack(&mut m, &decided);
        let y_out_q = m.delay("y_out_q", &packed);
        m.unused("zero", &[fa.zero, fb.zero]);
        m.drive(&y, &y_out_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
