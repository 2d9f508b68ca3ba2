//! What follows tiles of keys, values and queries: codes of their heads, and attention.

use super::emit::Emitter;
use super::error::CompileError;
use super::matrix::Matrix;
use super::memory::{CacheGeometry, Heads};
use spec::model::ModelConfig;
use spec::numerics::softmax::score_factor;
use spec::program::{DeviceShape, Op, quant};
use std::ops::Range;

/// Codes of a bank's last tile, and queries with their codes, that are not emitted yet.
#[derive(Clone, Default)]
pub(super) struct Late<'c> {
    codes: Option<&'c Codes>,
    /// Those whose attention comes next.
    pub ready: Option<&'c Codes>,
    /// Tiles of the bank so far.
    pub seen: usize,
}

impl<'c> Late<'c> {
    /// Behind a tile: attention of the tile before the last, codes of the last.
    pub fn step(
        &mut self,
        e: &mut Emitter<'_>,
        g: &Geometry<'_>,
        bank: usize,
        codes: &'c Option<Codes>,
    ) -> Result<(), CompileError> {
        self.attend(e, g, bank)?;
        self.codes(e, g, bank, codes)
    }

    pub fn attend(&mut self, e: &mut Emitter<'_>, g: &Geometry<'_>, bank: usize) -> Result<(), CompileError> {
        match self.ready.take().filter(|_| e.banks > 1) {
            Some(queries) => g.attend(e, queries, bank),
            None => Ok(()),
        }
    }

    pub fn codes(
        &mut self,
        e: &mut Emitter<'_>,
        g: &Geometry<'_>,
        bank: usize,
        codes: &'c Option<Codes>,
    ) -> Result<(), CompileError> {
        if let Some(last) = self.codes.take() {
            g.codes(e, last, bank)?;
            self.ready = Some(last);
        }
        self.codes = codes.as_ref();
        self.seen += 1;
        Ok(())
    }

    /// All that is left.
    pub fn finish(&mut self, e: &mut Emitter<'_>, g: &Geometry<'_>, bank: usize) -> Result<(), CompileError> {
        while self.codes.is_some() || self.ready.is_some() {
            self.step(e, g, bank, &None)?;
        }
        Ok(())
    }
}

/// Key/value heads whose queries make a tile, where banks share weights: as few as tables and attention units allow, for
/// attention of some heads runs beside the products of the next.
pub(super) fn head_groups(shape: &DeviceShape, c: &ModelConfig, q: &Matrix<'_>) -> Option<Vec<Range<usize>>> {
    let (unit, heads) = (q.unit * c.group(), c.kv_heads);
    let most = q.most_words(shape) / unit;
    if shape.banks == 1 || most == 0 {
        return None;
    }
    let least = shape.build_words().div_ceil(unit).max(shape.units);
    let count = (heads / least).max(heads.div_ceil(most)).max(1);
    let mut first = 0;
    let group = |number: usize| {
        let start = first;
        first += heads / count + usize::from(number < heads % count);
        start..first
    };
    Some((0..count).map(group).collect())
}

/// Codes that the quantiser makes of a tile's heads.
pub(super) enum Codes {
    Keys(Range<usize>),
    Values(Range<usize>),
    /// Queries of these key/value heads.
    Queries(Range<usize>),
}

/// What heads of a layer need to know.
pub(super) struct Geometry<'a> {
    pub c: &'a ModelConfig,
    pub heads: &'a Heads,
    pub cache: &'a CacheGeometry,
    /// Lines from a sequence's cache to the layer.
    pub layer: u64,
}

impl Geometry<'_> {
    /// Codes of a bank's heads.
    fn codes(&self, e: &mut Emitter<'_>, codes: &Codes, bank: usize) -> Result<(), CompileError> {
        let (map, c, heads, cache) = (e.map(bank), self.c, self.heads, self.cache);
        let vectors = |mode: u32, src: usize, words: usize, count: usize| {
            let place = [("src", src as u64), ("words", words as u64), ("vectors", count as u64)];
            [&[("mode", u64::from(mode)), ("bank", bank as u64)][..], &place].concat()
        };
        let kept = |mode: u32, src: usize, of: &Range<usize>, (words, beats): (usize, usize), offset: u64| {
            let skip = of.start as u64 * cache.kv_stride;
            let places = [
                ("kv_off", self.layer + offset + skip),
                ("kv_stride", cache.kv_stride),
                ("row_beats", beats as u64),
                ("scale_off", self.layer + cache.scale_off + skip),
            ];
            [&vectors(mode, src + of.start * words, words, of.len())[..], &places].concat()
        };
        let fields = match codes {
            Codes::Keys(of) => kept(quant::KEY, map.k, of, (heads.q_words, heads.k_beats), 0),
            Codes::Values(of) => kept(quant::VALUE, map.v, of, (heads.v_words, heads.v_beats), cache.v_off),
            Codes::Queries(of) => {
                let (first, count) = (of.start * c.group(), of.len() * c.group());
                let word = first * heads.q_words;
                let place = [("first", first as u64), ("dst", word as u64)];
                let factor = [("factor", u64::from(score_factor(c.head_dim).to_bits()))];
                [&vectors(quant::QUERY, map.q + word, heads.q_words, count)[..], &place, &factor].concat()
            }
        };
        e.emit(Op::Quant, &fields)
    }

    /// Attention of a bank's queries.
    pub fn attend(&self, e: &mut Emitter<'_>, codes: &Codes, bank: usize) -> Result<(), CompileError> {
        let Codes::Queries(of) = codes else { return Ok(()) };
        let (c, heads, cache) = (self.c, self.heads, self.cache);
        let (skip, first) = (of.start as u64 * cache.kv_stride, of.start * c.group());
        let dst = e.map(bank).q + first * heads.v_words;
        e.emit(
            Op::Attend,
            &[
                ("bank", bank as u64),
                ("kv_off", self.layer + skip),
                ("v_off", cache.v_off),
                ("scale_off", self.layer + cache.scale_off + skip),
                ("kv_stride", cache.kv_stride),
                ("kv_heads", of.len() as u64),
                ("group", c.group() as u64),
                ("q_words", heads.q_words as u64),
                ("k_beats", heads.k_beats as u64),
                ("v_beats", heads.v_beats as u64),
                ("v_words", heads.v_words as u64),
                ("dst", dst as u64),
                ("first", first as u64),
                ("q_first", (first * heads.q_words) as u64),
            ],
        )
    }
}
