//! Multiplication.

use super::round::{Unrounded, decide, pack};
use super::{BIAS, Fields};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, slit, uint};
use std::rc::Rc;

/// `a * b`, one a cycle.
pub struct Mul;

/// Bits of `b` that one multiplier takes: 17 unsigned bits fit its signed 18-bit port.
const SPLIT: u32 = 17;

impl Mul {
    /// Cycles from the operands to the product.
    pub const LATENCY: u32 = 5;

    /// Adds the module `tern_fmul`: `valid_i`, `a_i`, `b_i` -> `y_o`.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fmul");
        m.header(&format!(
            "y = a * b in binary32, nearest even, results below 2^-126 are zeros.\n\n\
             Shapes   binary32 in and out; significands u24 x u24 -> u48 as u24 x u{SPLIT} and u24 x u{}\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::f32ops::mul (sim::blocks::fp)",
            24 - SPLIT,
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", uint(32));
        let b = m.input("b_i", uint(32));
        let y = m.output("y_o", uint(32));

        m.comment("1: operand registers.");
        let (fa, fb) = (Fields::of(&mut m, "a", &a), Fields::of(&mut m, "b", &b));
        let a_q = m.delay("a_q", &fa.sig);
        let low_q = m.delay("b_low_q", &fb.sig.low(SPLIT));
        let high_q = m.delay("b_high_q", &fb.sig.slice(SPLIT, 24 - SPLIT));
        let exp_q = m.delay("exp_q", &(&fa.exp + &fb.exp));
        let sign_q = m.delay("sign_q", &(&fa.sign ^ &fb.sign));
        let zero = m.wire("zero", &(&fa.zero | &fb.zero));
        let inf = m.wire("inf", &(&fa.inf | &fb.inf));
        let zero_q = m.delay("zero_q", &zero);
        let inf_q = m.delay("inf_q", &inf);
        let nan_q = m.delay("nan_q", &(&(&fa.nan | &fb.nan) | &(&zero & &inf)));

        m.comment("2: partial products.");
        let part0_q = m.delay("part0_q", &(&a_q * &low_q));
        let part1_q = m.delay("part1_q", &(&a_q * &high_q));
        let biased = cat([&lit(0, 1), &exp_q]).as_signed().sub_wrap(&slit(BIAS, 10));
        let exp_q2 = m.delay("exp_q2", &biased);

        m.comment("3: their sum.");
        let upper_q = m.delay("upper_q", &part1_q.add_wrap(&part0_q.slice(SPLIT, 24).extend(31)));
        let lower_q = m.delay("lower_q", &part0_q.low(SPLIT));
        let exp_q3 = m.delay("exp_q3", &exp_q2);

        m.comment("4: the product lies in [1, 4): one place at most.");
        let product = m.wire("product", &cat([&upper_q, &lower_q]));
        let two = product.bit(47);
        let below = product.low(22).any();
        let exp = m.wire("exp", &exp_q3.add_wrap(&two.extend(10).as_signed()));
        let sig = m.wire("sig", &two.mux(&product.slice(24, 24), &product.slice(23, 24)));
        let unrounded = Unrounded {
            sign: delay_n(&mut m, "sign_late", &sign_q, 2),
            exp,
            sig,
            round: two.mux(&product.bit(23), &product.bit(22)),
            sticky: &below | &(&two & &product.bit(22)),
            nan: delay_n(&mut m, "nan_late", &nan_q, 2),
            inf: delay_n(&mut m, "inf_late", &inf_q, 2),
            zero: delay_n(&mut m, "zero_late", &zero_q, 2),
        };
        let decided = decide(&mut m, &unrounded);

        m.comment("5: round and pack.");
        let packed = pack(&mut m, &decided);
        let y_out_q = m.delay("y_out_q", &packed);
        m.drive(&y, &y_out_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
