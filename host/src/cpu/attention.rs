//! Causal attention of a few queries over one head's cached keys and values.

use super::{
    buffer::Buffer,
    isa::Isa,
    kv::{Cache, PAGE},
    softmax::{self, Halves},
    vector::Tables,
};
use spec::numerics::f32ops::{div, from_i64};
use std::ops::Range;

/// Most queries that any instruction set serves at a time.
pub const QUERIES: usize = 16;

/// Most queries, of heads of `dim` rows, that `isa` serves at a time.
pub fn most_queries(isa: Isa, dim: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx && dim <= super::amx::Queries::MAX_DIM {
        return QUERIES;
    }
    let _ = (isa, dim);
    8
}

/// From this many queries on, the tile unit beats the vector unit.
#[cfg(target_arch = "x86_64")]
const AMX_QUERIES: usize = 5;

/// Pages whose sums fit 31 bits: 65,536 positions of at most 255 * 127.
const WIDEN_PAGES: usize = 65_536 / PAGE;

/// A query of the head: codes, scale times the score factor, and the positions it sees.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Codes, `[head_dim]`.
    pub codes: &'a [i8],
    /// The query's scale times [`spec::numerics::softmax::score_factor`].
    pub scale: f32,
    /// Visible positions, at least 1.
    pub visible: usize,
}

/// Buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    #[cfg(target_arch = "x86_64")]
    tiles: super::amx::Queries,
    words: Vec<i32>,
    dots: Buffer<i32>,
    low: Buffer<u8>,
    high: Buffer<u8>,
    sums: Buffer<i32>,
    wide: Vec<i64>,
    out: Vec<f32>,
}

