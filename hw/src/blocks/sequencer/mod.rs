//! Fetches descriptors, waits for units, issues commands, ends passes.

mod faults;
mod targets;

use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, repeat, uint};
use crate::width::count_width;
use faults::{Own, Watch};
use spec::program::{LABEL_NONE, Op, WORDS, wait};
use spec::regs::fault;
use std::rc::Rc;
use targets::{MODES, TARGETS, is_op, named, unused_bits};

/// Bits of a wait mask.
const UNITS: u32 = wait::ALL.count_ones();

/// States.
const IDLE: u128 = 0;
/// The program's stream is started.
const FETCH: u128 = 1;
/// A descriptor is taken.
const LOAD: u128 = 2;
/// It is decoded; meanwhile units show that they are busy.
const DECODE: u128 = 3;
/// It waits for units.
const WAIT: u128 = 4;
/// Units take it.
const ISSUE: u128 = 5;
/// A fault: nothing more before a reset.
const STOP: u128 = 6;

/// The sequencer.
pub struct Sequencer {
    /// Groups of slots of a bank, `P / V`.
    pub groups: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Units that report faults.
    pub faults: u32,
}

impl Sequencer {
    /// Cycles from a descriptor taken from the program to its commands, if it waits for nothing.
    pub const LATENCY: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let groups_width = count_width(self.groups.into());
        let mut m = Module::new(format!("tern_sequencer_g{}_h{}_f{}", self.groups, self.banks, self.faults));
        m.header(&format!(
            "Carries out a program: descriptors of {WORDS} words, in order.\n\n\
             Shapes   prog u512, word 0 in the low bits | commands: fields of spec::program | idle u{UNITS}, a bit for\n\
             \x20        each bit of a wait mask | {} units report faults\n\
             Groups   commands carry the groups in use of the descriptor's bank\n\
             Issue    a descriptor goes to all its units when those of its wait mask are idle, and is done when all\n\
             \x20        took it; its fields stay until then. Linear: matrix and epi. Quant: quant, and pack (mode ACT)\n\
             \x20        or kv (KEY, VALUE)\n\
             Idle     a unit must show idle_i low in the cycle after it took a command, or one cycle later\n\
             Lags     of {lagged} units (quant, epilogue, attend) the descriptor may leave some of the latest commands\n\
             \x20        in work: commands are counted when they are issued, and down by done_i, a pulse for each\n\
             End      waits for all units and until the streams have read and checked their last packets\n\
             \x20        (streams_idle_i); must be the program's last word\n\
             Faults   the first is kept with number and label of the descriptor in issue; later ones are lost.\n\
             \x20        Nothing new is offered; a command that was stays until it is taken. Of several units in one\n\
             \x20        cycle the lowest counts. After a fault only a reset helps\n\
             Latency  {} cycles from prog to the commands; a descriptor every {} cycles at most\n\
             Oracle   sim::blocks::sequencer",
            self.faults,
            Self::LATENCY,
            Self::LATENCY + 2,
            lagged = wait::LAGGED.len(),
        ));
        let start = m.input("start_i", uint(1));
        let program = m.input("program_i", uint(32));
        let packets = m.input("program_packets_i", uint(32));
        let words = m.input("program_words_i", uint(32));
        let all_groups = m.input("groups_i", uint(count_width((self.groups * self.banks).into())));
        let idle = m.input("idle_i", uint(UNITS));
        let done = m.input("done_i", uint(wait::LAGGED.len() as u32));
        let streams_idle = m.input("streams_idle_i", uint(1));
        let run = m.source("prog_cmd", &[("addr", uint(32)), ("packets", uint(32)), ("words", uint(32))]);
        let prog = m.sink("prog", &[("data", uint(32 * WORDS as u32))]);
        let sources = TARGETS.map(|t| m.source(t.name, &t.ports(groups_width)));

