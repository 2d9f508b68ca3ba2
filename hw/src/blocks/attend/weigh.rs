//! From scores to weights, some positions ahead of the values.

use super::unit::{Block, Memories, Parts};
use super::util::{Line, dec, inc, is, lanes, select};
use super::{Attend, WEIGHT_BITS};
use crate::blocks::fp;
use crate::ir::{Expr, Module, RamStyle, cat, lit, uint};
use crate::width::count_width;

/// Weights that wait for their values.
pub(super) struct Weights {
    /// Weights of a whole position are there.
    pub(super) there: Expr,
    /// They, one word a query.
    pub(super) of_query: Vec<Expr>,
    /// Sums of `p`, by query.
    pub(super) sums: Expr,
    /// All sums are complete.
    pub(super) summed: Expr,
}

impl Attend {
    /// Positions whose weights may wait.
    pub(super) const AHEAD: u32 = 32;

    pub(super) fn weigh(
        &self,
        m: &mut Module,
        mem: &Memories,
        parts: &Parts,
        block: &Block,
        begin: &Expr,
        pop: &Expr,
    ) -> Weights {
        let (qb, pb, ahead) = (self.query_bits(), self.position_bits(), u64::from(Self::AHEAD));
        let parity = &block.parity;
        m.comment("Weights: one query of a position a cycle.");
        let going = m.reg_reset("weigh_going_q", &lit(0, 1));
        let (r, t) = (m.reg("weigh_query_q", uint(qb)), m.reg("weigh_position_q", uint(pb)));
        let (started, ready) = (
            m.reg_reset("started_q", &lit(0, count_width(ahead))),
            m.reg_reset("ready_q", &lit(0, count_width(ahead))),
        );
        let first = is(&r, 0);
        let issue = m.wire("weigh", &(&going & !(&first & is(&started, ahead))));
        let end = m.wire("weigh_end", &(&issue & r.eq(&block.n)));
        let last = m.wire("weigh_last", &(&end & t.eq(&block.last)));
        m.next(&going, &(begin | (&going & !&last)));
        m.next_when(&r, &(begin | &issue), &(begin | &end).mux(&lit(0, qb), &inc(&r)));
        m.next_when(&t, &(begin | &end), &begin.mux(&lit(0, pb), &inc(&t)));
        let counted = |m: &mut Module, q: &Expr, up: &Expr| {
            m.next_when(q, &(up ^ pop), &up.mux(&inc(q), &dec(q)));
        };
        counted(m, &started, &(&issue & &first));

        let line = |name: &str, e: &Expr| Line::new(&format!("wt_{name}"), e, true);
        let (valids, lasts) = (line("valid", &issue), line("last", &last));
        let beside = |name: &str, e: &Expr| Line::of(&format!("wt_{name}"), e, &valids);
        let (rs, ts, ends) = (beside("query", &r), beside("position", &t), beside("end", &end));
        let word = m.read(&mem.scores, &self.score_at(parity, &t, &r));
        let word = m.held("weigh_scores_q", &issue, &word);
        let half = if self.score_lanes() == 1 { lit(0, 1) } else { rs.at(m, 1).bit(0) };
        let valid1 = valids.at(m, 1);
        let score = m.held("weigh_score_q", &valid1, &select(&half, &lanes(&word, 32)));
        let (r2, t2) = (rs.at(m, 2), ts.at(m, 2));
        let at2 = m.wire("weigh_at", &cat([parity, &r2]));
        let (top, limit) = (m.read(&mem.top, &at2), m.read(&mem.limit, &at2));
        let distance = m.delay("distance_q", &top.sub_wrap(&score).as_unsigned());
        let masked = m.delay("masked_q", &t2.gt(&limit));
        let valid3 = valids.at(m, 3);
        let inputs = [("valid_i", &valid3), ("d_i", &distance), ("zero_i", &masked)];
        let p = m.instance("exp2", &parts.exp2, &inputs).get("p_o");
        let p_at = 3 + Self::EXP2_LATENCY;

        m.comment("Sums of p.");
        let sums = m.memory("sums", self.sum_bits(), 1 << qb, RamStyle::Distributed);
        let sum_at = rs.at(m, p_at);
        let old = m.read(&sums, &sum_at);
        let base = is(&ts.at(m, p_at), 0).mux(&lit(0, self.sum_bits()), &old);
        let valid_p = valids.at(m, p_at);
        m.write(&sums, &valid_p, &sum_at, &base.add_wrap(&p));
        let summed = lasts.at(m, p_at + 1);

        m.comment("Weight = round(p * (value scale * inverse)).");
        let (mul, int, fix) = (fp::Mul::LATENCY, fp::FromInt::LATENCY, fp::ToInt::LATENCY);
        let meet = (p_at + int).max(2 + mul);
        let from = meet - mul - 2;
        let p = cat([&lit(0, 1), &p]).as_signed();
        let float = m.instance("weigh_float", &parts.weight_float, &[("valid_i", &valid_p), ("a_i", &p)]).get("y_o");
        let float = Line::new("weigh_float", &float, false).at(m, meet - p_at - int);
        let t_from = ts.at(m, from);
        let word = m.read(&mem.value_scales, &cat([parity, &self.scale_word(&t_from)]));
        let (valid_from, valid_from1) = (valids.at(m, from), valids.at(m, from + 1));
        let word = m.held("weigh_scales_q", &valid_from, &word);
        let lane = self.scale_lane(&ts.at(m, from + 1));
        let scale = m.held("weigh_scale_q", &valid_from1, &select(&lane, &lanes(&word, 32)));
        let r_from = rs.at(m, from + 1);
        let inverse = m.read(&mem.inverse, &cat([parity, &r_from]));
        let inverse = m.held("weigh_inverse_q", &valid_from1, &inverse);
        let [valid_from2, valid_meet, valid_fix] = [from + 2, meet, meet + mul].map(|at| valids.at(m, at));
        let inputs = [("valid_i", &valid_from2), ("a_i", &scale), ("b_i", &inverse)];
        let ratio = m.instance("weigh_ratio", &parts.mul, &inputs).get("y_o");
        let inputs = [("valid_i", &valid_meet), ("a_i", &float), ("b_i", &ratio)];
        let product = m.instance("weigh_product", &parts.mul, &inputs).get("y_o");
        let weight = m.instance("weigh_fix", &parts.to_int, &[("valid_i", &valid_fix), ("a_i", &product)]).get("y_o");
        m.unused("weight", &[weight.slice(WEIGHT_BITS, 32 - WEIGHT_BITS)]);
        let at = meet + mul + fix;

        m.comment("Weights of a position wait for its values.");
        let index = crate::width::index_width(ahead);
        let (put, get) = (m.reg_reset("weigh_put_q", &lit(0, index)), m.reg_reset("weigh_get_q", &lit(0, index)));
        let (valid_at, r_at) = (valids.at(m, at), rs.at(m, at));
        let end_at = ends.at(m, at);
        let whole = m.wire("weigh_whole", &(&valid_at & end_at));
        m.next_when(&put, &whole, &inc(&put));
        m.next_when(&get, pop, &inc(&get));
        counted(m, &ready, &whole);
        let mut of_query = Vec::new();
        for i in 0..self.queries {
            let memory = m.memory(&format!("weights{i}"), WEIGHT_BITS, ahead, RamStyle::Distributed);
            m.write(&memory, &(&valid_at & is(&r_at, i.into())), &put, &weight.as_unsigned().low(WEIGHT_BITS));
            of_query.push(m.read(&memory, &get));
        }
        Weights { there: m.wire("weights_there", &!is(&ready, 0)), of_query, sums, summed }
    }
}
