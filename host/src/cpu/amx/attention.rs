//! Integer products of attention: the cache's layouts (see [`crate::cpu::kv`]) are tiles as they stand.
//!
//! Sixteen positions of keys are a tile of 64 dimensions, 64 positions of values one of 16 dimensions, and
//! the queries of a head are the rows of the first operand.

use super::Tiles;
use crate::cpu::{
    acts::{Line, TILE_ROWS},
    kv::PAGE,
    layout::ROWS,
    softmax::Halves,
};
use std::arch::asm;

/// Query codes as the first operand, and what their sums start from.
pub struct Queries {
    /// `[2][16 queries]` times 64 dimensions, zeros past the last.
    codes: [[Line; TILE_ROWS]; 2],
    /// -128 times the sum of each query's codes, for each of 16 positions: keys are stored with 128 added.
    minus: Minus,
}

#[repr(C, align(64))]
struct Minus([[i32; ROWS]; TILE_ROWS]);

impl Default for Queries {
    fn default() -> Self {
        Queries { codes: [[Line([0; 64]); TILE_ROWS]; 2], minus: Minus([[0; ROWS]; TILE_ROWS]) }
    }
}

impl Queries {
    /// Widest head that is served.
    pub const MAX_DIM: usize = 128;

    /// Sets query `index`; `minus` is -128 times the sum of its codes.
    pub fn set(&mut self, index: usize, codes: &[i8], minus: i32) {
        assert!(codes.len() <= Self::MAX_DIM, "head of {} dimensions", codes.len());
        for (half, lines) in self.codes.iter_mut().enumerate() {
            let codes = codes.get(half * 64..).unwrap_or(&[]);
            let count = codes.len().min(64);
            lines[index].0[..count].copy_from_slice(&codes[..count]);
            lines[index].0[count..].fill(0);
        }
        self.minus.0[index].fill(minus);
    }
}

impl Tiles {
    /// Products of the queries and the first `blocks` blocks of 16 keys: `dots[query * stride + position]`.
    /// `codes` are a head's keys and, after them, its values; `padded` is the width of the head there.
    ///
    /// # Safety
    /// This thread made `self`, for as many rows as there are queries.
    pub unsafe fn key_products(
        &self,
        codes: &[u8],
        padded: usize,
        blocks: usize,
        queries: &Queries,
        (dots, stride): (&mut [i32], usize),
    ) {
        let tall = padded > 64;
        // a tile may reach into what follows a block: those dimensions of the queries are zero
        let reach = (blocks - 1) * 16 * padded + if tall { 2048 } else { 1024 };
        assert!(reach <= codes.len() && padded <= Queries::MAX_DIM, "keys of {blocks} blocks");
        assert!(dots.len() >= (self.rows - 1) * stride + blocks * 16, "room for all products");
        // SAFETY: tile registers are used by nothing else; tiles of `rows` rows of queries, 16 rows of keys
        // and `rows` rows of products lie inside by the lengths above.
        unsafe {
            asm!(
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                a = in(reg) queries.codes.as_ptr(), row = in(reg) 64usize,
                options(nostack, readonly),
            );
            for block in 0..blocks {
                let key = codes.as_ptr().add(block * 16 * padded);
                asm!(
                    "tileloadd tmm0, [{c} + {row}]",
                    "tileloadd tmm6, [{b} + {row}]",
                    "tdpbsud tmm0, tmm4, tmm6",
                    c = in(reg) queries.minus.0.as_ptr(), b = in(reg) key, row = in(reg) 64usize,
                    options(nostack, readonly),
                );
                if tall {
                    asm!(
                        "tileloadd tmm7, [{b} + {row} + 1024]",
                        "tdpbsud tmm0, tmm5, tmm7",
                        b = in(reg) key, row = in(reg) 64usize,
                        options(nostack, readonly),
                    );
                }
                let dots = dots.as_mut_ptr().add(block * 16);
                asm!("tilestored [{c} + {row}], tmm0", c = in(reg) dots, row = in(reg) stride * 4, options(nostack));
            }
        }
    }

    /// Weighted sums of the values at `positions` positions, from the first of `pages` on, in
    /// `sums[query][low, high][padded]`. `page` gives a page's values. The weights of each query are zero up
    /// to a multiple of 64.
    ///
    /// # Safety
    /// As [`Tiles::key_products`].
    pub unsafe fn value_sums<'a>(
        &self,
        page: impl Fn(usize) -> &'a [u8],
        positions: usize,
        (low, high, stride): Halves<'_>,
        padded: usize,
        sums: &mut [i32],
    ) {
        let needed = (self.rows - 1) * stride + positions.next_multiple_of(64);
        assert!(low.len() >= needed && high.len() >= needed, "a weight for every value");
        assert!(padded.is_multiple_of(16) && sums.len() >= self.rows * 2 * padded, "room for all sums");
        for d in (0..padded / 16).step_by(2) {
            let wide = d + 1 < padded / 16;
            // SAFETY: tile registers are used by nothing else.
            unsafe {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
            for first in (0..positions).step_by(PAGE) {
                let values = page(first / PAGE);
                let steps = (positions - first).min(PAGE).div_ceil(64);
                assert!(values.len() >= steps * 64 * padded, "values of a page");
                for step in 0..steps {
                    // SAFETY: 16 rows of four positions, 64 bytes of them or twice that from dimension `16 d`
                    // on, and `rows` rows of 64 weights lie inside by the lengths above.
                    unsafe {
                        let at = first + step * 64;
                        let b = values.as_ptr().add((step * 16 * padded + d * 16) * 4);
                        asm!(
                            "tileloadd tmm4, [{low} + {stride}]",
                            "tileloadd tmm5, [{high} + {stride}]",
                            "tileloadd tmm6, [{b} + {row}]",
                            "tdpbusd tmm0, tmm4, tmm6",
                            "tdpbusd tmm2, tmm5, tmm6",
                            low = in(reg) low.as_ptr().add(at), high = in(reg) high.as_ptr().add(at),
                            stride = in(reg) stride, b = in(reg) b, row = in(reg) 4 * padded,
                            options(nostack, readonly),
                        );
                        if wide {
                            asm!(
                                "tileloadd tmm7, [{b} + {row} + 64]",
                                "tdpbusd tmm1, tmm4, tmm7",
                                "tdpbusd tmm3, tmm5, tmm7",
                                b = in(reg) b, row = in(reg) 4 * padded,
                                options(nostack, readonly),
                            );
                        }
                    }
                }
            }
            // SAFETY: `rows` rows of sums, of 16 dimensions or twice as many, lie inside.
            unsafe {
                let c = sums.as_mut_ptr().add(16 * d);
                let (high, row) = (c.add(padded), 8 * padded);
                asm!("tilestored [{c} + {row}], tmm0", c = in(reg) c, row = in(reg) row, options(nostack));
                asm!("tilestored [{c} + {row}], tmm2", c = in(reg) high, row = in(reg) row, options(nostack));
                if wide {
                    asm!("tilestored [{c} + {row} + 64], tmm1", c = in(reg) c, row = in(reg) row, options(nostack));
                    asm!("tilestored [{c} + {row} + 64], tmm3", c = in(reg) high, row = in(reg) row, options(nostack));
                }
            }
        }
    }
}
