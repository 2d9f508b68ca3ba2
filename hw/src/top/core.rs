//! Registers, resets and faults around the units of a machine, and its outside.

use super::fabric::{Placed, expose};
use super::units::Units;
use crate::blocks::regs::Regs;
use crate::blocks::reset_ctl::{ResetCtl, ResetSync};
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit};
use crate::preset::Machine;
use std::rc::Rc;

/// Cycles after which a soft reset does not wait for memory any longer.
const PATIENCE: u64 = 1 << 20;

/// Steady values of the slots, wired to every unit that has an input for them.
const SLOTS: [&str; 5] = ["valid", "token", "position", "cache", "run"];

/// Adds `tern_core`.
pub(super) fn build(machine: &Machine, design: &mut Design, taps: bool) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_core");
    m.header(&format!(
        "Everything between the registers and the memory ports; docs/architecture/machine.md.\n\n\
         Preset   {}, configuration {}\n\
         Reset    aresetn resets all; a soft reset all but the registers, after the ports have finished",
        machine.name,
        machine.hash()
    ));
    let aresetn = m.input("aresetn_i", crate::ir::uint(1));
    let sync = ResetSync.build(design)?;
    let rst = m.instance("sync", &sync, &[("aresetn_i", &aresetn)]).get("rst_o");
    let ports = machine.ports;
    let of = ResetCtl { ports: ports + 1, patience: PATIENCE }.build(design)?;
    let reset = Placed::new(&mut m, "reset", &of, &rst);
    let core_rst = reset.out("core_rst_o");
    let of = Regs { identity: machine.identity() }.build(design)?;
    let regs = Placed::new(&mut m, "regs", &of, &rst);

    let units = Units::place(machine, design, &mut m, &core_rst, taps)?;
    m.comment("Streams between the units.");
    units.wire(machine, &mut m);

    m.comment("What the registers say.");
    let all = units.all();
    for unit in &all {
        for slot in SLOTS {
            if unit.has(&format!("slot_{slot}_i")) {
                unit.set(&mut m, &format!("slot_{slot}_i"), &regs.out(&format!("slot_{slot}_o")));
            }
        }
    }
    let memory: Vec<&Placed> = units.reads.iter().chain([&units.write]).collect();
    let (base, bytes) = (regs.out("mem_base_o"), regs.out("mem_bytes_o"));
    // with one group of slots weights are what everything waits for
    let groups = regs.out("groups_o");
    let several = groups.gt(&lit(1, groups.width()));
    let waited = m.wire("waited", &!(units.attend.out("idle_o") & units.gather.out("idle_o")));
    let hurry = m.wire("hurry", &(&several & &waited));
    let taken_changes = units.take_ports(&mut m, &(!several & waited));
    for port in &memory {
        if port.has("hurry_i") {
            port.set(&mut m, "hurry_i", &hurry);
        }
        port.set(&mut m, "mem_base_i", &base.low(40));
        port.set(&mut m, "mem_bytes_i", &bytes.low(40));
        port.set(&mut m, "stop_i", &reset.out("stop_o"));
    }
    m.unused("window", &[base.slice(40, 24), bytes.slice(40, 24), regs.out("slots_o"), regs.out("busy_o")]);
    let busy = cat(memory.iter().rev().map(|p| p.out("busy_o")));
    reset.set(&mut m, "busy_i", &busy);
    reset.set(&mut m, "request_i", &regs.out("soft_reset_o"));
    for name in ["program", "program_packets", "program_words", "groups", "watchdog", "start"] {
        units.sequencer.set(&mut m, &format!("{name}_i"), &regs.out(&format!("{name}_o")));
    }
    units.head.set(&mut m, "start_i", &regs.out("start_o"));
    // the head runs for one bank, and only slots of that one want logits
    let (want, slots) = (regs.out("slot_logits_o"), machine.engine.tokens);
    let want = (1..machine.banks).fold(want.low(slots), |any, bank| any | want.slice(bank * slots, slots));
    units.head.set(&mut m, "want_i", &want);
    let listed = last_slot(&mut m, &regs.out("slot_valid_o"), slots);
    units.head.set(&mut m, "listed_i", &listed);
    units.head.set(&mut m, "logits_line_i", &regs.out("logits_o"));
    units.head.set(&mut m, "logits_stride_i", &regs.out("logits_stride_o"));

    m.comment("What the units say.");
    let idle = m.wire("idle", &units.idle());
    units.sequencer.set(&mut m, "idle_i", &idle);
    let done = units.done(&mut m);
    units.sequencer.set(&mut m, "done_i", &done);
    regs.set(&mut m, "idle_i", &idle);
    for name in ["done", "fault", "fault_code", "fault_info", "fault_index", "fault_label"] {
        regs.set(&mut m, &format!("{name}_i"), &units.sequencer.out(&format!("{name}_o")));
    }
    for name in ["draining", "stuck", "core_rst"] {
        regs.set(&mut m, &format!("{name}_i"), &reset.out(&format!("{name}_o")));
    }
    for name in ["best_token", "best_logit"] {
        regs.set(&mut m, &format!("{name}_i"), &units.head.out(&format!("{name}_o")));
    }
    let reporters = units.reporters();
    for (name, input) in [("valid", "fault_valid_i"), ("code", "fault_code_i"), ("info", "fault_info_i")] {
        let each = cat(reporters.iter().rev().map(|u| u.out(&format!("fault_{name}_o"))));
        units.sequencer.set(&mut m, input, &each);
    }
    let spare = ["index_o", "label_o"].map(|port| units.sequencer.out(port));
    m.unused("sequencer", &spare);
    let drained = units.streams.iter().chain([&units.weights]).fold(lit(1, 1), |all, u| all & u.out("idle_o"));
    units.sequencer.set(&mut m, "streams_idle_i", &drained);

    let awake = regs.out("start_o") | &core_rst;
    for unit in &all {
        unit.wake(&mut m, &awake);
    }
    if let Some(balance) = &units.balance {
        balance.wake(&mut m, &(awake | taken_changes));
    }

    m.comment("The outside.");
    expose(&mut m, &regs, "s_", "s_");
    for (port, read) in units.reads.iter().enumerate() {
        expose(&mut m, read, "m_", &format!("m{port}_"));
    }
    let beats = units.memory_beats(&mut m);
    expose(&mut m, &units.write, "m_", "m0_");
    for port in 1..ports {
        tie_off_writes(&mut m, port, machine.port_bits);
    }
    let irq = m.output("irq_o", crate::ir::uint(1));
    m.drive(&irq, &regs.out("irq_o"));
    units.count(&mut m, &regs, &beats);
    for bank in 0..machine.banks {
        expose(&mut m, &units.vmem, &format!("tap{bank}_"), &format!("tap{bank}_"));
    }
    if taps {
        units.tap(&mut m, &idle, &regs.out("busy_o"));
    }
    design.add(m)
}

