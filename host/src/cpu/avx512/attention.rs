//! Integer products of attention.

use crate::cpu::{layout::VECTOR, softmax::Halves};
use std::arch::x86_64::*;

/// Dot products of keys and up to 8 interleaved queries: [`crate::cpu::softmax::key_products`].
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
pub unsafe fn key_products(keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32]) {
    let blocks = keys.len() / (words.len() / minus.len() * VECTOR);
    assert!(minus.len() <= 8 && dots.len() >= (minus.len() - 1) * stride + 16 * blocks, "room for all products");
    // SAFETY: the features are the caller's promise, the lengths were checked.
    unsafe {
        match minus.len() {
            1 => keys_times::<1>(keys, words, minus, stride, dots),
            2 => keys_times::<2>(keys, words, minus, stride, dots),
            3 => keys_times::<3>(keys, words, minus, stride, dots),
            4 => keys_times::<4>(keys, words, minus, stride, dots),
            5 => keys_times::<5>(keys, words, minus, stride, dots),
            6 => keys_times::<6>(keys, words, minus, stride, dots),
            7 => keys_times::<7>(keys, words, minus, stride, dots),
            _ => keys_times::<8>(keys, words, minus, stride, dots),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn keys_times<const M: usize>(keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32]) {
    let vectors = words.len() / M;
    for (b, block) in keys.chunks_exact(vectors * VECTOR).enumerate() {
        let mut acc = [_mm512_setzero_si512(); M];
        for m in 0..M {
            acc[m] = _mm512_set1_epi32(minus[m]);
        }
        for i in 0..vectors {
            // SAFETY: vector `i` of the block, word `m` of its slot, 16 products of query `m`.
            unsafe {
                let k = block.as_ptr().add(i * VECTOR);
                _mm_prefetch::<_MM_HINT_T0>(k.wrapping_add(1024).cast());
                _mm_prefetch::<_MM_HINT_T1>(k.wrapping_add(2048).cast());
                let k = _mm512_loadu_si512(k.cast());
                for m in 0..M {
                    let x = _mm512_set1_epi32(*words.as_ptr().add(i * M + m));
                    acc[m] = _mm512_dpbusd_epi32(acc[m], k, x);
                }
            }
        }
        for m in 0..M {
            // SAFETY: the caller checked the length of `dots`.
            unsafe { _mm512_storeu_si512(dots.as_mut_ptr().add(m * stride + 16 * b).cast(), acc[m]) };
        }
    }
}

/// Adds weighted values of up to 8 queries: [`crate::cpu::softmax::value_sums`].
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
pub unsafe fn value_sums(values: &[u8], weights: Halves<'_>, queries: usize, padded: usize, sums: &mut [i32]) {
    let blocks = values.len() / (4 * padded);
    assert!(padded.is_multiple_of(16) && sums.len() >= queries * 2 * padded, "room for all sums");
    let needed = (queries - 1) * weights.2 + blocks * 4;
    assert!(weights.0.len() >= needed && weights.1.len() >= needed, "a weight for every value");
    let mut d = 0;
    // SAFETY: the features are the caller's promise, the lengths were checked, and every call stays
    // below `padded` dimensions.
    unsafe {
        macro_rules! run {
            ($m:literal, $wide:literal) => {{
                while d + 16 * $wide <= padded {
                    values_times::<$m, $wide>(values, weights, padded, d, sums);
                    d += 16 * $wide;
                }
                while d < padded {
                    values_times::<$m, 1>(values, weights, padded, d, sums);
                    d += 16;
                }
            }};
        }
        match queries {
            1 => run!(1, 6),
            2 => run!(2, 3),
            3 => run!(3, 2),
            4 => run!(4, 2),
            5 => run!(5, 1),
            6 => run!(6, 1),
            7 => run!(7, 1),
            8 => run!(8, 1),
            n => unreachable!("{n} queries"),
        }
    }
}

/// The dimensions `d..d + 16 * WIDE` of `M` queries.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn values_times<const M: usize, const WIDE: usize>(
    values: &[u8],
    (low, high, stride): Halves<'_>,
    padded: usize,
    d: usize,
    sums: &mut [i32],
) {
    let mut acc = [[[_mm512_setzero_si512(); WIDE]; 2]; M];
    // SAFETY: the caller checked all lengths.
    unsafe {
        let sums = sums.as_mut_ptr();
        for m in 0..M {
            for half in 0..2 {
                for c in 0..WIDE {
                    acc[m][half][c] = _mm512_loadu_si512(sums.add((2 * m + half) * padded + d + 16 * c).cast());
                }
            }
        }
        for b in 0..values.len() / (4 * padded) {
            let block = values.as_ptr().add((b * padded + d) * 4);
            let mut v = [_mm512_setzero_si512(); WIDE];
            for c in 0..WIDE {
                let p = block.add(c * VECTOR);
                _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(1024).cast());
                _mm_prefetch::<_MM_HINT_T1>(p.wrapping_add(2048).cast());
                v[c] = _mm512_loadu_si512(p.cast());
            }
            for m in 0..M {
                let at = m * stride + b * 4;
                let l = _mm512_set1_epi32(low.as_ptr().add(at).cast::<i32>().read_unaligned());
                let h = _mm512_set1_epi32(high.as_ptr().add(at).cast::<i32>().read_unaligned());
                for c in 0..WIDE {
                    acc[m][0][c] = _mm512_dpbusd_epi32(acc[m][0][c], l, v[c]);
                    acc[m][1][c] = _mm512_dpbusd_epi32(acc[m][1][c], h, v[c]);
                }
            }
        }
        for m in 0..M {
            for half in 0..2 {
                for c in 0..WIDE {
                    _mm512_storeu_si512(sums.add((2 * m + half) * padded + d + 16 * c).cast(), acc[m][half][c]);
                }
            }
        }
    }
}
