//! Tables and macros that turn packed codes into trit vectors.

use crate::cpu::layout::{Code, table};

/// A 32-entry table twice over, so that index bit 5 does not matter.
#[repr(align(64))]
pub struct Twice(pub [u8; 64]);

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
pub static FIVE: [Twice; 3] = five(0);
pub static SHERRY: [Twice; 4] = sherry(0);
/// Tables of `trit`.
pub static FIVE_SIGNED: [Twice; 3] = five(1);
pub static SHERRY_SIGNED: [Twice; 4] = sherry(1);

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
