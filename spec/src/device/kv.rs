//! Rows and scales of keys and values to memory.

use super::{Device, FaultKind};
use crate::program::{Descriptor, LINE, quant as mode};

impl Device {
    pub(super) fn write_kv(
        &mut self,
        d: &Descriptor,
        slot: usize,
        head: usize,
        codes: &[i8],
        scale: f32,
    ) -> Result<(), FaultKind> {
        let s = self.slots[slot];
        let (row_bytes, head) = (d.get("row_beats") as usize * self.shape.beat(), head as u64);
        if codes.len().div_ceil(self.shape.beat()) * self.shape.beat() != row_bytes {
            return Err(FaultKind::Program("beats of a row of codes"));
        }
        let mut row: Vec<u8> = codes.iter().map(|&code| code as u8).collect();
        row.resize(row_bytes, 0);
        let place = |name: &str| u64::from(s.cache) + u64::from(d.get(name)) + head * u64::from(d.get("kv_stride"));
        self.memory.write(place("kv_off") * LINE + u64::from(s.position) * row_bytes as u64, &row)?;
        let half = if d.get("mode") == mode::VALUE { 4 } else { 0 };
        let addr = place("scale_off") * LINE + u64::from(s.position) * 8 + half;
        self.memory.write(addr, &scale.to_le_bytes())
    }
}
