//! Placeholder.
use super::util::{dec, held, inc};
use crate::ir::*;
use std::rc::Rc;
pub(super) fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_fdiv_iter");
    let i = m.sink("in", &[("a", uint(32)), ("b", uint(32))]);
    let o = m.source("out", &[("y", uint(32))]);
    let busy = m.reg_reset("busy_q", &lit(0, 1));
    let done = m.reg_reset("done_q", &lit(0, 1));
    let take = m.wire("take", &i.fire());
    m.drive(&i.ready, &(!&busy & !&done));
    let (a, b) = (i.field("a"), i.field("b"));
    let mb = held(&mut m, "mb_q", &take, &cat([&lit(0, 2), &lit(1, 1), &b.low(23)]));
    let ma = cat([&lit(1, 1), &a.low(23)]);
    let less = m.wire("less", &a.low(23).lt(&b.low(23)));
    let e = a.slice(23, 8).extend(11).add_wrap(&lit(127, 11)).sub_wrap(&b.slice(23, 8)).as_unsigned();
    let e = less.mux(&dec(&e), &e);
    let e = held(&mut m, "e_q", &take, &e);
    let cnt = m.reg("cnt_q", uint(5));
    m.next(&cnt, &take.mux(&lit(0, 5), &inc(&cnt)));
    let rem = m.reg("rem_q", uint(26));
    let q = m.reg("quo_q", uint(25));
    let ge = m.wire("ge", &rem.ge(&mb));
    let sub = ge.mux(&rem.sub_wrap(&mb).as_unsigned(), &rem);
    let first = less.mux(&cat([&ma, &lit(0, 1)]), &ma).extend(26);
    m.next_when(&rem, &(&take | &busy), &take.mux(&first, &cat([&sub.low(25), &lit(0, 1)])));
    m.next_when(&q, &busy, &cat([&q.low(24), &ge]));
    let end = m.wire("at_end", &(&busy & cnt.eq(&lit(24, 5))));
    m.next(&busy, &(&take | (&busy & !&end)));
    m.next(&done, &(&end | (&done & !&o.ready)));
    m.drive(&o.valid, &done);
    let up = q.bit(0) & (q.bit(1) | rem.any());
    let mant = cat([&e.low(8), &q.slice(1, 23)]).add_wrap(&up.extend(31));
    m.drive(&o.field("y"), &cat([&lit(0, 1), &mant]));
    m.unused("x", &[a.bit(31), b.bit(31), q.bit(24), e.slice(8, 3), sub.bit(25), rem.bit(25)]);
    design.add(m)
}
