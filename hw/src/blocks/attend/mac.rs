//! Sums of one query's weights times values.

use super::util::{Line, lanes, select};
use super::{Attend, WEIGHT_BITS};
use crate::blocks::dsp::Mac;
use crate::ir::{Design, Interface, IrError, Module, RamStyle, cat, lit, uint};
use crate::width::index_width;
use std::rc::Rc;

impl Attend {
    /// Cycles from a beat of values to its sums in memory.
    pub(super) const MAC_LATENCY: u32 = Mac::LATENCY + 1;

    /// Chunks of a beat as an index.
    pub(super) fn chunk_bits(&self) -> u32 {
        index_width(self.beat_chunks().into())
    }

    pub(super) fn build_mac(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bytes, acc, chunk) = (self.beat_bytes, self.acc_bits(), self.chunk());
        let beats = self.row_beats().next_power_of_two().max(2);
        let slice_of = Mac { weight: WEIGHT_BITS, value: 8, acc }.build(design)?;
        let mut m = Module::new(format!("tern_attend_mac_d{bytes}_a{acc}_b{beats}_l{chunk}"));
        m.header(&format!(
            "Weighted sums of a query: acc[beat][i] = (first ? 0 : acc[beat][i]) + w * v[i].\n\n\
             Shapes   w u{WEIGHT_BITS} | v [{bytes}] i8 | acc [{beats} beats][{bytes}] i{acc} in LUT RAM\n\
             Width    |acc| <= 2^15 * 2^7 for each position, so i{acc}\n\
             Latency  {} cycles to the memory; a chunk of {chunk} sums 1 cycle behind rd_en_i\n\
             Rate     one beat a cycle, read when no beats come. A sum is in memory two cycles after it was read\n\
             \x20        there: the same beat again in the next cycle takes it from the slice\n\
             Stalls   none",
            Self::MAC_LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let beat = m.input("beat_i", uint(self.beat_bits()));
        let first = m.input("first_i", uint(1));
        let weight = m.input("weight_i", uint(WEIGHT_BITS));
        let value = m.input("value_i", uint(8 * bytes));
        let read = m.input("rd_en_i", uint(1));
        let read_beat = m.input("rd_beat_i", uint(self.beat_bits()));
        let read_chunk = m.input("rd_chunk_i", uint(self.chunk_bits()));
        let out = m.output("rd_data_o", uint(chunk * acc));

        let on = Line::new("valid", &valid, true);
        let (on_q, on_q2) = (on.at(&mut m, 1), on.at(&mut m, 2));
        let first_q = m.held("first_q", &valid, &first);
        let beat_q = m.held("beat_q", &valid, &beat);
        let beat_q2 = m.held("beat_q2", &on_q, &beat_q);
        let base = |which: u64| lit(which.into(), 2);
        let again = beat_q.eq(&beat_q2).mux(&base(Mac::LAST), &base(Mac::OLD));
        let base = m.wire("base", &first_q.mux(&base(Mac::ZERO), &again));
        let at = m.wire("at", &read.mux(&read_beat, &beat_q));
        let memory = m.memory("acc", acc * bytes, beats, RamStyle::Distributed);
        let word = m.read(&memory, &at);
        let word = m.wire("old", &word);
        let (mut sums, mut news) = (Vec::new(), Vec::new());
        for (i, v) in lanes(&value, 8).iter().enumerate() {
            let old = word.lane(i as u32, acc);
            let inputs = [
                ("en_i", &valid),
                ("en_q1_i", &on_q),
                ("base_i", &base),
                ("weight_i", &weight),
                ("value_i", &v.as_signed()),
                ("old_i", &old.as_signed()),
            ];
            let sum = m.instance(&format!("lane{i}"), &slice_of, &inputs).get("acc_o");
            news.push(sum.as_unsigned());
            sums.push(old);
        }
        m.write(&memory, &on_q2, &beat_q2, &cat(news.iter().rev()));
        let chunks: Vec<_> = sums.chunks(chunk as usize).map(|c| cat(c.iter().rev())).collect();
        let chosen = m.held("chosen_q", &read, &select(&read_chunk, &chunks));
        m.drive(&out, &chosen);
        if chunks.len() == 1 {
            m.unused("chunk", &[read_chunk]);
        }
        design.add(m)
    }
}
