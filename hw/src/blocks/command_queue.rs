//! Commands that wait for a unit.

use super::fifo::Fifo;
use crate::ir::{Design, Interface, IrError, Module, Ty, cat, lit, uint};
use std::rc::Rc;

/// A queue of commands with the fields of the unit's sink.
pub struct CommandQueue {
    /// The unit, for the module's name.
    pub unit: &'static str,
    /// Fields with their types.
    pub fields: Vec<(String, Ty)>,
    /// Commands that it holds.
    pub depth: u32,
}

impl CommandQueue {
    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let width = self.fields.iter().map(|(_, ty)| ty.width).sum();
        let queue_of = Fifo { width, depth: self.depth }.build(design)?;
        let mut m = Module::new(format!("tern_{}_commands_w{width}_d{}", self.unit, self.depth));
        m.header(&format!(
            "{} commands that wait for {}: the sequencer goes on while the unit works.\n\n\
             Latency  1 cycle\n\
             Idle     idle_o: no command waits and the unit is idle\n\
             Done     done_o is high for a cycle when the unit becomes idle, which a unit that works on one command at a\n\
             \x20        time must be for a cycle between commands\n\
             Oracle   the same sequence (whole machine)",
            self.depth, self.unit
        ));
        let fields: Vec<(&str, Ty)> = self.fields.iter().map(|(name, ty)| (name.as_str(), *ty)).collect();
        let input = m.sink("in", &fields);
        let output = m.source("out", &fields);
        let unit_idle = m.input("unit_idle_i", uint(1));
        let [idle, done] = ["idle_o", "done_o"].map(|name| m.output(name, uint(1)));
        let all = cat(fields.iter().rev().map(|(name, _)| input.field(name)));
        let inputs = [("in_valid_i", &input.valid), ("in_data_i", &all), ("out_ready_i", &output.ready)];
        let queue = m.instance("queue", &queue_of, &inputs);
        m.drive(&input.ready, &queue.get("in_ready_o"));
        m.drive(&output.valid, &queue.get("out_valid_o"));
        m.drive(&idle, &(&unit_idle & !queue.get("out_valid_o")));
        let busy_q = m.reg_reset("busy_q", &lit(0, 1));
        m.next(&busy_q, &!&unit_idle);
        m.drive(&done, &(&busy_q & &unit_idle));
        let mut at = 0;
        for (name, ty) in fields {
            m.drive(&output.field(name), &queue.get("out_data_o").slice(at, ty.width));
            at += ty.width;
        }
        design.add(m)
    }
}
