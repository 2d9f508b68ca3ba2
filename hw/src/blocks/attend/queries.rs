//! Codes and scales of the queries of all slots and heads.

use super::Attend;
use super::util::{fit, inc, is};
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, uint};
use std::rc::Rc;

impl Attend {
    /// Cycles from a granted read to its answer.
    pub(super) const QUERY_LATENCY: u32 = 2;

    /// Bits of `{word, group}`, a read's address.
    pub(super) fn query_address_bits(&self) -> u32 {
        self.word_bits() + self.place_bits()
    }

    /// Width of a stored word of codes.
    pub(super) fn query_word(&self) -> u32 {
        8 * self.vtokens * self.lanes
    }

    pub(super) fn build_queries(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (units, groups) = (self.units, self.place_bits());
        let (address, word, scale) = (self.query_address_bits(), self.query_word(), 32 * self.vtokens);
        let mut m = Module::new(format!(
            "tern_attend_queries_{}_u{units}_w{}_q{}",
            self.suffix(),
            self.query_words,
            self.heads
        ));
        m.header(&format!(
            "Query memory: codes and scales as the quantiser sends them, vectors outer, groups {{bank, group}} inner.\n\n\
             Shapes   codes [{}][{} groups] u{word} | scales [{} heads][{} groups] u{scale}\n\
             Order    a word's number counts on over vectors from `base` up, the same for all groups of a vector\n\
             Latency  {} cycles from a granted read to its answer; one read a cycle\n\
             Stalls   lower units first; writes never wait",
            self.query_words,
            self.groups() * self.banks,
            self.heads,
            self.groups() * self.banks,
            Self::QUERY_LATENCY
        ));
        let code = m.sink(
            "qry_code",
            &[
                ("data", uint(word)),
                ("group", uint(groups)),
                ("vector", uint(16)),
                ("last", uint(1)),
                ("base", uint(16)),
            ],
        );
        let factor = m.sink("qry_scale", &[("group", uint(groups)), ("vector", uint(16)), ("data", uint(scale))]);
        let valid = m.input("rd_valid_i", uint(units));
        let addresses = m.input("rd_addr_i", uint(units * address));
        let heads = m.input("rd_head_i", uint(units * self.head_bits()));
        let ready = m.output("rd_ready_o", uint(units));
        let answer = m.output("rsp_valid_o", uint(units));
        let codes_out = m.output("rsp_code_o", uint(word));
        let scale_out = m.output("rsp_scale_o", uint(scale));

        m.comment("A vector's first group goes on behind the vector before, the others start where it started.");
        m.drive(&code.ready, &lit(1, 1));
        m.drive(&factor.ready, &lit(1, 1));
        let (number, group, last) = (code.field("vector"), code.field("group"), code.field("last"));
        let words = self.word_bits();
        let start = m.reg_reset("start_q", &lit(1, 1));
        let (first, place) = (m.reg("first_q", uint(words)), m.reg("place_q", uint(words)));
        let base = fit(&code.field("base"), words);
        let first_group = is(&group.low(self.group_bits()), 0);
        let fresh = m.wire("fresh", &first_group.mux(&is(&number, 0).mux(&base, &place), &first));
        let at = m.wire("at", &start.mux(&fresh, &place));
        m.next_when(&start, &code.valid, &last);
        m.next_when(&place, &code.valid, &inc(&at));
        m.next_when(&first, &(&code.valid & &start), &fresh);

        m.comment("One read a cycle: the lowest unit that asks.");
        let mut taken = lit(0, 1);
        let (mut grants, mut read_at, mut read_head) = (Vec::new(), Vec::new(), Vec::new());
        for u in 0..units {
            let grant = m.wire(&format!("grant{u}"), &(valid.bit(u) & !&taken));
            taken = &taken | valid.bit(u);
            read_at.push(grant.mux(&addresses.lane(u, address), &lit(0, address)));
            read_head.push(grant.mux(&heads.lane(u, self.head_bits()), &lit(0, self.head_bits())));
            grants.push(grant);
        }
        let any_of = |parts: Vec<Expr>| parts.into_iter().reduce(|a, b| a | b).unwrap_or_else(|| lit(0, 1));
        let granted = m.wire("granted", &cat(grants.iter().rev()));
        let read_at = m.wire("read_at", &any_of(read_at));
        let read_head = m.wire("read_head", &any_of(read_head));
        m.drive(&ready, &granted);

        let style = |bits: u32| if bits <= 6 { RamStyle::Distributed } else { RamStyle::Block };
        let memory = m.memory("codes", word, 1 << address, style(address));
        m.write(&memory, &code.valid, &cat([&at, &group]), &code.field("data"));
        let read = m.read(&memory, &read_at);
        let any = m.wire("any", &granted.any());
        let code_q = m.held("code_q", &any, &read);
        let slots = self.head_bits() + groups;
        let scales = m.memory("scales", scale, 1 << slots, style(slots));
        let head_in = fit(&factor.field("vector"), self.head_bits());
        m.write(&scales, &factor.valid, &cat([&head_in, &factor.field("group")]), &factor.field("data"));
        let read = m.read(&scales, &cat([&read_head, &read_at.low(groups)]));
        let scale_q = m.held("scale_q", &any, &read);
        let granted_q = m.reg_reset("granted_q", &lit(0, units));
        m.next(&granted_q, &granted);
        let answer_q = m.reg_reset("answer_q", &lit(0, units));
        m.next(&answer_q, &granted_q);
        let code_q2 = m.held("code_q2", &granted_q.any(), &code_q);
        let scale_q2 = m.held("scale_q2", &granted_q.any(), &scale_q);
        m.drive(&answer, &answer_q);
        m.drive(&codes_out, &code_q2);
        m.drive(&scale_out, &scale_q2);
        if words < 16 {
            m.unused("base", &[code.field("base").slice(words, 16 - words)]);
        }
        if self.head_bits() < 16 {
            m.unused("vector", &[factor.field("vector").slice(self.head_bits(), 16 - self.head_bits())]);
        }
        design.add(m)
    }
}
