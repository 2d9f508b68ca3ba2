//! AVX2, and AVX-VNNI where the processor has it: two bits a weight, 8 outputs in a register.

use super::{
    acts::Acts,
    layout::{ROWS, VECTOR},
};
use std::arch::x86_64::*;

/// Groups whose 16-bit sums cannot overflow: 15 groups x 4 slots x 2 products of at most 2 x 128.
const GROUPS_IN_16_BITS: usize = 15;

/// Calls `$kernel::<M>` for a tile of `$m` tokens.
macro_rules! by_tokens {
    ($kernel:ident, $m:expr, $($args:expr),*) => {
        match $m {
            1 => $kernel::<1>($($args),*),
            2 => $kernel::<2>($($args),*),
            3 => $kernel::<3>($($args),*),
            4 => $kernel::<4>($($args),*),
            n => unreachable!("tiles of {n} tokens"),
        }
    };
}

/// Dot products of a row block whose rows have one multiplier: `out[token][output]`.
///
/// # Safety
/// The processor has AVX2, and AVX-VNNI if `vnni`.
pub unsafe fn block(vnni: bool, block: &[u8], acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        let words = acts.words((first, count));
        let sums = &acts.sums()[first..first + count];
        let out = &mut out[first..first + count];
        assert!(words.len() >= block.len() / VECTOR * 4 * count, "a word for every slot and token");
        // SAFETY: the features are the caller's promise, the number of words was checked.
        unsafe {
            if vnni {
                by_tokens!(fused_vnni, count, block, words, sums, out)
            } else {
                by_tokens!(fused, count, block, words, sums, out)
            }
        }
    }
}

/// The half vector of slot `$slot`: `trit + 1` of 8 outputs.
macro_rules! trits {
    ($v:expr, $slot:literal) => {
        _mm256_and_si256(_mm256_srli_epi16::<{ 2 * $slot }>($v), _mm256_set1_epi8(3))
    };
}

