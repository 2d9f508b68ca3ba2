//! Skid buffer.

use crate::ir::{Design, Interface, IrError, Module, lit, uint};
use std::rc::Rc;

/// Cuts the path from `out_ready_i` to `in_ready_o` without losing a cycle.
pub struct Skid {
    /// Bits of a beat.
    pub width: u32,
}

impl Skid {
    /// Cycles from `in` to `out` when nothing stalls.
    pub const LATENCY: u32 = 1;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let width = self.width;
        let mut m = Module::new(format!("tern_skid_w{width}"));
        m.header(&format!(
            "Skid buffer: out = in, with in_ready_o a register.\n\n\
             Shapes   u{width} in, u{width} out\n\
             Latency  1 cycle, one beat per cycle\n\
             Stalls   a stalled output stops the input one beat later; that beat waits in `spare`\n\
             Oracle   the same sequence (sim::blocks::skid)"
        ));
        let input = m.sink("in", &[("data", uint(width))]);
        let output = m.source("out", &[("data", uint(width))]);
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        let spare_valid_q = m.reg_reset("spare_valid_q", &lit(0, 1));
        let data_q = m.reg("data_q", uint(width));
        let spare_q = m.reg("spare_q", uint(width));

        // The spare is only filled while the output register is full, so its content is always younger.
        m.comment("The spare register fills only while the output register is held.");
        let advance = m.wire("advance", &(&output.ready | !&valid_q));
        m.drive(&input.ready, &!&spare_valid_q);
        m.next_when(&valid_q, &advance, &(&spare_valid_q | &input.valid));
        m.next(&spare_valid_q, &(!&advance & (&spare_valid_q | &input.valid)));
        m.next_when(
            &data_q,
            &(&advance & (&spare_valid_q | &input.valid)),
            &spare_valid_q.mux(&spare_q, &input.field("data")),
        );
        m.next_when(&spare_q, &(!&spare_valid_q & &input.valid), &input.field("data"));
        m.drive(&output.valid, &valid_q);
        m.drive(&output.field("data"), &data_q);
        design.add(m)
    }
}
