//! The tile unit (AMX int8): 16 tokens x 16 outputs x 64 inputs in an instruction.
//!
//! A trit vector is a row of the unit's second operand as it stands, so 16 unpacked trit vectors are a
//! tile; tokens are its first operand, row by row. Two row blocks are unpacked at a time and stay in
//! the second-level cache while all tokens pass over them, two token tiles at once.

use super::{acts::Acts, layout::ROWS};
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

    /// Dot products of one or two unpacked row blocks (signed trits, `[slots][16][4]`, padded with zeros
    /// to whole tiles): `out[block][token][output]`.
    ///
    /// # Safety
    /// This thread made `self`. Each panel holds `acts.row_lines()` tiles of 1,024 bytes.
    pub unsafe fn blocks(&self, panels: &[&[u8]], acts: &Acts, out: &mut [&mut [[i32; ROWS]]]) {
        let lines = acts.row_lines();
        assert!(matches!(panels.len(), 1 | 2) && panels.len() == out.len(), "one or two row blocks");
        assert!(panels.iter().all(|p| p.len() >= lines * 1024), "panel");
        let tokens = acts.tokens();
        let mut sums = [Sums::ZERO; 4];
        for first in (0..tokens).step_by(2 * self.rows) {
            let second = (first + self.rows).min(tokens);
            let tall = second < tokens;
            let a0 = acts.rows()[first * lines..].as_ptr();
            let a1 = acts.rows()[if tall { second } else { first } * lines..].as_ptr();
            assert!(acts.rows().len() >= (first + self.rows) * lines);
            assert!(!tall || acts.rows().len() >= (second + self.rows) * lines);
            let (b0, b1) = (panels[0].as_ptr(), panels[panels.len() - 1].as_ptr());
            // SAFETY: every tile load lies inside the rows and panels checked above; `sums` holds four tiles.
            unsafe {
                match (tall, panels.len() == 2) {
                    (true, true) => multiply::<true, true>(a0.cast(), a1.cast(), b0, b1, lines, &mut sums),
                    (true, false) => multiply::<true, false>(a0.cast(), a1.cast(), b0, b1, lines, &mut sums),
                    (false, true) => multiply::<false, true>(a0.cast(), a1.cast(), b0, b1, lines, &mut sums),
                    (false, false) => multiply::<false, false>(a0.cast(), a1.cast(), b0, b1, lines, &mut sums),
                }
            }
            for (block, out) in out.iter_mut().enumerate() {
                out[first..second].copy_from_slice(&sums[block].0[..second - first]);
                if tall {
                    let end = (second + self.rows).min(tokens);
                    out[second..end].copy_from_slice(&sums[2 + block].0[..end - second]);
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

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[i32; ROWS]; 16]);

impl Sums {
    const ZERO: Sums = Sums([[0; ROWS]; 16]);
}

/// Sums over `tiles` tiles of 64 inputs, into `[token tile][block]`.
///
/// # Safety
/// The registers are set up; `a0`, `a1` hold rows of `tiles` lines, `b0`, `b1` `tiles` tiles.
unsafe fn multiply<const TALL: bool, const WIDE: bool>(
    mut a0: *const u8,
    mut a1: *const u8,
    mut b0: *const u8,
    mut b1: *const u8,
    tiles: usize,
    sums: &mut [Sums; 4],
) {
    let stride = tiles * 64;
    // SAFETY: tile registers are used by nothing else; addresses by the caller's promise.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
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
        asm!(
            "tilestored [{s} + {row}], tmm0",
            "tilestored [{s} + {row} + 1024], tmm1",
            "tilestored [{s} + {row} + 2048], tmm2",
            "tilestored [{s} + {row} + 3072], tmm3",
            s = in(reg) sums.as_mut_ptr(), row = in(reg) 64usize,
            options(nostack),
        );
    }
}
