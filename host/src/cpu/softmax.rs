//! Element-wise arithmetic and plain products of attention, compiled for each instruction set as in
//! [`super::vector`].

use super::vector::{Tables, round_small, round_wide, versions};
use spec::numerics::{
    exp2,
    f32ops::{from_i32, from_i64, mul},
};

/// Scores of a run of positions in place of their dot products; returns the largest.
#[inline(always)]
fn scores_plain(dots: &mut [i32], key_scales: &[f32], query_scale: f32) -> i32 {
    let mut top = i32::MIN;
    for (dot, &ks) in dots.iter_mut().zip(key_scales) {
        let score = mul(from_i32(*dot), mul(ks, query_scale));
        *dot = round_wide(mul(score, (1 << exp2::FRACTION_BITS) as f32)); // `softmax::fixed16`
        top = top.max(*dot);
    }
    top
}

versions!(
    /// Replaces dot products by scores ([`spec::numerics::softmax::fixed16`]) and returns the largest.
    scores = scores_plain(dots: &mut [i32], key_scales: &[f32], query_scale: f32) -> i32
);

/// [`Exp2Table::weight`] without branches.
#[inline(always)]
fn weight(table: &[i32; 128], distance: u32) -> i32 {
    const STEP_BITS: u32 = exp2::FRACTION_BITS - exp2::INDEX_BITS;
    let whole = distance >> exp2::FRACTION_BITS;
    let index = (distance >> STEP_BITS) as usize & 127;
    let along = (distance & ((1 << STEP_BITS) - 1)) as i32;
    let (entry, drop) = (table[index] >> 9, table[index] & 511);
    let mantissa = entry - ((drop * along + (1 << (STEP_BITS - 1))) >> STEP_BITS);
    let shift = whole.min(15);
    let rounded = (mantissa + (1 << shift)) >> (shift + 1);
    if whole > 15 { 0 } else { rounded.min(exp2::MAX_WEIGHT) }
}

/// Weights of a run of positions in place of their scores; returns the sum before V's scales.
#[inline(always)]
fn weights_plain(tables: &Tables, scores: &mut [i32], value_scales: &[f32], top: i32, inverse: f32) -> i64 {
    let table = &tables.exp2;
    let mut sum = 0i64;
    for (scores, value_scales) in scores.chunks_mut(1 << 15).zip(value_scales.chunks(1 << 15)) {
        let mut part = 0i32; // at most 2^15 weights of 15 bits
        for (score, &vs) in scores.iter_mut().zip(value_scales) {
            let p = weight(table, top.abs_diff(*score));
            part += p;
            *score = round_small(mul(from_i32(p), mul(vs, inverse)));
        }
        sum += i64::from(part);
    }
    sum
}

versions!(
    /// Replaces scores by attention weights with V's scales folded in; returns the sum without them.
    weights = weights_plain(
        tables: &Tables, scores: &mut [i32], value_scales: &[f32], top: i32, inverse: f32,
    ) -> i64
);

#[inline(always)]
fn sum_plain(codes: &[i8]) -> i32 {
    codes.iter().map(|&code| i32::from(code)).sum()
}

versions!(
    /// The sum of codes.
    sum = sum_plain(codes: &[i8]) -> i32
);

#[inline(always)]
fn largest_plain(x: &[f32]) -> f32 {
    // numbers that are not negative are ordered as their bits are
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() as i32)) as u32)
}

versions!(
    /// The largest of numbers that are not negative.
    largest = largest_plain(x: &[f32]) -> f32
);

#[inline(always)]
fn key_products_plain(keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32]) {
    let queries = minus.len();
    for (b, block) in keys.chunks_exact(words.len() / queries * 64).enumerate() {
        for (q, &minus) in minus.iter().enumerate() {
            let mut sums = [minus; 16];
            for (i, four) in block.chunks_exact(64).enumerate() {
                let codes = words[i * queries + q].to_le_bytes().map(|c| i32::from(c as i8));
                for (t, sum) in sums.iter_mut().enumerate() {
                    for (d, &code) in codes.iter().enumerate() {
                        *sum += i32::from(four[4 * t + d]) * code;
                    }
                }
            }
            dots[q * stride + 16 * b..][..16].copy_from_slice(&sums);
        }
    }
}

