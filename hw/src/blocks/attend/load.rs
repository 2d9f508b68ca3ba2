//! Loads the queries of a block and the scales of its positions.

use super::Attend;
use super::front::Front;
use super::unit::{Memories, Parts, Ports};
use super::util::{Line, above, dec, fit, inc, is, lanes, not, select};
use crate::blocks::banks;
use crate::ir::{Expr, Module, Outputs, RamStyle, cat, lit, repeat, uint};

/// What loading leaves behind.
pub(super) struct Loaded {
    pub(super) done: Expr,
    /// Key and value scales of positions, a word for each beat.
    pub(super) scales: Expr,
    /// Scales of the queries.
    pub(super) factors: Expr,
    /// The dot products.
    pub(super) dots: Outputs,
}

/// The writes of a loaded query, as the dot products want them.
struct Write {
    enable: Expr,
    beat: Expr,
    data: Expr,
}

impl Attend {
    pub(super) fn load(&self, m: &mut Module, io: &Ports, mem: &Memories, parts: &Parts, front: &Front) -> Loaded {
        m.comment("Scales of the positions.");
        let last_beat = self.last_scale_beat(&front.block.last);
        let beat = m.reg("scale_beat_q", last_beat.ty());
        let scales_done = m.reg("scales_done_q", uint(1));
        let wants = m.wire("scales_wanted", &(&front.loading & !&scales_done));
        let take = m.wire("scales_take", &(&wants & &io.k_data.valid));
        m.next_when(&beat, &(&front.count | &take), &front.count.mux(&lit(0, beat.width()), &inc(&beat)));
        m.next_when(&scales_done, &(&front.count | &take), &(!&front.count & beat.eq(&last_beat)));
        let data = io.k_data.field("data");
        let (store, index, word) = if self.beat_bytes == 4 {
            let half = m.held("key_scale_q", &take, &data);
            (&take & beat.bit(0), beat.slice(1, beat.width() - 1), cat([&data, &half]))
        } else {
            (take.clone(), beat.clone(), data.clone())
        };
        let (name, width, depth) = self.scales();
        let scales = m.memory(name, width, depth, Self::style(depth));
        m.write(&scales, &store, &index, &word);
        let values: Vec<Expr> = match self.beat_bytes {
            4 => vec![data.clone()],
            _ => lanes(&data, 64).iter().map(|s| s.slice(32, 32)).collect(),
        };
        m.write(&mem.value_scales, &store, &cat([&front.block.parity, &index]), &cat(values.iter().rev()));

        let (write, factors, queries_done) = self.load_queries(m, io, front);
        m.comment("Keys: a row's last beat waits until the float path has taken the row before.");
        let kb = m.reg("key_beat_q", uint(self.beat_bits()));
        let row = m.reg("key_row_q", uint(self.position_bits()));
        let all = m.reg("keys_done_q", uint(1));
        let pace = m.reg_reset("pace_q", &lit(0, self.query_bits()));
        let end = m.wire("key_end", &kb.eq(&dec(&fit(&io.k_beats, self.beat_bits()))));
        let ready = m.wire("keys_ready", &(&front.scoring & !&all & !(&end & not(&pace, 0))));
        let fire = m.wire("key_fire", &(&ready & &io.k_data.valid));
        let row_end = m.wire("key_row_end", &(&fire & &end));
        m.drive(&io.k_data.ready, &(&wants | &ready));
        m.drive(&io.ev_row, &row_end);
        let count = &front.count;
        m.next_when(&kb, &(count | &fire), &(count | &end).mux(&lit(0, kb.width()), &inc(&kb)));
        m.next_when(&row, &(count | &row_end), &count.mux(&lit(0, row.width()), &inc(&row)));
        m.next_when(&all, &(count | &row_end), &(!count & row.eq(&front.block.last)));
        m.next(&pace, &row_end.mux(&front.block.n, &is(&pace, 0).mux(&pace, &dec(&pace))));
        let inputs = [
            ("active_i", &front.active),
            ("wr_en_i", &write.enable),
            ("wr_beat_i", &write.beat),
            ("wr_data_i", &write.data),
            ("valid_i", &fire),
            ("beat_i", &kb),
            ("first_i", &is(&kb, 0)),
            ("last_i", &end),
            ("key_i", &data),
        ];
        let dots = m.instance("dots", &parts.dots, &inputs);
        Loaded { done: m.wire("loaded", &(&scales_done & queries_done)), scales, factors, dots }
    }

