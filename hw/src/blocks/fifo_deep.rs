//! First-in first-out queue that is too deep for LUT RAM.

use super::fifo::wrapping_next;
use crate::ir::{Design, Interface, IrError, Module, RamStyle, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// A queue in Block RAM, with the interface of [`super::fifo::Fifo`].
pub struct FifoDeep {
    /// Bits of a beat.
    pub width: u32,
    /// Beats that it holds at least, at least two.
    pub depth: u32,
}

impl FifoDeep {
    /// Cycles from `in` to `out` of an empty queue: write, read, output register.
    pub const LATENCY: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (width, depth) = (self.width, u64::from(self.depth));
        let mut m = Module::new(format!("tern_fifo_deep_w{width}_d{depth}"));
        m.header(&format!(
            "Queue of {depth} beats: out = in.\n\n\
             Shapes   u{width} in, u{width} out, memory [{depth}] u{width} in Block RAM\n\
             Latency  {} cycles, one beat per cycle\n\
             Stalls   in_ready_o falls when {depth} beats wait in the memory; two more wait in its read\n\
             \x20        and output registers. No path from out_ready_i to in_ready_o\n\
             Oracle   the same sequence (sim::blocks::matrix)",
            Self::LATENCY
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let output = m.source("out", &[("data", uint(width))]);
        let (index, count) = (index_width(depth), count_width(depth));
        let one = lit(1, count);
        let write_q = m.reg_reset("write_q", &lit(0, index));
        let read_q = m.reg_reset("read_q", &lit(0, index));
        let count_q = m.reg_reset("count_q", &lit(0, count));
        let near_valid_q = m.reg_reset("near_valid_q", &lit(0, 1));
        let out_valid_q = m.reg_reset("out_valid_q", &lit(0, 1));

        m.comment("The output register takes a beat when it is free or freed, the read register likewise.");
        let to_out = m.wire("to_out", &(&output.ready | !&out_valid_q));
        let to_near = m.wire("to_near", &(&to_out | !&near_valid_q));
        let some = m.wire("some", &count_q.ne(&lit(0, count)));
        let push = m.wire("push", &input.fire());
        let pop = m.wire("pop", &(&some & &to_near));
        m.drive(&input.ready, &count_q.ne(&lit(u128::from(depth), count)));
        m.next_when(&write_q, &push, &wrapping_next(&write_q, depth));
        m.next_when(&read_q, &pop, &wrapping_next(&read_q, depth));
        m.next_when(&count_q, &(&push ^ &pop), &push.mux(&count_q.add_wrap(&one), &count_q.sub_wrap(&one)));
        m.next_when(&near_valid_q, &to_near, &some);
        m.next_when(&out_valid_q, &to_out, &near_valid_q);

        m.comment("A beat is counted one cycle after its write, so a read never meets a write of its word.");
        let memory = m.memory("mem", width, depth, RamStyle::Block);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        let near_q = m.reg("near_q", uint(width));
        m.next_when(&near_q, &pop, &word);
        let out_q = m.reg("out_q", uint(width));
        m.next_when(&out_q, &(&to_out & &near_valid_q), &near_q);
        m.drive(&output.valid, &out_valid_q);
        m.drive(&output.field("data"), &out_q);
        design.add(m)
    }
}
