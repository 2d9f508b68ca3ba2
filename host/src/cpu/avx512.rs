//! AVX-512 with VNNI and VBMI.
//!
//! A byte lookup (`vpermb`) turns a vector of 5-bit codes into a trit vector in one step; the index bits
//! above the code are ignored by repeating the 32-entry table, so nothing is masked. `vpdpbusd`
//! multiplies it by four activations that are broadcast on their way from memory.

use super::{
    acts::{Acts, Line},
    layout::{Code, ROWS, VECTOR, table},
    vector::Halves,
};
use std::arch::x86_64::*;

/// A 32-entry table twice over, so that index bit 5 does not matter.
#[repr(align(64))]
struct Twice([u8; 64]);

const fn twice(entries: [u8; 32], offset: u8) -> Twice {
    let mut out = [0; 64];
    let mut i = 0;
    while i < 64 {
        out[i] = entries[i % 32].wrapping_sub(offset);
        i += 1;
    }
    Twice(out)
}

const fn five(offset: u8) -> [Twice; 3] {
    [twice(table(Code::Five, 0), offset), twice(table(Code::Five, 1), offset), twice(table(Code::Five, 2), offset)]
}

const fn sherry(offset: u8) -> [Twice; 4] {
    [
        twice(table(Code::Sherry, 0), offset),
        twice(table(Code::Sherry, 1), offset),
        twice(table(Code::Sherry, 2), offset),
        twice(table(Code::Sherry, 3), offset),
    ]
}

/// Tables of `trit + 1`.
static FIVE: [Twice; 3] = five(0);
static SHERRY: [Twice; 4] = sherry(0);
/// Tables of `trit`.
static FIVE_SIGNED: [Twice; 3] = five(1);
static SHERRY_SIGNED: [Twice; 4] = sherry(1);

/// Asks for the group's worth of weights that comes 1 KiB later (into the first-level cache) and 2 KiB
/// later (into the second). Measured: 15 GB/s with the second alone, 18 with both, 19.5 with both on two
/// streams ([`pair`]), 11 with none.
macro_rules! prefetch {
    ($p:expr) => {
        for i in 0..5 {
            _mm_prefetch::<_MM_HINT_T0>($p.wrapping_add(1024 + i * VECTOR).cast());
            _mm_prefetch::<_MM_HINT_T1>($p.wrapping_add(2048 + i * VECTOR).cast());
        }
    };
}

/// The eight code vectors of a group, junk above bit 4 of every byte.
macro_rules! codes {
    ($p:expr) => {{
        let p: *const u8 = $p;
        let load = |i: usize| _mm512_loadu_si512(p.add(i * VECTOR).cast());
        let v = [load(0), load(1), load(2), load(3), load(4)];
        let low3 = _mm512_set1_epi8(7);
        let bit3 = _mm512_set1_epi8(8);
        // bitwise `mask ? a : b`
        macro_rules! pick {
            ($mask:expr, $a:expr, $b:expr) => {
                _mm512_ternarylogic_epi32::<0xca>($mask, $a, $b)
            };
        }
        let c5 = pick!(low3, _mm512_srli_epi16::<5>(v[0]), _mm512_srli_epi16::<3>(v[3]));
        let c6 = pick!(low3, _mm512_srli_epi16::<5>(v[1]), _mm512_srli_epi16::<3>(v[4]));
        let high = pick!(bit3, _mm512_srli_epi16::<2>(v[3]), _mm512_srli_epi16::<1>(v[4]));
        let c7 = pick!(low3, _mm512_srli_epi16::<5>(v[2]), high);
        [v[0], v[1], v[2], v[3], v[4], c5, c6, c7]
    }};
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
                    step!(0);
                    step!(1);
                    step!(2);
                    step!(3);
                    step!(4);
                    step!(5);
                    step!(6);
                    step!(7);
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
                        step!(0);
                        step!(1);
                        step!(2);
                        step!(3);
                        step!(4);
                        step!(5);
                        step!(6);
                        step!(7);
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

/// Unpacks a row block to trit vectors of `trit + 1`, or of `trit` if `signed`.
///
/// # Safety
/// The processor has AVX-512 F, BW and VBMI; `panel` is aligned to 64 and holds every slot.
pub unsafe fn unpack(block: &[u8], code: Code, signed: bool, panel: &mut [u8]) {
    assert!(panel.len() >= block.len() / code.group_bytes() * code.group_slots() * VECTOR, "panel");
    // SAFETY: features and alignment are the caller's promise, the length was checked.
    unsafe {
        match (code, signed) {
            (Code::Five, false) => unpack_codes(block, &FIVE, panel),
            (Code::Five, true) => unpack_codes(block, &FIVE_SIGNED, panel),
            (Code::Sherry, false) => unpack_codes(block, &SHERRY, panel),
            (Code::Sherry, true) => unpack_codes(block, &SHERRY_SIGNED, panel),
            (Code::Two, _) => unreachable!("the 512-bit kernels read 5-bit codes"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn unpack_codes<const PLACES: usize>(block: &[u8], tables: &[Twice; PLACES], panel: &mut [u8]) {
    // SAFETY: the caller checked the length of `panel` and promises its alignment.
    unsafe {
        let tables: [__m512i; PLACES] = std::array::from_fn(|t| _mm512_load_si512(tables[t].0.as_ptr().cast()));
        let mut p = block.as_ptr();
        let mut to = panel.as_mut_ptr();
        for _ in 0..block.len() / (5 * VECTOR) {
            prefetch!(p);
            for c in codes!(p) {
                for table in tables {
                    _mm512_store_si512(to.cast(), _mm512_permutexvar_epi8(c, table));
                    to = to.add(VECTOR);
                }
            }
            p = p.add(5 * VECTOR);
        }
    }
}

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

/// Dot products of keys and up to 8 interleaved queries: [`super::vector::key_products`].
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

/// Adds weighted values of up to 8 queries: [`super::vector::value_sums`].
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
