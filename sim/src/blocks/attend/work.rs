//! Commands for attention, the memory they read and the oracle's answer.

use crate::bench::Cover;
use crate::rng::Rng;
use hw::blocks::attend::Attend;
use spec::numerics::exp2::Exp2Table;
use spec::numerics::softmax::{combine, weights};
use std::collections::BTreeMap;

/// What a command's slots look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One run of all slots from position 0.
    Prompt,
    /// One run of all slots somewhere in a sequence.
    Prefill,
    /// One token each of several sequences.
    Batch,
    /// One token at the largest position.
    Decode,
    /// One token that sees only itself.
    First,
    /// Runs of all sorts.
    Any,
}

/// Neighbouring slots of a sequence.
struct Run {
    slot: usize,
    len: usize,
    position: u64,
    line: u32,
}

/// A command, or two of which each takes some of the heads, with all that belongs to them.
pub struct Work {
    /// Fields of a command for all heads.
    fields: Vec<(&'static str, u32)>,
    /// Key/value heads of the first command.
    cut: u32,
    /// Per slot: valid, position, cache line, run.
    pub slots: Vec<(bool, u32, u32, u32)>,
    /// `[head][group]` words of codes `[v][l]`.
    pub codes: Vec<Vec<Vec<Vec<i8>>>>,
    /// `[head][group]` scales of `[v]`.
    pub scales: Vec<Vec<Vec<f32>>>,
    /// Bytes that may be read.
    pub memory: BTreeMap<u64, u8>,
    /// Results: `(address, lane)` to columns.
    pub results: BTreeMap<(u64, u32), Vec<u32>>,
    /// Beats that must be read: keys with scales, values.
    pub beats: [u64; 2],
    decode: Option<u64>,
}

/// A code that is often an extreme one.
fn code(rng: &mut Rng, loud: bool) -> i8 {
    match rng.below(8) {
        0 => -127,
        1 => 127,
        _ if loud => 127,
        _ => (rng.below(255) as i16 - 127) as i8,
    }
}

fn scale(rng: &mut Rng) -> f32 {
    let exponent = rng.within(0, 8) as i32;
    (1.0 + rng.below(1 << 20) as f32 / (1 << 20) as f32) * 2f32.powi(-4 - exponent)
}

fn runs(a: &Attend, kind: Kind, rng: &mut Rng) -> Vec<Run> {
    let (p, context) = (a.tokens as usize, a.max_context);
    let run = |slot: usize, len: usize, position: u64| Run { slot, len, position, line: 0 };
    match kind {
        Kind::Prompt => vec![run(0, p.min(context as usize), 0)],
        Kind::Prefill => {
            let len = p.min(context as usize);
            vec![run(0, len, rng.below(context - len as u64 + 1))]
        }
        Kind::Batch => (0..p).map(|slot| run(slot, 1, rng.below(context))).collect(),
        Kind::Decode => vec![run(0, 1, context - 1)],
        Kind::First => vec![run(0, 1, 0)],
        Kind::Any => {
            let (mut slot, mut out) = (0, Vec::new());
            while slot < p {
                let len = rng.within(1, ((p - slot) as u64).min(context)) as usize;
                let skipped = rng.one_in(5) && !out.is_empty();
                if !skipped {
                    out.push(run(slot, len, rng.below(context - len as u64 + 1)));
                }
                slot += len;
                if rng.one_in(4) {
                    break;
                }
            }
            out
        }
    }
}

/// Slots at which the jobs of a run end: blocks of whole slots, at least half of the run, then the rest.
fn parts(a: &Attend, len: usize, group: usize) -> impl Iterator<Item = usize> {
    let (queries, lanes) = (a.queries as usize, a.vtokens as usize);
    let mut slots = lanes;
    while 2 * slots * group <= queries {
        slots *= 2;
    }
    let half = ((len - 1) / (2 * slots) + 1) * slots;
    let split = a.units > 1 && queries.is_power_of_two() && queries.is_multiple_of(lanes) && half < len;
    [half, len].into_iter().skip(usize::from(!split))
}

impl Work {
    /// The commands, each as its fields.
    pub fn commands(&self) -> Vec<Vec<(&'static str, u32)>> {
        let of = |first: u32, last: u32| {
            let heads = first * self.field("group");
            let skip = |name: &str, value: u32| match name {
                "kv_heads" => last - first,
                "kv_off" | "scale_off" => value + first * self.field("kv_stride"),
                "dst" => value + heads * self.field("v_words"),
                "q_first" => value + heads * self.field("q_words"),
                "first" => value + heads,
                _ => value,
            };
            self.fields.iter().map(|(name, value)| (*name, skip(name, *value))).collect()
        };
        let all = self.field("kv_heads");
        if self.cut == all { vec![of(0, all)] } else { vec![of(0, self.cut), of(self.cut, all)] }
    }

