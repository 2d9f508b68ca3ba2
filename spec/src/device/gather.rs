//! Embedding rows to the vector memory, rotary factors to the epilogue.

use super::{Device, FaultKind};
use crate::numerics::f32ops::{from_i32, mul};
use crate::program::{Descriptor, LINE};

impl Device {
    pub(super) fn gather(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        let beat = self.shape.beat();
        let columns = d.get("words") as usize * self.shape.lanes();
        let (row_bytes, rope_bytes) = (d.get("embed_beats") as usize * beat, d.get("rope_beats") as usize * beat);
        if row_bytes < beat {
            return Err(FaultKind::Program("an embedding row has at least the beat of its scale"));
        }
        for slot in self.used(d) {
            let s = self.slots[slot];
            let addr = u64::from(d.get("embed")) * LINE + u64::from(s.token) * row_bytes as u64;
            let scale = self.memory.read_f32(addr)?;
            let codes = &self.memory.read(addr, row_bytes)?[beat..];
            let out = self.vectors.get_mut(slot, d.get("dst") as usize, columns)?;
            for (column, out) in out.iter_mut().enumerate() {
                let code = codes.get(column).map_or(0, |&code| code as i8);
                *out = mul(from_i32(i32::from(code)), scale);
            }
            let addr = u64::from(d.get("rope")) * LINE + u64::from(s.position) * rope_bytes as u64;
            let factors = self.memory.read(addr, rope_bytes)?.chunks_exact(8);
            let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            self.rope[slot] = factors.map(|b| (float(b), float(&b[4..]))).collect();
        }
        Ok(())
    }
}
