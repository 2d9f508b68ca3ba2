//! The ring of weight words.

use super::fifo::wrapping_next;
use super::fifo_ram::Queue;
use super::require::require;
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, lit, uint};
use crate::width::index_width;
use std::rc::Rc;

/// A queue in UltraRAM that can also turn a block of words round.
pub struct Ring {
    /// Bits of a word.
    pub width: u32,
    /// Words.
    pub depth: u64,
}

/// Bits of the number of listed groups.
pub const KEEP: u32 = 8;

impl Ring {
    /// Registers between the memory's cells and the output.
    const STAGES: u32 = 3;
    /// Cycles from `in` to `out` of an empty ring.
    pub const LATENCY: u32 = Self::STAGES + 1;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (width, depth, stages) = (self.width, self.depth, Self::STAGES);
        let mut m = Module::new(format!("tern_ring_w{width}_d{depth}"));
        require(&m.name, depth >= 2, "words of the ring", "at least 2", depth)?;
        m.header(&format!(
            "Queue of {depth} words and {stages} on their way out: out = in.\n\n\
             Shapes   u{width} in, u{width} out, memory [{depth}] u{width} in UltraRAM, {stages} registers behind it\n\
             Turned   words of keep_i groups come group by group and leave as the first words of all groups, then the\n\
             \x20        second ones: word w of group g is written at w keep_i + g. rewind_i, in an empty ring, comes\n\
             \x20        first; turn_i marks the words, end_i a group's last one, final_i those of the last group.\n\
             \x20        Nothing leaves before the last word is there\n\
             Latency  {} cycles, one word a cycle\n\
             Stalls   in_ready_o falls when {depth} words wait in the memory; no path from out_ready_i to in_ready_o;\n\
             \x20        a stage moves when one behind it is empty or the output is taken\n\
             Idle     idle_o: no word is inside that could leave\n\
             Oracle   the same sequence, turned (sim::blocks::weights)",
            Self::LATENCY
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let [rewind, turn, end, last_group] =
            ["rewind_i", "turn_i", "end_i", "final_i"].map(|name| m.input(name, uint(1)));
        let keep = m.input("keep_i", uint(KEEP));
        let output = m.source("out", &[("data", uint(width))]);
        let idle = m.output("idle_o", uint(1));
        let index = index_width(depth);
        let write_q = m.reg_reset("write_q", &lit(0, index));
        let read_q = m.reg_reset("read_q", &lit(0, index));

        m.comment("Where the next word goes: behind this one, or turned.");
        let push = m.wire("push", &input.fire());
        let closing = m.wire("closing", &(&turn & !(&end & &last_group)));
        let group_q = m.reg_reset("group_q", &lit(0, KEEP));
        let next_group = m.wire("next_group", &group_q.add_wrap(&lit(1, KEEP)));
        let fit = |e: &Expr| if e.width() > index { e.low(index) } else { e.extend(index) };
        if KEEP > index {
            m.unused("keep", &[keep.slice(index, KEEP - index)]);
        }
        let turned = end.mux(&fit(&next_group), &write_q.add_wrap(&fit(&keep)));
        let after = closing.mux(&turned, &wrapping_next(&write_q, depth));
        m.next_when(&write_q, &(&push | &rewind), &rewind.mux(&lit(0, index), &after));
        let regroup = &rewind | (&push & &turn & &end);
        m.next_when(&group_q, &regroup, &rewind.mux(&lit(0, KEEP), &next_group));
        let closed_q = m.reg_reset("closed_q", &lit(0, 1));
        let closed = m.wire("closed", &push.mux(&closing, &closed_q));
        m.next(&closed_q, &closed);

        let queue = Queue::account(&mut m, (depth, stages), (&input, &push), &output, Some(&closed));
        let ahead = rewind.mux(&lit(0, index), &wrapping_next(&read_q, depth));
        m.next_when(&read_q, &(&queue.pop | &rewind), &ahead);
        let memory = m.memory("mem", width, depth, RamStyle::Ultra);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        queue.deliver(&mut m, &word, &output, &idle);
        design.add(m)
    }
}
