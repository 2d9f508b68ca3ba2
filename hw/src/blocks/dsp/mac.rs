//! Multiply and accumulate, with the sums in a memory beside the slice.

use super::{A_PORT, FACTORS, SUM, slice};
use crate::blocks::require::require;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, sint, uint, zero};
use std::rc::Rc;

/// `base + weight * value`, where base is zero, the last sum or one that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac {
    /// Bits of the weight, unsigned.
    pub weight: u32,
    /// Bits of the value, signed.
    pub value: u32,
    /// Bits of the sum.
    pub acc: u32,
}

impl Mac {
    /// Base: nothing.
    pub const ZERO: u64 = 0b00;
    /// Base: the last sum.
    pub const LAST: u64 = 0b10;
    /// Base: the sum that is given.
    pub const OLD: u64 = 0b11;
    /// Cycles from the factors to the sum.
    pub const LATENCY: u32 = 2;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let Mac { weight, value, acc } = *self;
        let name = format!("tern_dsp_mac_w{weight}_v{value}_a{acc}");
        require(&name, weight < FACTORS.1, "bits of the weight", "at most 17", weight.into())?;
        require(&name, value <= FACTORS.0, "bits of the value", "at most 27", value.into())?;
        require(&name, acc <= SUM && acc > weight + value, "bits of the sum", "the product's to 48", acc.into())?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Multiply and accumulate in one DSP slice: acc = base + weight * value.\n\n\
             Shapes   weight u{weight} | value i{value} | old, acc i{acc} | base_i u2: {ZERO} nothing, {LAST} acc, {OLD} old\n\
             Timing   weight and value with en_i; old, base a cycle later, with en_q1_i; acc_o a cycle behind that:\n\
             \x20        {} cycles in all\n\
             Stalls   none: registers hold without their enable\n\
             Source   AMD UG579: M, Z = 0, P or C\n\
             Oracle   sim::blocks::dsp",
            Self::LATENCY,
            ZERO = Self::ZERO,
            LAST = Self::LAST,
            OLD = Self::OLD,
        ));
        let [en, en1] = ["en_i", "en_q1_i"].map(|name| m.input(name, uint(1)));
        let base = m.input("base_i", uint(2));
        let weight_in = m.input("weight_i", uint(weight));
        let value_in = m.input("value_i", sint(value));
        let old = m.input("old_i", sint(acc));
        let out = m.output("acc_o", sint(acc));

        let product_q = m.reg("product_q", sint(weight + 1 + value));
        m.next_when(&product_q, &en, &(weight_in.extend(weight + 1).as_signed() * &value_in));
        let acc_q = m.reg("acc_q", sint(acc));
        let kept = base.bit(0).mux(&old, &acc_q);
        let kept = base.bit(1).mux(&kept, &zero(sint(acc)));
        m.next_when(&acc_q, &en1, &kept.add_wrap(&product_q.extend(acc)));
        m.drive(&out, &acc_q);

        let inputs = vec![
            ("A", value_in.extend(A_PORT).as_unsigned()),
            ("B", weight_in.extend(FACTORS.1)),
            ("C", old.extend(SUM).as_unsigned()),
            // X, Y = M; Z = 0, P or C: the numbers of base_i
            ("OPMODE", cat([&lit(0, 3), &base, &lit(0b0101, 4)])),
            ("CEM", en),
            ("CEP", en1),
        ];
        slice(&mut m, &["MREG", "PREG"], &[("USE_MULT", "MULTIPLY")], inputs, &out);
        design.add(m)
    }
}
