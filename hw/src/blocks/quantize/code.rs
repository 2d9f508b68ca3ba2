//! Floats to codes.

use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// `clamp(round(a), -127, 127)`, one a cycle: only what fits a code is ever shifted.
pub(crate) struct ToCode;

/// Exponent field of numbers in `[64, 128)`, the largest that have a code.
const TOP: u128 = 133;

impl ToCode {
    /// Cycles from a number to its code.
    pub(crate) const LATENCY: u32 = 2;

    pub(crate) fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_f2code");
        m.header(&format!(
            "Code of a binary32: y = clamp(round(a), -127, 127), ties to even, NaN gives 0.\n\n\
             Shapes   binary32 in, i8 out (bits as u8)\n\
             Latency  {} cycles, one result per cycle\n\
             Stalls   none, no reset; a stage moves only with a value\n\
             Oracle   spec::numerics::quant (sim::blocks::quantize)",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let a = m.input("a_i", uint(32));
        let y = m.output("y_o", uint(8));

        m.comment("1: fixed point of 7 bits and a half; what is below a half is zero.");
        let (exp, sig) = (a.slice(23, 8), m.wire("sig", &cat([&lit(1, 1), &a.low(23)])));
        let places = m.wire("places", &lit(TOP, 8).sub_wrap(&exp));
        let small = exp.lt(&lit(TOP - 7, 8));
        let nan = &exp.all() & a.low(23).any();
        let shifted = m.wire("shifted", &sig.shr(&places.low(3)));
        let lost = cat((0..7).rev().map(|bit| sig.bit(bit) & places.low(3).gt(&lit(bit.into(), 3))));
        let whole_q = m.delay("whole_q", &shifted.slice(17, 7));
        let half_q = m.delay("half_q", &shifted.bit(16));
        let sticky_q = m.delay("sticky_q", &(shifted.low(16).any() | lost.any()));
        let sign_q = m.delay("sign_q", &a.bit(31));
        let zero_q = m.delay("zero_q", &(small | nan));
        let large_q = m.delay("large_q", &exp.gt(&lit(TOP, 8)));
        m.unused("places", &[places.slice(3, 5)]);

        m.comment("2: round, clamp, sign.");
        let up = &half_q & (&sticky_q | whole_q.bit(0));
        let round = m.wire("round", &(&whole_q + up));
        let clamp = m.wire("clamp", &(&large_q | round.bit(7)));
        let magnitude = clamp.mux(&lit(127, 7), &round.low(7));
        let magnitude = m.wire("magnitude", &zero_q.mux(&lit(0, 7), &magnitude));
        let code = sign_q.mux(&magnitude.neg().as_unsigned(), &magnitude.extend(8));
        let code_q = m.delay("code_q", &code);
        m.drive(&y, &code_q);
        m.pipeline(&valid, &[]);
        design.add(m)
    }
}