        let state_q = m.reg_reset("state_q", &lit(IDLE, 3));
        let at = |state: u128| state_q.eq(&lit(state, 3));
        let descriptor_q = m.reg("descriptor_q", uint(32 * WORDS as u32));
        let index_q = m.reg_reset("index_q", &lit(0, 32));
        let taken_q = m.reg_reset("taken_q", &lit(0, 32));
        let label_q = m.reg_reset("label_q", &lit(LABEL_NONE.into(), 16));
        let raise = m.net("raise", uint(1));
        let stopped = m.net("stopped", uint(1));

        let groups = self.groups_of_banks(&mut m, &all_groups);

        m.comment("Take descriptors.");
        let begin = m.wire("starts", &(&start & at(IDLE) & !&stopped));
        let some = m.wire("some", &taken_q.ne(&words));
        let run_q = m.reg_reset("run_q", &lit(0, 1));
        let none = words.eq(&lit(0, 32));
        m.next_when(&run_q, &(&begin | &run.ready), &(&begin & !&none));
        m.drive(&run.valid, &run_q);
        m.drive(&run.field("addr"), &program);
        m.drive(&run.field("packets"), &packets);
        m.drive(&run.field("words"), &words);
        m.drive(&prog.ready, &(at(LOAD) & &some));
        let load = m.wire("load", &prog.fire());
        m.next_when(&descriptor_q, &load, &prog.field("data"));
        let one = lit(1, 32);
        m.next_when(&taken_q, &(&begin | &load), &begin.mux(&lit(0, 32), &taken_q.add_wrap(&one)));
        let name = m.wire("name", &(&begin | &(&load & !&raise)));
        m.next_when(&index_q, &name, &begin.mux(&lit(0, 32), &taken_q));
        let label = prog.field("data").slice(16, 16);
        m.next_when(&label_q, &name, &begin.mux(&lit(LABEL_NONE.into(), 16), &label));

        m.comment("Decode.");
        let d = &descriptor_q;
        let end = is_op(d, Op::End);
        let known = Op::ALL.iter().fold(lit(0, 1), |any, op| any | is_op(d, *op));
        let bad_mode = MODES.iter().fold(lit(0, 1), |any, (op, most)| {
            let mode = named(d, *op, "mode");
            any | (is_op(d, *op) & mode.gt(&lit((*most).into(), mode.width())))
        });
        let end_q = m.delay("end_q", &end);
        let bad_q = m.delay("bad_q", &(!known | bad_mode));
        let waits = end.mux(&lit(wait::ALL.into(), UNITS), &d.slice(8, UNITS));
        let waits_q = m.delay("waits_q", &waits);
        let idle_q = m.delay("idle_q", &idle);
        let drained_q = m.delay("drained_q", &streams_idle);
        let go = m.net("go", uint(1));
        let few = few_left(&mut m, d, &go, &done);
        let few = few & repeat(UNITS, &!&end_q);
        let ready = m.wire("ready", &(&idle_q | few | !&waits_q).all());

        m.comment("Issue: a bit for each unit that still has to take the descriptor.");
        m.drive(&go, &(at(WAIT) & &ready & !&end_q & !&bad_q & !&raise & !&stopped));
        let wanted: Vec<Expr> = TARGETS.iter().map(|t| t.wanted(d)).collect();
        let wanted_q = m.delay("wanted_q", &cat(wanted.iter().rev()));
        let pending_q = m.reg_reset("pending_q", &lit(0, TARGETS.len() as u32));
        let readies: Vec<Expr> = sources.iter().map(|s| s.ready.clone()).collect();
        let left = m.wire("left", &(&pending_q & !cat(readies.iter().rev())));
        m.next(&pending_q, &go.mux(&wanted_q, &left));
        for (at, (target, source)) in TARGETS.iter().zip(&sources).enumerate() {
            m.drive(&source.valid, &pending_q.bit(at as u32));
            target.drive(&mut m, source, d, &groups);
        }
        let issued = m.wire("issued", &(at(ISSUE) & !left.any()));

