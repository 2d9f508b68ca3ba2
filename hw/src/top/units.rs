//! The units of a machine, and the streams between them.

use super::fabric::{Placed, connect};
use super::ports::{attach, place};
use crate::blocks::axi_write::AxiWrite;
use crate::blocks::command_queue::CommandQueue;
use crate::blocks::gather::Gather;
use crate::blocks::kv_write::KvWrite;
use crate::blocks::rest::Rest;
use crate::blocks::sequencer::Sequencer;
use crate::blocks::stream_read::StreamRead;
use crate::blocks::vmem;
use crate::ir::{Design, Expr, IrError, Module, cat, lit};
use crate::preset::Machine;
use spec::program::{WORDS, wait};

/// Commands that wait for a unit.
const COMMANDS: u32 = 4;

/// The units.
pub(super) struct Units {
    pub(super) reads: Vec<Placed>,
    pub(super) write: Placed,
    pub(super) weights: Placed,
    pub(super) balance: Option<Placed>,
    /// Program, row, norm and mult streams.
    pub(super) streams: [Placed; 4],
    pub(super) sequencer: Placed,
    pub(super) gather: Placed,
    pub(super) quantize: Placed,
    pub(super) matrix: Placed,
    pub(super) epilogue: Placed,
    pub(super) head: Placed,
    pub(super) kv: Placed,
    pub(super) attend: Placed,
    pub(super) vmem: Placed,
    /// Commands that wait for the quantiser, the cache writer, attention.
    pub(super) queues: [Placed; 3],
    pub(super) attention_units: u32,
}

/// Clients of the writing master, highest priority first.
pub(crate) const WRITERS: [&str; 2] = ["kv", "head"];

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
    pub(super) fn place(
        machine: &Machine,
        design: &mut Design,
        m: &mut Module,
        rst: &Expr,
        taps: bool,
    ) -> Result<Units, IrError> {
        let [idle, still] = [Rest::Idle, Rest::Still].map(|rest| design.is_for_simulation().then_some(rest));
        let (bits, lanes, vtokens) = (machine.port_bits, machine.lanes(), machine.vector_tokens);
        let (groups, bytes, vm_words) = (machine.token_groups(), bits / 8, machine.vector_words());
        let banks = machine.banks;
        let reads = place(machine, design, m, rst)?;
        let of = AxiWrite { bits, clients: WRITERS.map(String::from).to_vec() }.build(design)?;
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

    pub(super) fn all(&self) -> Vec<&Placed> {
        let own = [&self.write, &self.weights, &self.sequencer, &self.gather, &self.quantize, &self.matrix];
        let rest = [&self.epilogue, &self.head, &self.kv, &self.attend, &self.vmem];
        self.reads.iter().chain(&self.streams).chain(own).chain(rest).chain(&self.queues).collect()
    }

    /// Those that report faults, in the order of their priority.
    pub(super) fn reporters(&self) -> Vec<&Placed> {
        self.reads.iter().chain([&self.write, &self.weights]).chain(&self.streams).collect()
    }

    /// Tells the balance, a cycle later, which ports read for attention or the embedding while they are `waited` for;
    /// returns whether that changes.
    pub(super) fn take_ports(&self, m: &mut Module, waited: &Expr) -> Expr {
        let urgent = |read: &Placed| read.has("urgent_o").then(|| read.out("urgent_o"));
        let Some(balance) = &self.balance else {
            m.unused("urgent", &self.reads.iter().filter_map(urgent).collect::<Vec<_>>());
            return lit(0, 1);
        };
        let mut changes = lit(0, 1);
        for (port, read) in self.reads.iter().enumerate() {
            let taken = urgent(read).map_or(lit(0, 1), |urgent| urgent & waited);
            let taken_q = m.delay(&format!("port{port}_taken_q"), &taken);
            balance.set(m, &format!("p{port}_taken_i"), &taken_q);
            changes = changes | (taken ^ taken_q);
        }
        changes
    }

    pub(super) fn wire(&self, machine: &Machine, m: &mut Module) {
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
    pub(super) fn idle(&self) -> Expr {
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
    pub(super) fn done(&self, m: &mut Module) -> Expr {
        let [quants, kvs, attends] = [0, 1, 2].map(|at| self.queues[at].out("done_o"));
        m.unused("queues_done", &[kvs, attends]);
        // attention works on two commands at once, so it says itself which ends
        m.wire("commands_done", &cat([&self.attend.out("done_o"), &self.epilogue.out("done_o"), &quants]))
    }

    /// Beats that pass at each reading port, and at the writing one.
    pub(super) fn memory_beats(&self, m: &mut Module) -> (Expr, Expr) {
        let reads: Vec<Expr> = self.reads.iter().map(|read| read.input("m_rvalid_i")).collect();
        let write = self.write.out("m_wvalid_o") & self.write.input("m_wready_i");
        (m.wire("read_beats", &cat(reads.iter().rev())), m.wire("write_beat", &write))
    }

    /// What simulations see beside the registers: the descriptor in issue and, from bit 0 up, idle units as in a
    /// wait mask, then the engine's words, waits for weights, tables and sums, waits of the sequencer, and whether a
    /// pass runs.
    pub(super) fn tap(&self, m: &mut Module, idle: &Expr, busy: &Expr) {
        let events = ["sums", "tables", "starved", "beat"].map(|name| self.matrix.out(&format!("ev_{name}_o")));
        let waiting = self.sequencer.out("ev_waiting_o");
        let state = cat([busy, &waiting].into_iter().chain(&events).chain([idle]));
        for (name, value) in [("tap_index_o", self.sequencer.out("index_o")), ("tap_state_o", state)] {
            let port = m.output(name, value.ty());
            m.drive(&port, &value);
        }
    }

    /// Performance counters, and progress for the watchdog.
    pub(super) fn count(&self, m: &mut Module, regs: &Placed, (reads, write): &(Expr, Expr)) {
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
