//! First-in first-out queue.

use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// A queue in LUT RAM, of any depth.
pub struct Fifo {
    /// Bits of a beat.
    pub width: u32,
    /// Beats that it holds, at least one.
    pub depth: u32,
}

/// The next index below `depth` after `index`.
pub(crate) fn wrapping_next(index: &Expr, depth: u64) -> Expr {
    let width = index.width();
    let next = index.add_wrap(&lit(1, width));
    if depth == 1 << width { next } else { index.eq(&lit(u128::from(depth) - 1, width)).mux(&lit(0, width), &next) }
}

impl Fifo {
    /// Cycles from `in` to `out` of an empty queue.
    pub const LATENCY: u32 = 1;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (width, depth) = (self.width, u64::from(self.depth));
        let mut m = Module::new(format!("tern_fifo_w{width}_d{depth}"));
        m.header(&format!(
            "Queue of {depth} beats: out = in.\n\n\
             Shapes   u{width} in, u{width} out, memory [{depth}] u{width} in LUT RAM\n\
             Latency  1 cycle, one beat per cycle\n\
             Stalls   in_ready_o falls when {depth} beats wait; no path from out_ready_i to in_ready_o\n\
             Oracle   the same sequence (sim::blocks::fifo)"
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let output = m.source("out", &[("data", uint(width))]);
        let index = index_width(depth);
        let (count, one) = (count_width(depth), lit(1, 1));
        let write_q = m.reg_reset("write_q", &lit(0, index));
        let read_q = m.reg_reset("read_q", &lit(0, index));
        let count_q = m.reg_reset("count_q", &lit(0, count));

        let push = m.wire("push", &input.fire());
        let pop = m.wire("pop", &output.fire());
        m.drive(&input.ready, &count_q.ne(&lit(u128::from(depth), count)));
        m.drive(&output.valid, &count_q.ne(&lit(0, count)));
        m.next_when(&write_q, &push, &wrapping_next(&write_q, depth));
        m.next_when(&read_q, &pop, &wrapping_next(&read_q, depth));
        let (up, down) = (count_q.add_wrap(&one.extend(count)), count_q.sub_wrap(&one.extend(count)));
        m.next_when(&count_q, &(&push ^ &pop), &push.mux(&up, &down));

        let memory = m.memory("mem", width, depth, RamStyle::Distributed);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        m.drive(&output.field("data"), &word);
        design.add(m)
    }
}
