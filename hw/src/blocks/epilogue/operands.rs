//! Summands from the vector memory.

use super::control::Command;
use super::{Epilogue, counter};
use crate::blocks::fifo::Fifo;
use crate::ir::{Design, Expr, IrError, Module, lit, uint, zero};

/// Words of the vector memory for the beats to come.
pub(super) struct Operands {
    /// The other summand.
    pub(super) summand: Expr,
    /// The old value, for the residual.
    pub(super) old: Expr,
    /// What the next beat needs is there.
    pub(super) ready: Expr,
    /// To be driven: a beat is issued.
    pub(super) take: Expr,
    /// To be driven: the oldest summand has been added.
    pub(super) pop_summand: Expr,
    /// To be driven: the oldest old value has been added.
    pub(super) pop_old: Expr,
}

/// A queue of answers: its head, whether an answer is not promised to a beat yet, whether one may be asked for.
struct Answers {
    word: Expr,
    there: Expr,
    room: Expr,
}

impl Operands {
    /// Summands that are asked for ahead.
    pub(super) const SUMMANDS: u32 = 32;
}

impl Epilogue {
    /// Asks for the words of the command's beats in their order; for each beat the summand, then the old value.
    pub(super) fn operands(
        &self,
        m: &mut Module,
        design: &mut Design,
        cmd: &Command,
        fetching: &Expr,
    ) -> Result<Operands, IrError> {
        m.comment("Requests to the vector memory run ahead of the beats, within the command.");
        let request = m.source("vm_rd", &[("addr", uint(self.addr))]);
        let answer = m.input("vm_rsp_valid_i", uint(1));
        let data = m.input("vm_rsp_data_i", uint(32 * self.width()));
        let [take, pop_summand, pop_old] = ["take_operands", "pop_summand", "pop_old"].map(|n| m.net(n, uint(1)));
        let both = m.wire("both", &(&cmd.accumulate & &cmd.residual));

        let active_q = m.reg_reset("fetch_q", &lit(0, 1));
        let valid_q = m.reg_reset("request_q", &lit(0, 1));
        let old_q = m.reg_reset("fetch_old_q", &lit(0, 1));
        let step = m.net("fetch_step", uint(1));
        let beat_done = m.wire("fetch_beat", &(&step & (&old_q | !&both)));
        let walk = self.walk(m, "fetch", &beat_done, &cmd.last_group);
        let is_old = m.wire("fetch_is_old", &(&old_q | !&cmd.accumulate));
        m.next_when(&old_q, &step, &(&both & !&old_q));
        let word_end = m.wire("fetch_word_end", &(&beat_done & &walk.end));
        let left_q = m.reg("fetch_left_q", cmd.new_words.ty());
        let last = left_q.eq(&lit(1, left_q.width()));
        let change = &cmd.start | &word_end;
        let less = left_q.sub_wrap(&lit(1, left_q.width()));
        m.next_when(&left_q, &change, &cmd.start.mux(&cmd.new_words, &less));
        let word = self.word_width();
        let column_q = m.reg("fetch_column_q", uint(word));
        let up = column_q.add_wrap(&lit(self.runs().into(), word));
        m.next_when(&column_q, &change, &cmd.start.mux(&lit(0, word), &up));
        m.next(&active_q, &((&cmd.start & &cmd.new_fetch) | (&active_q & !(&word_end & last))));
        m.drive(fetching, &(&active_q | &valid_q));

        let answer_old_q = m.reg_reset("answer_old_q", &lit(0, 1));
        m.next_when(&answer_old_q, &answer, &(&both & !&answer_old_q));
        let to_old = m.wire("answer_is_old", &(&answer_old_q | !&cmd.accumulate));
        let depth = self.queue();
        let asked = &step & !&is_old;
        let came = &answer & !&to_old;
        let summands = [&asked, &came, &(&take & &cmd.accumulate), &pop_summand];
        let summands = self.answers(m, design, "summand", Operands::SUMMANDS, &data, summands)?;
        let (asked, came) = (&step & &is_old, &answer & &to_old);
        let olds = [&asked, &came, &(&take & &cmd.residual), &pop_old];
        let olds = self.answers(m, design, "old", depth, &data, olds)?;

        let room = is_old.mux(&olds.room, &summands.room);
        m.drive(&step, &(&active_q & room & (&request.ready | !&valid_q)));
        m.next(&valid_q, &(&step | (&valid_q & !&request.ready)));
        let base = is_old.mux(&cmd.dst, &cmd.acc).add_wrap(&column_q).add_wrap(&walk.s.extend(word));
        let base = m.wire("fetch_word", &base);
        let addr_q = m.reg("request_addr_q", uint(self.addr));
        m.next_when(&addr_q, &step, &self.vm_address(&base, &walk.g));
        m.drive(&request.valid, &valid_q);
        m.drive(&request.field("addr"), &addr_q);
        let ready = (!&cmd.accumulate | &summands.there) & (!&cmd.residual | &olds.there);
        Ok(Operands { summand: summands.word, old: olds.word, ready, take, pop_summand, pop_old })
    }

    /// Places for answers: a request books one, a beat is promised the oldest, the pop frees it.
    fn answers(
        &self,
        m: &mut Module,
        design: &mut Design,
        name: &str,
        depth: u32,
        data: &Expr,
        [ask, come, promise, pop]: [&Expr; 4],
    ) -> Result<Answers, IrError> {
        let booked_q = counter(m, &format!("{name}_booked_q"), depth, ask, pop);
        let free_q = counter(m, &format!("{name}_there_q"), depth, come, promise);
        let of = Fifo { width: data.width(), depth }.build(design)?;
        let inputs = [("in_valid_i", come), ("in_data_i", data), ("out_ready_i", pop)];
        let queue = m.instance(name, &of, &inputs);
        m.unused(name, &[queue.get("in_ready_o"), queue.get("out_valid_o")]);
        let room = booked_q.ne(&lit(depth.into(), booked_q.width()));
        Ok(Answers { word: queue.get("out_data_o"), there: free_q.ne(&zero(free_q.ty())), room })
    }

    /// `word * groups + group` in the bits of an address.
    pub(super) fn vm_address(&self, word: &Expr, group: &Expr) -> Expr {
        let width = self.addr;
        let fit = |e: &Expr| if e.width() > width { e.low(width) } else { e.extend(width) };
        let group = if self.groups() == 1 { zero(uint(width)) } else { fit(group) };
        let terms = (0..32u32).filter(|k| self.groups() >> k & 1 == 1);
        terms.fold(group, |sum, k| sum.add_wrap(&fit(word).shl(&lit(k.into(), 5))))
    }
}
