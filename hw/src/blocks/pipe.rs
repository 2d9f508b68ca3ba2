//! What surrounds a pipeline that never stalls: delays, and a ready/valid shell.

use super::fifo::Fifo;
use crate::ir::{Design, Expr, Interface, IrError, Module, lit, uint};
use crate::width::count_width;
use std::rc::Rc;

/// Name of register `stage` (from 1) of a chain.
fn stage_name(name: &str, stage: u32) -> String {
    if stage == 1 { format!("{name}_q") } else { format!("{name}_q{stage}") }
}

/// `value`, `cycles` later: registers `<name>_q`, `<name>_q2`, ... without reset. Zero cycles is `value` itself.
pub fn delay_n(m: &mut Module, name: &str, value: &Expr, cycles: u32) -> Expr {
    (1..=cycles).fold(value.clone(), |value, stage| m.delay(&stage_name(name, stage), &value))
}

/// As [`delay_n`] for a bit that says whether data is there: the reset clears the whole chain.
pub fn valid_n(m: &mut Module, name: &str, value: &Expr, cycles: u32) -> Expr {
    (1..=cycles).fold(value.clone(), |value, stage| {
        let q = m.reg_reset(&stage_name(name, stage), &lit(0, 1));
        m.next(&q, &value);
        q
    })
}

/// A ready/valid shell for a pipeline that takes an operand every cycle and cannot stall.
///
/// The user feeds the pipeline from the same fields as always and wires its result to `y_i`; what enters
/// in a cycle without a beat is ignored. The block counts the beats between `in` and the taken result and
/// lets one in only if the queue behind the pipeline has a place for it.
pub struct Credit {
    /// Bits of a result.
    pub width: u32,
    /// Cycles from an operand to its result at `y_i`.
    pub latency: u32,
}

impl Credit {
    /// Results in flight and in the queue: enough for one beat a cycle.
    pub const fn depth(&self) -> u32 {
        self.latency + 2
    }

    /// Cycles from `in` to `out` when nothing stalls.
    pub const fn total_latency(&self) -> u32 {
        self.latency + Fifo::LATENCY
    }

    /// Adds the module: sink `in` (no fields), input `y_i`, source `out` {`data`}.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (width, latency, depth) = (self.width, self.latency, self.depth());
        let queue = Fifo { width, depth }.build(design)?;
        let mut m = Module::new(format!("tern_credit_w{width}_l{latency}"));
        m.header(&format!(
            "Ready/valid shell of a free-running pipeline: out = the y_i that comes {latency} cycles after a beat of in.\n\n\
             Shapes   u{width} result; queue of {depth} beats\n\
             Latency  {} cycles, one beat per cycle\n\
             Stalls   in_ready_o falls when {depth} beats are in flight or in the queue\n\
             Oracle   the same sequence (sim::blocks::fp)",
            self.total_latency()
        ));
        let input = m.sink("in", &[]);
        let result = m.input("y_i", uint(width));
        let output = m.source("out", &[("data", uint(width))]);

        let count = count_width(depth.into());
        let count_q = m.reg_reset("count_q", &lit(0, count));
        let one = lit(1, count);
        let issue = m.wire("issue", &input.fire());
        let taken = m.wire("taken", &output.fire());
        m.next_when(&count_q, &(&issue ^ &taken), &issue.mux(&count_q.add_wrap(&one), &count_q.sub_wrap(&one)));
        m.drive(&input.ready, &count_q.ne(&lit(depth.into(), count)));

        m.comment("A place in the queue is reserved, so its ready need not be asked.");
        let arrived = valid_n(&mut m, "issue", &issue, latency);
        let inputs = [("in_valid_i", &arrived), ("in_data_i", &result), ("out_ready_i", &output.ready)];
        let queue = m.instance("queue", &queue, &inputs);
        m.unused("ready", &[queue.get("in_ready_o")]);
        m.drive(&output.valid, &queue.get("out_valid_o"));
        m.drive(&output.field("data"), &queue.get("out_data_o"));
        design.add(m)
    }
}
