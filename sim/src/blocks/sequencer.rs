//! `tern_sequencer` with random programs and units, and the reset control with random ports.

mod model;
mod reset;

pub use reset::check as check_reset;

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover, build};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::sequencer::Sequencer;
use hw::ir::Design;
use model::{End, Machine, Plan};
use spec::program::{Descriptor, FIELDS, Op, quant, wait};

/// A random descriptor: fields of random bits, modes that exist.
fn descriptor(rng: &mut Rng) -> Descriptor {
    let op = rng.pick(&[Op::Stream, Op::Gather, Op::Quant, Op::Quant, Op::Linear, Op::Linear, Op::Attend]);
    let mask = if rng.one_in(3) { 0 } else { rng.bits() as u32 & rng.bits() as u32 & 0xff };
    let mut d = Descriptor::new(op, mask, rng.bits() as u16);
    d.words[1..].iter_mut().for_each(|w| *w = rng.bits() as u32);
    let most = match op {
        Op::Quant => quant::NORM,
        Op::Linear => spec::program::epilogue::PICK,
        _ => return d,
    };
    let f = FIELDS.iter().find(|f| f.op == op && f.name == "mode").expect("both have a mode");
    d.words[f.word] = d.words[f.word] & !(f.mask() << f.low) | (rng.below(u64::from(most) + 1) as u32) << f.low;
    d
}

/// A program with what it must lead to.
fn plan(rng: &mut Rng, kind: u64) -> Plan {
    let length = rng.within(0, 14) as usize;
    let mut program: Vec<Descriptor> = (0..length).map(|_| descriptor(rng)).collect();
    let mut end = Descriptor::new(Op::End, rng.bits() as u32 & wait::ALL, rng.bits() as u16);
    end.words[1..].iter_mut().for_each(|w| *w = rng.bits() as u32);
    program.push(end);
    let wanted = match kind {
        0 => {
            let at = rng.below(program.len() as u64) as usize;
            let bad = [u32::from(rng.within(6, 255) as u8), 3 | 0xff00];
            let what = rng.below(2) as usize;
            program[at].words[0] = program[at].words[0] & !0xff | bad[what] & 0xff;
            if what == 1 {
                program[at].words[1] |= 7;
            }
            End::BadOp(at as u32)
        }
        1 => {
            program.pop();
            End::Missing
        }
        2 => {
            program.push(descriptor(rng));
            End::Early
        }
        3 => End::Unit(rng.below(60)),
        4 => End::Watchdog,
        _ => End::Well,
    };
    Plan { program, end: wanted, watchdog: 0 }
}

/// Passes of random programs, among them all kinds of ends.
pub fn check(sequencer: &Sequencer, rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let mut design = Design::default();
    let top = sequencer.build(&mut design)?;
    let library = build(&design, &top, bug)?;
    let mut machine = Machine::new(&library, &top, sequencer, rng)?;
    for round in 0..60 {
        machine.reset();
        if round % 10 == 9 {
            machine.fault_at_rest()?;
            continue;
        }
        for _ in 0..3 {
            let kind = rng.below(12);
            let ended_well = machine.pass(plan(rng, kind))?;
            if !ended_well {
                break;
            }
        }
    }
    for counter in ["well", "bad_op", "no_end", "early_end", "unit_fault", "watchdog", "waited", "lagged", "together"] {
        if machine.cover.get(counter) == 0 {
            let (block, counter) = (top.name.clone(), counter.to_string());
            return Err(BenchError::Uncovered { block, counter }.into());
        }
    }
    Ok(machine.cover)
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    check(&Sequencer { groups: 4, banks: 2, faults: 3 }, rng, bug)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("sequencer: units not waited for", planted, "wire ready = ", "wire ready = 1'b1 | "),
    own_bug(
        "sequencer: one command too many in work",
        planted,
        "linear_left_q > linear_lag_q",
        "linear_left_q > linear_lag_q + 4'd1",
    ),
    own_bug("sequencer: next descriptor while one is not taken", planted, "& ~(|left)", "& 1'b1"),
    own_bug("sequencer: a later fault wins", planted, " & ~kept_q;", ";"),
    own_bug("sequencer: an end that is not the last", planted, " | (over & some)) | (", ") | ("),
    own_bug("reset_ctl: ports not waited for", check_reset, "& ~(|busy_i)", "& 1'b1"),
    own_bug("reset_ctl: stop falls before the reset", check_reset, "stop_q <= ~ended", "stop_q <= ~drained"),
];
