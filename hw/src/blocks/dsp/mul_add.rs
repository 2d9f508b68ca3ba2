//! Add, multiply, add: one slice with all its registers.

use super::{A_PORT, FACTORS, SUM, slice};
use crate::blocks::require::require;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, sint, uint, zero};
use std::rc::Rc;

/// `(keep ? old : 0) + (sum + ones) * factor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MulAdd {
    /// Bits of the signed sum.
    pub sum: u32,
    /// Bits of what is added to it, unsigned.
    pub ones: u32,
    /// Bits of the factor, unsigned.
    pub factor: u32,
    /// Bits of the result, of which only the low ones are kept.
    pub acc: u32,
}

impl MulAdd {
    /// Cycles from the sum to the result.
    pub const LATENCY: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let MulAdd { sum, ones, factor, acc } = *self;
        let name = format!("tern_dsp_mul_add_s{sum}_o{ones}_f{factor}_a{acc}");
        require(&name, sum < FACTORS.0 && ones < FACTORS.0, "bits of the sum", "at most 26", sum.max(ones).into())?;
        require(&name, factor < FACTORS.1, "bits of the factor", "at most 17", factor.into())?;
        require(&name, acc <= SUM, "bits of the result", "at most 48", acc.into())?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Add, multiply, add in one DSP slice: acc = (keep ? old : 0) + (sum + ones) * factor.\n\n\
             Shapes   sum i{sum} | ones u{ones} | factor u{factor} | old, acc i{acc}, modulo 2^{acc}\n\
             Timing   sum, ones, factor with en_i; old a cycle later, with en_q1_i; keep_i with old; acc_o a cycle\n\
             \x20        behind en_q2_i: {} cycles in all\n\
             Stalls   none: registers hold without their enable\n\
             Source   AMD UG579: pre-adder D + A, M, Z = C\n\
             Oracle   sim::blocks::dsp",
            Self::LATENCY
        ));
        let enables = ["en_i", "en_q1_i", "en_q2_i"].map(|name| m.input(name, uint(1)));
        let sum_in = m.input("sum_i", sint(sum));
        let ones_in = m.input("ones_i", uint(ones));
        let factor_in = m.input("factor_i", uint(factor));
        let old = m.input("old_i", sint(acc));
        let keep = m.input("keep_i", uint(1));
        let out = m.output("acc_o", sint(acc));

        let mut held = |name: &str, stage: usize, value: &Expr| m.held(name, &enables[stage], value);
        let wide = sum.max(ones) + 1;
        let full = sum_in.extend(wide).add_wrap(&ones_in.extend(wide).as_signed());
        let full_q = held("full_q", 0, &full);
        let factor_q = held("factor_q", 0, &factor_in);
        let product_q = held("product_q", 1, &(&full_q * factor_q.extend(factor + 1).as_signed()));
        let old_q = held("old_q", 1, &old);
        let keep_q = m.delay("keep_q", &keep);
        let product = product_q.width();
        let term = if product > acc { product_q.low(acc).as_signed() } else { product_q.extend(acc) };
        let acc_q = m.reg("acc_q", sint(acc));
        m.next_when(&acc_q, &enables[2], &keep_q.mux(&old_q, &zero(sint(acc))).add_wrap(&term));
        m.drive(&out, &acc_q);
        if product > acc {
            m.unused("product", &[product_q.slice(acc, product - acc)]);
        }

        let [en, en1, en2] = enables;
        let inputs = vec![
            ("D", sum_in.extend(FACTORS.0).as_unsigned()),
            ("A", ones_in.extend(A_PORT)),
            ("INMODE", lit(0b00100, 5)), // D + A
            ("B", factor_in.extend(FACTORS.1)),
            ("C", old.extend(SUM).as_unsigned()),
            // X, Y = M; Z = C or 0
            ("OPMODE", cat([&lit(0, 3), &keep, &keep, &lit(0b0101, 4)])),
            ("CEAD", en.clone()),
            ("CEB2", en),
            ("CEM", en1.clone()),
            ("CEC", en1),
            ("CECTRL", lit(1, 1)),
            ("CEP", en2),
        ];
        let registers = ["ADREG", "BREG", "BCASCREG", "MREG", "CREG", "OPMODEREG", "PREG"];
        let texts = [("AMULTSEL", "AD"), ("USE_MULT", "MULTIPLY")];
        slice(&mut m, &registers, &texts, inputs, &out);
        design.add(m)
    }
}
