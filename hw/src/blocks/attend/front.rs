//! The front of a unit: blocks of queries, read commands, inverses of the largest value scales.

use super::Attend;
use super::unit::{Block, Memories, Parts, Ports, Token};
use super::util::{dec, fit, inc, is, not, reaches, select};
use crate::blocks::banks::of_bank;
use crate::ir::{Expr, Module, RamStyle, cat, lit, uint};

const IDLE: u64 = 0;
const WALK: u64 = 1;
const COUNT: u64 = 2;
const LOAD: u64 = 3;
const KEYS: u64 = 4;
const SETTLE: u64 = 5;

/// What the parts of the front say to each other.
pub(super) struct Front {
    pub(super) block: Block,
    /// Queries of the block.
    pub(super) active: Expr,
    /// The block is known: counters start.
    pub(super) count: Expr,
    pub(super) loading: Expr,
    pub(super) scoring: Expr,
    /// `{word, head, group, lane}` of the block's queries, for loading.
    pub(super) loads: Expr,
}

impl Attend {
    /// Adds the front; returns what it hands to the back.
    pub(super) fn front(
        &self,
        m: &mut Module,
        io: &Ports,
        mem: &Memories,
        parts: &Parts,
        back_busy: &Expr,
        taken: &Expr,
    ) -> Token {
        let (qb, pb) = (self.query_bits(), self.position_bits());
        m.comment("Front.");
        let state = m.reg_reset("front_q", &lit(IDLE.into(), 3));
        let at = |s: u64| is(&state, s);
        let token_valid = m.reg_reset("token_q", &lit(0, 1));
        let parity = m.reg_reset("parity_q", &lit(0, 1));
        m.drive(&io.job.ready, &at(IDLE));
        let take = io.take.clone();
        let (inverting, asking) = (m.reg_reset("inverting_q", &lit(0, 1)), m.reg_reset("values_cmd_q", &lit(0, 1)));
        let waits = (&token_valid | &inverting) & back_busy;
        let step = m.wire("walk_step", &(at(WALK) & !(waits | &asking)));

        m.comment("Walk: one query of the block a cycle; query heads of a slot first, then the next slot.");
        let r = m.reg_reset("walk_q", &lit(0, qb));
        let kept = |m: &mut Module, name: &str| m.held(&format!("job_{name}_q"), &take, &io.job.field(name));
        let [last_slot, word0, head0, col0, kline, sline] =
            ["last", "word", "head", "col", "kline", "sline"].map(|n| kept(m, n));
        let member = m.reg("member_q", uint(8));
        let member_last = m.wire("member_last", &member.eq(&dec(&io.group)));
        let next_slot = m.wire("next_slot", &(&step & &member_last));
        m.next_when(&member, &(&take | &step), &(&take | &member_last).mux(&lit(0, 8), &inc(&member)));
        let walk = |m: &mut Module, name: &str, base: &Expr, by: &Expr| {
            let q = m.reg(&format!("at_{name}_q"), base.ty());
            let next = member_last.mux(base, &q.add_wrap(by));
            m.next_when(&q, &(&take | &step), &take.mux(&io.job.field(name), &next));
            q
        };
        let word = walk(m, "word", &word0, &fit(&io.q_words, self.word_bits()));
        let head = walk(m, "head", &head0, &lit(1, self.head_bits()));
        let col = walk(m, "col", &col0, &io.v_words);
        let slot = m.reg("slot_q", uint(self.slot_bits()));
        let (group, lane) = (m.reg("group_q", uint(self.group_bits())), m.reg("lane_q", uint(self.lane_bits())));
        let lane_end = m.wire("lane_end", &is(&lane, u64::from(self.vtokens) - 1));
        let moved = m.wire("moved", &(&take | &next_slot));
        m.next_when(&slot, &moved, &take.mux(&io.job.field("slot"), &inc(&slot)));
        let lane_next = lane_end.mux(&lit(0, self.lane_bits()), &inc(&lane));
        m.next_when(&lane, &moved, &take.mux(&io.job.field("lane"), &lane_next));
        let group_next = lane_end.mux(&inc(&group), &group);
        m.next_when(&group, &moved, &take.mux(&io.job.field("group"), &group_next));
        let of_slot = |positions: &[Expr]| select(&slot, &positions.iter().map(|p| fit(p, pb)).collect::<Vec<_>>());
        let position = m.wire("position", &of_bank(&io.bank, &io.position, 32, self.tokens, of_slot));
        let run_end = m.wire("run_end", &(&member_last & slot.eq(&last_slot)));
        let full = is(&r, u64::from(self.queries) - 1);
        let full = match self.halves() {
            true => {
                m.comment("Half a block where a slot behind its first query may see more than there is room for.");
                let room = self.full_blocks - (u64::from(self.tokens) - 1).min(self.full_blocks);
                let deep = m.held("deep_q", &(&step & is(&r, 0)), &reaches(&position, room));
                full | (&deep & is(&r, u64::from(self.queries) / 2 - 1))
            }
            false => full,
        };
        let stop = m.wire("stop", &(&step & (&run_end | &full)));
        m.next_when(&r, &step, &stop.mux(&lit(0, qb), &inc(&r)));
        let n = m.held("n_q", &stop, &r);
        let last = m.held("last_q", &stop, &position);
        let more = m.held("more_q", &stop, &!&run_end);
        let here = m.wire("here", &cat([&parity, &r]));
        m.write(&mem.limit, &step, &here, &position);
        m.write(&mem.place, &step, &here, &cat([&lane, &group, &col]));
        let loads = m.memory(
            "loads",
            self.word_bits() + self.head_bits() + self.group_bits() + self.lane_bits(),
            1 << qb,
            RamStyle::Distributed,
        );
        m.write(&loads, &step, &r, &cat([&word, &head, &group, &lane]));
        let firsts: Vec<Expr> = (0..self.queries)
            .map(|i| {
                let first = if i == 0 { lit(1, 1) } else { is(&member, 0) };
                m.held(&format!("first{i}_q"), &(&step & is(&r, i.into())), &first)
            })
            .collect();

        m.comment("Count: beats of the block. Values are asked for at once, long before they are used.");
        let count = m.wire("count", &at(COUNT));
        let rows = m.wire("rows", &(&last + lit(1, 1)));
        let key_beats = m.held("key_beats_q", &count, &fit(&(&rows * &io.k_beats), 24));
        let value_beats = m.held("value_beats_q", &count, &fit(&(&rows * &io.v_beats), 24));
        let value_line = m.held("value_line_q", &count, &kline.add_wrap(&io.v_off));
        m.next(&asking, &(&count | (&asking & !&io.v_cmd.ready)));
        m.drive(&io.v_cmd.valid, &asking);
        m.drive(&io.v_cmd.field("addr"), &cat([&value_line, &lit(0, 6)]).extend(40));
        m.drive(&io.v_cmd.field("beats"), &value_beats);
        let on: Vec<Expr> = (0..self.queries).map(|i| reaches(&n, i.into())).collect();
        let active = m.held("active_q", &count, &cat(on.iter().rev()));
        let cmd = m.reg_reset("cmd_q", &lit(0, 2));
        let cmd_next = count.mux(&lit(1, 2), &is(&cmd, 1).mux(&lit(2, 2), &lit(0, 2)));
        m.next_when(&cmd, &(&count | io.k_cmd.fire()), &cmd_next);
        m.drive(&io.k_cmd.valid, &not(&cmd, 0));
        let line = is(&cmd, 1).mux(&sline, &kline);
        m.drive(&io.k_cmd.field("addr"), &cat([&line, &lit(0, 6)]).extend(40));
        let scale_beats = fit(&(self.last_scale_beat(&last) + lit(1, 1)), 24);
        m.drive(&io.k_cmd.field("beats"), &is(&cmd, 1).mux(&scale_beats, &key_beats));

        let front = Front {
            block: Block {
                parity: parity.clone(),
                n: n.clone(),
                last: last.clone(),
                v_beats: io.v_beats.clone(),
                v_words: io.v_words.clone(),
                tag: io.tag.clone(),
                ends: !&more,
            },
            active,
            count: count.clone(),
            loading: m.wire("loading", &at(LOAD)),
            scoring: m.wire("scoring", &at(KEYS)),
            loads,
        };
        let loaded = self.load(m, io, mem, parts, &front);
        let scored = self.score(m, io, mem, parts, &front, &loaded);

        m.comment("Inverses of the largest value scales, beside the next block; queries of a slot share theirs.");
        let settle = m.wire("settle", &(at(SETTLE) & !&inverting));
        m.next_when(&parity, &settle, &!&parity);
        let block = front.block.held(m, "scored", &settle);
        let firsts: Vec<Expr> =
            firsts.iter().enumerate().map(|(i, f)| m.held(&format!("scored_first{i}_q"), &settle, f)).collect();
        let i = m.reg("invert_q", uint(qb));
        let (wait, inverted) = (m.reg_reset("invert_wait_q", &lit(0, 1)), m.reg_reset("inverted_q", &lit(0, 1)));
        let kept = m.reg("inverse_q", uint(32));
        let going = m.wire("invert_going", &(&inverting & !&inverted));
        let fresh = m.wire("fresh", &select(&i, &firsts));
        let place = m.wire("invert_at", &cat([&block.parity, &i]));
        let largest = m.read(&mem.largest, &place);
        let ask = m.wire("invert_ask", &(&going & !&wait & &fresh));
        let one = lit(u128::from(1f32.to_bits()), 32);
        let div = m.instance(
            "invert",
            &parts.div,
            &[("in_valid_i", &ask), ("in_a_i", &one), ("in_b_i", &largest), ("out_ready_i", &wait)],
        );
        let answer = m.wire("invert_answer", &(&wait & div.get("out_valid_o")));
        let store = m.wire("invert_store", &(&going & (&answer | (!&wait & !&fresh))));
        m.next(&wait, &((&ask & div.get("in_ready_o")) | (&wait & !&answer)));
        let value = m.wire("inverse_value", &wait.mux(&div.get("out_y_o"), &kept));
        m.next_when(&kept, &store, &value);
        m.write(&mem.inverse, &store, &place, &value);
        m.next_when(&i, &(&settle | &store), &settle.mux(&lit(0, qb), &inc(&i)));
        let hand = m.wire("hand", &(&inverted & !&token_valid));
        m.next(&inverted, &((&store & i.eq(&block.n)) | (&inverted & !&hand)));
        m.next(&inverting, &(&settle | (&inverting & !&hand)));
        m.next(&token_valid, &(&hand | (&token_valid & !taken)));

        let to = |s: u64| lit(s.into(), 3);
        let arms = [
            take.mux(&to(WALK), &to(IDLE)),
            stop.mux(&to(COUNT), &to(WALK)),
            to(LOAD),
            loaded.done.mux(&to(KEYS), &to(LOAD)),
            scored.mux(&to(SETTLE), &to(KEYS)),
            settle.mux(&more.mux(&to(WALK), &to(IDLE)), &to(SETTLE)),
        ];
        m.next(&state, &select(&state, &arms));
        Token { valid: token_valid, block: block.held(m, "token", &hand) }
    }

    /// The last beat of the scales of positions up to `last`.
    pub(super) fn last_scale_beat(&self, last: &Expr) -> Expr {
        if self.beat_bytes == 4 { cat([last, &lit(1, 1)]) } else { self.scale_word(last) }
    }
}
