//! Stimulus and oracle of each block of `hw::blocks`.

pub mod attend;
pub mod axi_read;
pub mod axi_write;
pub mod dsp;
pub mod epilogue;
pub mod fp;
pub mod gather;
pub mod head;
pub mod kv_write;
pub mod matrix;
pub mod quantize;
pub mod regs;
pub mod sequencer;
pub mod sigmoid;
pub mod stream;
pub mod vmem;
pub mod weight_port;
pub mod weights;

use crate::bench::{Beat, Block, Cover, Packet, Size, pack};
use crate::rng::Rng;
use hw::blocks::{fifo, gearbox, psum, skid, table_build, tlmm, unpack5};
use hw::ir::{Design, Expr, Interface, IrError, Module, lit, uint};
use spec::format::{code3, sherry, trit5};
use std::rc::Rc;

type Built = Result<Rc<Interface>, IrError>;

fn count(rng: &mut Rng, size: Size, max: u64) -> u64 {
    match size {
        Size::Min => 1,
        Size::Max => max,
        Size::Any => rng.within(1, max),
    }
}

fn word(rng: &mut Rng, width: u32) -> Vec<u32> {
    pack(1, (0..width).map(|_| rng.bits() & 1).collect::<Vec<_>>())
}

/// Adds the sticky output `idle_wrong_o`: whether a unit was ever idle with work left, which is `wrong`.
fn idle_wrong(m: &mut Module, wrong: &Expr) {
    let ever = m.output("idle_wrong_o", uint(1));
    let ever_q = m.reg_reset("idle_wrong_q", &lit(0, 1));
    m.next(&ever_q, &(&ever_q | wrong));
    m.drive(&ever, &ever_q);
}

/// A block that must pass its beats on unchanged.
fn pass_through(rng: &mut Rng, size: Size, width: u32) -> Packet {
    let beats: Vec<Beat> = (0..count(rng, size, 40)).map(|_| vec![word(rng, width)]).collect();
    Packet { inputs: vec![("in", beats.clone())], outputs: vec![("out", beats)], sets: vec![] }
}

impl Block for skid::Skid {
    fn build(&self, design: &mut Design) -> Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, _: &mut Cover) -> Packet {
        pass_through(rng, size, self.width)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("in", "out", skid::Skid::LATENCY.into()))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        Some(beats(packets, "in") + 1)
    }
}

impl Block for fifo::Fifo {
    fn build(&self, design: &mut Design) -> Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, _: &mut Cover) -> Packet {
        pass_through(rng, size, self.width)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("in", "out", fifo::Fifo::LATENCY.into()))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        (self.depth > 1).then(|| beats(packets, "in") + 1)
    }
}

fn beats(packets: &[Packet], stream: &str) -> u64 {
    let all = packets.iter().flat_map(|p| p.inputs.iter().chain(&p.outputs));
    all.filter(|(name, _)| *name == stream).map(|(_, beats)| beats.len() as u64).sum()
}

/// Splits elements into beats of `per_beat` with a `last` field, filling up the last one.
fn packetize(elements: &[u64], per_beat: usize, width: u32, fill: u64) -> Vec<Beat> {
    let chunks = elements.chunks(per_beat);
    let last = chunks.len().saturating_sub(1);
    let beat = |(at, chunk): (usize, &[u64])| {
        let full = chunk.iter().copied().chain(std::iter::repeat(fill)).take(per_beat);
        vec![pack(width, full), vec![u32::from(at == last)]]
    };
    chunks.enumerate().map(beat).collect()
}

impl Block for gearbox::Gearbox {
    fn build(&self, design: &mut Design) -> Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let (inputs, outputs) = (self.inputs as usize, self.outputs as usize);
        let elements: Vec<u64> =
            (0..count(rng, size, 30) * inputs as u64).map(|_| rng.below(1 << self.element)).collect();
        cover.count("filled_up", !elements.len().is_multiple_of(outputs));
        cover.count("complete", elements.len().is_multiple_of(outputs));
        Packet {
            inputs: vec![("in", packetize(&elements, inputs, self.element, 0))],
            outputs: vec![("out", packetize(&elements, outputs, self.element, self.fill as u64))],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        // the wider side sets the pace; a packet that ends with less than an output costs one cycle
        Some(beats(packets, "in").max(beats(packets, "out")) + 2 * packets.len() as u64 + 1)
    }
}

