//! The cache writer.

use super::count;
use crate::bench::{Beat, Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::kv_write::KvWrite;
use hw::ir::Design;
use hw::width::index_width;
use spec::program::LINE;

/// The writer with what the slots hold.
pub struct KvWriteCase {
    /// The writer.
    pub unit: KvWrite,
    /// Slots that are in use.
    pub valid: Vec<bool>,
    /// Position of each slot.
    pub positions: Vec<u32>,
    /// First line of each slot's cache.
    pub caches: Vec<u32>,
}

impl KvWriteCase {
    /// Random slots, the first one used, the second (if there is one) not.
    pub fn random(unit: KvWrite, rng: &mut Rng) -> KvWriteCase {
        let slots = unit.slots * unit.token_groups * unit.banks;
        KvWriteCase {
            unit,
            valid: (0..slots).map(|s| s == 0 || (s != 1 && !rng.one_in(3))).collect(),
            positions: (0..slots).map(|_| rng.below(1 << 17) as u32).collect(),
            caches: (0..slots).map(|_| rng.below(1 << 30) as u32).collect(),
        }
    }
}

impl Block for KvWriteCase {
    fn build(&self, design: &mut Design) -> super::Built {
        self.unit.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let u = &self.unit;
        let (v, l, d) = (u.slots as usize, u.columns as usize, u.bytes as usize);
        let beats = count(rng, size, u64::from(u.row_codes) / l as u64) as usize;
        let extra = if rng.one_in(3) { rng.below(3) as usize } else { 0 };
        let row_beats = (beats * l).div_ceil(d) + extra;
        let (value, vectors) = (rng.one_in(2), count(rng, size, 3) as u32);
        let groups = count(rng, size, u.token_groups.into()) as usize;
        let bank = rng.below(u.banks.into()) as usize;
        let first = bank * (u.slots * u.token_groups) as usize;
        cover.count("second_bank", bank > 0);
        let [kv_off, kv_stride, scale_off] = [1 << 28, 1 << 20, 1 << 28].map(|most| rng.below(most));
        cover.count("padded_row", row_beats * d > beats * l);
        cover.count("value", value);
        cover.count("key", !value);
        let (mut codes, mut scales) = (Vec::<Beat>::new(), Vec::<Beat>::new());
        let (mut cmds, mut data) = (Vec::<Beat>::new(), Vec::<Beat>::new());
        let address = |byte: u64| vec![byte as u32, (byte >> 32) as u32];
        for vector in 0..vectors {
            for group in 0..groups {
                let rows: Vec<Vec<u64>> = (0..v).map(|_| (0..beats * l).map(|_| rng.below(256)).collect()).collect();
                let place = [vec![(bank << index_width(u.token_groups.into()) | group) as u32], vec![vector]];
                for beat in 0..beats {
                    let lanes = rows.iter().flat_map(|row| row[beat * l..(beat + 1) * l].to_vec());
                    let last = vec![u32::from(beat + 1 == beats)];
                    codes.push(vec![pack(8, lanes.collect::<Vec<_>>()), place[0].clone(), place[1].clone(), last]);
                }
                let of_slots: Vec<u64> = (0..v).map(|_| rng.bits() >> 32).collect();
                scales.push(vec![place[0].clone(), place[1].clone(), pack(32, of_slots.iter().copied())]);
                let used = || (0..v).map(|s| (s, first + group * v + s)).filter(|(_, slot)| self.valid[*slot]);
                cover.count("unused_slot", used().count() < v);
                for (s, slot) in used() {
                    let line = u64::from(self.caches[slot]) + kv_off + u64::from(vector) * kv_stride;
                    let byte = LINE * line + u64::from(self.positions[slot]) * (row_beats * d) as u64;
                    cmds.push(vec![address(byte), vec![row_beats as u32]]);
                    for beat in 0..row_beats {
                        let bytes = (0..d).map(|at| rows[s].get(beat * d + at).copied().unwrap_or(0));
                        data.push(vec![pack(8, bytes.collect::<Vec<_>>()), pack(1, vec![1; d])]);
                    }
                }
                for (s, slot) in used() {
                    let line = u64::from(self.caches[slot]) + scale_off + u64::from(vector) * kv_stride;
                    let byte = LINE * line + 8 * u64::from(self.positions[slot]) + 4 * u64::from(value);
                    let low = byte as usize % d;
                    cmds.push(vec![address(byte - low as u64), vec![1]]);
                    let strobes = (0..d).map(|at| u64::from(at / 4 == low / 4));
                    data.push(vec![pack(32, vec![of_slots[s]; d / 4]), pack(1, strobes.collect::<Vec<_>>())]);
                }
            }
        }
        let cmd = [u64::from(value), kv_off, kv_stride, row_beats as u64, scale_off, vectors.into(), groups as u64];
        Packet {
            inputs: vec![("cmd", vec![cmd.map(|n| vec![n as u32]).to_vec()]), ("kv_code", codes), ("kv_scale", scales)],
            outputs: vec![("wr_cmd", cmds), ("wr_data", data)],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "padded_row", "value", "key"]
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        vec![
            ("slot_valid_i", pack(1, self.valid.iter().map(|v| u64::from(*v)))),
            ("slot_position_i", self.positions.clone()),
            ("slot_cache_i", self.caches.clone()),
        ]
    }
}

fn unit() -> Box<dyn Block> {
    let unit = KvWrite { slots: 2, token_groups: 2, banks: 2, columns: 4, bytes: 16, row_codes: 48 };
    Box::new(KvWriteCase::random(unit, &mut Rng::new(3)))
}

/// Planted bugs of the writer.
pub const MUTATIONS: &[Mutation] = &[
    bug("kv_write: a row is not padded", unit, "row & {128{at_word < {14'd0, name[19:18]}}}", "row"),
    bug("kv_write: unused slots written", unit, "skip = weigh_q & ~valid_q", "skip = weigh_q & 1'b0"),
    bug("kv_write: rows of a vector keep their end", unit, "word_q <= code_ends ? ", "word_q <= 1'b0 ? "),
    bug("kv_write: two vectors in one place", unit, "put_q <= ~put_q", "put_q <= put_q"),
    bug("kv_write: a third vector is taken", unit, "kv_code_ready_o = ~rows_q[1]", "kv_code_ready_o = ~(&rows_q)"),
];
