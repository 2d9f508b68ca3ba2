//! `2^-d` from a table with linear interpolation.

use super::{Attend, WEIGHT_BITS};
use crate::ir::{Design, Interface, IrError, Module, lit, uint};
use spec::numerics::exp2::{Exp2Table, INDEX_BITS, MAX_WEIGHT};
use std::rc::Rc;

impl Attend {
    /// Cycles of `tern_exp2`.
    pub(super) const EXP2_LATENCY: u32 = 5;

    pub(super) fn build_exp2(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_exp2");
        m.header(&format!(
            "Softmax weight: p = zero ? 0 : min(round(2^15 * 2^-d), 32767), d with 16 fraction bits.\n\n\
             Shapes   d u32 | p u{WEIGHT_BITS}; table [128] of value (u17) and drop to the next (u9)\n\
             Latency  {} cycles, one a cycle, no stall; a stage moves only with a value\n\
             Oracle   spec::numerics::exp2::Exp2Table::weight",
            Self::EXP2_LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let d = m.input("d_i", uint(32));
        let zero = m.input("zero_i", uint(1));
        let p = m.output("p_o", uint(WEIGHT_BITS));
        let table = Exp2Table::default();
        let entries = table.entries();
        let packed = |i: usize| ((entries[i] - entries[i + 1]) as u128) << 17 | entries[i] as u128;
        let values: Vec<u128> = (0..1 << INDEX_BITS).map(packed).collect();
        let rom = m.rom("row", &d.slice(9, INDEX_BITS), uint(26), &values);

        m.comment("Look up; far distances give zero.");
        let entry = m.delay("entry_q", &rom);
        let along = m.delay("along_q", &d.low(9));
        let whole = m.delay("whole_q", &d.slice(16, 4));
        let zero = m.delay("zero_q", &(&zero | d.slice(20, 12).any()));
        m.comment("Interpolate.");
        // adding half an interval carries exactly when the highest bit that is cut off is set
        let product = m.delay("product_q", &(entry.slice(17, 9) * &along));
        let entry2 = m.delay("entry_q2", &entry.low(17));
        let (whole2, zero2) = (m.delay("whole_q2", &whole), m.delay("zero_q2", &zero));
        let rounded = product.slice(9, 9).add_wrap(&product.bit(8));
        let mantissa = m.delay("mantissa_q", &entry2.sub_wrap(&rounded).as_unsigned());
        let (whole3, zero3) = (m.delay("whole_q3", &whole2), m.delay("zero_q3", &zero2));
        m.comment("Shift by whole + 1, rounding.");
        let sum = m.delay("sum_q", &(&mantissa + lit(1, 17).shl(&whole3)));
        let (whole4, zero4) = (m.delay("whole_q4", &whole3), m.delay("zero_q4", &zero3));
        let shifted = m.wire("shifted", &sum.slice(1, 17).shr(&whole4));
        let over = shifted.slice(WEIGHT_BITS, 2).any();
        let least = over.mux(&lit(MAX_WEIGHT as u128, WEIGHT_BITS), &shifted.low(WEIGHT_BITS));
        let one = m.delay("p_q", &zero4.mux(&lit(0, WEIGHT_BITS), &least));
        m.drive(&p, &one);
        m.unused("sum", &[sum.bit(0), product.low(8)]);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
