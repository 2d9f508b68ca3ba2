//! Heads of a token, from tiles to rotated int8 codes.

use crate::cpu::layout::ROWS;
use spec::numerics::{
    f32ops::div,
    quant::{FLOOR, MAX_CODE},
};
use std::arch::x86_64::*;

/// Whether [`quantize`] serves heads of `dim` rows.
pub fn serves(dim: usize) -> bool {
    matches!(dim, 32 | 64 | 96 | 128)
}

/// Codes of a head of `codes.len()` rows, which begins at `x[0]` and goes on every `stride` tiles, turned
/// by `rope` (cosines and sines) if there is one; returns the scale. The bits are those of
/// [`spec::numerics::rope::RopeTable::rotate`] and [`spec::numerics::quant::quantize`].
///
/// Subnormal products are left alone here: next to a product of 2^-102 or more they change no bit, and a
/// number below [`FLOOR`] has code 0 and changes no maximum.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and DQ.
///
/// # Panics
/// If [`serves`] says no, or `x` or `rope` end too early.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub unsafe fn quantize(x: &[[f32; ROWS]], stride: usize, rope: Option<(&[f32], &[f32])>, codes: &mut [i8]) -> f32 {
    let dim = codes.len();
    assert!(x.len() > (dim.div_ceil(ROWS) - 1) * stride, "head in the tiles");
    assert!(rope.is_none_or(|(cos, sin)| cos.len() == dim / 2 && sin.len() == dim / 2), "angles");
    // SAFETY: the lengths were checked; features by the caller's promise.
    unsafe {
        match dim {
            32 => run::<1>(x, stride, rope, codes),
            64 => run::<2>(x, stride, rope, codes),
            96 => run::<3>(x, stride, rope, codes),
            128 => run::<4>(x, stride, rope, codes),
            _ => panic!("heads of {dim} rows"),
        }
    }
}

/// `HALF` tiles in each half of the head.
///
/// # Safety
/// As [`quantize`], whose checks are done.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn run<const HALF: usize>(
    x: &[[f32; ROWS]],
    stride: usize,
    rope: Option<(&[f32], &[f32])>,
    codes: &mut [i8],
) -> f32 {
    let mut v = [[_mm512_setzero_ps(); HALF]; 2];
    // SAFETY: `2 * HALF` tiles, `HALF` vectors of angles, see `quantize`.
    unsafe {
        for half in 0..2 {
            for i in 0..HALF {
                v[half][i] = _mm512_loadu_ps(x.as_ptr().add((half * HALF + i) * stride).cast());
            }
        }
        if let Some((cos, sin)) = rope {
            for i in 0..HALF {
                let (a, b) = (v[0][i], v[1][i]);
                let c = _mm512_loadu_ps(cos.as_ptr().add(i * ROWS));
                let s = _mm512_loadu_ps(sin.as_ptr().add(i * ROWS));
                v[0][i] = _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s));
                v[1][i] = _mm512_add_ps(_mm512_mul_ps(b, c), _mm512_mul_ps(a, s));
            }
        }
    }
    let mut max = _mm512_set1_ps(FLOOR);
    for v in v.as_flattened() {
        max = _mm512_max_ps(_mm512_abs_ps(*v), max); // a NaN leaves it alone
    }
    let max = _mm512_reduce_max_ps(max);
    let inverse = _mm512_set1_ps(div(MAX_CODE, max));
    for (v, codes) in v.as_flattened().iter().zip(codes.chunks_exact_mut(ROWS)) {
        // at most 127.00001; NaN becomes i32::MIN, whose low byte is 0
        let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(*v, inverse)));
        // SAFETY: 16 codes.
        unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), bytes) };
    }
    div(max, MAX_CODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Isa, testing::Random};
    use spec::numerics::{quant, rope::RopeTable};

    #[test]
    fn heads_have_the_codes_of_the_specification() {
        if !Isa::available().contains(&Isa::Avx512) {
            return; // no such processor
        }
        for (seed, dim) in (0..200).flat_map(|seed| [32, 64, 96, 128].map(|dim| (seed, dim))) {
            let mut random = Random::new(seed);
            let config = spec::model::ModelConfig { head_dim: dim, ..crate::cpu::testing::config() };
            let table = RopeTable::new(&config, 40);
            let (stride, position) = (1 + random.below(9), random.below(40));
            // from ordinary numbers down to where products are subnormal
            let size = [1.0, 1e4, 1e-17, 1e-25, 1e-31, 1e-37, 3e38][random.below(7)];
            let head: Vec<f32> = (0..dim)
                .map(|_| match random.below(12) {
                    0 => 0.0,
                    1 => -0.0,
                    2 => f32::MIN_POSITIVE,
                    3 => random.unit(),
                    4 if seed % 10 == 0 => f32::INFINITY,
                    5 if seed % 10 == 1 => f32::NAN,
                    _ => random.unit() * size,
                })
                .map(spec::numerics::f32ops::flush)
                .collect();
            let mut x = vec![[f32::NAN; ROWS]; dim / ROWS * stride];
            for (tile, head) in x.iter_mut().step_by(stride).zip(head.chunks(ROWS)) {
                tile.copy_from_slice(head);
            }
            for turned in [true, false] {
                let mut want = head.clone();
                if turned {
                    table.rotate(&mut want, position);
                }
                let want = quant::quantize(&want);
                let mut codes = vec![0; dim];
                let rope = turned.then(|| (table.cos(position), table.sin(position)));
                // SAFETY: the processor has AVX-512.
                let scale = unsafe { quantize(&x, stride, rope, &mut codes) };
                assert_eq!((scale.to_bits(), codes), (want.scale.to_bits(), want.codes), "seed {seed} dim {dim}");
            }
        }
    }
}
