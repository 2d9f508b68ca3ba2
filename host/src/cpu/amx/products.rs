//! Row blocks of trits times tokens.

use super::Tiles;
use crate::cpu::{
    acts::{Acts, TILE_ROWS},
    avx512::unpack,
    layout::{Code, ROWS, VECTOR},
};
use std::arch::asm;

impl Tiles {
    /// Rows that every output of [`Tiles::blocks`] must have room for.
    pub fn padded_tokens(acts: &Acts) -> usize {
        acts.tokens().next_multiple_of(TILE_ROWS)
    }

    /// Dot products of one or two packed row blocks: `out[block][token][output]`, with room for
    /// [`Tiles::padded_tokens`]. The next call is for the row blocks that lie `onward` further.
    ///
    /// # Safety
    /// This thread made `self`, for these `acts`; the processor has what [`unpack::unpack`] needs.
    pub unsafe fn blocks(
        &self,
        weights: &[&[u8]],
        onward: usize,
        code: Code,
        acts: &Acts,
        panel: &mut Panel,
        out: &mut [&mut [[i32; ROWS]]],
    ) {
        assert!((1..=BLOCKS).contains(&weights.len()) && weights.len() == out.len(), "one or two row blocks");
        assert!(out.iter().all(|out| out.len() >= Self::padded_tokens(acts)), "room for whole tiles");
        assert!(weights.iter().all(|w| w.len() == weights[0].len()), "row blocks of one matrix");
        let (lines, tokens) = (acts.row_lines(), acts.tokens());
        let wide = out.len() == 2;
        for start in (0..lines).step_by(CHUNK_TILES) {
            let tiles = CHUNK_TILES.min(lines - start);
            let calls = tokens.div_ceil(2 * self.rows) * tiles;
            let mut fill = Fill::new((weights, onward), code, (start, tiles), calls, panel);
            for first in (0..tokens).step_by(2 * self.rows) {
                let second = first + self.rows;
                let tall = second < tokens;
                let tile = |token: usize| acts.tile(token / self.rows)[start * TILE_ROWS..].as_ptr().cast::<u8>();
                let job = Job {
                    a: [tile(first), tile(if tall { second } else { first })],
                    b: fill.panel,
                    c: [out[0][first..].as_mut_ptr(), out[out.len() - 1][first..].as_mut_ptr()],
                    c_step: self.rows * 64,
                    tiles: fill.tiles,
                    fresh: start == 0,
                };
                // SAFETY: tiles, panels and outputs hold what is touched by the lengths above, and the
                // panel is filled ahead of its use.
                unsafe {
                    match (tall, wide) {
                        (true, true) => job.run::<true, true>(&mut fill),
                        (true, false) => job.run::<true, false>(&mut fill),
                        (false, true) => job.run::<false, true>(&mut fill),
                        (false, false) => job.run::<false, false>(&mut fill),
                    }
                }
            }
        }
    }
}

/// Row blocks that share a pass over the tokens.
pub const BLOCKS: usize = 2;

/// Tiles of 64 inputs that are unpacked at a time: 24 KiB of two row blocks, half of the first-level
/// cache. A multiple of every layout's step.
const CHUNK_TILES: usize = 12;

/// Unpacked weights of a chunk of row blocks.
#[repr(C, align(64))]
pub struct Panel([[u8; CHUNK_TILES * TILE_BYTES]; BLOCKS]);

/// Bytes of a tile.
const TILE_BYTES: usize = 1024;

impl Default for Panel {
    fn default() -> Self {
        Panel([[0; CHUNK_TILES * TILE_BYTES]; BLOCKS])
    }
}

/// Unpacks a chunk of row blocks group by group, a few tiles ahead of the products that need them: the
/// vector unit works while the tile unit does, and what it stores has reached the cache by then.
struct Fill<'a> {
    code: Code,
    packed: [&'a [u8]; BLOCKS],
    panel: [*mut u8; BLOCKS],
    blocks: usize,
    tiles: usize,
    groups: usize,
    /// Groups and tiles that are there.
    done: (usize, usize),
    next: [*const u8; BLOCKS],
    lines: usize,
}

/// Tiles that are unpacked before their turn.
const AHEAD: usize = 3;

