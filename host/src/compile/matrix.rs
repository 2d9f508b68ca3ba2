//! Matrices as the engine sees them: rows in the order of words, and the rounds that add their planes up.

use super::emit::Item;
use super::error::{CompileError, at_most};
use spec::format::{matrix::Encoding, matrix::Linear, scale::DeviceScale};
use spec::program::{DeviceShape, epilogue};
use std::ops::Range;

/// One linear layer of a matrix; gate and up are two parts of one.
pub(super) struct Part<'a> {
    pub linear: &'a Linear,
    pub scales: Vec<DeviceScale>,
}

impl<'a> Part<'a> {
    pub fn new(linear: &'a Linear) -> Self {
        let scales = linear.planes.iter().map(|p| p.scale.to_device(linear.rows(), linear.cols())).collect();
        Part { linear, scales }
    }

    fn layout(&self, shape: &DeviceShape, plane: usize) -> Layout {
        let cols = self.linear.cols();
        let sherry = self.linear.planes[plane].trits.encoding() == Encoding::Sherry;
        let group = if self.scales[plane].multipliers.is_empty() { cols } else { self.scales[plane].group };
        Layout { sherry, cols, seg_cols: shape.segment(sherry), group_cols: group }
    }
}

/// How activations lie in the activation buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub sherry: bool,
    pub cols: usize,
    pub seg_cols: usize,
    pub group_cols: usize,
}

impl Layout {
    /// Columns of each segment.
    pub fn segments(&self) -> Vec<Range<usize>> {
        let groups = (0..self.cols).step_by(self.group_cols);
        groups
            .flat_map(|first| {
                let end = (first + self.group_cols).min(self.cols);
                (first..end).step_by(self.seg_cols).map(move |at| at..(at + self.seg_cols).min(end))
            })
            .collect()
    }
}

/// One use of the engine on the rows of a tile: a plane of one part, or of both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    pub plane: usize,
    /// Parts whose rows count in this round; the others' are zero.
    pub parts: Vec<usize>,
    pub layout: Layout,
}

/// A matrix, ready to be cut into tiles.
pub(super) struct Matrix<'a> {
    pub name: &'static str,
    pub parts: Vec<Part<'a>>,
    /// Rows in the order of the engine: part and row, or padding. A multiple of Q.
    pub order: Vec<Option<(usize, usize)>>,
    /// Mode of the epilogue after the last round.
    pub mode: u32,
    /// Words that a tile holds a multiple of.
    pub unit: usize,
    /// Real columns of the result; for RoPE all.
    pub result: usize,
    /// Pairs of words in a head, for RoPE.
    pub rope_words: usize,
    pub rounds: Vec<Round>,
    /// Tiles that are not cut evenly.
    cuts: Option<Vec<Range<usize>>>,
}

impl<'a> Matrix<'a> {
    fn new(
        shape: &DeviceShape,
        name: &'static str,
        parts: Vec<Part<'a>>,
        order: Vec<Option<(usize, usize)>>,
        mode: u32,
        unit: usize,
        result: usize,
    ) -> Self {
        let rounds = rounds(shape, &parts);
        Matrix { name, parts, order, mode, unit, result, rope_words: 0, rounds, cuts: None }
    }

    /// Rows in their own order: v, o, down.
    pub fn natural(shape: &DeviceShape, name: &'static str, linear: &'a Linear, mode: u32) -> Self {
        let rows = linear.rows();
        let padded = rows.next_multiple_of(shape.rows);
        let order = (0..padded).map(|row| (row < rows).then_some((0, row))).collect();
        Self::new(shape, name, vec![Part::new(linear)], order, mode, 1, rows)
    }

    /// Words of gate and up by turns.
    pub fn gated(shape: &DeviceShape, gate: &'a Linear, up: &'a Linear, mode: u32) -> Self {
        let (rows, q) = (gate.rows(), shape.rows);
        let words = rows.div_ceil(q);
        let row = |word: usize, lane: usize| {
            let row = word / 2 * q + lane;
            (row < rows).then_some((word % 2, row))
        };
        let order = (0..2 * words).flat_map(|word| (0..q).map(move |lane| row(word, lane))).collect();
        Self::new(shape, "gate and up", vec![Part::new(gate), Part::new(up)], order, mode, 2, rows)
    }

