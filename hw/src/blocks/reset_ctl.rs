//! Resets: the synchroniser of `aresetn`, and the soft reset that lets memory ports finish first.

use crate::ir::{Design, Interface, IrError, Module, lit, uint};
use crate::width::count_width;
use std::rc::Rc;

/// Brings `aresetn` to the clock.
pub struct ResetSync;

impl ResetSync {
    /// Cycles from `aresetn_i` to `rst_o`.
    pub const LATENCY: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_reset_sync");
        m.header(&format!(
            "Reset of the clock's domain: rst = ~aresetn, {} cycles later, in step with the clock.\n\n\
             Why      aresetn may change at any time; two registers in a row let the first one settle. It must be\n\
             \x20        low for a clock cycle at least",
            Self::LATENCY
        ));
        let aresetn = m.input("aresetn_i", uint(1));
        let rst = m.output("rst_o", uint(1));
        let first_q = m.delay("first_q", &!aresetn);
        let second_q = m.delay("second_q", &first_q);
        let rst_q = m.delay("rst_q", &second_q);
        for name in ["first_q", "second_q"] {
            m.attribute(name, "ASYNC_REG = \"TRUE\"");
        }
        m.drive(&rst, &rst_q);
        design.add(m)
    }
}

/// States.
const RUN: u128 = 0;
/// Ports finish what they began.
const DRAIN: u128 = 1;
/// The core is held in reset.
const HOLD: u128 = 2;

/// The soft reset.
pub struct ResetCtl {
    /// Memory ports.
    pub ports: u32,
    /// Cycles after which ports are not waited for any longer.
    pub patience: u64,
}

impl ResetCtl {
    /// Cycles for which the core is held in reset.
    pub const HOLD: u32 = 16;
    /// Cycles after `stop_o` before ports are looked at: what was on its way to them has arrived.
    pub const SETTLE: u32 = 8;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (ports, patience) = (self.ports, self.patience.max(Self::SETTLE.into()));
        let mut m = Module::new(format!("tern_reset_ctl_n{ports}_d{patience}"));
        m.header(&format!(
            "Soft reset: stop the ports, wait until none is busy, reset the core.\n\n\
             Shapes   busy u{ports}, one a port\n\
             Order    request_i, then stop_o with draining_o; {} cycles later at the earliest, when all of busy_i is\n\
             \x20        low, core_rst_o for {} cycles; stop_o and draining_o fall with core_rst_o\n\
             Stuck    after {patience} cycles the core is reset all the same, and stuck_o is high until the next request\n\
             Reset    rst_i resets the core in the same way, without draining. Registers are reset by rst_i alone\n\
             Oracle   sim::blocks::sequencer",
            Self::SETTLE,
            Self::HOLD,
        ));
        let request = m.input("request_i", uint(1));
        let busy = m.input("busy_i", uint(ports));
        let state_q = m.reg_reset("state_q", &lit(HOLD, 2));
        let at = |state: u128| state_q.eq(&lit(state, 2));
        let width = count_width(patience.max(Self::HOLD.into()));
        let count_q = m.reg_reset("count_q", &lit(0, width));
        let reached = |count: u128| count_q.ge(&lit(count, width));

        let begin = m.wire("starts", &(at(RUN) & &request));
        let late = m.wire("late", &reached(u128::from(patience) - 1));
        let quiet = m.wire("quiet", &(reached(u128::from(Self::SETTLE) - 1) & !busy.any()));
        let drained = m.wire("drained", &(at(DRAIN) & (&quiet | &late)));
        let ended = m.wire("ended", &(at(HOLD) & reached(u128::from(Self::HOLD) - 1)));
        let change = m.wire("change", &(&begin | &drained | &ended));
        let next = begin.mux(&lit(DRAIN, 2), &drained.mux(&lit(HOLD, 2), &lit(RUN, 2)));
        m.next_when(&state_q, &change, &next);
        m.next(&count_q, &(&change | &at(RUN)).mux(&lit(0, width), &count_q.add_wrap(&lit(1, width))));
        let stuck_q = m.reg_reset("stuck_q", &lit(0, 1));
        m.next_when(&stuck_q, &(&begin | &drained), &(&drained & !&quiet));
        // registers: these go everywhere
        let stop_q = m.reg_reset("stop_q", &lit(1, 1));
        m.next_when(&stop_q, &change, &!&ended);
        let core_rst_q = m.reg_reset("core_rst_q", &lit(1, 1));
        m.next_when(&core_rst_q, &change, &drained);
        for (name, value) in
            [("stop_o", &stop_q), ("core_rst_o", &core_rst_q), ("draining_o", &stop_q), ("stuck_o", &stuck_q)]
        {
            let port = m.output(name, uint(1));
            m.drive(&port, value);
        }
        design.add(m)
    }
}