#[target_feature(enable = "avx2")]
unsafe fn fused<const M: usize>(block: &[u8], words: &[i32], sums: &[i32], out: &mut [[i32; ROWS]]) {
    let ones = _mm256_set1_epi16(1);
    let mut acc = [[_mm256_setzero_si256(); 2]; M];
    for m in 0..M {
        acc[m] = [_mm256_set1_epi32(-sums[m]); 2];
    }
    let pieces = block.chunks(GROUPS_IN_16_BITS * VECTOR);
    for (piece, words) in pieces.zip(words.chunks(GROUPS_IN_16_BITS * 4 * M)) {
        let mut short = [[_mm256_setzero_si256(); 2]; M];
        for (v, words) in piece.chunks_exact(VECTOR).zip(words.chunks_exact(4 * M)) {
            // SAFETY: a chunk is 64 bytes; prefetches do not fault.
            let v = unsafe {
                _mm_prefetch::<_MM_HINT_T0>(v.as_ptr().wrapping_add(1024).cast());
                [_mm256_loadu_si256(v.as_ptr().cast()), _mm256_loadu_si256(v.as_ptr().add(32).cast())]
            };
            macro_rules! step {
                ($slot:literal) => {
                    let w = [trits!(v[0], $slot), trits!(v[1], $slot)];
                    for m in 0..M {
                        let a = _mm256_set1_epi32(words[$slot * M + m]);
                        short[m][0] = _mm256_add_epi16(short[m][0], _mm256_maddubs_epi16(w[0], a));
                        short[m][1] = _mm256_add_epi16(short[m][1], _mm256_maddubs_epi16(w[1], a));
                    }
                };
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
        }
        for m in 0..M {
            for half in 0..2 {
                acc[m][half] = _mm256_add_epi32(acc[m][half], _mm256_madd_epi16(short[m][half], ones));
            }
        }
    }
    store(acc, out);
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn fused_vnni<const M: usize>(block: &[u8], words: &[i32], sums: &[i32], out: &mut [[i32; ROWS]]) {
    let mut acc = [[[_mm256_setzero_si256(); 2]; M]; 2];
    for m in 0..M {
        acc[0][m] = [_mm256_set1_epi32(-sums[m]); 2];
    }
    for (v, words) in block.chunks_exact(VECTOR).zip(words.chunks_exact(4 * M)) {
        // SAFETY: a chunk is 64 bytes; prefetches do not fault.
        let v = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(v.as_ptr().wrapping_add(1024).cast());
            [_mm256_loadu_si256(v.as_ptr().cast()), _mm256_loadu_si256(v.as_ptr().add(32).cast())]
        };
        macro_rules! step {
            ($slot:literal) => {
                let w = [trits!(v[0], $slot), trits!(v[1], $slot)];
                let acc = &mut acc[$slot % 2];
                for m in 0..M {
                    let a = _mm256_set1_epi32(words[$slot * M + m]);
                    acc[m][0] = _mm256_dpbusd_avx_epi32(acc[m][0], w[0], a);
                    acc[m][1] = _mm256_dpbusd_avx_epi32(acc[m][1], w[1], a);
                }
            };
        }
        step!(0);
        step!(1);
        step!(2);
        step!(3);
    }
    let mut total = acc[0];
    for m in 0..M {
        for half in 0..2 {
            total[m][half] = _mm256_add_epi32(total[m][half], acc[1][m][half]);
        }
    }
    store(total, out);
}

#[target_feature(enable = "avx2")]
fn store<const M: usize>(acc: [[__m256i; 2]; M], out: &mut [[i32; ROWS]]) {
    for (acc, out) in acc.iter().zip(out) {
        let (low, high) = out.split_at_mut(8);
        // SAFETY: both halves are 32 bytes.
        unsafe {
            _mm256_storeu_si256(low.as_mut_ptr().cast(), acc[0]);
            _mm256_storeu_si256(high.as_mut_ptr().cast(), acc[1]);
        }
    }
}

/// Dot products of an unpacked row block (`trit + 1`) whose groups have multipliers, `[groups][16]`.
///
/// # Safety
/// The processor has AVX2.
pub unsafe fn grouped(panel: &[u8], multipliers: &[u8], acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        let out = &mut out[first..first + count];
        // SAFETY: the features are the caller's promise.
        unsafe { by_tokens!(grouped_tile, count, panel, multipliers, acts, (first, count), out) }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn grouped_tile<const M: usize>(
    panel: &[u8],
    multipliers: &[u8],
    acts: &Acts,
    tile: (usize, usize),
    out: &mut [[i32; ROWS]],
) {
    let ones = _mm256_set1_epi16(1);
    let mut words = acts.words(tile);
    let mut total = [[_mm256_setzero_si256(); 2]; M];
    for (g, span) in acts.spans().iter().enumerate() {
        let sums = &acts.sums()[g * acts.tokens() + tile.0..][..M];
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        for m in 0..M {
            acc[m] = [_mm256_set1_epi32(-sums[m]); 2];
        }
        let (these, rest) = words.split_at(span.count * M);
        words = rest;
        let slots = panel[span.slot * VECTOR..][..span.count * VECTOR].chunks_exact(VECTOR);
        for (v, words) in slots.zip(these.chunks_exact(M)) {
            // SAFETY: a chunk is 64 bytes.
            let w = unsafe { [_mm256_loadu_si256(v.as_ptr().cast()), _mm256_loadu_si256(v.as_ptr().add(32).cast())] };
            for m in 0..M {
                let a = _mm256_set1_epi32(words[m]);
                for half in 0..2 {
                    let product = _mm256_madd_epi16(_mm256_maddubs_epi16(w[half], a), ones);
                    acc[m][half] = _mm256_add_epi32(acc[m][half], product);
                }
            }
        }
        let multipliers = &multipliers[g * ROWS..(g + 1) * ROWS];
        for half in 0..2 {
            // SAFETY: 8 of the 16 multipliers.
            let eight = unsafe { _mm_loadl_epi64(multipliers[8 * half..].as_ptr().cast()) };
            let wide = _mm256_cvtepu8_epi32(eight);
            for m in 0..M {
                total[m][half] = _mm256_add_epi32(total[m][half], _mm256_mullo_epi32(acc[m][half], wide));
            }
        }
    }
    store(total, out);
}
