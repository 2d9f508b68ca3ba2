//! Integer to float.

use super::{BIAS, leading_zeros};
use crate::ir::{Design, ExprError, Interface, IrError, Module, cat, lit, repeat, sint, uint};
use std::rc::Rc;

/// The nearest binary32 of an integer, one a cycle.
pub struct FromInt {
    /// Bits of the signed integer, 2 to 48.
    pub width: u32,
}

impl FromInt {
    /// Cycles from the integer to the float.
    pub const LATENCY: u32 = 4;

    /// Adds the module `tern_i2f_w<width>`: `valid_i`, `a_i` (signed) -> `y_o`.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let width = self.width;
        let name = format!("tern_i2f_w{width}");
        if !(2..=48).contains(&width) {
            let (expected, found) = ("2 to 48 bits".into(), format!("{width}"));
            let error = ExprError { expr: "width of a_i".into(), expected, found };
            return Err(IrError::Expr { module: name, error });
        }
        let mut m = Module::new(name);
        m.header(&format!(
            "y = the binary32 nearest to a, ties to even.\n\n\
             Shapes   i{width} in, binary32 out\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::f32ops::from_i64 (sim::blocks::fp)",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", sint(width));
        let y = m.output("y_o", uint(32));

        m.comment("1: the magnitude; -2^(width-1) fits as an unsigned number.");
        let sign = a.bit(width - 1);
        let flipped = a.as_unsigned() ^ repeat(width, &sign);
        let size_q = m.delay("size_q", &flipped.add_wrap(&sign.extend(width)));
        let sign_q = m.delay("sign_q", &sign);

        m.comment("2: leading zeros.");
        let zeros = leading_zeros(&mut m, "zeros", &size_q);
        let zeros_q = m.delay("zeros_q", &zeros);
        let size_q2 = m.delay("size_q2", &size_q);
        let sign_q2 = m.delay("sign_q2", &sign_q);

        m.comment("3: normalise.");
        let normal_q = m.delay("normal_q", &size_q2.shl(&zeros_q));
        let top = lit(BIAS as u128 + u128::from(width) - 1, 8);
        let exp_q = m.delay("exp_q", &top.sub_wrap(&zeros_q.extend(8)));
        let sign_q3 = m.delay("sign_q3", &sign_q2);

        m.comment("4: round and pack; without a leading one the integer was zero.");
        let one = normal_q.bit(width - 1);
        let magnitude = if width <= 24 {
            let fraction = normal_q.low(width - 1);
            if width == 24 { cat([&exp_q, &fraction]) } else { cat([&exp_q, &fraction, &lit(0, 24 - width)]) }
        } else {
            let lost = width - 24;
            let fraction = normal_q.slice(lost, 23);
            let odd_or_more = match lost {
                1 => fraction.bit(0),
                _ => &fraction.bit(0) | &normal_q.low(lost - 1).any(),
            };
            let up = m.wire("up", &(normal_q.bit(lost - 1) & odd_or_more));
            cat([&exp_q, &fraction]).add_wrap(&up.extend(31))
        };
        let y_q = m.delay("y_q", &cat([&sign_q3, &one.mux(&magnitude, &lit(0, 31))]));
        m.drive(&y, &y_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