        m.comment("Ends.");
        let over = m.wire("over", &(at(WAIT) & &end_q & &ready & !&bad_q));
        let well = m.wire("well", &(&over & &drained_q & !&some & !&raise & !&stopped));
        let wrong_end = (at(LOAD) & !&some) | (&over & &some);
        let done_q = m.reg_reset("done_q", &lit(0, 1));
        m.next(&done_q, &well);
        let running = m.wire("running", &!(at(IDLE) | at(STOP)));
        let own = [
            Own { code: fault::BAD_OPCODE, when: at(WAIT) & &bad_q, info: d.low(32) },
            Own { code: fault::PROGRAM_END, when: wrong_end, info: taken_q.clone() },
        ];
        let watch = Watch { running, moved: &load | &issued, busy: !&idle_q };
        let kept = faults::build(&mut m, self.faults, &own, &watch);
        m.drive(&raise, &kept.raise);
        m.drive(&stopped, &kept.kept);

        // a fault while nothing runs stops the next start
        let step = |when: Expr, state: u128, otherwise: Expr| when.mux(&lit(state, 3), &otherwise);
        let next = step(at(FETCH) & (&run.ready | !&run_q), LOAD, state_q.clone());
        let next = step(load.clone(), DECODE, next);
        let next = step(at(DECODE), WAIT, next);
        let next = step(go.clone(), ISSUE, next);
        let next = step(issued.clone(), LOAD, next);
        let next = step(well.clone(), IDLE, next);
        let next = step(begin.clone(), FETCH, next);
        m.next(&state_q, &step(&kept.raise | &kept.kept, STOP, next));

        let outputs = [
            ("done_o", done_q),
            ("index_o", index_q.clone()),
            ("label_o", label_q.clone()),
            ("fault_index_o", index_q),
            ("fault_label_o", label_q),
            ("ev_issued_o", issued),
            ("ev_waiting_o", at(WAIT) & !&ready),
        ];
        for (name, value) in outputs {
            let port = m.output(name, value.ty());
            m.drive(&port, &value);
        }
        let unused = unused_bits(d);
        m.unused("descriptor", &unused);
        design.add(m)
    }
}

impl Sequencer {
    /// Groups of slots that a pass uses of each bank, at least one.
    fn groups_of_banks(&self, m: &mut Module, all: &Expr) -> Vec<Expr> {
        m.comment("Groups of slots in use, bank by bank.");
        let width = count_width(self.groups.into());
        let of = |bank: u32| {
            let table: Vec<u128> = (0..1u32 << all.width())
                .map(|n| n.saturating_sub(bank * self.groups).clamp(1, self.groups).into())
                .collect();
            let value = m.rom(&format!("groups{bank}"), all, uint(width), &table);
            m.delay(&format!("groups{bank}_q"), &value)
        };
        (0..self.banks).map(of).collect()
    }
}

/// For each bit of a wait mask whether the unit has no more commands in work than the descriptor allows.
fn few_left(m: &mut Module, d: &Expr, go: &Expr, done: &Expr) -> Expr {
    m.comment("Commands in work of the units that may lag.");
    let bits = wait::LAG_BITS;
    let mut few = vec![lit(0, 1); UNITS as usize];
    for (at, (unit, op)) in wait::LAGGED.iter().zip([Op::Quant, Op::Linear, Op::Attend]).enumerate() {
        let name = op.name();
        let count_q = m.reg_reset(&format!("{name}_left_q"), &lit(0, bits));
        let more = m.wire(&format!("{name}_more"), &(go & is_op(d, op)));
        let one = lit(1, bits);
        let fewer = done.bit(at as u32);
        let next = more.mux(&count_q.add_wrap(&one), &count_q.sub_wrap(&one));
        m.next_when(&count_q, &(&more ^ &fewer), &next);
        let lag = d.slice(32 * wait::LAG_WORD as u32 + bits * at as u32, bits);
        let allowed = m.delay(&format!("{name}_lag_q"), &lag);
        few[unit.trailing_zeros() as usize] = m.wire(&format!("{name}_few"), &(allowed.any() & !count_q.gt(&allowed)));
    }
    cat(few.iter().rev())
}
