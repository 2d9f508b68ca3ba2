//! Row blocks with one multiplier a row, times tokens, straight from the packed codes.

use super::codes::{FIVE, SHERRY};
use crate::cpu::{
    acts::Acts,
    layout::{Code, ROWS, VECTOR},
};
use std::arch::x86_64::*;

macro_rules! by_tokens {
    ($kernel:ident, $m:expr, $($args:expr),*) => {
        match $m {
            1 => $kernel::<1, 6>($($args),*),
            2 => $kernel::<2, 4>($($args),*),
            3 => $kernel::<3, 3>($($args),*),
            4 => $kernel::<4, 3>($($args),*),
            5 => $kernel::<5, 2>($($args),*),
            6 => $kernel::<6, 2>($($args),*),
            7 => $kernel::<7, 2>($($args),*),
            8 => $kernel::<8, 1>($($args),*),
            9 => $kernel::<9, 1>($($args),*),
            10 => $kernel::<10, 1>($($args),*),
            11 => $kernel::<11, 1>($($args),*),
            12 => $kernel::<12, 1>($($args),*),
            13 => $kernel::<13, 1>($($args),*),
            14 => $kernel::<14, 1>($($args),*),
            15 => $kernel::<15, 1>($($args),*),
            16 => $kernel::<16, 1>($($args),*),
            n => unreachable!("tiles of {n} tokens"),
        }
    };
}

/// A step for each of the eight codes of a group, whose numbers have to be literals.
macro_rules! eight {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
        $step!(6);
        $step!(7);
    };
}

/// Dot products of one row block with `M` tokens whose words are interleaved; `S` sets of
/// accumulators hide the latency of `vpdpbusd`.
macro_rules! fused {
    ($name:ident, $tables:ident, $places:literal) => {
        /// # Safety
        /// The processor has the features; `block` holds whole groups, `words` `M` words for each of
        /// their slots, `sums` and `out` `M` elements.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
        unsafe fn $name<const M: usize, const S: usize>(
            block: &[u8],
            words: &[i32],
            sums: &[i32],
            out: &mut [[i32; ROWS]],
        ) {
            const SLOTS: usize = 8 * $places;
            let groups = block.len() / (5 * VECTOR);
            debug_assert!(words.len() >= groups * SLOTS * M && sums.len() >= M && out.len() >= M);
            // SAFETY: all loads lie inside the slices by the lengths above; prefetches do not fault.
            unsafe {
                let tables: [__m512i; $places] =
                    std::array::from_fn(|t| _mm512_load_si512($tables[t].0.as_ptr().cast()));
                let mut acc = [[_mm512_setzero_si512(); M]; S];
                for m in 0..M {
                    acc[0][m] = _mm512_set1_epi32(-sums[m]);
                }
                let mut p = block.as_ptr();
                let mut a = words.as_ptr();
                for _ in 0..groups {
                    prefetch!(p);
                    let c = codes!(p);
                    macro_rules! step {
                        ($code:literal) => {
                            for place in 0..$places {
                                let w = _mm512_permutexvar_epi8(c[$code], tables[place]);
                                let slot = $code * $places + place;
                                for m in 0..M {
                                    let x = _mm512_set1_epi32(a.add(slot * M + m).read_unaligned());
                                    acc[slot % S][m] = _mm512_dpbusd_epi32(acc[slot % S][m], w, x);
                                }
                            }
                        };
                    }
                    eight!(step);
                    p = p.add(5 * VECTOR);
                    a = a.add(SLOTS * M);
                }
                for m in 0..M {
                    let mut sum = acc[0][m];
                    for set in &acc[1..] {
                        sum = _mm512_add_epi32(sum, set[m]);
                    }
                    _mm512_storeu_si512(out[m].as_mut_ptr().cast(), sum);
                }
            }
        }
    };
}

fused!(fused_five, FIVE, 3);
fused!(fused_sherry, SHERRY, 4);

/// Dot products of two row blocks with one token: two streams of weights keep more of the memory busy.
macro_rules! paired {
    ($name:ident, $tables:ident, $places:literal) => {
        /// # Safety
        /// The processor has the features; both blocks hold the same number of whole groups, and `words`
        /// a word for each of their slots.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
        unsafe fn $name(blocks: [&[u8]; 2], words: &[i32], sum: i32, out: [&mut [i32; ROWS]; 2]) {
            const SLOTS: usize = 8 * $places;
            const SETS: usize = 4;
            let groups = blocks[0].len() / (5 * VECTOR);
            debug_assert!(blocks[0].len() == blocks[1].len() && words.len() >= groups * SLOTS);
            // SAFETY: all loads lie inside the slices by the lengths above; prefetches do not fault.
            unsafe {
                let tables: [__m512i; $places] =
                    std::array::from_fn(|t| _mm512_load_si512($tables[t].0.as_ptr().cast()));
                let mut acc = [[_mm512_setzero_si512(); SETS]; 2];
                let mut p = blocks.map(|block| block.as_ptr());
                let mut a = words.as_ptr();
                for _ in 0..groups {
                    for s in 0..2 {
                        prefetch!(p[s]);
                        let c = codes!(p[s]);
                        macro_rules! step {
                            ($code:literal) => {
                                for place in 0..$places {
                                    let w = _mm512_permutexvar_epi8(c[$code], tables[place]);
                                    let slot = $code * $places + place;
                                    let x = _mm512_set1_epi32(a.add(slot).read_unaligned());
                                    acc[s][slot % SETS] = _mm512_dpbusd_epi32(acc[s][slot % SETS], w, x);
                                }
                            };
                        }
                        eight!(step);
                        p[s] = p[s].add(5 * VECTOR);
                    }
                    a = a.add(SLOTS);
                }
                for (acc, out) in acc.into_iter().zip(out) {
                    let mut total = _mm512_set1_epi32(-sum);
                    for set in acc {
                        total = _mm512_add_epi32(total, set);
                    }
                    _mm512_storeu_si512(out.as_mut_ptr().cast(), total);
                }
            }
        }
    };
}

paired!(paired_five, FIVE, 3);
paired!(paired_sherry, SHERRY, 4);

/// Dot products of two row blocks of a matrix with one token.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL, VNNI and VBMI.
pub unsafe fn pair(blocks: [&[u8]; 2], code: Code, acts: &Acts, out: [&mut [i32; ROWS]; 2]) {
    assert!(acts.tokens() == 1 && blocks[0].len() == blocks[1].len(), "one token, two row blocks");
    let (words, sum) = (acts.words((0, 1)), acts.sums()[0]);
    // SAFETY: the features are the caller's promise; `Acts` holds a word for every slot.
    unsafe {
        match code {
            Code::Five => paired_five(blocks, words, sum, out),
            Code::Sherry => paired_sherry(blocks, words, sum, out),
            Code::Two => unreachable!("the 512-bit kernels read 5-bit codes"),
        }
    }
}

/// Dot products of a row block whose rows have one multiplier: `out[token][output]`.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL, VNNI and VBMI.
pub unsafe fn block(block: &[u8], code: Code, acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        let words = acts.words((first, count));
        let sums = &acts.sums()[first..first + count];
        let out = &mut out[first..first + count];
        // SAFETY: the features are the caller's promise; `Acts` holds a word for every slot and token.
        unsafe {
            match code {
                Code::Five => by_tokens!(fused_five, count, block, words, sums, out),
                Code::Sherry => by_tokens!(fused_sherry, count, block, words, sums, out),
                Code::Two => unreachable!("the 512-bit kernels read 5-bit codes"),
            }
        }
    }
}
