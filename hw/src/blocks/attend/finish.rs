//! Results of a block: sums of weighted values times `max vs / sum p`.

use super::Attend;
use super::back::Reading;
use super::unit::{Block, Memories, Parts, Ports};
use super::util::{Line, dec, fit, inc, is, lanes, select};
use super::weigh::Weights;
use crate::blocks::fifo::Fifo;
use crate::blocks::fp;
use crate::ir::{Expr, Module, RamStyle, cat, lit, uint, zero};
use crate::width::{count_width, index_width};

const OFF: u64 = 0;
const FLOAT: u64 = 1;
const ASK: u64 = 2;
const WAIT: u64 = 3;

impl Attend {
    /// Words of results that may be under way.
    pub(super) const RESULTS: u32 = 20;

    pub(super) fn out_queue(&self) -> Fifo {
        Fifo { width: 2 + self.vm_bits() + self.lane_bits() + 32 * self.lanes, depth: Self::RESULTS }
    }

    /// Factors of the queries; returns their memory and how many are there.
    fn factors(
        &self,
        m: &mut Module,
        mem: &Memories,
        parts: &Parts,
        block: &Block,
        weights: &Weights,
        begin: &Expr,
    ) -> (Expr, Expr) {
        m.comment("Factors, one after the other, as soon as the sums of p are there.");
        let qb = self.query_bits();
        let state = m.reg_reset("factor_q", &lit(OFF.into(), 2));
        let at = |s: u64| is(&state, s);
        let r = m.reg("factor_query_q", uint(qb));
        let there = m.reg("factors_q", uint(qb + 1));
        let delay = u64::from(fp::FromInt::LATENCY) + 1;
        let left = m.reg("factor_wait_q", uint(count_width(delay)));
        let sum = m.read(&weights.sums, &r);
        let sum = m.delay("factor_sum_q", &sum.extend(self.sum_bits() + 1).as_signed());
        let float = m.instance("factor_float", &parts.sum_float, &[("valid_i", &at(FLOAT)), ("a_i", &sum)]).get("y_o");
        let largest = m.read(&mem.largest, &cat([&block.parity, &r]));
        let inputs = [("in_valid_i", &at(ASK)), ("in_a_i", &largest), ("in_b_i", &float), ("out_ready_i", &at(WAIT))];
        let div = m.instance("factor", &parts.div, &inputs);
        let asked = at(ASK) & div.get("in_ready_o");
        let got = m.wire("factor_got", &(at(WAIT) & div.get("out_valid_o")));
        let memory = m.memory("results", 32, 1 << qb, RamStyle::Distributed);
        m.write(&memory, &got, &r, &div.get("out_y_o"));
        m.next_when(&there, &(begin | &got), &begin.mux(&lit(0, qb + 1), &inc(&there)));
        m.next_when(&r, &(begin | &got), &begin.mux(&lit(0, qb), &inc(&r)));
        let floating = at(FLOAT);
        m.next(&left, &floating.mux(&dec(&left), &lit(delay.into(), left.width())));
        let to = |s: u64| lit(s.into(), 2);
        let arms = [
            weights.summed.mux(&to(FLOAT), &to(OFF)),
            is(&left, 0).mux(&to(ASK), &to(FLOAT)),
            asked.mux(&to(WAIT), &to(ASK)),
            got.mux(&r.eq(&block.n).mux(&to(OFF), &to(FLOAT)), &to(WAIT)),
        ];
        m.next(&state, &select(&state, &arms));
        (memory, there)
    }

