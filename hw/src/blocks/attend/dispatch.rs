//! Walks runs and key/value heads and hands each pair to a unit.

use super::Attend;
use super::util::{dec, fit, inc, is, not, select};
use crate::blocks::banks::of_bank;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::count_width;
use spec::program::{Op, fields_of};
use std::rc::Rc;

const IDLE: u64 = 0;
const SLOT: u64 = 1;
const SEND: u64 = 2;
const STEP: u64 = 3;

/// The part of a run that a job takes.
struct Part {
    /// Its first slot and its last, counted from the run's first.
    offset: Expr,
    last: Expr,
    /// It is the run's last.
    over: Expr,
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

    /// What all jobs of a command have in common, its number among the last two included.
    pub(super) const SHARED: [(&'static str, u32); 8] = [
        ("group", 8),
        ("q_words", 16),
        ("k_beats", 8),
        ("v_beats", 8),
        ("v_words", 16),
        ("v_off", 32),
        ("bank", 1),
        ("tag", 1),
    ];

    /// Whether a run's slots may be split into two jobs.
    fn splits(&self) -> bool {
        let r = self.queries;
        self.units > 1 && self.tokens > self.vtokens && r.is_power_of_two() && r.is_multiple_of(self.vtokens)
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
             Units    a job goes to the first unit that is free\n\
             Latency  1 cycle a slot, 2 + group cycles a job\n\
             Commands two at a time: jobs of the next one follow when the last one's are all given; done_o, in their\n\
             \x20        order, when all results of a command are written, idle_o when no command is left\n\
             Stalls   a job waits for a unit, a command for the end of the last but one",
            jobs = match self.splits() {
                true =>
                    "one job,\n\
                     or two, of whole blocks, where the run has more slots than a block of queries can have",
                false => "one job",
            },
        ));
        let fields: Vec<_> = fields_of(Op::Attend).map(|f| (f.name, uint(f.width))).collect();
        let cmd = m.sink("cmd", &fields);
        let all_slots = slots * self.banks;
        let valid_in = m.input("slot_valid_i", uint(all_slots));
        let cache_in = m.input("slot_cache_i", uint(32 * all_slots));
        let run_in = m.input("slot_run_i", uint(8 * all_slots));
        let ended = m.input("ended_i", uint(1));
        let ended_tag = m.input("ended_tag_i", uint(1));
        let ready = m.input("job_ready_i", uint(units));
        let valid = m.output("job_valid_o", uint(units));
        let job: Vec<Expr> = self.job_fields().iter().map(|(n, w)| m.output(&format!("job_{n}_o"), uint(*w))).collect();
        let shared: Vec<Expr> = Self::SHARED.iter().map(|(n, w)| m.output(&format!("{n}_o"), uint(*w))).collect();
        let idle = m.output("idle_o", uint(1));
        let done = m.output("done_o", uint(1));

