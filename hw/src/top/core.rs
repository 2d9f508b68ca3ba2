//! All units of a machine and the wires between them.

use super::fabric::{Placed, connect, expose};
use super::ports::{attach, place};
use crate::blocks::axi_write::AxiWrite;
use crate::blocks::command_queue::CommandQueue;
use crate::blocks::gather::Gather;
use crate::blocks::kv_write::KvWrite;
use crate::blocks::regs::Regs;
use crate::blocks::reset_ctl::{ResetCtl, ResetSync};
use crate::blocks::rest::Rest;
use crate::blocks::sequencer::Sequencer;
use crate::blocks::stream_read::StreamRead;
use crate::blocks::vmem;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit};
use crate::preset::Machine;
use spec::program::{WORDS, wait};
use std::rc::Rc;

/// Commands that wait for a unit.
const COMMANDS: u32 = 4;
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
    let hurry = m.wire("hurry", &(several & !(units.attend.out("idle_o") & units.gather.out("idle_o"))));
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
    for unit in all.iter().chain(&units.balance.as_ref()) {
        unit.wake(&mut m, &awake);
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

/// The units.
struct Units {
    reads: Vec<Placed>,
    write: Placed,
    weights: Placed,
    balance: Option<Placed>,
    /// Program, row, norm and mult streams.
    streams: [Placed; 4],
    sequencer: Placed,
    gather: Placed,
    quantize: Placed,
    matrix: Placed,
    epilogue: Placed,
    head: Placed,
    kv: Placed,
    attend: Placed,
    vmem: Placed,
    /// Commands that wait for the quantiser, the cache writer, attention.
    queues: [Placed; 3],
    attention_units: u32,
}

/// Names of the streams beside the weights, with the sequencer's command source and the width of a word.
fn streams(machine: &Machine) -> [(&'static str, &'static str, u32); 4] {
    let (rows, lanes) = (machine.engine.rows, machine.lanes());
    [
        ("prog", "prog_cmd", 32 * WORDS as u32),
        ("row", "row_cmd", 32 * rows),
        ("norm", "norm_cmd", 32 * lanes),
        ("mult", "mult_cmd", 8 * rows),
    ]
}

impl Units {
    fn place(machine: &Machine, design: &mut Design, m: &mut Module, rst: &Expr, taps: bool) -> Result<Units, IrError> {
        let [idle, still] = [Rest::Idle, Rest::Still].map(|rest| design.is_for_simulation().then_some(rest));
        let (bits, lanes, vtokens) = (machine.port_bits, machine.lanes(), machine.vector_tokens);
        let (groups, bytes, vm_words) = (machine.token_groups(), bits / 8, machine.vector_words());
        let banks = machine.banks;
        let reads = place(machine, design, m, rst)?;
        let of = AxiWrite { bits, clients: vec!["kv".into(), "head".into()] }.build(design)?;
        let write = Placed::new(m, "write", &of, rst);
        let weights = Placed::resting(m, "weights", &*machine.weights().build(design)?, rst, still);
        let balance = match machine.balance() {
            Some(of) => Some(Placed::resting(m, "balance", &*of.build(design)?, rst, still)),
            None => None,
        };
        let mut made = Vec::new();
        for (name, _, word) in streams(machine) {
            let of = StreamRead { bits, word }.build(design)?;
            made.push(Placed::resting(m, &format!("{name}_stream"), &of, rst, still));
        }
        let Ok(streams) = <[Placed; 4]>::try_from(made) else { unreachable!("four streams were placed") };
        // memory ports, weights, streams
        let faults = machine.ports + 1 + 1 + 4;
        let sequencer = Placed::new(m, "sequencer", &*Sequencer { groups, banks, faults }.build(design)?, rst);
        let vmem = Placed::new(m, "vmem", &*machine.vmem(taps).build(design)?, rst);
        let of =
            Gather { slots: vtokens, token_groups: groups, banks, columns: lanes, bytes, vm_words }.build(design)?;
        let gather = Placed::resting(m, "gather", &of, rst, idle);
        let quantize = Placed::resting(m, "quantize", &*machine.quantize().build(design)?, rst, idle);
        let matrix = Placed::resting(m, "matrix", &*machine.matrix().build(design)?, rst, idle);
        let epilogue = Placed::resting(m, "epilogue", &*machine.epilogue().build(design)?, rst, idle);
        let head = Placed::resting(m, "head", &*machine.head().build(design)?, rst, idle);
        let of = KvWrite {
            slots: vtokens,
            token_groups: groups,
            banks,
            columns: lanes,
            bytes,
            row_codes: machine.row_codes(),
        };
        let kv = Placed::resting(m, "kv", &*of.build(design)?, rst, idle);
        let attend = Placed::resting(m, "attend", &*machine.attend().build(design)?, rst, idle);
        let attention_units = machine.units;
        let mut made = Vec::new();
        for (name, unit) in [("quant", &quantize), ("kv", &kv), ("attend", &attend)] {
            let of = CommandQueue { unit: name, fields: unit.sink_fields("cmd"), depth: COMMANDS }.build(design)?;
            made.push(Placed::new(m, &format!("{name}_commands"), &of, rst));
        }
        let Ok(queues) = <[Placed; 3]>::try_from(made) else { unreachable!("three queues were placed") };
        let units = Units {
            reads,
            write,
            weights,
            balance,
            streams,
            sequencer,
            gather,
            quantize,
            matrix,
            epilogue,
            head,
            kv,
            attend,
            vmem,
            queues,
            attention_units,
        };
        Ok(units)
    }

    fn all(&self) -> Vec<&Placed> {
        let own = [&self.write, &self.weights, &self.sequencer, &self.gather, &self.quantize, &self.matrix];
        let rest = [&self.epilogue, &self.head, &self.kv, &self.attend, &self.vmem];
        self.reads.iter().chain(&self.streams).chain(own).chain(rest).chain(&self.queues).collect()
    }

    /// Those that report faults, in the order of their priority.
    fn reporters(&self) -> Vec<&Placed> {
        self.reads.iter().chain([&self.write, &self.weights]).chain(&self.streams).collect()
    }

    fn wire(&self, machine: &Machine, m: &mut Module) {
        let seq = &self.sequencer;
        for port in 0..machine.ports {
            let client = format!("w{port}");
            match &self.balance {
                None => attach(machine, m, &self.reads, &client, &self.weights, &format!("rd{port}_")),
                Some(balance) => {
                    connect(m, (&self.weights, &format!("rd{port}_cmd")), (balance, &format!("s{port}_cmd")));
                    connect(m, (balance, &format!("s{port}_data")), (&self.weights, &format!("rd{port}_data")));
                    attach(machine, m, &self.reads, &client, balance, &format!("p{port}_"));
                }
            }
        }
        connect(m, (seq, "w_cmd"), (&self.weights, "cmd"));
        connect(m, (seq, "take_cmd"), (&self.weights, "take"));
        for ((name, command, _), stream) in streams(machine).iter().zip(&self.streams) {
            connect(m, (seq, command), (stream, "cmd"));
            attach(machine, m, &self.reads, name, stream, "rd_");
        }
        let [program, row, norm, mult] = &self.streams;
        connect(m, (program, "out"), (seq, "prog"));
        connect(m, (row, "out"), (&self.epilogue, "row"));
        connect(m, (norm, "out"), (&self.quantize, "norm"));
        connect(m, (mult, "out"), (&self.matrix, "mul"));
        connect(m, (&self.weights, "out"), (&self.matrix, "wgt"));

        connect(m, (seq, "gather_cmd"), (&self.gather, "cmd"));
        attach(machine, m, &self.reads, "gather", &self.gather, "rd_");
        connect(m, (&self.gather, "vm_wr"), (&self.vmem, "emb"));
        connect(m, (&self.gather, "rope"), (&self.epilogue, "rope"));

        let [quants, kvs, attends] = &self.queues;
        connect(m, (seq, "quant_cmd"), (quants, "in"));
        connect(m, (quants, "out"), (&self.quantize, "cmd"));
        let packed = self.matrix.out("pack_done_o");
        self.quantize.set(m, "packed_i", &packed);
        connect(m, (&self.quantize, "vm_rd"), (&self.vmem, "qnt_rd"));
        connect(m, (&self.vmem, "qnt_rsp"), (&self.quantize, "vm_rsp"));
        connect(m, (&self.quantize, "vm_wr"), (&self.vmem, "qnt"));
        connect(m, (&self.quantize, "act_code"), (&self.matrix, "code"));
        connect(m, (&self.quantize, "act_scale"), (&self.epilogue, "act_scale"));
        connect(m, (&self.quantize, "qry_code"), (&self.attend, "qry_code"));
        connect(m, (&self.quantize, "qry_scale"), (&self.attend, "qry_scale"));
        connect(m, (&self.quantize, "kv_code"), (&self.kv, "kv_code"));
        connect(m, (&self.quantize, "kv_scale"), (&self.kv, "kv_scale"));

        connect(m, (seq, "pack_cmd"), (&self.matrix, "pack"));
        connect(m, (seq, "matrix_cmd"), (&self.matrix, "cmd"));
        connect(m, (seq, "epi_cmd"), (&self.epilogue, "cmd"));
        connect(m, (&self.matrix, "sum"), (&self.epilogue, "sum"));
        connect(m, (&self.epilogue, "vm_rd"), (&self.vmem, "epi_rd"));
        connect(m, (&self.vmem, "epi_rsp"), (&self.epilogue, "vm_rsp"));
        connect(m, (&self.epilogue, "vm_wr"), (&self.vmem, "epi"));
        connect(m, (&self.epilogue, "log"), (&self.head, "log"));
        connect(m, (&self.head, "list"), (&self.weights, "list"));
        connect(m, (&self.head, "pick"), (&self.epilogue, "pick"));

        connect(m, (seq, "kv_cmd"), (kvs, "in"));
        connect(m, (kvs, "out"), (&self.kv, "cmd"));
        connect(m, (seq, "attend_cmd"), (attends, "in"));
        connect(m, (attends, "out"), (&self.attend, "cmd"));
        for (queue, unit) in [(quants, &self.quantize), (kvs, &self.kv), (attends, &self.attend)] {
            queue.set(m, "unit_idle_i", &unit.out("idle_o"));
        }
        for unit in 0..self.attention_units {
            for part in ["k", "v"] {
                let name = format!("{part}{unit}");
                attach(machine, m, &self.reads, &name, &self.attend, &format!("{name}_"));
            }
        }
        connect(m, (&self.attend, "vm_wr"), (&self.vmem, "att"));
        for (unit, client) in [(&self.kv, "kv"), (&self.head, "head")] {
            connect(m, (unit, "wr_cmd"), (&self.write, &format!("{client}_cmd")));
            connect(m, (unit, "wr_data"), (&self.write, &format!("{client}_data")));
        }
    }

    /// Idle units, in the order of a wait mask's bits.
    fn idle(&self) -> Expr {
        let idle = |unit: &Placed| unit.out("idle_o");
        let [quants, kvs, attends] = &self.queues;
        let bits = [
            (wait::GATHER, idle(&self.gather)),
            (wait::QUANT, idle(quants) & self.matrix.out("pack_idle_o")),
            (wait::ENGINE, idle(&self.matrix)),
            (wait::EPILOGUE, idle(&self.epilogue) & idle(&self.head) & self.write.out("head_idle_o")),
            (wait::ATTEND, idle(attends)),
            (wait::KV, idle(kvs) & self.write.out("kv_idle_o")),
        ];
        let mut bits: Vec<(u32, Expr)> = bits.into_iter().collect();
        bits.sort_by_key(|(bit, _)| std::cmp::Reverse(*bit));
        cat(bits.iter().map(|(_, e)| e))
    }

    /// A pulse for each finished command of the units that may lag, in their order.
    fn done(&self, m: &mut Module) -> Expr {
        let [quants, kvs, attends] = [0, 1, 2].map(|at| self.queues[at].out("done_o"));
        m.unused("kv_done", &[kvs]);
        m.wire("commands_done", &cat([&attends, &self.epilogue.out("done_o"), &quants]))
    }

    /// Beats that pass at each reading port, and at the writing one.
    fn memory_beats(&self, m: &mut Module) -> (Expr, Expr) {
        let reads: Vec<Expr> = self.reads.iter().map(|read| read.input("m_rvalid_i")).collect();
        let write = self.write.out("m_wvalid_o") & self.write.input("m_wready_i");
        (m.wire("read_beats", &cat(reads.iter().rev())), m.wire("write_beat", &write))
    }

    /// What simulations see beside the registers: the descriptor in issue and, from bit 0 up, idle units as in a
    /// wait mask, then the engine's words, waits for weights, tables and sums, waits of the sequencer, and whether a
    /// pass runs.
    fn tap(&self, m: &mut Module, idle: &Expr, busy: &Expr) {
        let events = ["sums", "tables", "starved", "beat"].map(|name| self.matrix.out(&format!("ev_{name}_o")));
        let waiting = self.sequencer.out("ev_waiting_o");
        let state = cat([busy, &waiting].into_iter().chain(&events).chain([idle]));
        for (name, value) in [("tap_index_o", self.sequencer.out("index_o")), ("tap_state_o", state)] {
            let port = m.output(name, value.ty());
            m.drive(&port, &value);
        }
    }

    /// Performance counters, and progress for the watchdog.
    fn count(&self, m: &mut Module, regs: &Placed, (reads, write): &(Expr, Expr)) {
        for name in ["issued", "waiting"] {
            regs.set(m, &format!("ev_{name}_i"), &self.sequencer.out(&format!("ev_{name}_o")));
        }
        for name in ["beat", "starved", "tables", "sums"] {
            let counter = if name == "beat" { "beats" } else { name };
            regs.set(m, &format!("ev_engine_{counter}_i"), &self.matrix.out(&format!("ev_{name}_o")));
        }
        regs.set(m, "ev_write_beats_i", write);
        let taken = self.attend.out("ev_k_row_o");
        regs.set(m, "ev_attend_beats_i", &taken);
        regs.set(m, "ev_port_beats_i", reads);
        let vm =
            vmem::WRITERS.iter().fold(lit(0, 1), |any, writer| any | self.vmem.input(&format!("{writer}_valid_i")));
        let progress = reads.any() | write | self.matrix.out("ev_beat_o") | vm;
        self.sequencer.set(m, "progress_i", &progress);
        let masked = self.attend.out("ev_masked_o");
        m.unused("masked", &[masked]);
    }
}
