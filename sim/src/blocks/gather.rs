//! The gatherer.

use super::count;
use crate::bench::{Beat, Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::gather::Gather;
use hw::ir::Design;
use hw::width::index_width;
use spec::numerics::f32ops::{from_i64, mul};
use spec::program::LINE;

/// The gatherer with what the slots hold.
pub struct GatherCase {
    /// The gatherer.
    pub unit: Gather,
    /// Slots that are in use.
    pub valid: Vec<bool>,
    /// Token of each slot.
    pub tokens: Vec<u32>,
    /// Position of each slot.
    pub positions: Vec<u32>,
}

impl GatherCase {
    /// Random slots, the first one used, the second (if there is one) not.
    pub fn random(unit: Gather, rng: &mut Rng) -> GatherCase {
        let slots = unit.slots * unit.token_groups * unit.banks;
        GatherCase {
            unit,
            valid: (0..slots).map(|s| s == 0 || (s != 1 && !rng.one_in(3))).collect(),
            tokens: (0..slots).map(|_| rng.below(1 << 18) as u32).collect(),
            positions: (0..slots).map(|_| rng.below(1 << 17) as u32).collect(),
        }
    }
}

impl Block for GatherCase {
    fn build(&self, design: &mut Design) -> super::Built {
        self.unit.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let u = &self.unit;
        let (v, ng, l, d) = (u.slots as usize, u.token_groups as usize, u.columns as usize, u.bytes as usize);
        let words = count(rng, size, u.vm_words.min(28)) as usize;
        let dst = rng.below(u.vm_words - words as u64 + 1) as usize;
        let code_beats = match rng.below(3) {
            0 => rng.within(1, (words * l).div_ceil(d) as u64) as usize,
            1 => (words * l).div_ceil(d) + rng.within(1, 3) as usize,
            _ => (words * l).div_ceil(d),
        };
        let embed_beats = 1 + code_beats;
        let rope_beats = if rng.one_in(5) { 0 } else { rng.within(1, 4) as usize * 8usize.div_ceil(d) };
        let (embed, rope) = (rng.below(1 << 30), rng.below(1 << 30));
        let bank = rng.below(u.banks.into()) as usize;
        let of_bank = bank * v * ng;
        cover.count("second_bank", bank > 0);
        cover.count("no_rope", rope_beats == 0);
        cover.count("short_row", code_beats * d < words * l);
        cover.count("long_row", code_beats * d > words * l);
        let mut read = Vec::<Beat>::new();
        let (mut cmds, mut writes, mut factors) = (Vec::<Beat>::new(), Vec::<Beat>::new(), Vec::<Beat>::new());
        let mut ask = |line: u64, row: u32, beats: usize| {
            let byte = LINE * line + u64::from(row) * (beats * d) as u64;
            cmds.push(vec![vec![byte as u32, (byte >> 32) as u32], vec![beats as u32]]);
        };
        for slot in (0..v * ng).filter(|slot| self.valid[of_bank + *slot]) {
            let scale = match rng.below(6) {
                0 => f32::MIN_POSITIVE,
                1 => -(rng.below(1000) as f32),
                _ => f32::from_bits(0x3000_0000 + rng.below(0x1000_0000) as u32),
            };
            cover.count("negative_scale", scale < 0.0);
            ask(embed, self.tokens[of_bank + slot], embed_beats);
            let mut first = vec![scale.to_bits()];
            first.extend((1..d / 4).map(|_| rng.bits() as u32));
            read.push(vec![first, vec![0]]);
            let codes: Vec<u8> = (0..code_beats * d).map(|_| rng.bits() as u8).collect();
            for (at, bytes) in codes.chunks(d).enumerate() {
                let last = u32::from(at + 1 == code_beats);
                read.push(vec![pack(8, bytes.iter().map(|b| u64::from(*b))), vec![last]]);
            }
            for word in 0..words {
                let column =
                    |c: usize| codes.get(word * l + c).map_or(0.0, |q| mul(from_i64(i64::from(*q as i8)), scale));
                let columns: Vec<u32> = (0..l).map(|c| column(c).to_bits()).collect();
                let address = (dst + word) * ng + slot / v;
                writes.push(vec![vec![address as u32], vec![1 << (slot % v)], columns.repeat(v)]);
            }
            if rope_beats > 0 {
                ask(rope, self.positions[of_bank + slot], rope_beats);
            }
            let row: Vec<u32> = (0..rope_beats * d / 4).map(|_| rng.bits() as u32).collect();
            for (at, beat) in row.chunks(d / 4).enumerate() {
                read.push(vec![beat.to_vec(), vec![u32::from(at + 1 == rope_beats)]]);
            }
            for (at, pair) in row.chunks(2).enumerate() {
                let place = bank << index_width((v * ng) as u64) | slot;
                factors.push(vec![vec![place as u32], vec![at as u32], vec![pair[0]], vec![pair[1]]]);
            }
        }
        let cmd = [embed, embed_beats as u64, words as u64, rope, rope_beats as u64, dst as u64, bank as u64];
        Packet {
            inputs: vec![("cmd", vec![cmd.map(|n| vec![n as u32]).to_vec()]), ("rd_data", read)],
            outputs: vec![("rd_cmd", cmds), ("vm_wr", writes), ("rope", factors)],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "no_rope", "short_row", "long_row", "negative_scale"]
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        vec![
            ("slot_valid_i", pack(1, self.valid.iter().map(|v| u64::from(*v)))),
            ("slot_token_i", self.tokens.clone()),
            ("slot_position_i", self.positions.clone()),
        ]
    }
}

fn unit() -> Box<dyn Block> {
    let unit = Gather { slots: 2, token_groups: 2, banks: 2, columns: 4, bytes: 8, vm_words: 40 };
    Box::new(GatherCase::random(unit, &mut Rng::new(3)))
}

/// Planted bugs of the gatherer.
pub const MUTATIONS: &[Mutation] = &[
    bug("gather: missing columns not zero", unit, "times0_y & {32{real_q9}}", "times0_y"),
    bug("gather: words without a place", unit, "booked_q != 5'd16", "1'b1"),
    bug("gather: unused slots read", unit, "skip = weigh_q & ~valid_q", "skip = weigh_q & 1'b0"),
];