impl Block for unpack5::Unpack5 {
    fn build(&self, design: &mut Design) -> Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let total = count(rng, size, 24) as usize * self.bytes as usize;
        let broken = rng.one_in(4);
        let mut bytes: Vec<u64> = (0..total).map(|_| rng.below(trit5::CODES.into())).collect();
        if broken {
            let at = rng.below(total as u64) as usize;
            bytes[at] = rng.within(trit5::CODES.into(), 255);
        }
        cover.count("illegal", broken);
        cover.count("legal", !broken);
        let mut trits: Vec<i8> = bytes.iter().flat_map(|b| trit5::DECODE[*b as usize]).collect();
        trits.resize(trits.len().next_multiple_of(3), 0);
        let codes: Vec<u64> = trits.chunks(3).map(|t| u64::from(code3::encode3([t[0], t[1], t[2]]))).collect();
        let padding = u64::from(code3::ZERO);
        cover.count("filled_up", !codes.len().is_multiple_of(self.codes as usize));
        Packet {
            inputs: vec![("byte", packetize(&bytes, self.bytes as usize, 8, 0))],
            outputs: vec![("code", packetize(&codes, self.codes as usize, 5, padding))],
            sets: if broken { vec!["illegal_o"] } else { vec![] },
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "illegal", "legal", "filled_up"]
    }

    fn sticky(&self) -> &'static [&'static str] {
        &["illegal_o"]
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        Some(beats(packets, "byte").max(beats(packets, "code")) + 2 * packets.len() as u64 + 3)
    }
}

/// An int8 that is often an extreme one.
fn activation(rng: &mut Rng) -> i8 {
    match rng.below(8) {
        0 => -128,
        1 => 127,
        2 => 0,
        _ => rng.bits() as i8,
    }
}

impl Block for table_build::TableBuild {
    fn build(&self, design: &mut Design) -> Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let lanes = (self.groups * self.tokens) as usize;
        let width = table_build::sum_width();
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..count(rng, size, 4) {
            let mode = rng.one_in(2);
            cover.count(if mode { "sherry" } else { "dense" }, true);
            let entries = if mode { table_build::SHERRY_ENTRIES } else { table_build::DENSE_ENTRIES };
            for pass in 0..self.passes {
                let acts: Vec<[i8; 4]> = (0..lanes).map(|_| std::array::from_fn(|_| activation(rng))).collect();
                let flat = acts.iter().flatten().map(|a| u64::from(*a as u8));
                inputs.push(vec![pack(8, flat), vec![mode.into()]]);
                for entry in 0..entries {
                    let weights = table_build::entry_weights(mode, entry);
                    let sum = |a: &[i8; 4]| (0..4).map(|k| i64::from(a[k]) * i64::from(weights[k])).sum::<i64>();
                    cover.count("largest", acts.iter().any(|a| sum(a) == -384));
                    let data = pack(width, acts.iter().map(|a| sum(a) as u64));
                    let last = pass + 1 == self.passes && entry + 1 == entries;
                    outputs.push(vec![vec![entry], vec![pass], vec![last.into()], vec![mode.into()], data]);
                }
            }
        }
        Packet { inputs: vec![("act", inputs)], outputs: vec![("wr", outputs)], sets: vec![] }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "dense", "sherry", "largest"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("act", "wr", table_build::TableBuild::LATENCY.into()))
    }
}

/// The engine together with the largest tile that its bench sends.
pub struct TlmmCase {
    /// The engine.
    pub engine: tlmm::Tlmm,
    /// Most words of a tile.
    pub words: u64,
    /// Most segments of a tile.
    pub segments: u64,
}

impl TlmmCase {
    /// Weights of one code, `trits . activations` over a group.
    fn dot(mode: bool, code: u8, acts: [i8; 4]) -> i64 {
        let weights = match mode {
            true => sherry::decode4(code),
            false => {
                let [a, b, c] = code3::decode3(code);
                [a, b, c, 0]
            }
        };
        (0..4).map(|k| i64::from(weights[k]) * i64::from(acts[k])).sum()
    }
}

