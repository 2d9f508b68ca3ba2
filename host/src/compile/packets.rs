//! Bytes of linear streams as packets, written once in the order of use.

use spec::format::{code3, sherry};
use spec::program::{DeviceShape, PACKET, WordPacker};

/// Packets under construction.
pub(super) struct PacketWriter {
    beat: usize,
    start: usize,
    out: Vec<u8>,
}

impl PacketWriter {
    pub fn new(shape: &DeviceShape) -> Self {
        PacketWriter { beat: shape.beat(), start: 0, out: Vec::new() }
    }

    pub fn push(&mut self, byte: u8) {
        self.out.push(byte);
        if self.out.len() - self.start == PACKET as usize - self.beat {
            let sum = crc32c::crc32c(&self.out[self.start..]);
            self.out.extend_from_slice(&sum.to_le_bytes());
            self.start += PACKET as usize;
            self.out.resize(self.start, 0);
        }
    }

    pub fn push_f32(&mut self, values: impl IntoIterator<Item = f32>) {
        for byte in values.into_iter().flat_map(f32::to_le_bytes) {
            self.push(byte);
        }
    }

    /// All packets, the last one filled up.
    pub fn finish(mut self, fill: u8) -> Vec<u8> {
        while self.out.len() != self.start {
            self.push(fill);
        }
        self.out
    }
}

/// The weights of one port.
struct Port {
    packets: PacketWriter,
    words: WordPacker,
}

/// A tile of trits: `[words * Q, cols]`, and how its columns are cut.
pub(super) struct Trits<'a> {
    /// Trits, row after row.
    pub rows: &'a [i8],
    /// Columns.
    pub cols: usize,
    /// Columns of each segment.
    pub segments: &'a [std::ops::Range<usize>],
}

/// A run of the weight stream: words of one format, in the order of use.
pub(super) struct WeightRun {
    /// Whether the run holds Sherry codes.
    pub sherry: bool,
    /// Words so far.
    pub words: u64,
    shape: DeviceShape,
    ports: Vec<Port>,
}

impl WeightRun {
    pub fn new(shape: &DeviceShape, sherry: bool) -> Self {
        let words = WordPacker::new(shape.word_layout(sherry));
        let port = |_| Port { packets: PacketWriter::new(shape), words: words.clone() };
        WeightRun { sherry, words: 0, shape: shape.clone(), ports: (0..shape.ports).map(port).collect() }
    }

    /// Appends a plane of a tile: segment after segment, in each all words, lane `q*T + t`.
    pub fn push(&mut self, trits: &Trits<'_>) {
        use rayon::prelude::*;
        let (tables, q, codes, sherry) = (self.shape.tables, self.shape.rows, self.shape.port_codes(), self.sherry);
        let group = DeviceShape::weights_of_code(sherry);
        let words = trits.rows.len() / trits.cols / q;
        self.ports.par_iter_mut().enumerate().for_each(|(number, Port { packets, words: packer })| {
            let mut of_word = vec![0; codes];
            for segment in trits.segments {
                for word in 0..words {
                    for (lane, code) in (number * codes..).zip(&mut of_word) {
                        let row = &trits.rows[(word * q + lane / tables) * trits.cols..][..trits.cols];
                        let first = (segment.start + lane % tables * group).min(segment.end);
                        let some = &row[first..(first + group).min(segment.end)];
                        let mut weights = [0i8; 4];
                        weights[..some.len()].copy_from_slice(some);
                        let [a, b, c, _] = weights;
                        // four zeros are no Sherry code: padding, which meets zero activations or masked rows
                        let in_sherry = || sherry::encode4(weights).unwrap_or(0);
                        *code = if sherry { in_sherry() } else { code3::encode3([a, b, c]) };
                    }
                    packer.push(&of_word, |byte| packets.push(byte));
                }
            }
        });
        self.words += (words * trits.segments.len()) as u64;
    }

    /// The packets of every port.
    pub fn finish(self) -> Vec<Vec<u8>> {
        let filler = self.shape.word_layout(self.sherry).filler();
        let packets = |Port { mut packets, mut words }| {
            words.finish(|byte| packets.push(byte));
            packets.finish(filler)
        };
        self.ports.into_iter().map(packets).collect()
    }
}
