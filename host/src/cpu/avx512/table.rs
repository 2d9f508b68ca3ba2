//! Rows of int8 codes: the head.

use crate::cpu::acts::Line;
use std::arch::x86_64::*;

/// Dot products of rows of signed codes with 1 to 4 tokens: `sums[token][i]` for the rows
/// `first + i * step`, `i` below `rows`, which is at most 4. `minus` is -128 times the sum of each token,
/// as 128 is added to the codes on the way.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
pub unsafe fn table_products(
    codes: &[u8],
    cols: usize,
    (first, step, rows): (usize, usize, usize),
    acts: [&[Line]; 4],
    minus: [i32; 4],
    tokens: usize,
    sums: &mut [[i32; 4]; 4],
) {
    assert!(acts.iter().all(|a| a.len() * 64 >= cols), "activations");
    assert!((1..=4).contains(&rows) && codes.len() >= (first + (rows - 1) * step + 1) * cols, "rows of the table");
    macro_rules! run {
        ($rows:literal, $i:expr) => {{
            let rows = std::array::from_fn(|i| &codes[(first + ($i + i) * step) * cols..][..cols]);
            match tokens {
                1 => rows_times::<$rows, 1>(rows, acts, minus, $i, sums),
                2 => rows_times::<$rows, 2>(rows, acts, minus, $i, sums),
                3 => rows_times::<$rows, 3>(rows, acts, minus, $i, sums),
                _ => rows_times::<$rows, 4>(rows, acts, minus, $i, sums),
            }
        }};
    }
    // SAFETY: the features are the caller's promise, the lengths were checked.
    unsafe {
        match rows {
            4 => run!(4, 0),
            2 => run!(2, 0),
            _ => (0..rows).for_each(|i| run!(1, i)),
        }
    }
}

/// `R` rows times `M` tokens, into `sums[token][at..at + R]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rows_times<const R: usize, const M: usize>(
    rows: [&[u8]; R],
    acts: [&[Line]; 4],
    minus: [i32; 4],
    at: usize,
    sums: &mut [[i32; 4]; 4],
) {
    let flip = _mm512_set1_epi8(-128);
    let cols = rows[0].len();
    let mut acc = [[_mm512_setzero_si512(); M]; R];
    for line in 0..cols.div_ceil(64) {
        let left = cols - line * 64;
        // bytes past the end of a row read as zero; their activations are zero
        let mask = if left >= 64 { !0 } else { (1u64 << left) - 1 };
        // SAFETY: the mask keeps the load inside the row; the caller checked the lines.
        unsafe {
            let mut x = [_mm512_setzero_si512(); M];
            for m in 0..M {
                x[m] = _mm512_load_si512(acts[m].as_ptr().add(line).cast());
            }
            for r in 0..R {
                let p = rows[r].as_ptr().add(line * 64);
                _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(1024).cast());
                _mm_prefetch::<_MM_HINT_T1>(p.wrapping_add(2048).cast());
                let w = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, p.cast()), flip);
                for m in 0..M {
                    acc[r][m] = _mm512_dpbusd_epi32(acc[r][m], w, x[m]);
                }
            }
        }
    }
    for r in 0..R {
        for m in 0..M {
            sums[m][at + r] = _mm512_reduce_add_epi32(acc[r][m]).wrapping_add(minus[m]);
        }
    }
}
