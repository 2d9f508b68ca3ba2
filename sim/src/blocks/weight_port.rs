//! The weights of a port, runs of one format.

use super::{beats, count};
use crate::bench::{Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::weight_port::WeightPort;
use hw::ir::{Design, Interface, IrError};
use spec::format::code3;
use spec::program::{WordLayout, WordPacker};
use std::rc::Rc;

/// Codes of a run of random words, and its bytes.
pub(super) fn random_run(layout: WordLayout, words: usize, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let of_code = if layout.sherry { 32 } else { code3::CODES };
    let codes: Vec<u8> = (0..words * layout.codes).map(|_| rng.below(of_code.into()) as u8).collect();
    let (mut packer, mut bytes) = (WordPacker::new(layout), Vec::new());
    codes.chunks(layout.codes).for_each(|word| packer.push(word, |byte| bytes.push(byte)));
    packer.finish(|byte| bytes.push(byte));
    (codes, bytes)
}

/// A port that stays in one format.
pub struct PortCase {
    /// The port.
    pub port: WeightPort,
    /// Sherry codes instead of dense ones.
    pub sherry: bool,
}

impl PortCase {
    fn layout(&self) -> WordLayout {
        WordLayout { beat: self.port.bytes as usize, codes: self.port.codes as usize, sherry: self.sherry }
    }
}

impl Block for PortCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.port.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, _: &mut Cover) -> Packet {
        // runs follow each other without a clear, so each fills its beats
        let layout = self.layout();
        let tight = if self.sherry { 8 * layout.beat } else { 5 * layout.beat };
        let unit = layout.bundle().unwrap_or(tight) as u64;
        let (codes, bytes) = random_run(layout, (unit * count(rng, size, 4)) as usize, rng);
        let packed = |of: &[u8], width: u32| vec![pack(width, of.iter().map(|&value| u64::from(value)))];
        Packet {
            inputs: vec![("in", bytes.chunks(layout.beat).map(|beat| packed(beat, 8)).collect())],
            outputs: vec![("out", codes.chunks(layout.codes).map(|word| packed(word, 5)).collect())],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        vec![("sherry_i", vec![self.sherry.into()]), ("clear_i", vec![0])]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        // a bundle's first word is complete a beat after the shared one
        self.port.bundles().then_some(("in", "out", u64::from(WeightPort::LATENCY) + 1))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        Some(beats(packets, "in").max(beats(packets, "out")) + u64::from(WeightPort::LATENCY) + 1)
    }
}

fn dense() -> Box<dyn Block> {
    Box::new(PortCase { port: WeightPort { bytes: 4, codes: 8 }, sherry: false })
}

fn sherry() -> Box<dyn Block> {
    Box::new(PortCase { port: WeightPort { bytes: 4, codes: 8 }, sherry: true })
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("bundle: tops of a beat that is not shared", dense, "share = beat_q & shared_q", "share = beat_q"),
    bug("bundle: a word overwrites one that waits", dense, "wire room = ", "wire room = 1'b1 | "),
    bug("bundle: a bundle of the other format's length", sherry, "sherry_i ? word_q[3] :", "sherry_i ? word_q[4] :"),
    bug("bundle: a top lost", dense, "word_i[4] & tops_q[9]", "word_i[4] & tops_q[8]"),
    bug("bundle: 27s of the last byte", dense, "8'd242: quotient = 4'h8", "8'd242: quotient = 4'h9"),
    bug("bundle: a Sherry code with nines", sherry, "{sherry_i, top_i, high_i}", "{1'b0, top_i, high_i}"),
];
