//! The list of the groups of rows with the largest logits.

use super::{HeadOut, KEY, ROW};
use crate::blocks::listed::GROUP;
use crate::blocks::ring::KEEP;
use crate::ir::{Expr, Module, RamStyle, Source, cat, lit, uint};
use crate::width::index_width;

/// A beat of rows that wants into the list.
pub(super) struct Candidate {
    pub(super) valid: Expr,
    /// Its largest key.
    pub(super) key: Expr,
    /// Rows that exist.
    pub(super) mask: Expr,
    pub(super) scales: Expr,
    /// The last beat of the head.
    pub(super) end: Expr,
}

/// What the list tells the head.
pub(super) struct List {
    /// Beats of the group that is picked next: its first row, its rows that exist.
    pub(super) row: Expr,
    pub(super) mask: Expr,
    /// To be driven: a picked beat is taken, and it is of the last slots.
    pub(super) taken: Expr,
    pub(super) last: Expr,
    pub(super) busy: Expr,
}

/// Counts `runs` beats of a group; returns the run and whether it is the last one.
fn runs(m: &mut Module, name: &str, runs: u32, start: &Expr, step: &Expr) -> (Expr, Expr) {
    let width = index_width(runs.into());
    let q = m.reg_reset(&format!("{name}_run_q"), &lit(0, width));
    let last = m.wire(&format!("{name}_last_run"), &q.eq(&lit(u128::from(runs) - 1, width)));
    let next = (start | &last).mux(&lit(0, width), &q.add_wrap(&lit(1, width)));
    m.next_when(&q, &(start | step), &next);
    (q, last)
}

impl HeadOut {
    fn runs(&self) -> u32 {
        self.rows / self.lanes
    }

