//! The tile unit (AMX int8): 16 tokens x 16 outputs x 64 inputs in an instruction.
//!
//! A trit vector is a row of the unit's second operand as it stands, so 16 unpacked trit vectors are a
//! tile; tokens are its first operand, row by row. Two row blocks are unpacked at a time and stay in
//! the second-level cache while all tokens pass over them, two token tiles at once.

use super::{
    acts::Acts,
    avx512,
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
        let tiles = acts.tokens().div_ceil(16).max(1);
        let rows = acts.tokens().div_ceil(tiles).max(1);
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
        acts.tokens().next_multiple_of(16)
    }

    /// Dot products of one to four packed row blocks: `out[block][token][output]`, with room for
    /// [`Tiles::padded_tokens`].
    ///
    /// # Safety
    /// This thread made `self`, for these `acts`; the processor has what [`avx512::unpack`] needs.
    pub unsafe fn blocks(
        &self,
        weights: &[&[u8]],
        code: Code,
        acts: &Acts,
        panel: &mut Panel,
        out: &mut [&mut [[i32; ROWS]]],
    ) {
        assert!((1..=BLOCKS).contains(&weights.len()) && weights.len() == out.len(), "one to four row blocks");
        assert!(out.iter().all(|out| out.len() >= Self::padded_tokens(acts)), "room for whole tiles");
        let (lines, tokens) = (acts.row_lines(), acts.tokens());
        let chunk_bytes = CHUNK_TILES * 64 / code.group_cols() * code.group_bytes();
        let mut start = 0;
        while start < lines {
            let tiles = CHUNK_TILES.min(lines - start);
            for (weights, panel) in weights.iter().zip(&mut panel.0) {
                let from = start / CHUNK_TILES * chunk_bytes;
                let bytes = &weights[from..(from + chunk_bytes).min(weights.len())];
                let used = bytes.len() / code.group_bytes() * code.group_slots() * VECTOR;
                panel[used..tiles * 1024].fill(0);
                // SAFETY: the panel is aligned and holds a chunk; features by the caller's promise.
                unsafe { avx512::unpack(bytes, code, true, &mut panel[..used]) };
            }
            for first in (0..tokens).step_by(2 * self.rows) {
                let second = first + self.rows;
                let tall = second < tokens;
                let row = |token: usize| acts.rows()[token * lines + start..].as_ptr().cast::<u8>();
                assert!(acts.rows().len() >= (if tall { second } else { first } + self.rows) * lines);
                for (out, panel) in out.chunks_mut(2).zip(panel.0.chunks(2)) {
                    let wide = out.len() == 2;
                    let job = Job {
                        a: [row(first), row(if tall { second } else { first })],
                        b: [panel[0].as_ptr(), panel[1].as_ptr()],
                        c: [out[0][first..].as_mut_ptr(), out[out.len() - 1][first..].as_mut_ptr()],
                        stride: lines * 64,
                        c_step: self.rows * 64,
                        tiles,
                        fresh: start == 0,
                    };
                    // SAFETY: rows, panels and outputs hold what the tiles touch by the lengths above.
                    unsafe {
                        match (tall, wide) {
                            (true, true) => job.run::<true, true>(),
                            (true, false) => job.run::<true, false>(),
                            (false, true) => job.run::<false, true>(),
                            (false, false) => job.run::<false, false>(),
                        }
                    }
                }
            }
            start += tiles;
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

/// Tiles of 64 inputs that are unpacked at a time: 24 KiB of four row blocks, half of the first-level
/// cache. A multiple of every layout's group.
const CHUNK_TILES: usize = 6;

/// Unpacked weights of a chunk of row blocks.
#[repr(C, align(64))]
pub struct Panel([[u8; CHUNK_TILES * 1024]; BLOCKS]);

impl Default for Panel {
    fn default() -> Self {
        Panel([[0; CHUNK_TILES * 1024]; BLOCKS])
    }
}

/// Products of one or two token tiles and one or two row blocks over a chunk of inputs.
struct Job {
    a: [*const u8; 2],
    b: [*const u8; 2],
    c: [*mut [i32; ROWS]; 2],
    stride: usize,
    c_step: usize,
    tiles: usize,
    fresh: bool,
}

impl Job {
    /// # Safety
    /// The registers are set up. `a` points to token tiles whose rows are `stride` bytes apart and hold
    /// `tiles` lines, `b` to `tiles` tiles, `c` to the sums of both token tiles, `c_step` bytes apart.
    unsafe fn run<const TALL: bool, const WIDE: bool>(&self) {
        let Job { a: [mut a0, mut a1], b: [mut b0, mut b1], c: [c0, c1], stride, c_step, tiles, fresh } = *self;
        // SAFETY: tile registers are used by nothing else; addresses by the caller's promise.
        unsafe {
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
            for _ in 0..tiles {
                asm!(
                    "tileloadd tmm6, [{b} + {row}]",
                    "tileloadd tmm4, [{a} + {stride}]",
                    "tdpbssd tmm0, tmm4, tmm6",
                    b = in(reg) b0, row = in(reg) 64usize, a = in(reg) a0, stride = in(reg) stride,
                    options(nostack, readonly),
                );
                if WIDE {
                    asm!(
                        "tileloadd tmm7, [{b} + {row}]",
                        "tdpbssd tmm1, tmm4, tmm7",
                        b = in(reg) b1, row = in(reg) 64usize,
                        options(nostack, readonly),
                    );
                }
                if TALL {
                    asm!(
                        "tileloadd tmm5, [{a} + {stride}]",
                        "tdpbssd tmm2, tmm5, tmm6",
                        a = in(reg) a1, stride = in(reg) stride,
                        options(nostack, readonly),
                    );
                }
                if TALL && WIDE {
                    asm!("tdpbssd tmm3, tmm5, tmm7", options(nostack, nomem));
                }
                a0 = a0.add(64);
                a1 = a1.add(64);
                b0 = b0.add(1024);
                b1 = b1.add(1024);
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
