//! Quotients of scales and sums, one at a time.

use super::Attend;
use super::util::{dec, inc, is};
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// Bits of a quotient: 24 and one to round by.
const STEPS: u64 = 25;

impl Attend {
    pub(super) fn build_divide(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_attend_divide");
        m.header(&format!(
            "y = a / b of positive normal numbers with a normal quotient, binary32, ties to even.\n\n\
             Domain   scales are at least 2^-64 / 127 and finite, sums are 2^15 .. 2^48, so nothing leaves it\n\
             Latency  {} cycles, one division at a time: a bit of the quotient a cycle\n\
             Stalls   in_ready_o is low from a division's start until its result is taken\n\
             Oracle   spec::numerics::f32ops::div",
            STEPS + 1
        ));
        let input = m.sink("in", &[("a", uint(32)), ("b", uint(32))]);
        let output = m.source("out", &[("y", uint(32))]);
        let (busy, done) = (m.reg_reset("busy_q", &lit(0, 1)), m.reg_reset("done_q", &lit(0, 1)));
        let take = m.wire("take", &input.fire());
        m.drive(&input.ready, &!(&busy | &done));

        m.comment("A smaller dividend is doubled, so that the quotient lies in [1, 2).");
        let (a, b) = (input.field("a"), input.field("b"));
        let significand = cat([&lit(1, 1), &a.low(23)]);
        let less = m.wire("less", &a.low(23).lt(&b.low(23)));
        let start = less.mux(&cat([&significand, &lit(0, 1)]), &significand).extend(26);
        let exponent = a.slice(23, 8).add_wrap(&lit(127, 8)).sub_wrap(&b.slice(23, 8)).as_unsigned();
        let exponent = m.held("exponent_q", &take, &less.mux(&dec(&exponent), &exponent));
        let divisor = m.held("divisor_q", &take, &cat([&lit(1, 3), &b.low(23)]));

        m.comment("Subtract where it fits, double what is left.");
        let step = m.reg("step_q", uint(5));
        m.next(&step, &take.mux(&lit(0, 5), &inc(&step)));
        let rest = m.reg("rest_q", uint(26));
        let fits = m.wire("fits", &rest.ge(&divisor));
        let left = m.wire("left", &fits.mux(&rest.sub_wrap(&divisor).as_unsigned(), &rest));
        m.next_when(&rest, &(&take | &busy), &take.mux(&start, &cat([&left.low(25), &lit(0, 1)])));
        let quotient = m.reg("quotient_q", uint(25));
        m.next_when(&quotient, &busy, &cat([&quotient.low(24), &fits]));
        let last = m.wire("last", &(&busy & is(&step, STEPS - 1)));
        m.next(&busy, &(&take | (&busy & !&last)));
        m.next(&done, &(&last | (&done & !&output.ready)));

        m.comment("Round; a carry goes into the exponent.");
        let up = quotient.bit(0) & (quotient.bit(1) | rest.any());
        let rounded = cat([&exponent, &quotient.slice(1, 23)]).add_wrap(&up.extend(31));
        m.drive(&output.valid, &done);
        m.drive(&output.field("y"), &cat([&lit(0, 1), &rounded]));
        m.unused("bits", &[a.bit(31), b.bit(31), quotient.bit(24), left.bit(25)]);
        design.add(m)
    }
}