    /// The candidate of a whole group, whose beats come one after the other; held until it is judged.
    fn whole(&self, m: &mut Module, start: &Expr, go: &Expr, beat: &Candidate) -> Candidate {
        let (l, count) = (self.lanes, self.runs());
        let fire = m.wire("ranks", &(&beat.valid & go));
        let (run, last) = runs(m, "rank", count, start, &fire);
        let there_q = m.reg_reset("there_q", &lit(0, 1));
        m.next_when(&there_q, go, &(&beat.valid & &last));
        let hold = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &fire, value);
            q
        };
        let key_q = m.reg("cand_key_q", uint(KEY));
        let first = run.eq(&lit(0, run.width()));
        m.next_when(&key_q, &(&fire & (first | beat.key.gt(&key_q))), &beat.key);
        let collect = |m: &mut Module, name: &str, part: &Expr, bits: u32| {
            if count == 1 {
                return hold(m, name, part);
            }
            let q = m.reg(name, uint(bits * count));
            let kept = q.slice(bits, bits * (count - 1));
            m.next_when(&q, &fire, &cat([part, &kept]));
            q
        };
        let mask = collect(m, "cand_mask_q", &beat.mask, l);
        let scales = collect(m, "cand_scales_q", &beat.scales, 32 * l);
        let end = hold(m, "cand_end_q", &beat.end);
        Candidate { valid: there_q, key: key_q, mask, scales, end }
    }

    /// The list; drives `go`, which is low while a candidate waits for the search of the smallest.
    pub(super) fn list(&self, m: &mut Module, start: &Expr, keep: &Expr, beat: &Candidate, go: &Expr) -> List {
        let (q, l, depth) = (self.rows, self.lanes, u64::from(self.list));
        let index = index_width(depth);
        let at = |e: &Expr| if e.width() > index { e.low(index) } else { e.extend(index) };
        let one = lit(1, KEEP);
        m.comment("The list: a candidate takes a free place, then that of the smallest, if it is larger.");
        let cand = self.whole(m, start, go, beat);
        let scan_q = m.reg_reset("scan_q", &lit(0, 1));
        m.drive(go, &!(&cand.valid & &scan_q));
        let judge = m.wire("judge", &(&cand.valid & !&scan_q));
        let count_q = m.reg_reset("count_q", &lit(0, KEEP));
        let (least_q, place_q) = (m.reg("least_q", uint(KEY)), m.reg("place_q", uint(index)));
        let full = m.wire("full", &count_q.eq(keep));
        let enters = m.wire("enters", &(&judge & (!&full | cand.key.gt(&least_q))));
        let grows = m.wire("grows", &(&enters & !&full));
        m.next_when(&count_q, &(start | &grows), &start.mux(&lit(0, KEEP), &count_q.add_wrap(&one)));
        let slot = m.wire("slot", &full.mux(&place_q, &at(&count_q)));
        let group_q = m.reg_reset("rank_group_q", &lit(0, GROUP));
        let next_group = start.mux(&lit(0, GROUP), &group_q.add_wrap(&lit(1, GROUP)));
        m.next_when(&group_q, &(start | &judge), &next_group);
        let keys = m.memory("keys", KEY, depth, RamStyle::Distributed);
        m.write(&keys, &enters, &slot, &cand.key);

        m.comment("The smallest of a full list is searched after each change, the first of equals.");
        let last_free = count_q.add_wrap(&one).eq(keep);
        let scan_at_q = m.reg("scan_at_q", uint(KEEP));
        let scan_end = m.wire("scan_end", &scan_at_q.add_wrap(&one).eq(keep));
        let searches = m.wire("searches", &(&enters & (&full | last_free)));
        m.next(&scan_q, &(&searches | (&scan_q & !&scan_end)));
        m.next_when(&scan_at_q, &(&searches | &scan_q), &searches.mux(&lit(0, KEEP), &scan_at_q.add_wrap(&one)));
        let key = m.read(&keys, &at(&scan_at_q));
        let key = m.wire("scan_key", &key);
        let less = m.wire("less", &(&scan_q & (key.lt(&least_q) | scan_at_q.eq(&lit(0, KEEP)))));
        m.next_when(&least_q, &less, &key);
        m.next_when(&place_q, &less, &at(&scan_at_q));

        m.comment("The complete list goes out: numbers to the weights, then with each picked group; scales.");
        let ended_q = m.reg_reset("ended_q", &lit(0, 1));
        m.next(&ended_q, &(!start & (&ended_q | (&judge & &cand.end))));
        let names = m.memory("names", GROUP + q, depth, RamStyle::Distributed);
        m.write(&names, &enters, &slot, &cat([&cand.mask, &group_q]));
        let out = m.source("list", &[("group", uint(GROUP))]);
        let (read_q, given_q) = (m.reg_reset("read_q", &lit(0, KEEP)), m.reg_reset("given_q", &lit(0, 1)));
        let taken = m.net("pick_taken", uint(1));
        let (run, last_run) = runs(m, "pick", self.runs(), start, &taken);
        let last = m.net("pick_last", uint(1));
        let step = m.wire("read_step", &(out.fire() | (&taken & &last_run & &last)));
        let wraps = m.wire("read_wraps", &read_q.add_wrap(&one).eq(keep));
        let restart = start | &wraps;
        m.next_when(&read_q, &(start | &step), &restart.mux(&lit(0, KEEP), &read_q.add_wrap(&one)));
        m.next(&given_q, &(!start & (&given_q | (out.fire() & &wraps))));
        let name = m.read(&names, &at(&read_q));
        let name = m.wire("name", &name);
        m.drive(&out.valid, &(&ended_q & !&given_q));
        m.drive(&out.field("group"), &name.low(GROUP));
        self.scales(m, start, keep, (&enters, &slot, &cand.scales), &ended_q);

        let times = |factor: u32, of: &Expr| {
            let terms = (0..32u32).filter(|k| factor >> k & 1 == 1);
            terms.map(|k| of.shl(&lit(k.into(), 5))).reduce(|a, b| a.add_wrap(&b)).unwrap_or(lit(0, ROW))
        };
        let rows = times(q, &name.low(GROUP).extend(ROW));
        let row = if self.runs() == 1 { rows } else { rows.add_wrap(&times(l, &run.extend(ROW))) };
        let masks: Vec<Expr> = (0..self.runs()).map(|s| name.slice(GROUP + s * l, l)).collect();
        let mask = masks
            .iter()
            .enumerate()
            .skip(1)
            .fold(masks[0].clone(), |other, (s, mask)| run.eq(&lit(s as u128, run.width())).mux(mask, &other));
        List { row, mask, taken, last, busy: &cand.valid | &scan_q }
    }

    /// Scales of the listed groups, in order.
    fn scales(&self, m: &mut Module, start: &Expr, keep: &Expr, write: (&Expr, &Expr, &Expr), ended: &Expr) {
        let (width, depth) = (32 * self.rows, u64::from(self.list));
        let index = index_width(depth);
        let (enters, slot, value) = write;
        let style = if depth > 32 { RamStyle::Block } else { RamStyle::Distributed };
        let memory = m.memory("scales", width, depth, style);
        m.write(&memory, enters, slot, value);
        let out: Source = m.source("pick", &[("data", uint(width))]);
        let (at_q, all_q) = (m.reg_reset("pick_at_q", &lit(0, KEEP)), m.reg_reset("pick_all_q", &lit(0, 1)));
        let (valid_q, data_q) = (m.reg_reset("pick_valid_q", &lit(0, 1)), m.reg("pick_data_q", uint(width)));
        let next = at_q.add_wrap(&lit(1, KEEP));
        let load = m.wire("pick_load", &(ended & !&all_q & (&out.ready | !&valid_q)));
        m.next_when(&at_q, &(start | &load), &start.mux(&lit(0, KEEP), &next));
        m.next(&all_q, &(!start & (&all_q | (&load & next.eq(keep)))));
        m.next(&valid_q, &(!start & (&load | (&valid_q & !&out.ready))));
        let at = if KEEP > index { at_q.low(index) } else { at_q.extend(index) };
        let word = m.read(&memory, &at);
        m.next_when(&data_q, &load, &word);
        m.drive(&out.valid, &valid_q);
        m.drive(&out.field("data"), &data_q);
    }
}
