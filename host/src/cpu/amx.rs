//! The tile unit (AMX int8): 16 tokens x 16 outputs x 64 inputs in an instruction.
//!
//! A trit vector is a row of the unit's second operand as it stands, so 16 unpacked trit vectors are a
//! tile; tokens are its first operand, row by row. A chunk of two row blocks is unpacked at a time and
//! stays in the first-level cache while all tokens pass over it, two token tiles at once: four products
//! of 16 cycles on four loads. Measured, the unit is then busy nine cycles of ten.

use super::{
    acts::{Acts, TILE_ROWS},
    avx512::unpack,
    layout::{Code, ROWS, VECTOR},
};
use std::{arch::asm, sync::OnceLock};

/// Whether processor and operating system let this process use the tile unit; asks for it once.
pub fn enable() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| has_tiles() && permit())
}

/// CPUID leaf 7: AMX-INT8 and AMX-TILE; XCR0: the operating system saves tile state.
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    if __cpuid(0).eax < 7 || __cpuid(1).ecx >> 27 & 1 == 0 {
        return false; // no leaf 7, or no XGETBV
    }
    let features = __cpuid_count(7, 0).edx;
    let xcr0: u32;
    // SAFETY: XGETBV of register 0 is legal as CPUID says OSXSAVE.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _, options(nomem, nostack)) };
    features >> 24 & 1 == 1 && features >> 25 & 1 == 1 && xcr0 >> 17 & 3 == 3
}

#[cfg(target_os = "linux")]
fn permit() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call only asks the kernel to allow tile state for this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permit() -> bool {
    false
}

/// Shapes of the eight tile registers, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile registers set up for `rows` tokens a tile, for as long as the value lives.
///
/// tmm0..3 sums `[token tile 0..1][row block 0..1]`, tmm4..5 tokens, tmm6..7 weights.
pub struct Tiles {
    rows: usize,
}

impl Tiles {
    /// Sets the registers of this thread up for the tokens of `acts`.
    ///
    /// # Safety
    /// [`enable`] returned true.
    pub unsafe fn new(acts: &Acts) -> Self {
        let rows = acts.tile_rows();
        assert!((1..=TILE_ROWS).contains(&rows), "activations in tiles");
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for register in 0..8 {
            config.row_bytes[register] = 64;
            config.rows[register] = if register < 6 { rows as u8 } else { 16 };
        }
        // SAFETY: the unit is enabled; the configuration is 64 bytes, palette 1, 1 to 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Tiles { rows }
    }

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

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: gives the registers back; nothing reads them afterwards.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
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

    /// The next group of all row blocks, or zeros after the last one.
    ///
    /// # Safety
    /// As [`Fill::reach`].
    unsafe fn advance(&mut self) {
        let (group, bytes) = (self.done.0, self.code.group_bytes());
        let group_bytes = self.code.group_slots() * VECTOR;
        let start = group * group_bytes;
        let end = self.tiles * TILE_BYTES;
        for (packed, panel) in self.packed.iter().zip(self.panel).take(self.blocks) {
            let panel = panel.wrapping_add(start);
            if group == self.groups {
                // SAFETY: inside the panel, as there are at most `CHUNK_TILES` tiles; nobody else uses it.
                unsafe { panel.write_bytes(0, end - start) };
                continue;
            }
            assert!(start + group_bytes <= CHUNK_TILES * TILE_BYTES, "group {group} in the panel");
            // SAFETY: checked; nobody else uses the panel.
            let out = unsafe { std::slice::from_raw_parts_mut(panel, group_bytes) };
            // SAFETY: the panel is aligned and holds the group; features by the caller's promise.
            unsafe { unpack::unpack(&packed[group * bytes..(group + 1) * bytes], self.code, true, out) };
        }
        self.done = match group == self.groups {
            true => (group, self.tiles),
            false => (group + 1, (start + group_bytes) / TILE_BYTES),
        };
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
