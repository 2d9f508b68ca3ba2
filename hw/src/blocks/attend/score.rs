//! From dots to scores: one float path for all queries of a block.

use super::Attend;
use super::front::Front;
use super::load::Loaded;
use super::unit::{Memories, Parts, Ports};
use super::util::{Line, inc, is, lanes, select};
use crate::blocks::fp;
use crate::ir::{Expr, Module, cat, lit, uint};

/// `x * 65536`; what would overflow becomes huge, as all the rounding behind it needs.
fn times_65536(x: &Expr) -> Expr {
    let exponent = x.slice(23, 8);
    let small = exponent.lt(&lit(239, 8));
    let grown = small.mux(&exponent.add_wrap(&lit(16, 8)), &lit(254, 8));
    let same = is(&exponent, 0) | is(&exponent, 255);
    cat([x.bit(31), same.mux(&exponent, &grown), x.low(23)])
}

impl Attend {
    /// Adds the path; returns when the last score of the block is stored.
    pub(super) fn score(
        &self,
        m: &mut Module,
        io: &Ports,
        mem: &Memories,
        parts: &Parts,
        front: &Front,
        loaded: &Loaded,
    ) -> Expr {
        let (qb, pb) = (self.query_bits(), self.position_bits());
        let (parity, n) = (&front.block.parity, &front.block.n);
        m.comment("Scores: the queries of a row in turn.");
        let start = loaded.dots.get("valid_o");
        let going = m.reg_reset("score_going_q", &lit(0, 1));
        let next_r = m.reg("score_query_q", uint(qb));
        let position = m.reg("score_position_q", uint(pb));
        let valid = m.wire("score_valid", &(&start | &going));
        let r = m.wire("score_query", &start.mux(&lit(0, qb), &next_r));
        let end = m.wire("score_end", &(&valid & r.eq(n)));
        m.next(&going, &(&valid & !&end));
        m.next_when(&next_r, &valid, &inc(&r));
        m.next_when(&position, &(&front.count | &end), &front.count.mux(&lit(0, pb), &inc(&position)));
        let limit = m.read(&mem.limit, &cat([parity, &r]));
        let visible = m.wire("score_visible", &position.le(&limit));
        let last = m.wire("score_last", &(&end & position.eq(&front.block.last)));
        m.drive(&io.ev_masked, &(&valid & !&visible));

        let dot = select(&r, &lanes(&loaded.dots.get("dot_o"), self.dot_bits()));
        let dot = m.held("score_dot_q", &valid, &dot.as_signed());
        let word = m.read(&loaded.scales, &self.scale_word(&position));
        let word = m.held("score_scales_q", &valid, &word);
        let line = |name: &str, e: &Expr| Line::new(&format!("sc_{name}"), e, true);
        let (valids, lasts) = (line("valid", &valid), line("last", &last));
        let beside = |name: &str, e: &Expr| Line::of(&format!("sc_{name}"), e, &valids);
        let (rs, positions) = (beside("query", &r), beside("position", &position));
        let (seen, ends) = (beside("visible", &visible), beside("end", &end));

        m.comment("Scales of the position and of the query; the largest value scale that the query sees.");
        let lane = self.scale_lane(&positions.at(m, 1));
        let valid1 = valids.at(m, 1);
        let scales = m.held("score_scale_q", &valid1, &select(&lane, &lanes(&word, 64)));
        let (r1, r2) = (rs.at(m, 1), rs.at(m, 2));
        let factor = m.read(&loaded.factors, &r1);
        let factor = m.held("score_factor_q", &valid1, &factor);
        let first2 = is(&positions.at(m, 2), 0);
        let (valid2, seen2) = (valids.at(m, 2), seen.at(m, 2));
        let at2 = m.wire("largest_at", &cat([parity, &r2]));
        let old = m.read(&mem.largest, &at2);
        let larger = first2 | scales.slice(32, 32).gt(&old);
        let larger = m.wire("larger", &(&valid2 & seen2 & larger));
        m.write(&mem.largest, &larger, &at2, &scales.slice(32, 32));

        m.comment("Score = fixed16(dot * (key scale * query scale)).");
        let (mul, int, fix) = (fp::Mul::LATENCY, fp::FromInt::LATENCY, fp::ToInt::LATENCY);
        let float = m.instance("score_float", &parts.dot_float, &[("valid_i", &valid1), ("a_i", &dot)]).get("y_o");
        let inputs = [("valid_i", &valid2), ("a_i", &scales.low(32)), ("b_i", &factor)];
        let scale = m.instance("score_scale", &parts.mul, &inputs).get("y_o");
        let meet = (2 + mul).max(1 + int);
        let float = Line::new("score_float", &float, false).at(m, meet - 1 - int);
        let scale = Line::new("score_scale", &scale, false).at(m, meet - 2 - mul);
        let (valid_meet, valid_fix) = (valids.at(m, meet), valids.at(m, meet + mul));
        let inputs = [("valid_i", &valid_meet), ("a_i", &float), ("b_i", &scale)];
        let product = m.instance("score_product", &parts.mul, &inputs).get("y_o");
        let inputs = [("valid_i", &valid_fix), ("a_i", &times_65536(&product))];
        let score = m.instance("score_fix", &parts.to_int, &inputs).get("y_o");
        let at = meet + mul + fix;

        m.comment("Store; the largest score that the query sees.");
        let (valid_at, r_at, position_at) = (valids.at(m, at), rs.at(m, at), positions.at(m, at));
        let top_at = m.wire("top_at", &cat([parity, &r_at]));
        let old = m.read(&mem.top, &top_at);
        let higher = is(&position_at, 0) | score.gt(&old.as_signed());
        let seen_at = seen.at(m, at);
        let higher = m.wire("higher", &(&valid_at & seen_at & higher));
        let bits = score.as_unsigned();
        m.write(&mem.top, &higher, &top_at, &bits);
        let address = self.score_at(parity, &position_at, &r_at);
        if self.score_lanes() == 1 {
            m.write(&mem.scores, &valid_at, &address, &bits);
        } else {
            let odd = r_at.bit(0);
            let even_q = m.held("score_even_q", &valid_at, &bits);
            let pair = odd.mux(&cat([&bits, &even_q]), &cat([&lit(0, 32), &bits]));
            let complete = odd | ends.at(m, at);
            m.write(&mem.scores, &(&valid_at & complete), &address, &pair);
        }
        lasts.at(m, at + 1)
    }
}