/// Serves `queries` (at most [`most_queries`]) from head `head` of layer `layer`; calls `sink(query, result)`.
pub fn attend(
    isa: Isa,
    tables: &Tables,
    cache: &Cache,
    (layer, head): (usize, usize),
    queries: &[Query<'_>],
    scratch: &mut Scratch,
    mut sink: impl FnMut(usize, &[f32]),
) {
    let m = queries.len();
    let dim = queries[0].codes.len();
    let padded = dim.next_multiple_of(16);
    let visible = queries.iter().map(|q| q.visible).max().unwrap_or(1);
    let stride = (visible.div_ceil(64) | 1) * 64; // odd, so that queries do not evict each other
    let pages = visible.div_ceil(PAGE);
    assert!(m <= most_queries(isa, dim), "{m} queries");
    #[cfg(target_arch = "x86_64")]
    let tiles = &mut scratch.tiles;
    #[cfg(target_arch = "x86_64")]
    let unit = (isa == Isa::Amx && m >= AMX_QUERIES && padded <= super::amx::Queries::MAX_DIM)
        // SAFETY: the set is only offered where the unit is enabled.
        .then(|| unsafe { super::amx::Tiles::new(m) });
    let Scratch { words, dots, low, high, sums, wide, out, .. } = scratch;

    #[cfg(target_arch = "x86_64")]
    let with_unit = unit.is_some();
    #[cfg(not(target_arch = "x86_64"))]
    let with_unit = false;
    let mut minus = [0i32; QUERIES]; // keys are stored with 128 added
    for (minus, query) in minus.iter_mut().zip(queries) {
        *minus = -128 * softmax::sum(isa, query.codes);
    }
    dots.resize(m * stride);
    let blocks = |page: usize| (visible - page * PAGE).min(PAGE).div_ceil(16);
    #[cfg(target_arch = "x86_64")]
    if let Some(unit) = &unit {
        for (q, query) in queries.iter().enumerate() {
            tiles.set(q, query.codes, minus[q]);
        }
        for page in 0..pages {
            let codes = cache.head(layer, head, page).codes;
            // SAFETY: `unit` was made here, for so many queries.
            unsafe { unit.key_products(codes, padded, blocks(page), tiles, (&mut dots[page * PAGE..], stride)) };
        }
    }
    if !with_unit {
        interleave(queries, padded, words);
        for page in 0..pages {
            let keys = &cache.head(layer, head, page).keys[..blocks(page) * 16 * padded];
            key_products(isa, keys, words, &minus[..m], stride, &mut dots[page * PAGE..]);
        }
    }

    low.resize(m * stride);
    high.resize(m * stride);
    let mut scales = [0.0f32; QUERIES];
    let common = queries.iter().map(|q| q.visible).min().unwrap_or(0);
    let common = (common, largest_scale(isa, cache, (layer, head), 0..common, 0.0));
    for (q, query) in queries.iter().enumerate() {
        let dots = &mut dots[q * stride..q * stride + query.visible];
        let value_scale = largest_scale(isa, cache, (layer, head), common.0..query.visible, common.1);
        scales[q] = softmax(isa, tables, cache, (layer, head), (query.scale, value_scale), dots);
        let (low, high) = (&mut low[q * stride..(q + 1) * stride], &mut high[q * stride..(q + 1) * stride]);
        softmax::halves(isa, dots, low, high);
        low[query.visible..].fill(0); // positions that only other queries see
        high[query.visible..].fill(0);
    }

    sums.resize(m * 2 * padded);
    sums.fill(0);
    wide.clear();
    wide.resize(m * padded, 0);
    for first in (0..pages).step_by(WIDEN_PAGES) {
        let end = (first + WIDEN_PAGES).min(pages);
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = &unit {
            let values = |page: usize| cache.head(layer, head, first + page).values;
            let (start, positions) = (first * PAGE, visible.min(end * PAGE) - first * PAGE);
            // SAFETY: `unit` was made here, for so many queries.
            unsafe { unit.value_sums(values, positions, (&low[start..], &high[start..], stride), padded, sums) };
        }
        for page in first..if with_unit { first } else { end } {
            let blocks = (visible - page * PAGE).min(PAGE).div_ceil(4);
            let values = &cache.head(layer, head, page).values[..blocks * 4 * padded];
            value_sums(isa, values, (&low[page * PAGE..], &high[page * PAGE..], stride), m, padded, sums);
        }
        for (wide, sums) in wide.chunks_exact_mut(padded).zip(sums.chunks_exact_mut(2 * padded)) {
            let (low, high) = sums.split_at(padded);
            softmax::widen(isa, low, high, wide);
            sums.fill(0);
        }
    }
    out.resize(dim, 0.0);
    for (q, scale) in scales.iter().enumerate().take(m) {
        softmax::scale_sums(isa, &wide[q * padded..q * padded + dim], *scale, out);
        sink(q, out);
    }
}

/// The queries' codes as words of four, `[padded / 4][queries]`.
fn interleave(queries: &[Query<'_>], padded: usize, words: &mut Vec<i32>) {
    words.clear();
    words.resize(padded / 4 * queries.len(), 0);
    for (q, query) in queries.iter().enumerate() {
        let (fours, rest) = query.codes.as_chunks::<4>();
        let last: [i8; 4] = std::array::from_fn(|i| rest.get(i).copied().unwrap_or(0));
        let fours = fours.iter().chain((!rest.is_empty()).then_some(&last));
        for (word, four) in words[q..].iter_mut().step_by(queries.len()).zip(fours) {
            *word = i32::from_le_bytes(four.map(|code| code as u8));
        }
    }
}

/// The largest scale of the values at `positions`, at least `least`.
fn largest_scale(isa: Isa, cache: &Cache, (layer, head): (usize, usize), positions: Range<usize>, least: f32) -> f32 {
    let mut largest = least;
    let mut start = positions.start;
    while start < positions.end {
        let page = start / PAGE;
        let end = positions.end.min((page + 1) * PAGE);
        let scales = &cache.head(layer, head, page).value_scales[start - page * PAGE..end - page * PAGE];
        largest = largest.max(softmax::largest(isa, scales));
        start = end;
    }
    largest
}

/// Turns a query's dot products into weights; returns what one unit of the weighted sum is worth.
/// `query_scale` and the largest scale of the visible values come first.
fn softmax(
    isa: Isa,
    tables: &Tables,
    cache: &Cache,
    (layer, head): (usize, usize),
    (query_scale, value_scale): (f32, f32),
    dots: &mut [i32],
) -> f32 {
    let mut top = i32::MIN;
    for (page, dots) in dots.chunks_mut(PAGE).enumerate() {
        let head = cache.head(layer, head, page);
        top = top.max(softmax::scores(isa, dots, head.key_scales, query_scale));
    }
    let inverse = div(1.0, value_scale);
    let mut sum = 0;
    for (page, dots) in dots.chunks_mut(PAGE).enumerate() {
        let head = cache.head(layer, head, page);
        sum += softmax::weights(isa, tables, dots, head.value_scales, top, inverse);
    }
    div(value_scale, from_i64(sum))
}

/// `dots[q * stride + t]` for the positions of `keys`.
fn key_products(isa: Isa, keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: these sets are only offered where the processor has their features.
        Isa::Avx512 | Isa::Amx => unsafe { super::avx512::key_products(keys, words, minus, stride, dots) },
        _ => softmax::key_products(isa, keys, words, minus, stride, dots),
    }
}

/// Adds `weight * value` of the positions of `values` to `sums[q][low, high][dim]`. `weights` are the
/// low and high bytes and how far the queries are apart.
fn value_sums(isa: Isa, values: &[u8], weights: Halves<'_>, queries: usize, padded: usize, sums: &mut [i32]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: these sets are only offered where the processor has their features.
        Isa::Avx512 | Isa::Amx => unsafe {
            super::avx512::value_sums(values, weights, queries, padded, sums);
        },
        _ => softmax::value_sums(isa, values, weights, queries, padded, sums),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{kv::Geometry, testing::Random};
    use spec::model::linear::dot;
    use spec::numerics::softmax::{combine, score_factor, weights as want_weights};

    #[test]
    fn every_instruction_set_attends_alike() {
        let tables = Tables::default();
        for isa in Isa::available() {
            for seed in 0..80 {
                let mut random = Random::new(seed);
                let dim = [2, 6, 16, 64, 80, 96, 128, 130][random.below(8)];
                let longest = [300, 40, 700][random.below(3)];
                let len = 1 + random.below(longest);
                let (layer, head) = (1, random.below(2));
                let mut cache = Cache::new(Geometry { layers: 2, heads: 2, dim });
                cache.reserve(len).unwrap();
                let keys: Vec<Vec<i8>> = (0..len).map(|_| random.codes(dim)).collect();
                let values: Vec<Vec<i8>> = (0..len).map(|_| random.codes(dim)).collect();
                let mut scale = || random.unit().abs().max(0.01) * 0.02;
                let ks: Vec<f32> = (0..len).map(|_| scale()).collect();
                let vs: Vec<f32> = (0..len).map(|_| scale()).collect();
                let writer = cache.writer();
                for t in 0..len {
                    // SAFETY: one thread.
                    unsafe {
                        writer.push_key((layer, head, t), &keys[t], ks[t]);
                        writer.push_value((layer, head, t), &values[t], vs[t]);
                    }
                }
                drop(writer);
                cache.len = len;
                let count = 1 + random.below(most_queries(isa, dim));
                let codes: Vec<Vec<i8>> = (0..count).map(|_| random.codes(dim)).collect();
                let queries: Vec<Query> = codes
                    .iter()
                    .map(|codes| Query { codes, scale: 0.01 * score_factor(dim), visible: 1 + random.below(len) })
                    .collect();
                let mut seen = 0;
                attend(isa, &tables, &cache, (layer, head), &queries, &mut Scratch::default(), |q, result| {
                    let n = queries[q].visible;
                    let dots: Vec<i32> = keys[..n].iter().map(|k| dot(&codes[q], k)).collect();
                    let weights = want_weights(&Default::default(), &dots, &ks[..n], &vs[..n], queries[q].scale);
                    let mut want = vec![0.0; dim];
                    combine(&weights, values[..n].iter().map(|v| v.as_slice()), &mut want);
                    assert_eq!(result, want, "{} seed {seed} query {q} of {count}, dim {dim}, {n}/{len}", isa.name());
                    seen += 1;
                });
                assert_eq!(seen, count);
            }
        }
    }
}
