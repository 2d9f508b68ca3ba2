//! The rotary memory.

use super::Epilogue;
use super::control::{Command, Flow};
use super::lane::Lane;
use crate::blocks::fp;
use crate::blocks::pipe::delay_n;
use crate::ir::{Expr, Module, RamStyle, cat, lit, uint};
use crate::width::index_width;

impl Epilogue {
    /// Column words of half a head.
    pub(super) fn rope_words(&self) -> u32 {
        self.half.div_ceil(self.lanes)
    }

    /// Writes cosines and sines of single elements, reads those of all lanes of a beat: `cos`, `sin`, the sine
    /// negative for the first result.
    pub(super) fn rotary(&self, m: &mut Module, cmd: &Command, flow: &Flow) -> (Expr, Expr) {
        m.comment("Rotary memory: a lane of slot and element each, addressed by group and element.");
        let (l, v) = (self.lanes, self.vtokens);
        let (slots, words) = (index_width(self.tokens.into()), index_width(self.rope_words().into()));
        let bank_bits = u32::from(self.banks > 1);
        let rope = m.sink(
            "rope",
            &[("slot", uint(slots + bank_bits)), ("index", uint(16)), ("cos", uint(32)), ("sin", uint(32))],
        );
        m.drive(&rope.ready, &lit(1, 1));
        let groups = index_width(self.groups().into());
        let lane_bits = l.ilog2();
        // a row of factors may be longer than the widest head: what is beyond is dropped
        let fits = m.wire("rope_fits", &rope.field("index").lt(&lit(self.half.into(), 16)));
        let index = rope.field("index").low(index_width(self.half.into()));
        let word = match index.width().saturating_sub(lane_bits) {
            0 => lit(0, words),
            bits => index.slice(lane_bits, bits).extend(words.max(bits)).low(words),
        };
        let group_of: Vec<u128> = (0..self.tokens).map(|p| (p / v).into()).collect();
        let slot = rope.field("slot").low(slots);
        let group = m.rom("rope_group", &slot, uint(groups), &group_of);
        let group = if self.banks == 1 { group } else { cat([&rope.field("slot").bit(slots), &group]) };
        let last = u64::from(self.groups() - 1) + (u64::from(self.banks - 1) << groups);
        let depth = (last << words) + u64::from(self.rope_words());
        let at = index_width(depth);
        let address = |group: &Expr, word: &Expr| {
            let all = cat([group, word]);
            if all.width() > at { all.low(at) } else { all.extend(at) }
        };
        let write_at = m.wire("rope_write_at", &address(&group, &word));
        let (cos_in, sin_in) = (rope.field("cos"), rope.field("sin"));

        let read_q = m.reg("rope_read_q", uint(at));
        m.next_when(&read_q, &flow.take, &address(&self.place(cmd, &flow.rope_group), &flow.rope_word));
        let cos_at = delay_n(m, "rope_cos_at", &read_q, Lane::COS - 1);
        let sin_at = delay_n(m, "rope_sin_at", &cos_at, Lane::SIN - Lane::COS);
        let style = if depth <= 64 { RamStyle::Distributed } else { RamStyle::Block };
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for lane in 0..self.width() {
            let of_slot = |p: u32| slot.eq(&lit(p.into(), slots));
            let mine = (0..self.tokens).filter(|p| p % v == lane / l).map(of_slot);
            let mine = cat(mine.collect::<Vec<_>>()).any();
            let element = match lane_bits.min(index.width()) {
                0 => lit(1, 1),
                bits => index.low(bits).eq(&lit(u128::from(lane % l), bits.max(lane_bits))),
            };
            let write = m.wire(&format!("rope_write{lane}"), &(&rope.valid & &fits & mine & element));
            for (name, at, value, out) in [("cos", &cos_at, &cos_in, &mut cos), ("sin", &sin_at, &sin_in, &mut sin)] {
                let memory = m.memory(&format!("{name}{lane}"), 32, depth, style);
                m.write(&memory, &write, &write_at, value);
                let word = m.read(&memory, at);
                out.push(m.delay(&format!("{name}{lane}_q"), &word));
            }
        }
        let signed = |sin: &Expr| flow.second.mux(sin, &fp::neg(sin));
        (cat(cos.iter().rev()), cat(sin.iter().rev().map(signed)))
    }
}
