//! The first fault, and the watchdog.

use crate::ir::{Expr, Module, cat, lit, uint};
use spec::regs::fault;

/// A fault that the sequencer itself sees.
pub(super) struct Own {
    pub(super) code: u8,
    pub(super) when: Expr,
    pub(super) info: Expr,
}

/// What the watchdog watches.
pub(super) struct Watch {
    /// A pass runs.
    pub(super) running: Expr,
    /// The sequencer got on.
    pub(super) moved: Expr,
    /// Units at work, for the report.
    pub(super) busy: Expr,
}

/// The first fault.
pub(super) struct Kept {
    /// It happens now.
    pub(super) raise: Expr,
    /// It has happened.
    pub(super) kept: Expr,
}

/// Adds inputs and outputs of faults.
pub(super) fn build(m: &mut Module, units: u32, own: &[Own], watch: &Watch) -> Kept {
    m.comment("Watchdog: cycles since anything moved.");
    let limit = m.input("watchdog_i", uint(32));
    let progress = m.input("progress_i", uint(1));
    let moved_q = m.delay("moved_q", &(&progress | &watch.moved | !&watch.running));
    let still_q = m.reg_reset("still_q", &lit(0, 32));
    m.next(&still_q, &moved_q.mux(&lit(0, 32), &still_q.add_wrap(&lit(1, 32))));
    let bites_q = m.reg_reset("bites_q", &lit(0, 1));
    let bites = still_q.ge(&limit) & limit.any() & !&moved_q & &watch.running;
    m.next(&bites_q, &bites);

    m.comment("The first fault: of units, the lowest first, then the sequencer's own.");
    let valid = m.input("fault_valid_i", uint(units));
    let codes = m.input("fault_code_i", uint(8 * units));
    let infos = m.input("fault_info_i", uint(32 * units));
    let watchdog = Own { code: fault::WATCHDOG, when: bites_q, info: watch.busy.extend(32) };
    let mut first = (lit(0, 8), lit(0, 32));
    let mut any = valid.any();
    for own in own.iter().chain([&watchdog]).rev() {
        first = (own.when.mux(&lit(own.code.into(), 8), &first.0), own.when.mux(&own.info, &first.1));
        any = any | &own.when;
    }
    for unit in (0..units).rev() {
        let (code, info) = (codes.lane(unit, 8), infos.lane(unit, 32));
        first = (valid.bit(unit).mux(&code, &first.0), valid.bit(unit).mux(&info, &first.1));
    }
    let kept_q = m.reg_reset("kept_q", &lit(0, 1));
    let told_q = m.reg_reset("told_q", &lit(0, 1));
    let raise = m.wire("raise_now", &(any & !&kept_q));
    m.next(&kept_q, &(&kept_q | &raise));
    m.next(&told_q, &kept_q);
    let first_q = m.reg_reset("first_q", &lit(0, 40));
    m.next_when(&first_q, &raise, &cat([&first.1, &first.0]));
    let outputs =
        [("fault_o", &kept_q & !&told_q), ("fault_code_o", first_q.low(8)), ("fault_info_o", first_q.slice(8, 32))];
    for (name, value) in outputs {
        let port = m.output(name, value.ty());
        m.drive(&port, &value);
    }
    Kept { raise, kept: kept_q }
}
