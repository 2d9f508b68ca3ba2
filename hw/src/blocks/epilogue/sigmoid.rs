//! The logistic function.

use crate::blocks::fp::{leading_zeros, shift_right};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use spec::numerics::sigmoid::{ARGUMENT_BITS, INDEX_BITS, LIMIT, RESULT_BITS, SigmoidTable};
use std::rc::Rc;

/// `sigmoid(x)`, one a cycle.
pub struct Sigmoid;

/// Fraction bits of the table's intervals.
const ALONG: u32 = ARGUMENT_BITS + LIMIT.ilog2() - INDEX_BITS;
/// Bits of the argument below [`LIMIT`].
const ARGUMENT: u32 = INDEX_BITS + ALONG;
/// Exponent field of [`LIMIT`].
const LIMIT_EXP: u32 = 127 + LIMIT.ilog2();
/// An argument of exponent field `e` is its significand shifted right by `SHIFT_ZERO - e` places.
const SHIFT_ZERO: u32 = 127 + 23 - ARGUMENT_BITS;

impl Sigmoid {
    /// Cycles from the argument to the result.
    pub const LATENCY: u32 = 10;

    /// Adds the module `tern_sigmoid`: `valid_i`, `x_i` -> `y_o`.
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let table = SigmoidTable::default();
        // entries are at least one half, which is added later
        let half = 1i32 << (RESULT_BITS - 1);
        let word = |i: usize| (table.entries()[i] - half, table.entries()[i + 1] - table.entries()[i]);
        let words: Vec<(i32, i32)> = (0..1 << INDEX_BITS).map(word).collect();
        let rise = 32 - words.iter().map(|w| w.1).max().unwrap_or(1).leading_zeros();
        let mut m = Module::new("tern_sigmoid");
        m.header(&format!(
            "y = sigmoid(x) in units of 2^-{RESULT_BITS}: table of {} entries over [0, {LIMIT}), linear between.\n\n\
             Shapes   binary32 in and out; |x| rounded to {ARGUMENT_BITS} fraction bits, u{ARGUMENT}; entry u{RESULT_BITS}, rise u{rise}\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::sigmoid::SigmoidTable::fixed (sim::blocks::epilogue)",
            1 << INDEX_BITS,
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let x = m.input("x_i", uint(32));
        let y = m.output("y_o", uint(32));

        m.comment("1: how far the significand is shifted so that four bits lie below the rounded argument.");
        let exp = x.slice(23, 8);
        let large = exp.ge(&lit(LIMIT_EXP.into(), 8));
        let least = SHIFT_ZERO - (LIMIT_EXP - 1);
        let small = exp.lt(&lit(u128::from(LIMIT_EXP - 1 - 31), 8));
        let shift = lit(u128::from(LIMIT_EXP) - 1, 8).sub_wrap(&exp);
        let shift = m.wire("shift", &small.mux(&lit(31, 8), &shift));
        let shift_q = m.delay("shift_q", &shift.low(5));
        m.unused("shift", &[shift.slice(5, 3)]);
        let sig_q = m.delay("sig_q", &cat([&exp.any(), &x.low(23)]));
        let large_q = m.delay("large_q", &large);

        m.comment("2: shift; 3: round to nearest even.");
        let (shifted, lost) = shift_right(&mut m, "shifted", &sig_q, &shift_q);
        let shifted_q = m.delay("shifted_q", &shifted);
        let lost_q = m.delay("lost_q", &lost);
        let below = &lost_q | shifted_q.low(least - 1).any();
        let up = shifted_q.bit(least - 1) & (&below | shifted_q.bit(least));
        let rounded = shifted_q.slice(least, 24 - least) + up.extend(24 - least);
        let argument_q = m.delay("argument_q", &rounded);
        let large_q3 = delay_n(&mut m, "large_late", &large_q, 2);
        let sign_q3 = delay_n(&mut m, "sign_late", &x.bit(31), 3);

        m.comment("4: table; 5: its output register.");
        let values: Vec<u128> = words.iter().map(|w| (w.1 as u128) << RESULT_BITS | w.0 as u128).collect();
        let row = m.rom("entries", &argument_q.slice(ALONG, INDEX_BITS), uint(rise + RESULT_BITS), &values);
        let row_q = m.delay("row_q", &row);
        let row_q2 = m.delay("row_q2", &row_q);
        let along_q = delay_n(&mut m, "along", &argument_q.low(ALONG), 2);
        let one = &large_q3 | argument_q.bit(ARGUMENT);
        let one_q = delay_n(&mut m, "one", &one, 3);
        let sign_q6 = delay_n(&mut m, "sign_later", &sign_q3, 3);

        m.comment("6: rise times the way along; 7: plus the entry, rounded; 8: the sign.");
        let product_q = m.delay("product_q", &(row_q2.slice(RESULT_BITS, rise) * &along_q));
        let entry_q = m.delay("entry_q", &row_q2.low(RESULT_BITS));
        let doubled = cat([&entry_q, &lit(1 << (ALONG - 1), ALONG)]);
        let sum = m.wire("sum", &doubled.add_wrap(&product_q));
        let top = lit(half as u128, RESULT_BITS);
        let over_half_q = m.delay("over_half_q", &one_q.mux(&top, &sum.slice(ALONG, RESULT_BITS)));
        m.unused("sum", &[sum.low(ALONG)]);
        let sign_q7 = m.delay("sign_q7", &sign_q6);
        let middle = lit(half as u128, RESULT_BITS + 1);
        let over_half = over_half_q.extend(RESULT_BITS + 1);
        let fixed_q = m.delay("fixed_q", &sign_q7.mux(&middle.sub_wrap(&over_half), &middle.add_wrap(&over_half)));

        m.comment("9: leading zeros; 10: to binary32, exact.");
        let zeros = leading_zeros(&mut m, "zeros", &fixed_q);
        let zeros_q = m.delay("zeros_q", &zeros);
        let fixed_q2 = m.delay("fixed_q2", &fixed_q);
        let normal = m.wire("normal", &fixed_q2.shl(&zeros_q));
        let exp = lit(127, 8).sub_wrap(&zeros_q.extend(8));
        let packed = cat([&lit(0, 1), &exp, &normal.low(RESULT_BITS), &lit(0, 23 - RESULT_BITS)]);
        let y_q = m.delay("y_q", &normal.bit(RESULT_BITS).mux(&packed, &lit(0, 32)));
        m.drive(&y, &y_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