    /// Heads whose halves come in words by turns, filled up to whole words: q and k.
    pub fn rotated(shape: &DeviceShape, name: &'static str, linear: &'a Linear, head_dim: usize) -> Self {
        let (half, q) = (head_dim / 2, shape.rows);
        let rope_words = half.div_ceil(q);
        let heads = linear.rows() / head_dim;
        let mut order = Vec::with_capacity(heads * 2 * rope_words * q);
        for head in 0..heads {
            for word in 0..2 * rope_words {
                order.extend((0..q).map(|lane| {
                    let element = word / 2 * q + lane;
                    (element < half).then_some((0, head * head_dim + word % 2 * half + element))
                }));
            }
        }
        let result = order.len();
        let mut matrix = Self::new(shape, name, vec![Part::new(linear)], order, epilogue::ROPE, 2 * rope_words, result);
        matrix.rope_words = rope_words;
        matrix
    }

    /// Cuts the rows into tiles of these heads, `unit` words each.
    pub fn cut(&mut self, heads: &[Range<usize>], unit: usize) {
        self.cuts = Some(heads.iter().map(|of| of.start * unit..of.end * unit).collect());
    }

    /// The rounds of a tile.
    pub fn items(&self, tile: &Range<usize>, place: usize) -> impl Iterator<Item = Item<'_, 'a>> {
        (0..self.rounds.len()).map(move |round| Item { matrix: self, tile: tile.clone(), place, round })
    }

    /// Segments of the longest round.
    fn segments(&self) -> usize {
        self.rounds.iter().map(|round| round.layout.segments().len()).max().unwrap_or(1)
    }

    /// Most words of a tile, by the ring where banks share weights.
    pub fn most_words(&self, shape: &DeviceShape) -> usize {
        if shape.banks == 1 {
            return shape.tile_words();
        }
        shape.shared_words(self.segments()).clamp(self.unit, shape.tile_words().max(self.unit))
    }

    /// Words of each tile: as few tiles as fit, of about equal size; where banks share weights, perhaps one fewer.
    pub fn tiles(&self, shape: &DeviceShape) -> Result<Vec<Range<usize>>, CompileError> {
        let (what, rows) = (format!("rows of the smallest tile of {}", self.name), self.unit * shape.rows);
        at_most(what, rows, shape.tile_rows, "choose a preset with a larger tile")?;
        let even = || {
            let words = self.order.len() / shape.rows;
            // sums of several rounds wait in the vector memory, which would need more room
            let limit = match shape.banks {
                2.. if !self.many_rounds() => shape.shared_tile(words, self.unit, self.segments()),
                _ => self.most_words(shape),
            };
            tiles(words, self.unit, limit)
        };
        Ok(self.cuts.clone().unwrap_or_else(even))
    }

    /// Whether the weights of every round of every tile fit the ring, so that they can come once more.
    pub fn fits_ring(&self, shape: &DeviceShape) -> bool {
        let segments = self.segments();
        let words = self.tiles(shape).unwrap_or_default().iter().map(Range::len).max().unwrap_or(0);
        words * segments <= shape.buffer_words && segments <= shape.segments / shape.banks
    }

    /// Whether each tile ends with a head.
    pub fn cut_at_heads(&self) -> bool {
        self.cuts.is_some()
    }

    /// Whether sums of planes wait in the vector memory.
    pub fn many_rounds(&self) -> bool {
        self.rounds.len() > 1
    }

    pub fn bias(&self) -> bool {
        self.parts.iter().any(|part| part.linear.bias.is_some())
    }

    /// Whether padding must be zero in the result though no mask covers it.
    fn zero_padding(&self) -> bool {
        self.mode == epilogue::ROPE
    }

    /// Trits of the rows of a tile, `[rows, cols]`.
    pub fn trits(&self, rows: Range<usize>, round: &Round) -> Vec<i8> {
        let cols = round.layout.cols;
        let mut trits = vec![0; rows.len() * cols];
        for (out, source) in trits.chunks_exact_mut(cols).zip(&self.order[rows]) {
            if let Some((part, row)) = source
                && round.parts.contains(part)
            {
                self.parts[*part].linear.planes[round.plane].trits.unpack_row(*row, out);
            }
        }
        trits
    }

