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

/// Bits of a number of words that are asked for.
pub const TOTAL: u32 = 32;
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
             Taken    words leave as take asks for them, total_i at a time. With hold they stay; behind a take with again the\n\
             \x20        next ones get them once more, from the first on: so many words at most as the memory has\n\
             Shapes   u{width} in, u{width} out, memory [{depth}] u{width} in UltraRAM, {stages} registers behind it\n\
             Turned   words of keep_i groups come group by group and leave as the first words of all groups, then the\n\
             \x20        second ones: word w of group g is written at w keep_i + g. rewind_i, in an empty ring, comes\n\
             \x20        first; turn_i marks the words, end_i a group's last one, final_i those of the last group.\n\
             \x20        Nothing leaves before the last word is there\n\
             Latency  {} cycles, one word a cycle\n\
             Rate     a few cycles pass between two takes\n\
             Stalls   in_ready_o falls when {depth} words wait in the memory; no path from out_ready_i to in_ready_o;\n\
             \x20        a stage moves when one behind it is empty or the output is taken\n\
             Idle     idle_o: no word is inside that could leave, whether it is asked for or not\n\
             Oracle   the same sequence, turned (sim::blocks::weights)",
            Self::LATENCY
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let [rewind, turn, end, last_group] =
            ["rewind_i", "turn_i", "end_i", "final_i"].map(|name| m.input(name, uint(1)));
        let keep = m.input("keep_i", uint(KEEP));
        let take = m.sink("take", &[("total", uint(TOTAL)), ("hold", uint(1)), ("again", uint(1))]);
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

        m.comment("What is asked for, words that are left of it, and the first word that is still stored.");
        let some_q = m.reg_reset("some_q", &lit(0, 1));
        let queue = Queue::new(&mut m, stages, some_q.clone(), &output);
        let pop = &queue.pop;
        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let hold_q = m.reg("hold_q", uint(1));
        let again_q = m.reg("again_q", uint(1));
        let left_q = m.reg("left_q", uint(TOTAL));
        let first_q = m.reg_reset("first_q", &lit(0, index));
        m.drive(&take.ready, &!&active_q);
        let begin = m.wire("begins", &(take.fire() & take.field("total").any()));
        let last = m.wire("last_word", &left_q.eq(&lit(1, TOTAL)));
        let ends = m.wire("ends", &(pop & &last));
        let again = m.wire("again", &(&ends & &again_q));
        m.next(&active_q, &(&begin | &active_q & !&ends));
        m.next_when(&hold_q, &begin, &take.field("hold"));
        m.next_when(&again_q, &begin, &take.field("again"));
        m.next_when(&left_q, &(&begin | pop), &begin.mux(&take.field("total"), &left_q.sub_wrap(&lit(1, TOTAL))));

        m.comment("Words that are stored, and those of them that are not read yet.");
        let free = m.wire("free", &(pop & !&hold_q));
        let behind = rewind.mux(&lit(0, index), &wrapping_next(&first_q, depth));
        m.next_when(&first_q, &(&free | &rewind), &behind);
        let count_q = Queue::count(&mut m, "count", depth, &push, &free);
        Queue::room(&mut m, depth, &input, &push, &free, &count_q);
        let unread = count_q.width();
        let unread_q = m.reg_reset("unread_q", &lit(0, unread));
        let one = lit(1, unread);
        let changed = (&push ^ pop).mux(&push.mux(&unread_q.add_wrap(&one), &unread_q.sub_wrap(&one)), &unread_q);
        m.next(&unread_q, &again.mux(&count_q.add_wrap(&push.extend(unread)), &changed));
        let asked = &begin | &active_q & !&ends;
        m.next(&some_q, &(Queue::stays(&unread_q, &push, pop) & asked & !&closed));

        let ahead = again.mux(&first_q, &wrapping_next(&read_q, depth));
        m.next_when(&read_q, &(pop | &rewind), &rewind.mux(&lit(0, index), &ahead));
        let memory = m.memory("mem", width, depth, RamStyle::Ultra);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        let held = queue.deliver(&mut m, &word, &output);
        m.drive(&idle, &!(held | unread_q.any() & !&closed_q));
        design.add(m)
    }
}
