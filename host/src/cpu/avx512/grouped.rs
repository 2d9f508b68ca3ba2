//! Unpacked row blocks whose groups of inputs have multipliers.

use crate::cpu::{
    acts::Acts,
    layout::{ROWS, VECTOR},
};
use std::arch::x86_64::*;

/// Dot products of an unpacked row block (`trit + 1`) whose groups have multipliers, `[groups][16]`.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL, VNNI; `panel` holds every slot that `acts` names.
pub unsafe fn grouped(panel: &[u8], multipliers: &[u8], acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        // SAFETY: as promised by the caller.
        unsafe { by_tokens!(grouped_tile, count, panel, multipliers, acts, (first, count), out) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn grouped_tile<const M: usize, const S: usize>(
    panel: &[u8],
    multipliers: &[u8],
    acts: &Acts,
    tile: (usize, usize),
    out: &mut [[i32; ROWS]],
) {
    let words = acts.words(tile);
    let mut entry = 0;
    let mut total = [_mm512_setzero_si512(); M];
    for (g, span) in acts.spans().iter().enumerate() {
        let sums = &acts.sums()[g * acts.tokens() + tile.0..][..M];
        let slots = &panel[span.slot * VECTOR..(span.slot + span.count) * VECTOR];
        let words = &words[entry * M..(entry + span.count) * M];
        entry += span.count;
        let mut acc = [[_mm512_setzero_si512(); M]; S];
        for m in 0..M {
            acc[0][m] = _mm512_set1_epi32(-sums[m]);
        }
        // SAFETY: the slices above hold `span.count` vectors and as many words for each token.
        unsafe {
            let dot = |acc: &mut [__m512i; M], i: usize| {
                let w = _mm512_loadu_si512(slots.as_ptr().add(i * VECTOR).cast());
                for m in 0..M {
                    let x = _mm512_set1_epi32(*words.as_ptr().add(i * M + m));
                    acc[m] = _mm512_dpbusd_epi32(acc[m], w, x);
                }
            };
            let mut i = 0;
            while i + S <= span.count {
                for (set, acc) in acc.iter_mut().enumerate() {
                    dot(acc, i + set);
                }
                i += S;
            }
            while i < span.count {
                dot(&mut acc[0], i);
                i += 1;
            }
            let multiplier = multipliers[g * ROWS..(g + 1) * ROWS].as_ptr();
            let multiplier = _mm512_cvtepu8_epi32(_mm_loadu_si128(multiplier.cast()));
            for m in 0..M {
                let mut sum = acc[0][m];
                for set in &acc[1..] {
                    sum = _mm512_add_epi32(sum, set[m]);
                }
                total[m] = _mm512_add_epi32(total[m], _mm512_mullo_epi32(sum, multiplier));
            }
        }
    }
    for m in 0..M {
        // SAFETY: a row of `out` is 64 bytes.
        unsafe { _mm512_storeu_si512(out[tile.0 + m].as_mut_ptr().cast(), total[m]) };
    }
}
