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
        let queue = Queue::account(&mut m, (depth, stages), (&input, &push), &output);
        m.next_when(&read_q, &queue.pop, &wrapping_next(&read_q, depth));
        let memory = m.memory("mem", width, depth, style);
        m.write(&memory, &push, &write_q, &input.field("data"));
        let word = m.read(&memory, &read_q);
        let held = queue.deliver(&mut m, &word, &output);
        m.drive(&idle, &!(&queue.some | held));
        design.add(m)
    }
}

/// What a queue in a clocked memory knows of its beats: which one leaves, and which stages behind the memory hold one.
pub(crate) struct Queue {
    /// A beat leaves the memory.
    pub(crate) pop: Expr,
    /// A beat may leave, a register.
    pub(crate) some: Expr,
    /// Which stages hold a beat, and which may take another; the output's ready comes last.
    valid: Vec<Expr>,
    moves: Vec<Expr>,
}

impl Queue {
    /// Beats that leave while `some` is high, into `stages` registers.
    pub(crate) fn new(m: &mut Module, stages: u32, some: Expr, output: &Source) -> Queue {
        m.comment("Each read stage moves when it is empty or the next one moves.");
        let valid: Vec<Expr> = (0..stages).map(|s| m.reg_reset(&format!("valid{s}_q"), &lit(0, 1))).collect();
        let mut moves = vec![output.ready.clone()];
        for s in (0..stages as usize).rev() {
            let next = m.wire(&format!("move{s}"), &(!&valid[s] | &moves[0]));
            moves.insert(0, next);
        }
        let pop = m.wire("pop", &(&some & &moves[0]));
        Queue { pop, some, valid, moves }
    }

    /// Counts beats of a memory of `depth` with `stages` registers behind it, and drives the input's ready.
    fn account(m: &mut Module, (depth, stages): (u64, u32), (input, push): (&Sink, &Expr), output: &Source) -> Queue {
        let some_q = m.reg_reset("some_q", &lit(0, 1));
        let queue = Queue::new(m, stages, some_q.clone(), output);
        let count_q = Queue::count(m, "count", depth, push, &queue.pop);
        Queue::room(m, depth, input, push, &queue.pop, &count_q);
        m.next(&some_q, &Queue::stays(&count_q, push, &queue.pop));
        queue
    }

    /// A number of beats.
    pub(crate) fn count(m: &mut Module, name: &str, depth: u64, push: &Expr, pop: &Expr) -> Expr {
        let width = count_width(depth);
        let q = m.reg_reset(&format!("{name}_q"), &lit(0, width));
        let (up, down) = (q.add_wrap(&lit(1, width)), q.sub_wrap(&lit(1, width)));
        m.next(&q, &(push ^ pop).mux(&push.mux(&up, &down), &q));
        q
    }

    /// Whether there is a beat in the next cycle.
    pub(crate) fn stays(count: &Expr, push: &Expr, pop: &Expr) -> Expr {
        let one_left = count.eq(&lit(1, count.width()));
        push | count.ne(&lit(0, count.width())) & !(pop & one_left)
    }

    /// The input is ready while there is a place: looked up a cycle before.
    pub(crate) fn room(m: &mut Module, depth: u64, input: &Sink, push: &Expr, pop: &Expr, count: &Expr) {
        let room_q = m.reg_reset("room_q", &lit(1, 1));
        m.drive(&input.ready, &room_q);
        let one_free = count.eq(&lit(u128::from(depth) - 1, count.width()));
        m.next(&room_q, &(pop | count.ne(&lit(u128::from(depth), count.width())) & !(push & one_free)));
    }

    /// The stages from the memory's word to the output; a stage moves only with a beat. Returns whether any holds one.
    pub(crate) fn deliver(&self, m: &mut Module, word: &Expr, output: &Source) -> Expr {
        let (mut value, mut comes) = (word.clone(), self.some.clone());
        for (s, (valid, moves)) in self.valid.iter().zip(&self.moves).enumerate() {
            let data_q = m.reg(&format!("data{s}_q"), word.ty());
            m.next_when(valid, moves, &comes);
            m.next_when(&data_q, &(moves & &comes), &value);
            (value, comes) = (data_q, valid.clone());
        }
        m.drive(&output.valid, &comes);
        m.drive(&output.field("data"), &value);
        cat(&self.valid).any()
    }
}
