//! Queue in a clocked memory.

use super::fifo::wrapping_next;
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, Sink, Source, cat, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// A deep queue in Block RAM or UltraRAM.
pub struct FifoRam {
    /// Bits of a beat.
    pub width: u32,
    /// Beats that the memory holds; the read stages hold a few more.
    pub depth: u64,
    /// UltraRAM instead of Block RAM.
    pub ultra: bool,
}

impl FifoRam {
    /// Registers between the memory's cells and the output.
    pub const fn stages(&self) -> u32 {
        if self.ultra { 3 } else { 2 }
    }

    /// Cycles from `in` to `out` of an empty queue.
    pub const fn latency(&self) -> u32 {
        self.stages() + 1
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (width, depth, stages) = (self.width, self.depth, self.stages());
        let (kind, style) = if self.ultra { ("uram", RamStyle::Ultra) } else { ("bram", RamStyle::Block) };
        let mut m = Module::new(format!("tern_fifo_{kind}_w{width}_d{depth}"));
        m.header(&format!(
            "Queue of {depth} beats and {stages} on their way out: out = in.\n\n\
             Shapes   u{width} in, u{width} out, memory [{depth}] u{width}, {stages} registers behind it\n\
             Latency  {} cycles, one beat per cycle\n\
             Stalls   in_ready_o falls when {depth} beats wait in the memory; no path from out_ready_i to in_ready_o;\n\
             \x20        a stage moves when one behind it is empty or the output is taken\n\
             Idle     idle_o: no beat is inside\n\
             Oracle   the same sequence (sim::blocks::axi_read)",
            self.latency()
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let output = m.source("out", &[("data", uint(width))]);
        let idle = m.output("idle_o", uint(1));
        let index = index_width(depth);
        let write_q = m.reg_reset("write_q", &lit(0, index));
        let read_q = m.reg_reset("read_q", &lit(0, index));
        let push = m.wire("push", &input.fire());
        m.next_when(&write_q, &push, &wrapping_next(&write_q, depth));
        let queue = Queue::account(&mut m, (depth, stages), (&input, &push), &output, None);
        m.next_when(&read_q, &queue.pop, &wrapping_next(&read_q, depth));
        let memory = m.memory("mem", width, depth, style);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        queue.deliver(&mut m, &word, &output, &idle);
        design.add(m)
    }
}

/// What a queue in a clocked memory knows of its beats: how many wait, and which stages behind the memory hold one.
pub(crate) struct Queue {
    /// A beat leaves the memory.
    pub(crate) pop: Expr,
    some: Expr,
    /// Which stages hold a beat, and which may take another; the output's ready comes last.
    valid: Vec<Expr>,
    moves: Vec<Expr>,
}

impl Queue {
    /// Counts beats of a memory of `depth` with `stages` registers behind it, and drives the input's ready. Nothing
    /// leaves in the cycle after `closed`.
    pub(crate) fn account(
        m: &mut Module,
        (depth, stages): (u64, u32),
        (input, push): (&Sink, &Expr),
        output: &Source,
        closed: Option<&Expr>,
    ) -> Queue {
        let (count, one) = (count_width(depth), lit(1, 1));
        let count_q = m.reg_reset("count_q", &lit(0, count));
        let some_q = m.reg_reset("some_q", &lit(0, 1));
        let room_q = m.reg_reset("room_q", &lit(1, 1));
        m.drive(&input.ready, &room_q);
        m.comment("Each read stage moves when it is empty or the next one moves.");
        let valid: Vec<Expr> = (0..stages).map(|s| m.reg_reset(&format!("valid{s}_q"), &lit(0, 1))).collect();
        let mut moves = vec![output.ready.clone()];
        for s in (0..stages as usize).rev() {
            let next = m.wire(&format!("move{s}"), &(!&valid[s] | &moves[0]));
            moves.insert(0, next);
        }
        let pop = m.wire("pop", &(&some_q & &moves[0]));
        let (up, down) = (count_q.add_wrap(&one.extend(count)), count_q.sub_wrap(&one.extend(count)));
        let changed = (push ^ &pop).mux(&push.mux(&up, &down), &count_q);
        m.next(&count_q, &changed);
        m.comment("Whether there is a beat that may leave, or a place, next cycle.");
        let one_left = count_q.eq(&lit(1, count));
        let some = push | count_q.ne(&lit(0, count)) & !(&pop & one_left);
        m.next(&some_q, &closed.map_or(some.clone(), |closed| some & !closed));
        let one_free = count_q.eq(&lit(u128::from(depth) - 1, count));
        m.next(&room_q, &(&pop | count_q.ne(&lit(u128::from(depth), count)) & !(push & one_free)));
        Queue { pop, some: some_q, valid, moves }
    }

    /// The stages from the memory's word to the output; a stage moves only with a beat.
    pub(crate) fn deliver(&self, m: &mut Module, word: &Expr, output: &Source, idle: &Expr) {
        let (mut value, mut comes) = (word.clone(), self.some.clone());
        for (s, (valid, moves)) in self.valid.iter().zip(&self.moves).enumerate() {
            let data_q = m.reg(&format!("data{s}_q"), word.ty());
            m.next_when(valid, moves, &comes);
            m.next_when(&data_q, &(moves & &comes), &value);
            (value, comes) = (data_q, valid.clone());
        }
        m.drive(idle, &!(&self.some | cat(&self.valid).any()));
        m.drive(&output.valid, &comes);
        m.drive(&output.field("data"), &value);
    }
}
