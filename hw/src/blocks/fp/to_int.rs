//! Float to integer.

use super::{BIAS, Fields, shift_right};
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, repeat, sint, uint};
use std::rc::Rc;

/// The nearest i32 of a float, one a cycle.
pub struct ToInt;

impl ToInt {
    /// Cycles from the float to the integer.
    pub const LATENCY: u32 = 3;

    /// Adds the module `tern_f2i`: `valid_i`, `a_i` -> `y_o` (signed).
    pub fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_f2i");
        m.header(&format!(
            "y = the integer nearest to a, ties to even; saturates, NaN gives 0.\n\n\
             Shapes   binary32 in, i32 out\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::f32ops::round_to_i32 (sim::blocks::fp)",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", uint(32));
        let y = m.output("y_o", sint(32));

        m.comment("1: places below 2^30; magnitudes of 2^31 saturate, those below 1/2 are zero.");
        let f = Fields::of(&mut m, "a", &a);
        let (half, top) = (BIAS as u128 - 1, BIAS as u128 + 30);
        let places = m.wire("places", &lit(top & 31, 5).sub_wrap(&f.exp.low(5)));
        let below_half = m.wire("below_half", &f.exp.lt(&lit(half, 8)));
        let beyond = m.wire("beyond", &f.exp.gt(&lit(top, 8)));
        let sig_q = m.delay("sig_q", &f.sig);
        let places_q = m.delay("places_q", &places);
        let zero_q = m.delay("zero_q", &(&below_half | &f.nan));
        let beyond_q = m.delay("beyond_q", &beyond);
        let sign_q = m.delay("sign_q", &f.sign);

        m.comment("2: 31 integer bits and the bit below them.");
        let (shifted, lost) = shift_right(&mut m, "places", &cat([&sig_q, &lit(0, 8)]), &places_q);
        let shifted_q = m.delay("shifted_q", &shifted);
        let lost_q = m.delay("lost_q", &lost);
        let zero_q2 = delay_n(&mut m, "zero_late", &zero_q, 1);
        let beyond_q2 = delay_n(&mut m, "beyond_late", &beyond_q, 1);
        let sign_q2 = delay_n(&mut m, "sign_late", &sign_q, 1);

        m.comment("3: round; -(n + up) is ~n + !up.");
        let up = m.wire("up", &(shifted_q.bit(0) & (&lost_q | &shifted_q.bit(1))));
        let whole = cat([&lit(0, 1), &shifted_q.slice(1, 31)]) ^ repeat(32, &sign_q2);
        let rounded = m.wire("rounded", &whole.add_wrap(&(&up ^ &sign_q2).extend(32)));
        let extreme = cat([&sign_q2, &repeat(31, &!&sign_q2)]);
        let y_q = m.delay("y_q", &zero_q2.mux(&lit(0, 32), &beyond_q2.mux(&extreme, &rounded)));
        m.unused("class", &[f.zero, f.inf]);
        m.drive(&y, &y_q.as_signed());
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