impl<'a> Fill<'a> {
    /// Tiles `start..start + tiles` of the row blocks `weights`. Over `calls` calls of [`Fill::prefetch`],
    /// the weights of the next chunk are asked for.
    fn new(
        (weights, onward): (&[&'a [u8]], usize),
        code: Code,
        (start, tiles): (usize, usize),
        calls: usize,
        panel: &mut Panel,
    ) -> Self {
        let bytes = |tiles: usize| tiles * 64 / code.group_cols() * code.group_bytes();
        let (from, end) = (bytes(start), bytes(start + CHUNK_TILES).min(weights[0].len()));
        let blocks = weights.len();
        let weights: [&[u8]; BLOCKS] = std::array::from_fn(|i| weights[i.min(blocks - 1)]);
        let next = weights.map(|w| w.as_ptr().wrapping_add(if end < w.len() { end } else { onward * w.len() }));
        Fill {
            code,
            packed: weights.map(|weights| &weights[from..end]),
            panel: panel.0.each_mut().map(|p| p.as_mut_ptr()),
            blocks,
            tiles,
            groups: (end - from) / code.group_bytes(),
            done: (0, 0),
            next,
            lines: bytes(CHUNK_TILES).div_ceil(64).div_ceil(calls),
        }
    }

    #[inline(always)]
    fn prefetch(&mut self) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for _ in 0..self.lines {
            for next in &mut self.next {
                // SAFETY: a prefetch does not fault.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(next.cast()) };
                *next = next.wrapping_add(64);
            }
        }
    }

    /// Sees to it that tiles below `end` are unpacked, if there are as many.
    ///
    /// # Safety
    /// The processor has what [`unpack::unpack`] needs; the panel is not borrowed.
    #[inline(always)]
    unsafe fn reach(&mut self, end: usize) {
        while self.done.1 < end.min(self.tiles) {
            // SAFETY: passed on to the caller.
            unsafe { self.advance() };
        }
    }

    /// The next group of all row blocks. After the last one, half a tile may be left that keeps what it
    /// held: the tokens' codes are zero there.
    ///
    /// # Safety
    /// As [`Fill::reach`].
    unsafe fn advance(&mut self) {
        let (group, bytes) = (self.done.0, self.code.group_bytes());
        if group == self.groups {
            self.done.1 = self.tiles;
            return;
        }
        let group_bytes = self.code.group_slots() * VECTOR;
        let start = group * group_bytes;
        assert!(start + group_bytes <= CHUNK_TILES * TILE_BYTES, "group {group} in the panel");
        for (packed, panel) in self.packed.iter().zip(self.panel).take(self.blocks) {
            // SAFETY: checked; nobody else uses the panel.
            let out = unsafe { std::slice::from_raw_parts_mut(panel.add(start), group_bytes) };
            // SAFETY: the panel is aligned and holds the group; features by the caller's promise.
            unsafe { unpack::unpack(&packed[group * bytes..(group + 1) * bytes], self.code, true, out) };
        }
        self.done = (group + 1, (start + group_bytes) / TILE_BYTES);
    }
}

/// Products of one or two token tiles and one or two row blocks over a chunk of inputs.
struct Job {
    a: [*const u8; 2],
    b: [*mut u8; 2],
    c: [*mut [i32; ROWS]; 2],
    c_step: usize,
    tiles: usize,
    fresh: bool,
}

impl Job {
    /// Tokens are loaded past the first-level cache (`tileloaddt1`), which keeps weights and sums.
    ///
    /// # Safety
    /// The registers are set up. `a` points to `tiles` tiles of tokens each, `b` to as many of weights,
    /// which `fill` unpacks; `c` to the sums of both token tiles, `c_step` bytes apart.
    #[inline(always)]
    unsafe fn run<const TALL: bool, const WIDE: bool>(&self, fill: &mut Fill<'_>) {
        let Job { a: [mut a0, mut a1], b: [mut b0, mut b1], c: [c0, c1], c_step, tiles, fresh } = *self;
        // SAFETY: tile registers are used by nothing else; addresses by the caller's promise.
        unsafe {
            fill.reach(AHEAD);
            if fresh {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            } else {
                asm!("tileloadd tmm0, [{c} + {row}]", c = in(reg) c0, row = in(reg) 64usize, options(nostack, readonly));
                if WIDE {
                    asm!("tileloadd tmm1, [{c} + {row}]", c = in(reg) c1, row = in(reg) 64usize, options(nostack, readonly));
                }
                if TALL {
                    asm!("tileloadd tmm2, [{c} + {row}]", c = in(reg) c0.byte_add(c_step), row = in(reg) 64usize, options(nostack, readonly));
                }
                if TALL && WIDE {
                    asm!("tileloadd tmm3, [{c} + {row}]", c = in(reg) c1.byte_add(c_step), row = in(reg) 64usize, options(nostack, readonly));
                }
            }
            for tile in 0..tiles {
                fill.reach(tile + 1 + AHEAD);
                fill.prefetch();
                asm!(
                    "tileloaddt1 tmm4, [{a} + {row}]",
                    "tileloadd tmm6, [{b} + {row}]",
                    a = in(reg) a0, b = in(reg) b0, row = in(reg) 64usize,
                    options(nostack, readonly),
                );
                if WIDE {
                    asm!("tileloadd tmm7, [{b} + {row}]", b = in(reg) b1, row = in(reg) 64usize, options(nostack, readonly));
                }
                if TALL {
                    asm!("tileloaddt1 tmm5, [{a} + {row}]", a = in(reg) a1, row = in(reg) 64usize, options(nostack, readonly));
                }
                asm!("tdpbssd tmm0, tmm4, tmm6", options(nostack, nomem));
                if WIDE {
                    asm!("tdpbssd tmm1, tmm4, tmm7", options(nostack, nomem));
                }
                if TALL {
                    asm!("tdpbssd tmm2, tmm5, tmm6", options(nostack, nomem));
                }
                if TALL && WIDE {
                    asm!("tdpbssd tmm3, tmm5, tmm7", options(nostack, nomem));
                }
                a0 = a0.add(TILE_BYTES);
                a1 = a1.add(TILE_BYTES);
                b0 = b0.add(TILE_BYTES);
                b1 = b1.add(TILE_BYTES);
            }
            asm!("tilestored [{c} + {row}], tmm0", c = in(reg) c0, row = in(reg) 64usize, options(nostack));
            if WIDE {
                asm!("tilestored [{c} + {row}], tmm1", c = in(reg) c1, row = in(reg) 64usize, options(nostack));
            }
            if TALL {
                asm!("tilestored [{c} + {row}], tmm2", c = in(reg) c0.byte_add(c_step), row = in(reg) 64usize, options(nostack));
            }
            if TALL && WIDE {
                asm!("tilestored [{c} + {row}], tmm3", c = in(reg) c1.byte_add(c_step), row = in(reg) 64usize, options(nostack));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{
        Isa,
        layout::Shape,
        matmul::{Packed, Scratch, products},
        pack,
        testing::Random,
    };
    use spec::format::matrix::{Encoding, TritMatrix};

    /// Prints how long a tile instruction takes with what belongs to it: the unit is slower for trits than
    /// for zeros.
    #[test]
    #[ignore = "measures"]
    fn rate() {
        if !Isa::available().contains(&Isa::Amx) {
            return; // no such processor
        }
        let (rows, cols, tokens) = (8192, 1536, 128);
        let mut random = Random::new(1);
        let codes = random.codes(tokens * cols);
        let zeros = vec![121u8; rows * cols.div_ceil(5)]; // five zero trits
        let zeros = TritMatrix::new(rows, cols, Encoding::Trit5, zeros.into()).unwrap();
        for (name, matrix) in [("zeros", zeros), ("trits", random.matrix(rows, cols, Encoding::Trit5))] {
            let shape = Shape { code: Isa::Amx.code(Encoding::Trit5), rows, cols };
            let mut bytes = vec![0; shape.bytes()];
            pack::pack(&matrix, shape, &mut bytes);
            let mut acts = Acts::default();
            acts.prepare(Isa::Amx, shape, cols, tokens, &codes);
            let packed = Packed { shape, bytes: &bytes, group: cols, multipliers: &[] };
            let mut scratch = Scratch::default();
            let mut once = || {
                let begin = std::time::Instant::now();
                products(Isa::Amx, packed, 0..shape.blocks(), &acts, &mut scratch, |_, sums| {
                    std::hint::black_box(sums);
                });
                begin.elapsed()
            };
            let best = (0..200).map(|_| once()).min().unwrap();
            let instructions = rows / 16 * tokens / 16 * cols / 64;
            println!("{name}: {:.2} ns a tile instruction", best.as_secs_f64() * 1e9 / instructions as f64);
        }
    }
}