/// The last valid slot, one-hot in its bank of `slots`.
fn last_slot(m: &mut Module, valid: &Expr, slots: u32) -> Expr {
    let count = valid.width();
    let last = |at: u32| match count - 1 - at {
        0 => valid.bit(at),
        above => valid.bit(at) & !valid.slice(at + 1, above).any(),
    };
    let one = |at: u32| (at..count).step_by(slots as usize).map(last).reduce(|a, b| a | b).unwrap_or(lit(0, 1));
    let all: Vec<Expr> = (0..slots).rev().map(one).collect();
    m.wire("last_slot", &cat(&all))
}

/// A port through which nothing is written still has all its signals.
fn tie_off_writes(m: &mut Module, port: u32, bits: u32) {
    let fixed = [
        ("awid", 1),
        ("awaddr", 40),
        ("awlen", 8),
        ("awsize", 3),
        ("awburst", 2),
        ("awlock", 1),
        ("awcache", 4),
        ("awprot", 3),
        ("awqos", 4),
        ("awvalid", 1),
        ("wdata", bits),
        ("wstrb", bits / 8),
        ("wlast", 1),
        ("wvalid", 1),
        ("bready", 1),
    ];
    for (name, width) in fixed {
        let out = m.output(&format!("m{port}_{name}_o"), crate::ir::uint(width));
        m.drive(&out, &crate::ir::zero(crate::ir::uint(width)));
    }
    let inputs = [("awready", 1), ("wready", 1), ("bid", 1), ("bresp", 2), ("bvalid", 1)];
    let inputs = inputs.map(|(name, width)| m.input(&format!("m{port}_{name}_i"), crate::ir::uint(width)));
    m.unused(&format!("m{port}_write"), &inputs);
}