impl Block for TlmmCase {
    fn build(&self, design: &mut Design) -> Built {
        self.engine.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let e = &self.engine;
        let (tables, rows, tokens) = (e.tables as usize, e.rows as usize, e.tokens as usize);
        let groups = e.groups as usize;
        let words = count(rng, size, self.words) as usize;
        let segments = count(rng, size, self.segments) as usize;
        let planes = if size == Size::Any { rng.pick(&[1, 1, 2, 5]) } else { 1 };
        let grouped = size != Size::Min && rng.one_in(2);
        let mode = rng.one_in(2);
        let extreme = rng.one_in(4);
        cover.count("planes", planes > 1);
        cover.count("grouped", grouped);
        cover.count(if mode { "sherry" } else { "dense" }, true);
        cover.count("extreme", extreme);
        cover.count("many_segments", segments > 1);
        cover.count("one_segment", segments == 1);
        let (mut act, mut wgt, mut mul) = (Vec::new(), Vec::new(), Vec::new());
        let mut sums = vec![0i64; words * rows * tokens];
        for segment in 0..segments * planes {
            let plane_mult = 3u64.pow((planes - 1 - segment / segments) as u32);
            let acts: Vec<[i8; 4]> = (0..tables * tokens)
                .map(|_| std::array::from_fn(|_| if extreme { -128 } else { activation(rng) }))
                .collect();
            for pass in 0..tables.div_ceil(groups) {
                let lanes = (0..groups * tokens).map(|lane| (pass * groups + lane / tokens, lane % tokens));
                // lanes of tables that do not exist carry noise
                let quads = lanes.map(|(t, p)| if t < tables { acts[t * tokens + p] } else { [77; 4] });
                let bytes: Vec<u64> = quads.flatten().map(|a| u64::from(a as u8)).collect();
                act.push(vec![pack(8, bytes), vec![mode.into()]]);
            }
            for word in 0..words {
                let mults: Vec<u64> = (0..rows)
                    .map(|_| match (grouped, extreme) {
                        (false, _) => plane_mult,
                        (true, true) => 255,
                        (true, false) => rng.below(256),
                    })
                    .collect();
                if grouped {
                    mul.push(vec![pack(8, mults.iter().copied())]);
                }
                let codes: Vec<u8> = (0..rows * tables)
                    .map(|_| match (mode, extreme) {
                        (true, _) => rng.below(32) as u8,
                        (false, true) => 0,                    // all -1: the largest sum
                        (false, false) => rng.below(32) as u8, // illegal codes count as zero
                    })
                    .collect();
                cover.count("illegal", !mode && codes.iter().any(|c| *c >= code3::CODES));
                for (lane, code) in codes.iter().enumerate() {
                    let (row, table) = (lane / tables, lane % tables);
                    for p in 0..tokens {
                        let dot = Self::dot(mode, *code, acts[table * tokens + p]);
                        sums[(word * rows + row) * tokens + p] += mults[row] as i64 * dot;
                    }
                }
                wgt.push(vec![pack(5, codes.iter().map(|c| u64::from(*c)))]);
            }
        }
        let width = e.psum().acc;
        let out = sums
            .chunks(rows * tokens)
            .enumerate()
            .map(|(word, sums)| vec![pack(width, sums.iter().map(|s| *s as u64)), vec![u32::from(word + 1 == words)]]);
        Packet {
            outputs: vec![("sum", out.collect())],
            inputs: vec![
                (
                    "cmd",
                    vec![
                        [words, segments, planes, usize::from(grouped), (1 << tokens) - 1]
                            .map(|n| vec![n as u32])
                            .to_vec(),
                    ],
                ),
                ("act", act),
                ("wgt", wgt),
                ("mul", mul),
            ],
            sets: vec![],
        }
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("wgt", "sum", self.engine.latency().into())) // the first tile is one word of one segment
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let e = &self.engine;
        let (passes, latency) = (u64::from(e.row().passes()), u64::from(e.latency()));
        let build = passes * u64::from(table_build::SHERRY_ENTRIES) + u64::from(table_build::TableBuild::SET_GAP);
        let tile = |packet: &Packet| {
            let one = std::slice::from_ref(packet);
            let segments = beats(one, "act") / passes;
            let words = beats(one, "wgt") / segments;
            // tables are built behind the words; short segments wait for the accumulator's loop
            let loop_wait = if words < psum::Psum::REVISIT.into() { latency } else { 0 };
            segments * (words + loop_wait).max(build) + 4
        };
        Some(packets.iter().map(tile).sum::<u64>() + build + latency)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &[
            "reset_in_packet",
            "dense",
            "sherry",
            "extreme",
            "illegal",
            "planes",
            "grouped",
            "one_segment",
            "ev_beat",
            "ev_tables",
        ]
    }
}
