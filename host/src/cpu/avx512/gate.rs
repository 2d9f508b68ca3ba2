//! SiLU gate with one look-up an element.

use crate::cpu::layout::ROWS;
use spec::numerics::sigmoid::{ARGUMENT_BITS, INDEX_BITS, LIMIT, RESULT_BITS, SigmoidTable};
use std::arch::x86_64::*;

const ONE: i32 = 1 << RESULT_BITS;
const STEP_BITS: u32 = ARGUMENT_BITS + 4 - INDEX_BITS;
/// Bits of a rise from one entry to the next.
const RISE_BITS: u32 = 13;

/// [`SigmoidTable`] with an entry and the rise to the next in a word: entries lie between a half and one,
/// so that 19 bits hold what is above the half.
#[derive(Clone, Debug)]
pub struct PackedSigmoid {
    words: [u32; 1 << INDEX_BITS],
    /// Magnitudes (with [`ARGUMENT_BITS`] fraction bits) from here on give one.
    end: i32,
}

impl PackedSigmoid {
    /// Packs a table.
    pub fn new(table: &SigmoidTable) -> Self {
        let entries = table.entries();
        let ones = entries.iter().rev().take_while(|&&entry| entry == ONE).count();
        let end = (entries.len() - ones).min(1 << INDEX_BITS); // the first of the ones at the end
        let word = |i: usize| {
            let (above, rise) = (entries[i] - ONE / 2, entries[i + 1] - entries[i]);
            assert!((0..ONE / 2).contains(&above) && (0..1 << RISE_BITS).contains(&rise), "sigmoid entry {i}");
            (above as u32) << RISE_BITS | rise as u32
        };
        let words = std::array::from_fn(|i| if i < end { word(i) } else { 0 });
        PackedSigmoid { words, end: ((end as i32) << STEP_BITS).min(LIMIT << ARGUMENT_BITS) }
    }
}

/// `out = silu(gate) * up`: [`spec::model::ffn::device`], tile by tile.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and DQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub unsafe fn silu(table: &PackedSigmoid, gate: &[[f32; ROWS]], up: &[[f32; ROWS]], out: &mut [[f32; ROWS]]) {
    for ((gate, up), out) in gate.iter().zip(up).zip(out) {
        // SAFETY: 16 numbers each.
        unsafe {
            let (gate, up) = (_mm512_loadu_ps(gate.as_ptr()), _mm512_loadu_ps(up.as_ptr()));
            _mm512_storeu_ps(out.as_mut_ptr(), gated(table, gate, up));
        }
    }
}

/// The same from the sums of both layers: [`crate::cpu::gate::gate_sums`].
///
/// # Safety
/// As [`silu`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub unsafe fn silu_sums(
    table: &PackedSigmoid,
    sums: [&[[i32; ROWS]]; 2],
    scales: &[f32],
    rows: [&[f32; ROWS]; 2],
    out: &mut [[f32; ROWS]],
) {
    // SAFETY: 16 numbers each.
    let rows = rows.map(|rows| unsafe { _mm512_loadu_ps(rows.as_ptr()) });
    for (((gate, up), &scale), out) in sums[0].iter().zip(sums[1]).zip(scales).zip(out) {
        let scale = _mm512_set1_ps(scale);
        let units = rows.map(|rows| flush(_mm512_mul_ps(scale, rows)));
        // SAFETY: as above.
        unsafe {
            let (gate, up) = (_mm512_loadu_epi32(gate.as_ptr()), _mm512_loadu_epi32(up.as_ptr()));
            let gate = flush(_mm512_mul_ps(_mm512_cvtepi32_ps(gate), units[0]));
            let up = flush(_mm512_mul_ps(_mm512_cvtepi32_ps(up), units[1]));
            _mm512_storeu_ps(out.as_mut_ptr(), gated(table, gate, up));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn gated(table: &PackedSigmoid, x: __m512, up: __m512) -> __m512 {
    let scaled = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps((1 << ARGUMENT_BITS) as f32));
    let limit = _mm512_set1_ps((LIMIT << ARGUMENT_BITS) as f32);
    let magnitude = _mm512_cvtps_epi32(_mm512_min_ps(scaled, limit)); // NaN becomes the limit
    let inside = _mm512_min_epi32(magnitude, _mm512_set1_epi32(table.end - 1));
    let index = _mm512_srli_epi32::<STEP_BITS>(inside);
    // SAFETY: indices are below `end >> STEP_BITS`, which is at most the table's length.
    let word = unsafe { _mm512_i32gather_epi32::<4>(index, table.words.as_ptr().cast()) };
    let along = _mm512_and_si512(inside, _mm512_set1_epi32((1 << STEP_BITS) - 1));
    let rise = _mm512_and_si512(word, _mm512_set1_epi32((1 << RISE_BITS) - 1));
    // both below 2^15, so one product of 16 bits each
    let climb = _mm512_add_epi32(_mm512_madd_epi16(rise, along), _mm512_set1_epi32(1 << (STEP_BITS - 1)));
    let above = _mm512_add_epi32(_mm512_srli_epi32::<RISE_BITS>(word), _mm512_srli_epi32::<STEP_BITS>(climb));
    let inner = _mm512_add_epi32(above, _mm512_set1_epi32(ONE / 2));
    let whole = _mm512_set1_epi32(ONE);
    let over = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(table.end));
    let positive = _mm512_mask_mov_epi32(inner, over, whole);
    let negative = _mm512_movepi32_mask(_mm512_castps_si512(x));
    let fixed = _mm512_mask_sub_epi32(positive, negative, whole, positive);
    let sigmoid = _mm512_mul_ps(_mm512_cvtepi32_ps(fixed), _mm512_set1_ps(1.0 / ONE as f32));
    flush(_mm512_mul_ps(flush(_mm512_mul_ps(x, sigmoid)), up))
}

/// [`spec::numerics::f32ops::flush`]
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn flush(v: __m512) -> __m512 {
    let small = _mm512_fpclass_ps_mask::<0x20>(v); // subnormal
    _mm512_mask_and_ps(v, small, v, _mm512_set1_ps(-0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Isa;

    #[test]
    fn every_argument_has_the_bits_of_the_specification() {
        if !Isa::available().contains(&Isa::Avx512) {
            return; // no such processor
        }
        let table = SigmoidTable::default();
        let packed = PackedSigmoid::new(&table);
        let step = |i: i32| i as f32 * (1.0 / 65_536.0);
        let edges = [0.0, f32::MIN_POSITIVE, 1e-30, 1e30, f32::INFINITY, 15.99999, 16.0, 16.00001];
        let all = (0..17 << 16).map(step).chain((0..5000).map(|i| step(i) * 0.37)).chain(edges);
        let x: Vec<f32> = all.flat_map(|x| [x, -x]).collect();
        let (x, _) = x.as_chunks::<ROWS>();
        for up in [1.0f32, -0.37, 1e-36, 0.0] {
            let ups = vec![[up; ROWS]; x.len()];
            let mut got = vec![[0.0; ROWS]; x.len()];
            // SAFETY: the processor has AVX-512.
            unsafe { silu(&packed, x, &ups, &mut got) };
            let want =
                spec::model::ffn::device(spec::model::Activation::Silu, &table, x.as_flattened(), ups.as_flattened());
            for ((x, got), want) in x.as_flattened().iter().zip(got.as_flattened()).zip(&want) {
                assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x}: {got}, not {want}");
            }
        }
    }
}