        let state = m.reg_reset("state_q", &lit(IDLE.into(), 2));
        let at = |s: u64| is(&state, s);
        let take = m.wire("take", &cmd.fire());
        let kept = |m: &mut Module, name: &str| m.held(&format!("{name}_q"), &take, &cmd.field(name));
        let tag = m.reg_reset("tag_q", &lit(1, 1));
        m.next_when(&tag, &take, &!&tag);
        for (out, (name, _)) in shared.iter().zip(Self::SHARED) {
            let q = if name == "tag" { tag.clone() } else { kept(&mut m, name) };
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
        let unit = m.reg_reset("unit_q", &lit(0, units));
        let given = m.wire("given", &(at(SEND) & (&unit & &ready).any()));
        let wide = self.wide_blocks(&mut m, &take, &cmd.field("group"));
        let part = self.part(&mut m, &slot, &run, &wide, (&begin, &given));
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
        let mut before = lit(0, 1);
        let mut first_free = Vec::new();
        for u in 0..units {
            first_free.push(ready.bit(u) & !&before);
            before = before | ready.bit(u);
        }
        m.next(&unit, &cat(first_free.iter().rev()));

        let leave = m.wire("leave", &((at(SLOT) & !&starts) | &heads_done));
        let end = m.wire("at_end", &is(&slot, u64::from(slots) - 1));
        let wraps = is(&lane, u64::from(self.vtokens) - 1);
        m.next_when(&slot, &(&take | &leave), &take.mux(&lit(0, slot.width()), &inc(&slot)));
        m.next_when(&lane, &(&take | &leave), &(&take | &wraps).mux(&lit(0, lane.width()), &inc(&lane)));
        let group_next = take.mux(&lit(0, group.width()), &inc(&group));
        m.next_when(&group, &(&take | &(&leave & &wraps)), &group_next);

        let walked = m.wire("walked", &(&leave & &end));
        let free = self.commands(&mut m, (&take, &tag), &given, &walked, (&ended, &ended_tag), (&done, &idle));
        m.drive(&cmd.ready, &(at(IDLE) & free));

        let to = |s: u64| lit(s.into(), 2);
        let after_slot = end.mux(&to(IDLE), &to(SLOT));
        let next = select(
            &state,
            &[
                take.mux(&to(SLOT), &to(IDLE)),
                starts.mux(&to(SEND), &after_slot),
                sent.mux(&to(STEP), &to(SEND)),
                stepped.mux(&heads_done.mux(&after_slot, &to(SEND)), &to(STEP)),
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

    /// Jobs that units may have at once, those whose results wait included.
    fn most_jobs(&self) -> u64 {
        u64::from(self.units * (4 + Self::RESULTS))
    }

    /// Follows two commands; returns whether there is room for another.
    fn commands(
        &self,
        m: &mut Module,
        (take, tag): (&Expr, &Expr),
        given: &Expr,
        walked: &Expr,
        (ended, ended_tag): (&Expr, &Expr),
        (done, idle): (&Expr, &Expr),
    ) -> Expr {
        m.comment("Commands in work: jobs that are out, and whether all have been given.");
        let oldest = m.reg_reset("oldest_q", &lit(0, 1));
        let is_tag = |tag: &Expr, number: u32| if number == 0 { !tag } else { tag.clone() };
        let (mut works, mut overs) = (Vec::new(), Vec::new());
        for number in 0..2u32 {
            let name = |what: &str| format!("command{number}_{what}");
            let active = m.reg_reset(&name("q"), &lit(0, 1));
            let whole = m.reg_reset(&name("walked_q"), &lit(0, 1));
            let out = m.reg_reset(&name("jobs_q"), &lit(0, count_width(self.most_jobs())));
            let (more, fewer) = (given & is_tag(tag, number), ended & is_tag(ended_tag, number));
            m.next_when(&out, &(&more ^ fewer), &more.mux(&inc(&out), &dec(&out)));
            let over = m.wire(&name("over"), &(&whole & is(&out, 0) & is_tag(&oldest, number)));
            m.next(&whole, &((walked & is_tag(tag, number)) | (&whole & !&over)));
            // a command gets the number that the latest one does not have
            m.next(&active, &((take & !is_tag(tag, number)) | (&active & !&over)));
            works.push(active);
            overs.push(over);
        }
        let over = m.wire("command_over", &(&overs[0] | &overs[1]));
        m.next_when(&oldest, &over, &!&oldest);
        let over_q = m.reg_reset("done_q", &lit(0, 1));
        m.next(&over_q, &over);
        m.drive(done, &over_q);
        m.drive(idle, &(!&works[0] & !&works[1]));
        tag.mux(&!&works[0], &!&works[1])
    }

    /// Whether blocks have `2 * vtokens` slots, `4 * vtokens`, .. with so many query heads a slot.
    fn wide_blocks(&self, m: &mut Module, take: &Expr, heads: &Expr) -> Vec<Expr> {
        if !self.splits() {
            return Vec::new();
        }
        let shifts = self.lane_shift() + 1..=self.queries.trailing_zeros().min(self.slot_bits());
        let fits = |l: u32| heads.le(&lit((self.queries >> l).into(), heads.width()));
        shifts.map(|l| m.held(&format!("blocks_of_{}_q", 1 << l), take, &fits(l))).collect()
    }

    /// Whole blocks of queries, at least half of them, then the rest; all at once where that is no more than a block.
    /// With `2^l` slots a block, half of a run of `last + 1` slots is `(last / 2^(l + 1) + 1) * 2^l`, here as a table.
    fn part(&self, m: &mut Module, slot: &Expr, run: &Expr, wide: &[Expr], (begin, given): (&Expr, &Expr)) -> Part {
        let bits = slot.width();
        let run = fit(run, bits);
        let end = m.held("run_end_q", begin, &dec(&run));
        if !self.splits() {
            return Part { offset: lit(0, bits), last: end, over: lit(1, 1) };
        }
        m.comment("Two parts of a run: whole blocks, at least half of it, then the rest.");
        let size_of = |run: u64, l: u32| {
            let last = run.wrapping_sub(1) & ((1 << bits) - 1);
            lit(u128::from(((last >> (l + 1)) + 1) << l), bits + 1)
        };
        let half = |l: u32| select(&run, &(0..1 << bits).map(|run| size_of(run, l)).collect::<Vec<_>>());
        let shifts = self.lane_shift() + 1..;
        let size = shifts.zip(wide).fold(half(self.lane_shift()), |size, (l, fits)| fits.mux(&half(l), &size));
        let size = m.held("part_size_q", begin, &size);
        let two = m.wire("two_parts", &size.le(&end.extend(bits + 1)));
        let second = m.reg_reset("second_q", &lit(0, 1));
        m.next_when(&second, &(begin | given), &(!begin & (&two & !&second)));
        let size = size.low(bits);
        let first_last = two.mux(&dec(&size), &end);
        Part {
            offset: m.wire("part_offset", &second.mux(&size, &lit(0, bits))),
            last: second.mux(&end, &first_last),
            over: &second | !&two,
        }
    }
}