    /// The command that a result is of.
    pub(super) fn command_of(&self, column: u64) -> usize {
        let head = (column as u32 - self.field("dst")) / (self.field("v_words") * self.field("group"));
        usize::from(head >= self.cut)
    }

    /// A field of a command for all heads.
    pub(super) fn field(&self, name: &str) -> u32 {
        self.fields.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| *value)
    }

    /// Random work of a kind.
    pub fn new(a: &Attend, kind: Kind, rng: &mut Rng, cover: &mut Cover) -> Work {
        let (d, l, v) = (a.beat_bytes as usize, a.lanes as usize, a.vtokens as usize);
        let groups_all = (a.tokens / a.vtokens) as u64;
        let group = rng.within(1, u64::from(a.heads.min(4)));
        let kv_heads = rng.within(1, u64::from(a.heads) / group);
        let heads = (group * kv_heads) as usize;
        let room = (a.query_words.min(a.vm_words) as usize / heads * l).min(a.max_head_dim as usize);
        let dim = match kind {
            Kind::Decode => room,
            _ => rng.within(1, room as u64) as usize,
        };
        let (k_beats, v_beats, words) = (dim.div_ceil(d), dim.div_ceil(d), dim.div_ceil(l));
        let dst = rng.below(a.vm_words - (heads * words) as u64 + 1);
        cover.count(&format!("group_{group}"), true);
        cover.count("odd_head", !dim.is_multiple_of(d) && !dim.is_multiple_of(l));
        cover.count("many_beats", k_beats > 1);

        let lines = |bytes: usize| bytes.div_ceil(64) as u32;
        let context = a.max_context as usize;
        let (key_lines, value_lines, scale_lines) =
            (lines(context * k_beats * d), lines(context * v_beats * d), lines(context * 8));
        let (kv_off, stride) = (rng.below(50) as u32, key_lines + value_lines + scale_lines + rng.below(3) as u32);
        let scale_off = kv_off + key_lines + value_lines;

        let bank = rng.below(a.banks.into()) as usize;
        let of_bank = bank * a.tokens as usize;
        let first = rng.below(u64::from(a.heads) - heads as u64 + 1);
        let q_first = rng.below(a.query_words - (heads * words) as u64 + 1);
        cover.count("second_bank", bank > 0);
        cover.count("later_heads", first > 0 && q_first > 0);
        let mut all = runs(a, kind, rng);
        // slots of the other bank may be anything
        let mut slots: Vec<(bool, u32, u32, u32)> = (0..a.tokens * a.banks)
            .map(|_| (rng.one_in(2), rng.bits() as u32, rng.bits() as u32, rng.bits() as u32 & 0xff))
            .collect();
        slots[of_bank..of_bank + a.tokens as usize].iter_mut().for_each(|slot| slot.0 = false);
        let mut line = rng.below(1 << 30) as u32;
        for run in &mut all {
            run.line = line;
            line += kv_off + stride * kv_heads as u32 + rng.below(9) as u32;
            for i in 0..run.len {
                let len = if i == 0 { run.len as u32 } else { 0 };
                slots[of_bank + run.slot + i] = (true, run.position as u32 + i as u32, run.line, len);
            }
        }
        let used = all.iter().map(|r| r.slot + r.len).max().unwrap_or(1);
        let groups = used.div_ceil(v);
        let loud = rng.one_in(6);
        let codes: Vec<Vec<Vec<Vec<i8>>>> = (0..heads)
            .map(|_| {
                (0..groups)
                    .map(|_| (0..words).map(|_| (0..v * l).map(|_| code(rng, loud)).collect()).collect())
                    .collect()
            })
            .collect();
        let spread = rng.below(5);
        let scales: Vec<Vec<Vec<f32>>> = (0..heads)
            .map(|_| {
                (0..groups)
                    .map(|_| (0..v).map(|_| scale(rng) * [1e-4, 1e-2, 0.3, 30.0, 1e30][spread as usize]).collect())
                    .collect()
            })
            .collect();
        cover.count("saturated", spread == 4);

        let cut = if kv_heads > 1 && rng.one_in(2) { rng.within(1, kv_heads - 1) } else { kv_heads };
        cover.count("two_commands", cut < kv_heads);
        let mut work = Work {
            cut: cut as u32,
            fields: vec![
                ("kv_off", kv_off),
                ("v_off", key_lines),
                ("scale_off", scale_off),
                ("kv_stride", stride),
                ("kv_heads", kv_heads as u32),
                ("group", group as u32),
                ("q_words", words as u32),
                ("k_beats", k_beats as u32),
                ("v_beats", v_beats as u32),
                ("v_words", words as u32),
                ("dst", dst as u32),
                ("bank", bank as u32),
                ("first", first as u32),
                ("q_first", q_first as u32),
            ],
            slots,
            codes,
            scales,
            memory: BTreeMap::new(),
            results: BTreeMap::new(),
            beats: [0; 2],
            decode: None,
        };
        let table = Exp2Table::default();
        for run in &all {
            let seen = (run.position as usize) + run.len;
            cover.count("one_position", seen == 1);
            cover.count("full_context", seen as u64 == a.max_context);
            let n = run.len * group as usize;
            cover.count("many_blocks", n > a.queries as usize);
            let mut at = 0;
            for end in parts(a, run.len, group as usize).map(|slots| slots * group as usize) {
                cover.count("two_parts", end < n);
                while at < end {
                    let slot = |query: usize| run.position + (query / group as usize) as u64;
                    let block = a.block_at(slot(at));
                    cover.count("half_blocks", block < a.queries && end - at > block as usize);
                    let last_query = (at + block as usize).min(end) - 1;
                    at = last_query + 1;
                    let rows = slot(last_query) + 1;
                    let scale_beats = (rows as usize * 8).div_ceil(d) as u64;
                    work.beats[0] += kv_heads * (rows * k_beats as u64 + scale_beats);
                    work.beats[1] += kv_heads * rows * v_beats as u64;
                }
            }
            for h in 0..kv_heads as usize {
                let base = (u64::from(run.line) + u64::from(kv_off) + h as u64 * u64::from(stride)) * 64;
                let values_at = base + u64::from(key_lines) * 64;
                let scales_at = base + u64::from(key_lines + value_lines) * 64;
                let mut row = |rng: &mut Rng, at: u64, beats: usize| -> Vec<i8> {
                    let codes: Vec<i8> = (0..dim).map(|_| code(rng, loud)).collect();
                    for i in 0..beats * d {
                        let byte = codes.get(i).map_or(0, |c| *c as u8);
                        work.memory.insert(at + i as u64, byte);
                    }
                    codes
                };
                let keys: Vec<Vec<i8>> =
                    (0..seen).map(|t| row(rng, base + (t * k_beats * d) as u64, k_beats)).collect();
                let values: Vec<Vec<i8>> =
                    (0..seen).map(|t| row(rng, values_at + (t * v_beats * d) as u64, v_beats)).collect();
                let ks: Vec<f32> = (0..seen).map(|_| scale(rng)).collect();
                let vs: Vec<f32> = (0..seen).map(|_| scale(rng)).collect();
                for t in 0..seen.next_multiple_of((d / 8).max(1)) {
                    let pick = |s: &[f32]| s.get(t).copied().unwrap_or(f32::NAN).to_le_bytes();
                    for (i, byte) in pick(&ks).into_iter().chain(pick(&vs)).enumerate() {
                        work.memory.insert(scales_at + (8 * t + i) as u64, byte);
                    }
                }
                for i in 0..n {
                    let (slot, head) = (run.slot + i / group as usize, h * group as usize + i % group as usize);
                    let (g, lane) = (slot / v, slot % v);
                    let visible = run.position as usize + i / group as usize + 1;
                    let query: Vec<i8> = (0..dim).map(|e| work.codes[head][g][e / l][lane * l + e % l]).collect();
                    let dots: Vec<i32> = keys[..visible]
                        .iter()
                        .map(|k| k.iter().zip(&query).map(|(k, q)| i32::from(*k) * i32::from(*q)).sum())
                        .collect();
                    let w = weights(&table, &dots, &ks[..visible], &vs[..visible], work.scales[head][g][lane]);
                    let mut out = vec![0.0; words * l];
                    combine(&w, values[..visible].iter().map(Vec::as_slice), &mut out[..dim]);
                    for (j, columns) in out.chunks(l).enumerate() {
                        let column = dst + (head * words + j) as u64;
                        let address = column * groups_all + g as u64;
                        work.results.insert((address, lane as u32), columns.iter().map(|f| f.to_bits()).collect());
                    }
                }
            }
        }
        if kind == Kind::Decode {
            // one unit's share: keys with scales at one beat a cycle, and what a head costs besides
            let blocks = group.div_ceil(a.queries.into());
            let share = kv_heads.div_ceil(a.units.into());
            let pace = k_beats.max(group.min(a.queries.into()) as usize) as u64;
            let scale_beats = (context * 8).div_ceil(d) as u64;
            let head = context as u64 * pace + scale_beats + 150 + group * words as u64;
            let values = context as u64 * pace + 150 + group * words as u64;
            work.decode = Some(share * blocks * head + values + 200);
        }
        work
    }

    /// Most cycles of a decode step if memory answers at once.
    pub fn most_cycles(&self) -> Option<u64> {
        self.decode
    }
}
