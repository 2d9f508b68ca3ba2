//! Walks runs and key/value heads and hands each pair to a unit.

use super::Attend;
use super::util::{dec, fit, inc, is, not, select};
use crate::blocks::banks::of_bank;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use spec::program::{Op, fields_of};
use std::rc::Rc;

const IDLE: u64 = 0;
const SLOT: u64 = 1;
const SEND: u64 = 2;
const STEP: u64 = 3;
const DRAIN: u64 = 4;

/// The part of a run that a job takes.
struct Part {
    /// Its first slot and its last, counted from the run's first.
    offset: Expr,
    last: Expr,
    /// It is the run's last.
    over: Expr,
    /// The next job goes to the next unit: not where a head's second part is followed by the next head's first, so that
    /// first parts, which see less, are shared out evenly.
    turns: Expr,
}

impl Attend {
    /// Fields of a job: a part of a run and a key/value head.
    pub(super) fn job_fields(&self) -> [(&'static str, u32); 9] {
        [
            ("slot", self.slot_bits()),
            ("group", self.group_bits()),
            ("lane", self.lane_bits()),
            ("last", self.slot_bits()),
            ("word", self.word_bits()),
            ("head", self.head_bits()),
            ("col", 16),
            ("kline", 32),
            ("sline", 32),
        ]
    }

    /// What all jobs of a command have in common.
    pub(super) const SHARED: [(&'static str, u32); 7] =
        [("group", 8), ("q_words", 16), ("k_beats", 8), ("v_beats", 8), ("v_words", 16), ("v_off", 32), ("bank", 1)];

    /// Whether a run's slots are split between two units.
    fn splits(&self) -> bool {
        let r = self.queries;
        self.units > 1 && r < self.tokens && r.is_power_of_two() && r.is_multiple_of(self.vtokens)
    }

    /// Slot lanes of a group as a shift, where runs are split.
    fn lane_shift(&self) -> u32 {
        self.vtokens.trailing_zeros()
    }

    pub(super) fn build_dispatch(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (units, slots) = (self.units, self.tokens);
        let mut m = Module::new(format!("tern_attend_dispatch_{}_u{units}", self.suffix()));
        m.header(&format!(
            "Jobs of attention: for each run of slots of a bank, for each key/value head: {jobs}.\n\n\
             Shapes   {slots} slots; a run starts where slot_run_i is not 0 and names its length\n\
             Steps    sums instead of products: from head to head the query heads of the group are counted\n\
             Latency  1 cycle a slot, 2 + group cycles a job\n\
             Stalls   a job waits for its unit; the next command waits until all units are idle",
            jobs = match self.splits() {
                true => format!(
                    "one job for the next unit,\n\
                     or two of whole blocks of {} slots for the next two units if the run has more slots than that",
                    self.queries
                ),
                false => "one job for the next unit".into(),
            },
        ));
        let fields: Vec<_> = fields_of(Op::Attend).map(|f| (f.name, uint(f.width))).collect();
        let cmd = m.sink("cmd", &fields);
        let all_slots = slots * self.banks;
        let valid_in = m.input("slot_valid_i", uint(all_slots));
        let cache_in = m.input("slot_cache_i", uint(32 * all_slots));
        let run_in = m.input("slot_run_i", uint(8 * all_slots));
        let busy = m.input("busy_i", uint(1));
        let ready = m.input("job_ready_i", uint(units));
        let valid = m.output("job_valid_o", uint(units));
        let job: Vec<Expr> = self.job_fields().iter().map(|(n, w)| m.output(&format!("job_{n}_o"), uint(*w))).collect();
        let shared: Vec<Expr> = Self::SHARED.iter().map(|(n, w)| m.output(&format!("{n}_o"), uint(*w))).collect();
        let idle = m.output("idle_o", uint(1));

        let state = m.reg_reset("state_q", &lit(IDLE.into(), 3));
        let at = |s: u64| is(&state, s);
        let take = m.wire("take", &cmd.fire());
        m.drive(&cmd.ready, &at(IDLE));
        m.drive(&idle, &at(IDLE));
        let kept = |m: &mut Module, name: &str| m.held(&format!("{name}_q"), &take, &cmd.field(name));
        for (out, (name, _)) in shared.iter().zip(Self::SHARED) {
            let q = kept(&mut m, name);
            m.drive(out, &q);
        }
        if self.banks == 1 {
            m.unused("bank", std::slice::from_ref(&shared[6]));
        }
        let [kv_off, scale_off, stride, heads, dst] =
            ["kv_off", "scale_off", "kv_stride", "kv_heads", "dst"].map(|n| kept(&mut m, n));
        let [first, q_first] = [("first", self.head_bits()), ("q_first", self.word_bits())].map(|(name, bits)| {
            let value = cmd.field(name);
            if bits < value.width() {
                m.unused(name, &[value.slice(bits, value.width() - bits)]);
            }
            m.held(&format!("{name}_q"), &take, &fit(&value, bits))
        });
        let bank = shared[6].clone();

        m.comment("The slot in turn.");
        let slot = m.reg("slot_q", uint(self.slot_bits()));
        let (group, lane) = (m.reg("group_at_q", uint(self.group_bits())), m.reg("lane_q", uint(self.lane_bits())));
        let of_slot = |all: &Expr, width: u32| of_bank(&bank, all, width, slots, |values| select(&slot, values));
        let run = m.wire("run", &of_slot(&run_in, 8));
        let starts = m.wire("starts", &(&of_slot(&valid_in, 1) & not(&run, 0) & not(&heads, 0)));
        let cache = m.wire("cache", &of_slot(&cache_in, 32));

        m.comment("The head in turn: lines of its keys and scales, its first query head.");
        let begin = m.wire("starting", &(at(SLOT) & &starts));
        let given = m.wire("given", &(at(SEND) & (&valid & &ready).any()));
        let part = self.part(&mut m, &slot, &run, (&begin, &given));
        let sent = m.wire("sent", &(&given & &part.over));
        let step = m.wire("step", &at(STEP));
        let left = m.reg("left_q", uint(8));
        let head_left = m.reg("head_left_q", uint(16));
        m.next_when(&left, &(&sent | &step), &sent.mux(&shared[0], &dec(&left)));
        m.next_when(&head_left, &(&begin | &sent), &begin.mux(&heads, &dec(&head_left)));
        let stepped = m.wire("stepped", &(&step & is(&left, 1)));
        let heads_done = m.wire("heads_done", &(&stepped & is(&head_left, 0)));
        let line = |m: &mut Module, name: &str, offset: &Expr| {
            let q = m.reg(name, uint(32));
            m.next_when(&q, &(&begin | &sent), &begin.mux(&cache.add_wrap(offset), &q.add_wrap(&stride)));
            q
        };
        let (kline, sline) = (line(&mut m, "kline_q", &kv_off), line(&mut m, "sline_q", &scale_off));
        let count = |m: &mut Module, name: &str, first: &Expr, by: &Expr| {
            let q = m.reg(name, first.ty());
            m.next_when(&q, &(&begin | &step), &begin.mux(first, &q.add_wrap(by)));
            q
        };
        let word = count(&mut m, "word_q", &q_first, &fit(&shared[1], self.word_bits()));
        let head = count(&mut m, "head_q", &first, &lit(1, self.head_bits()));
        let col = count(&mut m, "col_q", &dst, &shared[4]);
        let unit = m.reg("unit_q", uint(units));
        let turned = if units == 1 { lit(1, 1) } else { cat([&unit.low(units - 1), &unit.bit(units - 1)]) };
        m.next_when(&unit, &(&begin | (&given & &part.turns)), &begin.mux(&lit(1, units), &turned));

        let leave = m.wire("leave", &((at(SLOT) & !&starts) | &heads_done));
        let end = m.wire("at_end", &is(&slot, u64::from(slots) - 1));
        let wraps = is(&lane, u64::from(self.vtokens) - 1);
        m.next_when(&slot, &(&take | &leave), &take.mux(&lit(0, slot.width()), &inc(&slot)));
        m.next_when(&lane, &(&take | &leave), &(&take | &wraps).mux(&lit(0, lane.width()), &inc(&lane)));
        let group_next = take.mux(&lit(0, group.width()), &inc(&group));
        m.next_when(&group, &(&take | &(&leave & &wraps)), &group_next);

        let to = |s: u64| lit(s.into(), 3);
        let after_slot = end.mux(&to(DRAIN), &to(SLOT));
        let next = select(
            &state,
            &[
                take.mux(&to(SLOT), &to(IDLE)),
                starts.mux(&to(SEND), &after_slot),
                sent.mux(&to(STEP), &to(SEND)),
                stepped.mux(&heads_done.mux(&after_slot, &to(SEND)), &to(STEP)),
                busy.mux(&to(DRAIN), &to(IDLE)),
            ],
        );
        m.next(&state, &next);
        m.drive(&valid, &at(SEND).mux(&unit, &lit(0, units)));
        let last = slot.add_wrap(&part.last);
        let (first_slot, first_group) = match self.splits() {
            true => {
                let groups = part.offset.slice(self.lane_shift(), part.offset.width() - self.lane_shift());
                (slot.add_wrap(&part.offset), group.add_wrap(&fit(&groups, self.group_bits())))
            }
            false => (slot.clone(), group.clone()),
        };
        let values = [&first_slot, &first_group, &lane, &last, &word, &head, &col, &kline, &sline];
        for (port, value) in job.iter().zip(values) {
            m.drive(port, value);
        }
        design.add(m)
    }

    /// Whole blocks of slots, about half of them, then the rest; all at once where that is no more than a block.
    fn part(&self, m: &mut Module, slot: &Expr, run: &Expr, (begin, given): (&Expr, &Expr)) -> Part {
        let bits = slot.width();
        let last = dec(&fit(run, bits));
        let end = m.held("run_end_q", begin, &last);
        if !self.splits() {
            return Part { offset: lit(0, bits), last: end, over: lit(1, 1), turns: lit(1, 1) };
        }
        m.comment("Two parts of a run: whole blocks, at least half of it, then the rest.");
        let low = self.queries.trailing_zeros();
        // ceil((last + 1) / 2 / R) blocks = last / 2 / R + 1
        let blocks = if bits > low + 1 { last.slice(low + 1, bits - low - 1) } else { lit(0, 1) };
        let blocks = blocks.extend(bits - low + 1).add_wrap(&lit(1, bits - low + 1));
        let size = m.held("part_size_q", begin, &cat([&blocks, &lit(0, low)]));
        let two = m.wire("two_parts", &size.le(&end.extend(size.width())));
        let second = m.reg_reset("second_q", &lit(0, 1));
        m.next_when(&second, &(begin | given), &(!begin & (&two & !&second)));
        let size = size.low(bits);
        let first_last = two.mux(&dec(&size), &end);
        Part {
            offset: m.wire("part_offset", &second.mux(&size, &lit(0, bits))),
            last: second.mux(&end, &first_last),
            over: &second | !&two,
            turns: !&second,
        }
    }
}
