//! ARMv8: two bits a weight, 4 outputs in a register; with dot products where the processor has them.

use super::{
    acts::Acts,
    layout::{ROWS, VECTOR},
};
use std::arch::{aarch64::*, asm};

/// Groups whose 16-bit sums cannot overflow: 31 groups x 4 slots of products of at most 2 x 128.
const GROUPS_IN_16_BITS: usize = 31;

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
/// The processor has dot products if `dotprod`.
pub unsafe fn block(dotprod: bool, block: &[u8], acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        let words = acts.words((first, count));
        let sums = &acts.sums()[first..first + count];
        let out = &mut out[first..first + count];
        assert!(words.len() >= block.len() / VECTOR * 4 * count, "a word for every slot and token");
        // SAFETY: the features are the caller's promise, the number of words was checked.
        unsafe {
            if dotprod {
                by_tokens!(fused_dot, count, block, words, sums, out)
            } else {
                by_tokens!(fused, count, block, words, sums, out)
            }
        }
    }
}

/// `acc[i] += w[4i..4i+4] . a[4i..4i+4]`
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the function has the feature; only registers are touched. (The intrinsic is unstable.)
    unsafe {
        asm!("sdot {acc:v}.4s, {w:v}.16b, {a:v}.16b", acc = inout(vreg) acc, w = in(vreg) w, a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// The quarter vector of slot `$slot`: `trit + 1` of 4 outputs.
macro_rules! trits {
    ($v:expr, $slot:literal) => {
        vreinterpretq_s8_u8(vandq_u8(vshlq_u8($v, vdupq_n_s8(-2 * $slot)), vdupq_n_u8(3)))
    };
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn fused_dot<const M: usize>(block: &[u8], words: &[i32], sums: &[i32], out: &mut [[i32; ROWS]]) {
    let mut acc = [[vdupq_n_s32(0); 4]; M];
    for m in 0..M {
        acc[m] = [vdupq_n_s32(-sums[m]); 4];
    }
    for (v, words) in block.chunks_exact(VECTOR).zip(words.chunks_exact(4 * M)) {
        for quarter in 0..4 {
            // SAFETY: a chunk is 64 bytes.
            let v = unsafe { vld1q_u8(v.as_ptr().add(16 * quarter)) };
            macro_rules! step {
                ($slot:literal) => {
                    let w = trits!(v, $slot);
                    for m in 0..M {
                        let a = vreinterpretq_s8_s32(vdupq_n_s32(words[$slot * M + m]));
                        acc[m][quarter] = sdot(acc[m][quarter], w, a);
                    }
                };
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
        }
    }
    store(acc, out);
}

#[target_feature(enable = "neon")]
unsafe fn fused<const M: usize>(block: &[u8], words: &[i32], sums: &[i32], out: &mut [[i32; ROWS]]) {
    let mut total = [[vdupq_n_s32(0); 4]; M];
    for m in 0..M {
        total[m] = [vdupq_n_s32(-sums[m]); 4];
    }
    let pieces = block.chunks(GROUPS_IN_16_BITS * VECTOR);
    for (piece, words) in pieces.zip(words.chunks(GROUPS_IN_16_BITS * 4 * M)) {
        for quarter in 0..4 {
            let mut short = [[vdupq_n_s16(0); 2]; M];
            for (v, words) in piece.chunks_exact(VECTOR).zip(words.chunks_exact(4 * M)) {
                // SAFETY: a chunk is 64 bytes.
                let v = unsafe { vld1q_u8(v.as_ptr().add(16 * quarter)) };
                macro_rules! step {
                    ($slot:literal) => {
                        let w = trits!(v, $slot);
                        for m in 0..M {
                            let a = vreinterpret_s8_s32(vdup_n_s32(words[$slot * M + m]));
                            short[m][0] = vmlal_s8(short[m][0], vget_low_s8(w), a);
                            short[m][1] = vmlal_s8(short[m][1], vget_high_s8(w), a);
                        }
                    };
                }
                step!(0);
                step!(1);
                step!(2);
                step!(3);
            }
            for m in 0..M {
                let pairs = vpaddq_s32(vpaddlq_s16(short[m][0]), vpaddlq_s16(short[m][1]));
                total[m][quarter] = vaddq_s32(total[m][quarter], pairs);
            }
        }
    }
    store(total, out);
}

#[target_feature(enable = "neon")]
fn store<const M: usize>(acc: [[int32x4_t; 4]; M], out: &mut [[i32; ROWS]]) {
    for (acc, out) in acc.iter().zip(out) {
        for (acc, out) in acc.iter().zip(out.chunks_exact_mut(4)) {
            // SAFETY: a chunk is 16 bytes.
            unsafe { vst1q_s32(out.as_mut_ptr(), *acc) };
        }
    }
}

/// Dot products of an unpacked row block (`trit + 1`) whose groups have multipliers, `[groups][16]`.
///
/// # Safety
/// The processor has NEON.
pub unsafe fn grouped(panel: &[u8], multipliers: &[u8], acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &(first, count) in acts.tiles() {
        let out = &mut out[first..first + count];
        // SAFETY: the features are the caller's promise.
        unsafe { by_tokens!(grouped_tile, count, panel, multipliers, acts, (first, count), out) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn grouped_tile<const M: usize>(
    panel: &[u8],
    multipliers: &[u8],
    acts: &Acts,
    tile: (usize, usize),
    out: &mut [[i32; ROWS]],
) {
    let mut words = acts.words(tile);
    let mut total = [[vdupq_n_s32(0); 4]; M];
    for (g, span) in acts.spans().iter().enumerate() {
        let sums = &acts.sums()[g * acts.tokens() + tile.0..][..M];
        let mut acc = [[vdupq_n_s32(0); 4]; M];
        for m in 0..M {
            acc[m] = [vdupq_n_s32(-sums[m]); 4];
        }
        let (these, rest) = words.split_at(span.count * M);
        words = rest;
        let slots = panel[span.slot * VECTOR..][..span.count * VECTOR].chunks_exact(VECTOR);
        for (v, words) in slots.zip(these.chunks_exact(M)) {
            for quarter in 0..4 {
                // SAFETY: a chunk is 64 bytes.
                let w = unsafe { vreinterpretq_s8_u8(vld1q_u8(v.as_ptr().add(16 * quarter))) };
                for m in 0..M {
                    let a = vreinterpret_s8_s32(vdup_n_s32(words[m]));
                    let low = vpaddlq_s16(vmull_s8(vget_low_s8(w), a));
                    let high = vpaddlq_s16(vmull_s8(vget_high_s8(w), a));
                    acc[m][quarter] = vaddq_s32(acc[m][quarter], vpaddq_s32(low, high));
                }
            }
        }
        let mut wide = [0i32; ROWS];
        for (wide, &multiplier) in wide.iter_mut().zip(&multipliers[g * ROWS..(g + 1) * ROWS]) {
            *wide = i32::from(multiplier);
        }
        for quarter in 0..4 {
            // SAFETY: 4 of the 16 multipliers.
            let wide = unsafe { vld1q_s32(wide[4 * quarter..].as_ptr()) };
            for m in 0..M {
                total[m][quarter] = vmlaq_s32(total[m][quarter], acc[m][quarter], wide);
            }
        }
    }
    store(total, out);
}
