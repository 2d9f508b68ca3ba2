//! Packed codes to trit vectors in memory.

use super::codes::{FIVE, FIVE_SIGNED, SHERRY, SHERRY_SIGNED, Twice};
use crate::cpu::layout::{Code, VECTOR};
use std::arch::x86_64::*;

/// Unpacks a row block to trit vectors of `trit + 1`, or of `trit` if `signed`.
///
/// # Safety
/// The processor has AVX-512 F, BW and VBMI; `panel` is aligned to 64 and holds every slot.
pub unsafe fn unpack(block: &[u8], code: Code, signed: bool, panel: &mut [u8]) {
    assert!(panel.len() >= block.len() / code.group_bytes() * code.group_slots() * VECTOR, "panel");
    // SAFETY: features and alignment are the caller's promise, the length was checked.
    unsafe {
        match (code, signed) {
            (Code::Five, false) => unpack_codes::<3, false>(block, &FIVE, panel),
            (Code::Five, true) => unpack_codes::<3, true>(block, &FIVE_SIGNED, panel),
            (Code::Sherry, false) => unpack_codes::<4, false>(block, &SHERRY, panel),
            (Code::Sherry, true) => unpack_codes::<4, true>(block, &SHERRY_SIGNED, panel),
            (Code::Two, _) => unreachable!("the 512-bit kernels read 5-bit codes"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn unpack_codes<const PLACES: usize, const AHEAD: bool>(
    block: &[u8],
    tables: &[Twice; PLACES],
    panel: &mut [u8],
) {
    // SAFETY: the caller checked the length of `panel` and promises its alignment.
    unsafe {
        let tables: [__m512i; PLACES] = std::array::from_fn(|t| _mm512_load_si512(tables[t].0.as_ptr().cast()));
        let mut p = block.as_ptr();
        let mut to = panel.as_mut_ptr();
        for _ in 0..block.len() / (5 * VECTOR) {
            if !AHEAD {
                prefetch!(p);
            }
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
