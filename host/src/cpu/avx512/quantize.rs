//! Norm and quantisation of tokens that lie in tiles, without putting their rows together first.

use crate::cpu::{acts::Line, layout::Code, layout::ROWS, vector::Norm};
use spec::numerics::{
    f32ops::{add, div, mul, sqrt},
    quant::{FLOOR, MAX_CODE},
};
use std::arch::x86_64::*;

/// Tokens whose rows lie in tiles, `x[block * stride + token]`.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// All tiles.
    pub x: &'a [[f32; ROWS]],
    /// Tiles from one row block to the next.
    pub stride: usize,
    /// Rows of a token.
    pub cols: usize,
}

/// Where the codes of a token go: line `i` to `first + i * step`.
#[derive(Clone, Copy)]
pub struct Target {
    /// Line 0.
    pub first: *mut Line,
    /// Lines from one to the next.
    pub step: usize,
}

/// Codes and scales of the `M` tokens from `token` on, in the bits of
/// [`spec::numerics::quant::norm_quantize`] or, without a norm, [`spec::numerics::quant::quantize`].
/// `lines` lines are written for each, zeros past the last row.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and DQ; the lines of `targets` may be written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub unsafe fn quantize<const M: usize>(
    source: Source<'_>,
    token: usize,
    norm: Option<Norm<'_>>,
    code: Code,
    lines: usize,
    targets: [Target; M],
) -> [f32; M] {
    let Source { x, stride, cols } = source;
    let blocks = cols.div_ceil(ROWS);
    assert!(x.len() >= (blocks - 1) * stride + token + M, "tokens in the tiles");
    assert!(norm.is_none_or(|(weights, _)| weights.len() == cols), "a weight for every row");
    // SAFETY: every load lies in the tiles or, masked, in the weights, by the lengths above.
    unsafe {
        match norm {
            None => run::<M, false>(x[token..].as_ptr(), stride, cols, (&[], 0.0), code, lines, targets),
            Some(norm) => run::<M, true>(x[token..].as_ptr(), stride, cols, norm, code, lines, targets),
        }
    }
}

/// The lanes of block `block` that hold rows.
fn lanes(cols: usize, block: usize) -> u16 {
    match cols.saturating_sub(block * ROWS) {
        0 => 0,
        left if left < ROWS => (1 << left) - 1,
        _ => !0,
    }
}

/// A product that is not negative, subnormal ones replaced by zero.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn square(v: __m512) -> __m512 {
    let y = _mm512_mul_ps(v, v);
    _mm512_maskz_mov_ps(!_mm512_fpclass_ps_mask::<0x20>(y), y)
}

/// Only squares and sums over a norm need care with subnormal results: a smaller number than
/// [`FLOOR`] changes no maximum, and its code is 0.
///
/// # Safety
/// As [`quantize`]; `x` points to the first token of block 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn run<const M: usize, const NORM: bool>(
    x: *const [f32; ROWS],
    stride: usize,
    cols: usize,
    (weights, eps): Norm<'_>,
    code: Code,
    lines: usize,
    targets: [Target; M],
) -> [f32; M] {
    let mut max = [_mm512_set1_ps(FLOOR); M];
    let mut squares = [[_mm512_setzero_ps(); 4]; M];
    // SAFETY: whole blocks and masked parts of the last one, see `quantize`.
    unsafe {
        macro_rules! visit {
            ($block:expr, $i:expr, $mask:expr) => {
                let p = x.add($block * stride);
                let w = if NORM {
                    _mm512_maskz_loadu_ps($mask, weights.as_ptr().add($block * ROWS))
                } else {
                    _mm512_setzero_ps()
                };
                for m in 0..M {
                    _mm_prefetch::<_MM_HINT_T1>(p.wrapping_add(M + m).cast()); // the tokens to come
                    let v = _mm512_maskz_loadu_ps($mask, p.add(m).cast());
                    let y = if NORM { _mm512_mul_ps(v, w) } else { v };
                    max[m] = _mm512_max_ps(_mm512_abs_ps(y), max[m]); // a NaN leaves it alone
                    if NORM {
                        squares[m][$i] = _mm512_add_ps(squares[m][$i], square(v));
                    }
                }
            };
        }
        let whole = cols / (4 * ROWS);
        for four in 0..whole {
            visit!(4 * four, 0, !0);
            visit!(4 * four + 1, 1, !0);
            visit!(4 * four + 2, 2, !0);
            visit!(4 * four + 3, 3, !0);
        }
        macro_rules! rest {
            ($i:literal) => {
                if 4 * whole + $i < cols.div_ceil(ROWS) {
                    visit!(4 * whole + $i, $i, lanes(cols, 4 * whole + $i));
                }
            };
        }
        rest!(0);
        rest!(1);
        rest!(2);
        rest!(3);
    }
    let mut scales = [0.0; M];
    let mut inverse = [_mm512_setzero_ps(); M];
    for m in 0..M {
        let largest = _mm512_reduce_max_ps(max[m]);
        inverse[m] = _mm512_set1_ps(div(MAX_CODE, largest));
        let scaled = if NORM {
            let mean = div(sum(squares[m]), cols as f32);
            mul(largest, div(1.0, sqrt(add(mean, eps))))
        } else {
            largest
        };
        scales[m] = div(scaled, MAX_CODE);
    }
    let unit = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    // SAFETY: as above, and the caller's promise for the lines.
    unsafe {
        for line in 0..lines {
            let mut bytes = [[_mm_setzero_si128(); 4]; M];
            for i in 0..4 {
                let block = 4 * line + i;
                let mask = lanes(cols, block);
                if mask == 0 {
                    continue;
                }
                let p = x.add(block * stride);
                let w = if NORM {
                    _mm512_maskz_loadu_ps(mask, weights.as_ptr().add(block * ROWS))
                } else {
                    _mm512_setzero_ps()
                };
                for m in 0..M {
                    let v = _mm512_maskz_loadu_ps(mask, p.add(m).cast());
                    let y = if NORM { _mm512_mul_ps(v, w) } else { v };
                    // at most 127.00001; NaN becomes i32::MIN, whose low byte is 0
                    let codes = _mm512_cvtps_epi32(_mm512_mul_ps(y, inverse[m]));
                    bytes[m][i] = _mm512_cvtepi32_epi8(codes);
                }
            }
            for m in 0..M {
                let [a, b, c, d] = bytes[m];
                let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
                let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(c), d);
                let mut all = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
                if code == Code::Sherry {
                    all = _mm512_shuffle_epi8(all, unit);
                }
                _mm512_store_si512(targets[m].first.add(line * targets[m].step).cast(), all);
            }
        }
    }
    scales
}

