//! Descriptors and the streams they consume, written together so that their orders agree.
//!
//! What waits for what is found by [`super::hazards`]; `tests::hazards` checks every program once more.
//!
//! With two banks every step is emitted for one active bank after the other: the tile's weights are held by the ring for the
//! second one, and while a bank's tile is in the engine, the other bank's vectors are normed and quantised.

use super::error::{CompileError, at_most, multiple};
use super::hazards::Hazards;
use super::matrix::{Layout, Matrix};
use super::memory::VectorMap;
use super::packets::{PacketWriter, Trits, WeightRun};
use spec::numerics::f32ops::flush;
use spec::program::{Descriptor, DeviceShape, LABEL_NONE, Op, epilogue, quant, stream};
use std::ops::Range;

/// A norm: weights and epsilon.
pub(super) type Norm<'a> = Option<(&'a [f32], f32)>;

/// A vector that matrices read: where it lies and the norm before them.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub src: usize,
    pub cols: usize,
    pub norm: Norm<'a>,
}

/// One round of a tile of a matrix.
pub(super) struct Item<'m, 'a> {
    pub matrix: &'m Matrix<'a>,
    pub tile: Range<usize>,
    /// First column word of the first bank's result.
    pub place: usize,
    /// Number of the round.
    pub round: usize,
}

impl Item<'_, '_> {
    /// Words of weights.
    fn words(&self) -> usize {
        self.tile.len() * self.matrix.rounds[self.round].layout.segments().len()
    }
}

/// How rounds of several banks take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Rounds of a bank before the next bank's activations.
    pub ahead: usize,
    /// The last rounds that are held together are the most: what follows them is hidden behind them. Otherwise the
    /// first ones are, behind which the next bank's activations are hidden.
    pub large_last: bool,
}

/// What the activation buffer holds: layout, and the norm of its own that a layer put before.
type Held = (Layout, Option<(Vec<f32>, f32)>);

/// Words of streams up to some place in the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Of each weight run.
    pub weights: Vec<u64>,
    pub rows: u64,
    pub norms: u64,
    pub mults: u64,
}

/// A program under construction. `Stream` descriptors are entered later, when lengths are known.
pub(super) struct Emitter<'a> {
    pub shape: &'a DeviceShape,
    /// Banks of slots that the program works on.
    pub banks: usize,
    /// Those that what comes is emitted for: all, or the last one where nobody needs the others' results.
    pub active: Range<usize>,
    /// Places of the first bank; those of the second lie as far from the start of its part.
    map: VectorMap,
    pub label: u16,
    /// Weights are written, not only counted.
    stored: bool,
    hazards: Hazards,
    pub program: Vec<Descriptor>,
    /// Where weight runs start.
    pub starts: Vec<usize>,
    pub runs: Vec<WeightRun>,
    pub rows: PacketWriter,
    pub norms: PacketWriter,
    pub mults: PacketWriter,
    pub counts: Counts,
    /// Of each bank what the activation buffer holds, and whether the vector is normed.
    act: Vec<Option<Held>>,
    normed: Vec<bool>,
    /// Descriptors put off until the first active bank's first round of the next matrix.
    late: Vec<Descriptor>,
    putting_off: bool,
    /// The program that ends with the last layer's keys and values.
    pub body: Option<(Vec<Descriptor>, Counts)>,
}

impl<'a> Emitter<'a> {
    /// A program for one bank, which also writes the weights, or for several that share them.
    pub fn new(shape: &'a DeviceShape, map: VectorMap, banks: usize) -> Self {
        let writer = || PacketWriter::new(shape);
        Emitter {
            shape,
            banks,
            active: 0..banks,
            map,
            label: LABEL_NONE,
            stored: banks == 1,
            hazards: Hazards::default(),
            program: Vec::new(),
            starts: Vec::new(),
            runs: Vec::new(),
            rows: writer(),
            norms: writer(),
            mults: writer(),
            counts: Counts::default(),
            act: vec![None; banks],
            normed: vec![false; banks],
            late: Vec::new(),
            putting_off: false,
            body: None,
        }
    }

    /// Places of a bank.
    pub fn map(&self, bank: usize) -> VectorMap {
        self.map.moved(self.offset(bank))
    }

    /// Column words before a bank's: each bank has its part of the vector memory, with ports of its own.
    fn offset(&self, bank: usize) -> usize {
        bank * (self.shape.vm_words / self.shape.banks)
    }

    /// First segment of a bank's activations.
    pub fn segment(&self, bank: usize) -> usize {
        bank * self.shape.segments / self.banks
    }

