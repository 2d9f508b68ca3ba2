//! Causal attention of a few queries over one head's cached keys and values.

use super::{
    isa::Isa,
    kv::{Cache, PAGE},
    softmax::{self, Halves},
    vector::Tables,
};
use spec::numerics::f32ops::{div, from_i64};
use std::ops::Range;

/// Most queries that are served at a time.
pub const QUERIES: usize = 8;

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
    words: Vec<i32>,
    dots: Vec<i32>,
    low: Vec<u8>,
    high: Vec<u8>,
    sums: Vec<i32>,
    wide: Vec<i64>,
    out: Vec<f32>,
}

/// Serves `queries` (at most [`QUERIES`]) from head `head` of layer `layer`; calls `sink(query, result)`.
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
    let stride = visible.next_multiple_of(16);
    let pages = visible.div_ceil(PAGE);
    let Scratch { words, dots, low, high, sums, wide, out } = scratch;

    interleave(queries, padded, words);
    let mut minus = [0i32; QUERIES]; // keys are stored with 128 added
    for (minus, query) in minus.iter_mut().zip(queries) {
        *minus = -128 * query.codes.iter().map(|&c| i32::from(c)).sum::<i32>();
    }
    dots.resize(m * stride, 0);
    for page in 0..pages {
        let blocks = (visible - page * PAGE).min(PAGE).div_ceil(16);
        let keys = &cache.head(layer, head, page).keys[..blocks * 16 * padded];
        key_products(isa, keys, words, &minus[..m], stride, &mut dots[page * PAGE..]);
    }

    low.resize(m * stride, 0);
    high.resize(m * stride, 0);
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

    sums.clear();
    sums.resize(m * 2 * padded, 0);
    wide.clear();
    wide.resize(m * padded, 0);
    for page in 0..pages {
        let blocks = (visible - page * PAGE).min(PAGE).div_ceil(4);
        let values = &cache.head(layer, head, page).values[..blocks * 4 * padded];
        value_sums(isa, values, (&low[page * PAGE..], &high[page * PAGE..], stride), m, padded, sums);
        // 32,768 positions of at most 255 * 127 fit 31 bits
        if (page + 1) % 256 == 0 || page + 1 == pages {
            for (wide, sums) in wide.chunks_exact_mut(padded).zip(sums.chunks_exact_mut(2 * padded)) {
                let (low, high) = sums.split_at(padded);
                softmax::widen(isa, low, high, wide);
                sums.fill(0);
            }
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
            for seed in 0..25 {
                let mut random = Random::new(seed);
                let dim = [2, 6, 16, 64, 80, 96, 128, 130][random.below(8)];
                let len = 1 + random.below(300);
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
                let count = 1 + random.below(QUERIES);
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
