//! The back of a unit: values times weights.

use super::Attend;
use super::unit::{Memories, Parts, Ports, Token};
use super::util::{Line, dec, fit, inc, is, reaches, select};
use crate::ir::{Expr, Module, lit, uint};

const IDLE: u64 = 0;
const RUN: u64 = 1;
const OUT: u64 = 2;

/// How the sums of weighted values are read.
pub(super) struct Reading {
    /// To be driven: a read.
    pub(super) enable: Expr,
    /// To be driven: which beat.
    pub(super) beat: Expr,
    /// To be driven: which chunk of it.
    pub(super) chunk: Expr,
    /// The chunk of each query, a cycle later.
    pub(super) data: Vec<Expr>,
}

impl Attend {
    /// Adds the back; returns whether it takes a token and whether it is at work.
    pub(super) fn back(
        &self,
        m: &mut Module,
        io: &Ports,
        mem: &Memories,
        parts: &Parts,
        token: &Token,
    ) -> (Expr, Expr) {
        m.comment("Back.");
        let state = m.reg_reset("back_q", &lit(IDLE.into(), 2));
        let at = |s: u64| is(&state, s);
        let take = m.wire("back_take", &(at(IDLE) & &token.valid));
        let block = token.block.held(m, "back", &take);
        let on: Vec<Expr> = (0..self.queries).map(|i| reaches(&block.n, i.into())).collect();

        let pop = m.net("pop", uint(1));
        let weights = self.weigh(m, mem, parts, &block, &take, &pop);
        m.comment("Values: the weights of a position leave with its last beat.");
        let beat = m.reg("value_beat_q", uint(self.beat_bits()));
        let row = m.reg("value_row_q", uint(self.position_bits()));
        let all = m.reg("values_done_q", uint(1));
        let ready = m.wire("values_ready", &(at(RUN) & &weights.there & !&all));
        m.drive(&io.v_data.ready, &ready);
        let fire = m.wire("value_fire", &(&ready & &io.v_data.valid));
        let end = m.wire("value_end", &beat.eq(&dec(&fit(&block.v_beats, self.beat_bits()))));
        m.drive(&pop, &(&fire & &end));
        m.next_when(&beat, &(&take | &fire), &(&take | &end).mux(&lit(0, beat.width()), &inc(&beat)));
        m.next_when(&row, &(&take | &pop), &take.mux(&lit(0, row.width()), &inc(&row)));
        m.next_when(&all, &(&take | &pop), &(!&take & row.eq(&block.last)));
        let valid = m.reg_reset("value_valid_q", &lit(0, 1));
        m.next(&valid, &fire);
        let value = m.held("value_q", &fire, &io.v_data.field("data"));
        let beat_q = m.held("value_at_q", &fire, &beat);
        let first = m.held("value_first_q", &fire, &is(&row, 0));
        let done = m.wire("values_end", &(&pop & row.eq(&block.last)));
        let done = Line::new("values_end", &done, true).at(m, 1 + Self::MAC_LATENCY);

        let reading = Reading {
            enable: m.net("sum_read", uint(1)),
            beat: m.net("sum_beat", uint(self.beat_bits())),
            chunk: m.net("sum_chunk", uint(self.chunk_bits())),
            data: Vec::new(),
        };
        let mut data = Vec::new();
        for (i, (weight, on)) in weights.of_query.iter().zip(&on).enumerate() {
            let weight = m.held(&format!("weight{i}_q"), &(&fire & on), weight);
            let inputs = [
                ("valid_i", &(&valid & on)),
                ("beat_i", &beat_q),
                ("first_i", &first),
                ("weight_i", &weight),
                ("value_i", &value),
                ("rd_en_i", &reading.enable),
                ("rd_beat_i", &reading.beat),
                ("rd_chunk_i", &reading.chunk),
            ];
            data.push(m.instance(&format!("mac{i}"), &parts.mac, &inputs).get("rd_data_o"));
        }
        let reading = Reading { data, ..reading };
        let finished = self.finish(m, io, mem, parts, &block, &reading, &weights, &take, &at(OUT));
        let to = |s: u64| lit(s.into(), 2);
        let arms = [take.mux(&to(RUN), &to(IDLE)), done.mux(&to(OUT), &to(RUN)), finished.mux(&to(IDLE), &to(OUT))];
        m.next(&state, &select(&state, &arms));
        (take, !at(IDLE))
    }
}