versions!(
    /// Dot products of `keys` (see [`super::kv`]) and interleaved queries, `dots[q * stride + t]`,
    /// starting from `minus[q]`.
    key_products = key_products_plain(
        keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32],
    )
);

#[inline(always)]
fn widen_plain(low: &[i32], high: &[i32], sums: &mut [i64]) {
    for ((sum, &low), &high) in sums.iter_mut().zip(low).zip(high) {
        *sum += i64::from(low) + 256 * i64::from(high);
    }
}

versions!(
    /// `sums += low + 256 high`
    widen = widen_plain(low: &[i32], high: &[i32], sums: &mut [i64])
);

#[inline(always)]
fn scale_sums_plain(sums: &[i64], scale: f32, out: &mut [f32]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = mul(from_i64(sum), scale);
    }
}

versions!(
    /// `out = sums * scale`, as in [`softmax::combine`](spec::numerics::softmax::combine).
    scale_sums = scale_sums_plain(sums: &[i64], scale: f32, out: &mut [f32])
);

/// Low and high bytes of attention weights, and how far the weights of two queries are apart.
pub type Halves<'a> = (&'a [u8], &'a [u8], usize);

#[inline(always)]
fn halves_plain(weights: &[i32], low: &mut [u8], high: &mut [u8]) {
    for ((&w, low), high) in weights.iter().zip(low).zip(high) {
        *low = w as u8;
        *high = (w >> 8) as u8;
    }
}

versions!(
    /// The low and high bytes of weights of 15 bits.
    halves = halves_plain(weights: &[i32], low: &mut [u8], high: &mut [u8])
);

#[inline(always)]
fn value_sums_plain(values: &[u8], (low, high, stride): Halves<'_>, queries: usize, padded: usize, sums: &mut [i32]) {
    for (b, block) in values.chunks_exact(4 * padded).enumerate() {
        for q in 0..queries {
            for (half, weights) in [low, high].into_iter().enumerate() {
                let at = q * stride + b * 4;
                let w: [i32; 4] = std::array::from_fn(|t| i32::from(weights[at + t]));
                let sums = &mut sums[(2 * q + half) * padded..][..padded];
                for (sum, four) in sums.iter_mut().zip(block.chunks_exact(4)) {
                    *sum += (0..4).map(|t| w[t] * i32::from(four[t] as i8)).sum::<i32>();
                }
            }
        }
    }
}

versions!(
    /// Adds weighted values (see [`super::kv`]) to `sums[q][low, high][padded]`.
    value_sums = value_sums_plain(
        values: &[u8], weights: Halves<'_>, queries: usize, padded: usize, sums: &mut [i32],
    )
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Isa, testing::Random};
    use spec::numerics::{exp2::Exp2Table, f32ops::div, softmax};

    #[test]
    fn every_version_has_the_softmax_of_the_specification() {
        let tables = Tables::default();
        let exp2 = Exp2Table::default();
        for distance in (0..18 << 16).chain([u32::MAX]) {
            assert_eq!(weight(&tables.exp2, distance), exp2.weight(distance));
        }
        for isa in Isa::available() {
            for seed in 0..200 {
                let mut random = Random::new(seed);
                let n = 1 + random.below(400);
                let range = [10, 3000, 2_000_000][random.below(3)];
                let dots: Vec<i32> = (0..n).map(|_| random.below(2 * range) as i32 - range as i32).collect();
                let scale = |random: &mut Random| (random.unit().abs() * 0.1).max(1e-6);
                let ks: Vec<f32> = (0..n).map(|_| scale(&mut random)).collect();
                let vs: Vec<f32> = (0..n).map(|_| scale(&mut random)).collect();
                let query = 10f32.powi(-(random.below(4) as i32));
                let want = softmax::weights(&exp2, &dots, &ks, &vs, query);
                let mut got = dots.clone();
                let top = scores(isa, &mut got, &ks, query);
                let value_scale = vs.iter().copied().fold(0.0, f32::max);
                let sum = weights(isa, &tables, &mut got, &vs, top, div(1.0, value_scale));
                assert_eq!(got, want.w, "{} seed {seed}", isa.name());
                let scale = div(value_scale, spec::numerics::f32ops::from_i64(sum));
                assert_eq!(scale.to_bits(), want.scale.to_bits());
            }
        }
    }
}