    /// Reads the queries chunk by chunk and puts beats of them together.
    fn load_queries(&self, m: &mut Module, io: &Ports, front: &Front) -> (Write, Expr, Expr) {
        m.comment("Queries: a chunk a cycle, beats filled up with zeros.");
        let (words, split) = (self.words_bits(), self.word_chunks().ilog2());
        let (qb, group, lane, head) = (self.query_bits(), self.group_bits(), self.lane_bits(), self.head_bits());
        let r = m.reg("load_query_q", uint(qb));
        let chunk = m.reg("load_chunk_q", uint(words));
        let issued = m.reg("load_issued_q", uint(1));
        let entry = m.read(&front.loads, &r);
        let entry = m.wire("load_entry", &entry);
        let ask = m.wire("load_ask", &(&front.loading & !&issued));
        let count = &front.count;
        let fire = m.wire("load_fire", &(&ask & &io.read_ready));
        let chunks = match words - split {
            0 => lit(0, words),
            _ if split == 0 => fit(&io.q_words, words),
            high => cat([&fit(&io.q_words, high), &lit(0, split)]),
        };
        let last = m.wire("load_last", &chunk.eq(&dec(&chunks)));
        let next_query = m.wire("load_next", &(&fire & &last));
        m.next_when(&chunk, &(count | &fire), &(count | &last).mux(&lit(0, words), &inc(&chunk)));
        m.next_when(&r, &(count | &next_query), &count.mux(&lit(0, qb), &inc(&r)));
        m.next_when(&issued, &(count | &next_query), &(!count & r.eq(&front.block.n)));
        let word_at = if words > split {
            fit(&chunk.slice(split, words - split), self.word_bits())
        } else {
            lit(0, self.word_bits())
        };
        let base = entry.slice(lane + group + head, self.word_bits());
        m.drive(&io.read, &ask);
        let place = entry.slice(lane, group);
        let place = banks::place(self.banks, &io.bank, &place);
        m.drive(&io.read_at, &cat([&base.add_wrap(&word_at), &place]));
        m.drive(&io.read_head, &entry.slice(lane + group, head));

        let late = |m: &mut Module, name: &str, e: &Expr| Line::new(name, e, false).at(m, Self::QUERY_LATENCY);
        let (r2, chunk2, last2) = (late(m, "ld_query", &r), late(m, "ld_chunk", &chunk), late(m, "ld_last", &last));
        let one = self.vtokens == 1;
        let lane2 = if one { lit(0, 1) } else { late(m, "ld_lane", &entry.low(lane)) };
        if one {
            m.unused("load_lane", &[entry.low(lane)]);
        }
        let answer = &io.answer;
        let codes = select(&lane2, &lanes(&io.codes, 8 * self.lanes));
        let sub = if split == 0 { lit(0, 1) } else { fit(&chunk2, split) };
        let codes = m.wire("ld_codes", &select(&sub, &lanes(&codes, 8 * self.chunk())));
        let (pieces, bits) = (self.beat_chunks(), self.beat_chunks().ilog2());
        let place = if bits == 0 { lit(0, 1) } else { fit(&chunk2, bits.min(words)) };
        let beat = if words > bits { chunk2.slice(bits, words - bits) } else { lit(0, 1) };
        // pieces that no head is long enough for stay zero
        let reached = if bits > words { 1 << words } else { pieces };
        let width = 8 * self.chunk();
        let parts: Vec<Expr> = (0..reached)
            .map(|i| match i + 1 {
                _ if pieces == 1 => codes.clone(),
                last if last == reached => is(&place, i.into()).mux(&codes, &lit(0, width)),
                _ => {
                    let q = m.reg(&format!("ld_piece{i}_q"), uint(width));
                    let part = is(&place, i.into()).mux(&codes, &(&q & repeat(width, &above(&place, i.into()))));
                    let part = m.wire(&format!("ld_piece{i}"), &part);
                    m.next_when(&q, answer, &part);
                    part
                }
            })
            .collect();
        let full = fit(&cat(parts.iter().rev()), 8 * self.beat_bytes);
        let complete = &last2 | is(&place, u64::from(reached) - 1);
        let write = m.wire("ld_write", &(answer & complete & fit(&beat, 16).lt(&io.k_beats)));
        let to: Vec<Expr> = (0..self.queries).map(|i| &write & is(&r2, i.into())).collect();
        let factors = m.memory("factors", 32, 1 << qb, RamStyle::Distributed);
        let ended = m.wire("ld_ended", &(answer & &last2));
        m.write(&factors, &ended, &r2, &select(&lane2, &lanes(&io.factors, 32)));
        let done = m.reg("queries_done_q", uint(1));
        m.next_when(&done, &(count | &ended), &(!count & r2.eq(&front.block.n)));
        let beat =
            if beat.width() >= self.beat_bits() { fit(&beat, self.beat_bits()) } else { beat.extend(self.beat_bits()) };
        (Write { enable: m.wire("ld_to", &cat(to.iter().rev())), beat, data: full }, factors, done)
    }
}
