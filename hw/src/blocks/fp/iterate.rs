//! Control of the units that take one operand at a time.

use crate::ir::{Expr, Module, Sink, Source, lit};
use crate::width::count_width;

/// A counter: 0 waits for operands, 1, 2, ... are the steps, the last one holds the result.
pub(super) struct Iteration {
    /// Operands are taken.
    pub(super) load: Expr,
    count_q: Expr,
}

impl Iteration {
    /// Drives the handshakes of both streams; the result must be there `last` cycles after the operands.
    pub(super) fn new(m: &mut Module, input: &Sink, output: &Source, last: u32) -> Iteration {
        let width = count_width(last.into());
        m.comment("0 waits for operands, then the steps, the last one offers the result.");
        let count_q = m.reg_reset("count_q", &lit(0, width));
        let idle = m.wire("idle", &!count_q.any());
        let done = m.wire("done", &count_q.eq(&lit(last.into(), width)));
        let load = m.wire("load", &input.fire());
        let next = done.mux(&lit(0, width), &count_q.add_wrap(&lit(1, width)));
        m.next_when(&count_q, &idle.mux(&input.valid, &(!&done | &output.ready)), &next);
        m.drive(&input.ready, &idle);
        m.drive(&output.valid, &done);
        Iteration { load, count_q }
    }

    /// Whether this is cycle `step` after the operands.
    pub(super) fn at(&self, step: u32) -> Expr {
        self.count_q.eq(&lit(step.into(), self.count_q.width()))
    }

    /// Whether a step before `step` is under way.
    pub(super) fn before(&self, step: u32) -> Expr {
        self.count_q.any() & self.count_q.lt(&lit(step.into(), self.count_q.width()))
    }
}