    /// Adds the results; returns when the sums are all read.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn finish(
        &self,
        m: &mut Module,
        io: &Ports,
        mem: &Memories,
        parts: &Parts,
        block: &Block,
        reading: &Reading,
        weights: &Weights,
        begin: &Expr,
        active: &Expr,
    ) -> Expr {
        let (factors, there) = self.factors(m, mem, parts, block, weights, begin);
        let (qb, words, split) = (self.query_bits(), self.words_bits(), self.word_chunks().ilog2());
        m.comment("Results: a chunk of a query's sums a cycle.");
        let r = m.reg("out_query_q", uint(qb));
        let word = m.reg("out_word_q", uint(16));
        let chunk = m.reg("out_chunk_q", uint(words));
        let under_way = m.reg_reset("under_way_q", &lit(0, count_width(Self::RESULTS.into())));
        let part = if split == 0 { lit(0, 1) } else { fit(&chunk, split) };
        let (part_first, part_last) = (is(&part, 0), is(&part, u64::from(self.word_chunks()) - 1));
        let room = under_way.lt(&lit(Self::RESULTS.into(), under_way.width()));
        let issue = m.wire("out_issue", &(active & r.lt(&there) & (&room | !&part_first)));
        let word_end = m.wire("out_word_end", &(&issue & &part_last));
        let query_end = m.wire("out_query_end", &(&word_end & word.eq(&dec(&block.v_words))));
        let finished = m.wire("out_finished", &(&query_end & r.eq(&block.n)));
        let (clear, count) = (begin | &query_end, |q: &Expr, clear: &Expr| clear.mux(&lit(0, q.width()), &inc(q)));
        m.next_when(&chunk, &(begin | &issue), &count(&chunk, &clear));
        m.next_when(&word, &(begin | &word_end), &count(&word, &clear));
        m.next_when(&r, &clear, &count(&r, begin));
        let entered = m.wire("out_entered", &(&issue & &part_first));
        let left = m.wire("out_left", &io.out.fire());
        m.next_when(&under_way, &(&entered ^ &left), &entered.mux(&inc(&under_way), &dec(&under_way)));
        let bits = self.beat_chunks().ilog2();
        let beat = if words > bits { chunk.slice(bits, words - bits) } else { lit(0, 1) };
        let past = m.wire("out_past", &fit(&beat, 16).ge(&fit(&block.v_beats, 16)));
        m.drive(&reading.enable, &issue);
        m.drive(&reading.beat, &fit(&beat, self.beat_bits()));
        m.drive(&reading.chunk, &if bits == 0 { lit(0, 1) } else { fit(&chunk, bits) });

        m.comment("Float, times the query's factor.");
        let (acc, mul, int) = (self.acc_bits(), fp::Mul::LATENCY, fp::FromInt::LATENCY);
        let line = |name: &str, e: &Expr, reset: bool| Line::new(&format!("rs_{name}"), e, reset);
        let (issues, ends) = (line("valid", &issue, true), line("end", &word_end, true));
        let (job_ends, tags) = (line("job_end", &(&finished & &block.ends), false), line("tag", &block.tag, false));
        let (rs, pasts) = (line("query", &r, false), line("past", &past, false));
        let r1 = rs.at(m, 1);
        let past1 = pasts.at(m, 1);
        let issued1 = issues.at(m, 1);
        let chosen = past1.mux(&zero(uint(acc * self.chunk())), &select(&r1, &reading.data));
        let chosen = m.held("out_sums_q", &issued1, &chosen);
        let r_factor = rs.at(m, 1 + int);
        let factor = m.read(&factors, &r_factor);
        let factor = m.delay("out_factor_q", &factor);
        let (valid_float, valid_mul) = (issues.at(m, 2), issues.at(m, 2 + int));
        let mut floats = Vec::new();
        for (i, sum) in lanes(&chosen, acc).iter().enumerate() {
            let inputs = [("valid_i", &valid_float), ("a_i", &sum.as_signed())];
            let float = m.instance(&format!("out_float{i}"), &parts.acc_float, &inputs).get("y_o");
            let inputs = [("valid_i", &valid_mul), ("a_i", &float), ("b_i", &factor)];
            let product = m.instance(&format!("out_mul{i}"), &parts.mul, &inputs);
            floats.push(product.get("y_o"));
        }
        let at = 2 + int + mul;
        let data = cat(floats.iter().rev());
        let data = if split == 0 {
            data
        } else {
            let (piece, whole) = (32 * self.chunk(), 32 * self.lanes);
            let before = m.reg("out_before_q", uint(whole - piece));
            let all = m.wire("out_all", &cat([&data, &before]));
            let arrives = issues.at(m, at);
            m.next_when(&before, &arrives, &all.slice(piece, whole - piece));
            all
        };

        m.comment("Address: column word times groups plus group.");
        let place = m.read(&mem.place, &cat([&block.parity, &r]));
        let place = m.held("out_place_q", &issue, &place);
        let word_q = m.held("out_at_q", &issue, &word);
        let col = m.wire("out_col", &place.low(16).add_wrap(&word_q));
        let used = index_width(self.vm_words).min(16);
        if used < 16 {
            m.unused("out_col", &[col.slice(used, 16 - used)]);
        }
        let groups = u128::from(self.groups());
        let column = m.wire("out_column", &(col.low(used) * lit(groups, count_width(groups as u64))));
        let over = column.width().saturating_sub(self.vm_bits());
        if over > 0 {
            m.unused("out_column", &[column.slice(self.vm_bits(), over)]);
        }
        let column = fit(&column, self.vm_bits());
        let address = column.add_wrap(&fit(&place.slice(16, self.group_bits()), self.vm_bits()));
        let address = m.delay("out_address_q", &address);
        let lane = m.delay("out_lane_q", &place.slice(16 + self.group_bits(), self.lane_bits()));
        let address = line("address", &address, false).at(m, at - 2);
        let lane = line("lane", &lane, false).at(m, at - 2);
        let [push, end, tag] = [ends, job_ends, tags].map(|line| line.at(m, at));
        let entry = cat([&end, &tag, &address, &lane, &data]);
        let inputs = [("in_valid_i", &push), ("in_data_i", &entry), ("out_ready_i", &io.out.ready)];
        let queue = m.instance("results", &parts.queue, &inputs);
        m.unused("results", &[queue.get("in_ready_o")]);
        let result = queue.get("out_data_o");
        let (lanes_bits, data_bits) = (self.lane_bits(), 32 * self.lanes);
        m.drive(&io.out.valid, &queue.get("out_valid_o"));
        let marks = data_bits + lanes_bits + self.vm_bits();
        m.drive(&io.out.field("end"), &result.bit(marks + 1));
        m.drive(&io.out.field("tag"), &result.bit(marks));
        m.drive(&io.out.field("addr"), &result.slice(data_bits + lanes_bits, self.vm_bits()));
        let lane = result.slice(data_bits, lanes_bits);
        let mask: Vec<Expr> = (0..self.vtokens).map(|v| is(&lane, v.into())).collect();
        m.drive(&io.out.field("mask"), &cat(mask.iter().rev()));
        m.drive(&io.out.field("data"), &result.low(data_bits));
        finished
    }
}