/// The 64 partial sums added in the order of [`spec::numerics::f32ops::sum_of_squares`]. Sums of numbers
/// that are not negative are never subnormal.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn sum(partial: [__m512; 4]) -> f32 {
    let [a, b, c, d] = partial;
    let all = _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
    let eight = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps::<1>(all));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Isa, acts::Acts, layout::Shape, testing::Random, tiles::Tiles};
    use spec::numerics::quant;

    fn number(random: &mut Random, kind: usize) -> f32 {
        let x = match (kind, random.below(40)) {
            (0, _) => 0.0,
            (1, _) => random.unit() * 1e-20,
            (2, 0) => f32::INFINITY,
            (3, 0) => f32::NAN,
            (4, _) => random.unit() * 3e38,
            (5, _) => (random.below(600) as f32 - 300.0) * 0.5,
            (_, 1) => -0.0,
            (_, 2) => f32::MIN_POSITIVE,
            _ => random.unit() * 10f32.powi(random.below(9) as i32 - 4),
        };
        spec::numerics::f32ops::flush(x)
    }

    #[test]
    fn tokens_in_tiles_have_the_codes_of_the_specification() {
        if !Isa::available().contains(&Isa::Avx512) {
            return; // no such processor
        }
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let cols = [1 + random.below(400), 64 * (1 + random.below(5)), 15, 16, 17, 63, 65][random.below(7)];
            let (tokens, first) = (4 + random.below(5), random.below(5));
            let (kind, code) = (random.below(8), [Code::Five, Code::Sherry][random.below(2)]);
            let mut tiles = Tiles::default();
            tiles.resize(tokens, cols);
            tiles.data_mut().fill([f32::NAN; ROWS]); // nothing past the last row may count
            let rows: Vec<Vec<f32>> =
                (0..tokens).map(|_| (0..cols).map(|_| number(&mut random, kind)).collect()).collect();
            rows.iter().enumerate().for_each(|(token, row)| tiles.set_token(token, row));
            let weights: Vec<f32> = (0..cols).map(|_| random.unit() * 3.0).collect();
            let norm = (seed % 3 > 0).then_some((weights.as_slice(), [1e-5, 0.0][random.below(2)]));
            let want: Vec<quant::Quantized> = rows
                .iter()
                .map(|row| norm.map_or_else(|| quant::quantize(row), |(w, eps)| quant::norm_quantize(row, w, eps)))
                .collect();
            let shape = Shape { code, rows: 16, cols };
            let mut acts = Acts::default();
            let codes: Vec<i8> = want.iter().flat_map(|q| q.codes.clone()).collect();
            acts.prepare(Isa::Avx512, shape, cols, tokens, &codes);
            let lines = acts.row_lines();
            let mut got = vec![Line([99; 64]); tokens * lines];
            let source = Source { x: tiles.data_mut(), stride: tokens | 1, cols };
            let base = got.as_mut_ptr();
            // the lines of a token, or those of all tokens in turn
            let (apart, step) = if seed % 2 == 0 { (lines, 1) } else { (1, tokens) };
            let target = |token: usize| Target { first: base.wrapping_add(token * apart), step };
            for token in [first.min(tokens - 4), tokens - 4] {
                let four = std::array::from_fn(|m| target(token + m));
                // SAFETY: the processor has AVX-512, the lines lie in `got`.
                let scales = unsafe { quantize::<4>(source, token, norm, code, lines, four) };
                for m in 0..4 {
                    let line = |i: usize| got[(token + m) * apart + i * step].0;
                    let at = format!("seed {seed} token {} of {tokens}, {cols} columns", token + m);
                    assert_eq!(scales[m].to_bits(), want[token + m].scale.to_bits(), "{at}");
                    for i in 0..lines {
                        assert_eq!(line(i), acts.rows()[(token + m) * lines + i].0, "{at}, line {i}");
                    }
                }
            }
        }
    }
}