    /// Appends a descriptor and lets it wait for what it needs.
    pub fn emit(&mut self, op: Op, fields: &[(&str, u64)]) -> Result<(), CompileError> {
        let mut d = Descriptor::new(op, 0, self.label);
        for &(name, value) in fields {
            d.set(name, value)?;
        }
        match self.putting_off {
            true => self.late.push(d),
            false => self.enter(d),
        }
        Ok(())
    }

    fn enter(&mut self, mut d: Descriptor) {
        self.hazards.enter(&mut d, self.shape);
        self.program.push(d);
    }

    /// What `then` emits is put off until the first bank's first round of the next matrix is emitted: that round does not
    /// need it and keeps the engine busy meanwhile.
    pub fn put_off(&mut self, then: impl FnOnce(&mut Self) -> Result<(), CompileError>) -> Result<(), CompileError> {
        self.putting_off = true;
        let result = then(self);
        self.putting_off = false;
        result
    }

    /// Where all keys and values are written: a pass whose logits nobody wants ends here, and what follows serves the
    /// logits of the last bank.
    pub fn end_body(&mut self) {
        let (mut body, mut hazards) = (self.program.clone(), self.hazards.clone());
        for mut d in self.late.iter().copied() {
            hazards.enter(&mut d, self.shape);
            body.push(d);
        }
        self.body = Some((body, self.counts.clone()));
        self.active = self.banks - 1..self.banks;
    }

    /// The vector that matrices read has changed, in all banks.
    pub fn new_input(&mut self) {
        self.act.fill(None);
        self.normed.fill(false);
    }

    /// The weights that follow are of this format.
    pub fn select(&mut self, sherry: bool) -> Result<(), CompileError> {
        if self.runs.last().is_none_or(|run| run.sherry != sherry) {
            self.starts.push(self.program.len());
            self.runs.push(WeightRun::new(self.shape, sherry));
            self.counts.weights.push(0);
            self.emit(Op::Stream, &[("stream", u64::from(stream::WEIGHT)), ("sherry", u64::from(sherry))])?;
        }
        Ok(())
    }

    fn norm_words(&mut self, weights: &[f32], words: usize) {
        let padded = words * self.shape.lanes();
        self.norms.push_f32((0..padded).map(|column| weights.get(column).map_or(0.0, |&weight| flush(weight))));
        self.counts.norms += words as u64;
    }