    /// Scales of the rows of a tile; `None` where any number will do.
    pub fn scales(&self, rows: Range<usize>, round: &Round) -> Vec<Option<f32>> {
        let sherry = round.layout.sherry;
        let scale = |source: &Option<(usize, usize)>| match source {
            Some((part, row)) if round.parts.contains(part) => Some(self.parts[*part].scales[round.plane].row[*row]),
            // Sherry has no code of zeros: these rows hold something that must not count
            Some(_) if sherry => Some(0.0),
            None if sherry && self.zero_padding() => Some(0.0),
            _ => None,
        };
        self.order[rows].iter().map(scale).collect()
    }

    /// Biases of the rows of a tile.
    pub fn biases(&self, rows: Range<usize>) -> impl Iterator<Item = f32> {
        let bias = |source: &Option<(usize, usize)>| {
            let (part, row) = (*source)?;
            Some(self.parts[part].linear.bias.as_ref()?[row])
        };
        self.order[rows].iter().map(move |source| bias(source).unwrap_or(0.0))
    }

    pub fn grouped(&self, round: &Round) -> bool {
        round.parts.iter().any(|&part| !self.parts[part].scales[round.plane].multipliers.is_empty())
    }

    /// Multiplier of a row for the columns of a segment.
    pub fn multiplier(&self, row: usize, round: &Round, segment: &Range<usize>) -> u8 {
        let layout = &round.layout;
        match self.order[row] {
            Some((part, row)) if round.parts.contains(&part) => {
                let scale = &self.parts[part].scales[round.plane];
                scale.multiplier(row, segment.start / layout.group_cols, layout.cols) as u8
            }
            _ => 0,
        }
    }
}

/// Cuts words into as few tiles as fit, of about equal size, each a multiple of `unit`.
pub(super) fn tiles(words: usize, unit: usize, limit: usize) -> Vec<Range<usize>> {
    let most = (limit / unit).max(1);
    let units = words / unit;
    let size = units.div_ceil(units.div_ceil(most)) * unit;
    (0..words).step_by(size).map(|first| first..(first + size).min(words)).collect()
}

/// Tiles of the head: as few as fit; the last one is small if it can be, for nothing hides its epilogue.
pub(super) fn head_tiles(shape: &DeviceShape, vocab: usize) -> Vec<Range<usize>> {
    let mut all = tiles(vocab.div_ceil(shape.rows), 1, shape.tile_words());
    let least = shape.build_words();
    if let Some(last) = all.last_mut().filter(|last| last.len() >= 2 * least) {
        let (start, end) = (last.end - least, last.end);
        last.end = start;
        all.push(start..end);
    }
    all
}

/// Plane by plane; parts share a round if they read the activations alike.
fn rounds(shape: &DeviceShape, parts: &[Part<'_>]) -> Vec<Round> {
    let planes = parts.iter().map(|part| part.linear.planes.len()).max().unwrap_or(0);
    let mut rounds: Vec<Round> = Vec::new();
    for plane in 0..planes {
        let first = rounds.len();
        for (number, part) in parts.iter().enumerate().filter(|(_, part)| plane < part.linear.planes.len()) {
            let layout = part.layout(shape, plane);
            let same = |round: &&mut Round| {
                round.layout == layout && parts[round.parts[0]].linear.input_norm == part.linear.input_norm
            };
            match rounds[first..].iter_mut().find(same) {
                Some(round) => round.parts.push(number),
                None => rounds.push(Round { plane, parts: vec![number], layout }),
            }
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_even_and_whole() {
        assert_eq!(tiles(10, 1, 4), [0..4, 4..8, 8..10]);
        assert_eq!(tiles(12, 2, 5), [0..4, 4..8, 8..12]);
        assert_eq!(tiles(6, 6, 6), vec![0..6; 1]);
        assert_eq!(tiles(17, 1, 100), vec![0..17; 1]);
    }

    #[test]
    fn segments_end_with_groups() {
        let layout = Layout { sherry: false, cols: 25, seg_cols: 6, group_cols: 10 };
        assert_eq!(layout.segments(), [0..6, 6..10, 10..16, 16..20, 20..25]);
        let plain = Layout { group_cols: 25, seg_cols: 12, ..layout };
        assert_eq!(plain.segments(), [0..12, 12..24, 24..25]);
    }
}
