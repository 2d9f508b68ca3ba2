//! Attention of the runs of a pass over their caches.

use super::{Device, FaultKind};
use crate::model::linear::dot;
use crate::numerics::softmax;
use crate::program::{Descriptor, LINE};

impl Device {
    pub(super) fn attend(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        let slots = self.bank(d);
        let mut first = slots.start;
        while first < slots.end {
            let run = usize::from(self.slots[first].run);
            if run == 0 {
                if self.slots[first].valid {
                    return Err(FaultKind::Program("a used slot outside all runs"));
                }
                first += 1;
                continue;
            }
            if first + run > slots.end || !self.slots[first..first + run].iter().all(|slot| slot.valid) {
                return Err(FaultKind::Program("a run over unused slots"));
            }
            for slot in first..first + run {
                for kv_head in 0..d.get("kv_heads") as usize {
                    self.attend_heads(d, slot, kv_head)?;
                }
            }
            first += run;
        }
        Ok(())
    }

    /// The query heads of one slot that share a key/value head.
    fn attend_heads(&mut self, d: &Descriptor, slot: usize, kv_head: usize) -> Result<(), FaultKind> {
        let (beat, lanes, s) = (self.shape.beat(), self.shape.lanes(), self.slots[slot]);
        let visible = s.position as usize + 1;
        if visible > self.shape.max_context {
            return Err(FaultKind::Range { what: "position", at: visible - 1, limit: self.shape.max_context });
        }
        let [q_words, k_beats, v_beats, v_words, group] =
            ["q_words", "k_beats", "v_beats", "v_words", "group"].map(|name| d.get(name) as usize);
        let (k_bytes, v_bytes) = (k_beats * beat, v_beats * beat);
        if q_words * lanes > k_bytes || v_words * lanes > v_bytes || q_words * lanes > self.shape.max_head_dim {
            return Err(FaultKind::Program("words of a head"));
        }
        let at = |offset: u32| {
            let line = u64::from(s.cache) + u64::from(offset) + kv_head as u64 * u64::from(d.get("kv_stride"));
            line * LINE
        };
        let keys = at(d.get("kv_off"));
        let values = keys + u64::from(d.get("v_off")) * LINE;
        let codes = |base: u64, row: usize, bytes: usize| -> Result<Vec<i8>, FaultKind> {
            let row = self.memory.read(base + (row * bytes) as u64, bytes)?;
            Ok(row.iter().map(|&code| code as i8).collect())
        };
        let keys: Vec<Vec<i8>> = (0..visible).map(|t| codes(keys, t, k_bytes)).collect::<Result<_, _>>()?;
        let values: Vec<Vec<i8>> = (0..visible).map(|t| codes(values, t, v_bytes)).collect::<Result<_, _>>()?;
        let scale = |t: usize, half: u64| self.memory.read_f32(at(d.get("scale_off")) + t as u64 * 8 + half);
        let key_scales: Vec<f32> = (0..visible).map(|t| scale(t, 0)).collect::<Result<_, _>>()?;
        let value_scales: Vec<f32> = (0..visible).map(|t| scale(t, 4)).collect::<Result<_, _>>()?;
        for head in kv_head * group..(kv_head + 1) * group {
            let query = self.queries.codes(slot, d.get("q_first") as usize + head * q_words, q_words)?;
            let dots: Vec<i32> = keys.iter().map(|key| dot(query, &key[..query.len()])).collect();
            let query_scale = self.queries.scale(slot, d.get("first") as usize + head);
            let weights = softmax::weights(&self.exp2, &dots, &key_scales, &value_scales, query_scale);
            let out = self.vectors.get_mut(slot, d.get("dst") as usize + head * v_words, v_words * lanes)?;
            softmax::combine(&weights, values.iter().map(|value| &value[..v_words * lanes]), out);
        }
        Ok(())
    }
}