    fn norm_fields(norm: Norm<'_>) -> [(&'static str, u64); 3] {
        match norm {
            Some((weights, eps)) => {
                let count = weights.len() as f32;
                [("norm", 1), ("count", u64::from(count.to_bits())), ("eps", u64::from(eps.to_bits()))]
            }
            None => [("norm", 0), ("count", 0), ("eps", 0)],
        }
    }

    /// Activations of `input` to a bank's part of the activation buffer, unless they are there already.
    pub fn activate(
        &mut self,
        bank: usize,
        input: Input<'_>,
        layout: Layout,
        own: Norm<'_>,
    ) -> Result<(), CompileError> {
        let held: Held = (layout, own.map(|(weights, eps)| (weights.to_vec(), eps)));
        if self.act[bank].as_ref() == Some(&held) {
            return Ok(());
        }
        at_most("columns of a layer", layout.cols, self.shape.max_cols, "choose a preset with more columns")?;
        if layout.sherry && layout.group_cols != layout.cols {
            multiple("columns of a group of Sherry weights", layout.group_cols, 4, "regroup the scales")?;
        }
        let advice = "choose a preset with more segments, or larger groups of scales";
        at_most("segments of a layer", layout.segments().len(), self.shape.segments / self.banks, advice)?;
        let words = input.cols.div_ceil(self.shape.lanes());
        let offset = self.offset(bank);
        let mut src = input.src + offset;
        let of_bank = ("bank", bank as u64);
        let norm = match (own, input.norm) {
            (Some(own), Some((weights, eps))) => {
                let normed = self.map.norm + offset;
                if !self.normed[bank] {
                    self.norm_words(weights, words);
                    let [norm, count, eps] = Self::norm_fields(Some((weights, eps)));
                    let place = [("src", src as u64), ("dst", normed as u64), ("words", words as u64)];
                    let fields = [("mode", u64::from(quant::NORM)), ("vectors", 1), of_bank, norm, count, eps];
                    self.emit(Op::Quant, &[&fields[..], &place].concat())?;
                    self.normed[bank] = true;
                }
                src = normed;
                Some(own)
            }
            (own, outer) => own.or(outer),
        };
        if let Some((weights, _)) = norm {
            self.norm_words(weights, words);
        }
        let fields = [
            ("mode", u64::from(quant::ACT)),
            of_bank,
            ("act", self.segment(bank) as u64),
            ("sherry", u64::from(layout.sherry)),
            ("src", src as u64),
            ("words", words as u64),
            ("vectors", 1),
            ("cols", layout.cols as u64),
            ("seg_cols", layout.seg_cols as u64),
            ("group_cols", layout.group_cols as u64),
        ];
        self.emit(Op::Quant, &[&fields[..], &Self::norm_fields(norm)].concat())?;
        self.act[bank] = Some(held);
        Ok(())
    }

    /// Rounds of a bank before the next bank's activations: fewer than tiles that wait in the engine's queues.
    const AHEAD: usize = 4;

    /// All tiles of a matrix for all banks; `place` is the first column word of the first bank's result.
    pub fn matrix(&mut self, matrix: &Matrix<'_>, input: Input<'_>, place: usize) -> Result<(), CompileError> {
        let mut items = Vec::new();
        for tile in matrix.tiles(self.shape)? {
            items.extend(matrix.items(&tile, place));
        }
        self.items(&items, input, Order { ahead: Self::AHEAD, large_last: false }, |_, _, _| Ok(()))
    }

    /// Rounds of tiles for all banks. Their weights come once for the first bank, then once more for each other: as many
    /// rounds at once as the ring holds, for what follows a bank's last round, and what the next bank needs before its
    /// first one, is hidden behind the other bank's rounds. `then` follows each round of each bank.
    pub fn items(
        &mut self,
        items: &[Item<'_, '_>],
        input: Input<'_>,
        order: Order,
        mut then: impl FnMut(&mut Self, usize, usize) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        for Range { start: first, end } in self.together(items, order.large_last) {
            for bank in self.active.clone() {
                for (number, item) in items.iter().enumerate().take(end).skip(first) {
                    if bank == self.active.start {
                        self.select(item.matrix.rounds[item.round].layout.sherry)?;
                    }
                    self.activate_for(bank, input, item)?;
                    self.round(item, bank, number + 1 == end)?;
                    if number + 1 == end.min(first + order.ahead) {
                        for d in std::mem::take(&mut self.late) {
                            self.enter(d);
                        }
                        if bank + 1 < self.active.end {
                            self.activate_for(bank + 1, input, &items[first])?;
                        }
                    }
                    then(self, bank, number)?;
                }
            }
        }
        Ok(())
    }

    /// Activations for a round.
    fn activate_for(&mut self, bank: usize, input: Input<'_>, item: &Item<'_, '_>) -> Result<(), CompileError> {
        let round = &item.matrix.rounds[item.round];
        let own = item.matrix.parts[round.parts[0]].linear.input_norm.as_ref();
        self.activate(bank, input, round.layout, own.map(|(weights, eps)| (weights.as_slice(), *eps)))
    }

    /// Rounds that are held together: as many as fit and have one format, counted from the first one on or from the last one
    /// back.
    fn together(&self, items: &[Item<'_, '_>], from_last: bool) -> Vec<Range<usize>> {
        let limit = if self.active.len() == 1 { 0 } else { self.shape.buffer_words / 16 * 15 };
        let mut order: Vec<usize> = (0..items.len()).collect();
        if from_last {
            order.reverse();
        }
        let (mut blocks, mut words) = (Vec::<Range<usize>>::new(), 0);
        let sherry = |number: usize| items[number].matrix.rounds[items[number].round].layout.sherry;
        for number in order {
            words += items[number].words();
            match blocks.last_mut() {
                Some(block) if words <= limit && sherry(block.start) == sherry(number) => {
                    *block = block.start.min(number)..block.end.max(number + 1)
                }
                _ => {
                    blocks.push(number..number + 1);
                    words = items[number].words();
                }
            }
        }
        if from_last {
            blocks.reverse();
        }
        blocks
    }

    /// One round of one tile.
    fn round(&mut self, item: &Item<'_, '_>, bank: usize, last_of_bank: bool) -> Result<(), CompileError> {
        let Item { matrix, place, round: number, .. } = *item;
        let (q, tile) = (self.shape.rows, &item.tile);
        let (rows, round, last) = (tile.start * q..tile.end * q, &matrix.rounds[number], matrix.rounds.len() - 1);
        let mode = if number == last { matrix.mode } else { epilogue::STORE };
        let paired = matches!(mode, epilogue::SILU | epilogue::RELU2 | epilogue::ROPE);
        let segments = round.layout.segments();
        let scales = matrix.scales(rows.clone(), round);
        let uniform = uniform(&scales, q, paired);
        let (bias, grouped) = (number == last && matrix.bias(), matrix.grouped(round));
        self.push_rows(&scales, uniform.is_none(), bias.then(|| matrix.biases(rows.clone()).collect()));
        if grouped {
            for segment in &segments {
                rows.clone().for_each(|row| self.mults.push(matrix.multiplier(row, round, segment)));
            }
            self.counts.mults += (segments.len() * tile.len()) as u64;
        }
        if bank == self.active.start {
            self.push_plane(&segments, tile.len(), round.layout.cols, || matrix.trits(rows, round));
        }
        let halves = if matches!(mode, epilogue::SILU | epilogue::RELU2) { 2 } else { 1 };
        let first = tile.start / halves * q;
        let (offset, planes) = (self.offset(bank), self.map(bank).planes);
        let (dst, cols) = match number == last {
            true => (place + offset + first / self.shape.lanes(), matrix.result - first),
            false => (planes, tile.len() * q),
        };
        let (a, b) = uniform.unwrap_or((0.0, 0.0));
        self.emit(
            Op::Linear,
            &[
                ("bank", bank as u64),
                ("act", self.segment(bank) as u64),
                ("hold", u64::from(bank + 1 < self.active.end)),
                ("again", u64::from(bank + 1 < self.active.end && last_of_bank)),
                ("total", (tile.len() * segments.len()) as u64),
                ("words", tile.len() as u64),
                ("segs", segments.len() as u64),
                ("planes", 1),
                ("grouped", u64::from(grouped)),
                ("sherry", u64::from(round.layout.sherry)),
                ("mode", u64::from(mode)),
                ("accumulate", u64::from(number > 0)),
                ("bias", u64::from(bias)),
                ("row_scale", u64::from(uniform.is_none())),
                ("rope_words", matrix.rope_words as u64),
                ("scale_a", u64::from(a.to_bits())),
                ("scale_b", u64::from(b.to_bits())),
                ("dst", dst as u64),
                ("acc", if number > 0 { planes as u64 } else { 0 }),
                ("cols", cols.min(tile.len() * q / halves) as u64),
            ],
        )
    }

    /// Words of the row stream: scales, then biases of each word.
    pub fn push_rows(&mut self, scales: &[Option<f32>], row_scale: bool, biases: Option<Vec<f32>>) {
        let q = self.shape.rows;
        for (word, scales) in scales.chunks(q).enumerate() {
            if row_scale {
                self.rows.push_f32(scales.iter().map(|scale| scale.unwrap_or(0.0)));
                self.counts.rows += 1;
            }
            if let Some(biases) = &biases {
                let biases = &biases[word * q..][..q];
                self.rows.push_f32(biases.iter().map(|&bias| flush(bias)));
                self.counts.rows += 1;
            }
        }
    }

    /// A plane of a tile of `words` words to the weight stream, `[rows, cols]` trits.
    pub fn push_plane(
        &mut self,
        segments: &[Range<usize>],
        words: usize,
        cols: usize,
        trits: impl FnOnce() -> Vec<i8>,
    ) {
        let (Some(run), Some(count)) = (self.runs.last_mut(), self.counts.weights.last_mut()) else { return };
        match self.stored {
            true => run.push(&Trits { rows: &trits(), cols, segments }),
            false => run.words += (words * segments.len()) as u64,
        }
        *count = run.words;
    }
}

/// The scales of even and of odd words (of all words, unless paired) if one number will do for each.
fn uniform(scales: &[Option<f32>], q: usize, paired: bool) -> Option<(f32, f32)> {
    let one = |odd: Option<usize>| -> Option<f32> {
        let words = scales.chunks(q).enumerate().filter(|(word, _)| odd.is_none_or(|odd| word % 2 == odd));
        let mut all = words.flat_map(|(_, scales)| scales.iter().flatten());
        let first = *all.next().unwrap_or(&0.0);
        all.all(|scale| scale.to_bits() == first.to_bits()).then_some(first)
    };
    match paired {
        true => Some((one(Some(0))?, one(Some(1))?)),
        false => one(None).map(|scale| (scale, scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::uniform;

    #[test]
    fn scales_of_words() {
        let (a, b) = (Some(1.5), Some(2.5));
        assert_eq!(uniform(&[a, a, b, None], 2, true), Some((1.5, 2.5)));
        assert_eq!(uniform(&[a, a, b, b], 2, false), None);
        assert_eq!(uniform(&[a, a, None, a], 2, false), Some((1.5, 1.5)));
        assert_eq!(uniform(&[None; 4], 2, true), Some((0.0, 0.0)));
    }
}
