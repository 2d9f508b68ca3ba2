//! The tile unit (AMX int8): 16 tokens x 16 outputs x 64 inputs in an instruction.
//!
//! A trit vector is a row of the unit's second operand as it stands, so 16 unpacked trit vectors are a
//! tile; tokens are its first operand, row by row. A chunk of two row blocks is unpacked at a time and
//! stays in the first-level cache while all tokens pass over it, two token tiles at once: four products
//! of 16 cycles on four loads. Measured, the unit is then busy nine cycles of ten.

mod attention;
mod products;

pub use attention::Queries;
pub use products::{BLOCKS, Panel};

use super::acts::TILE_ROWS;
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
    /// Sets the registers of this thread up for tiles of `rows` tokens.
    ///
    /// # Safety
    /// [`enable`] returned true.
    pub unsafe fn new(rows: usize) -> Self {
        assert!((1..=TILE_ROWS).contains(&rows), "{rows} rows in a tile");
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for register in 0..8 {
            config.row_bytes[register] = 64;
            config.rows[register] = if register < 6 { rows as u8 } else { 16 };
        }
        // SAFETY: the unit is enabled; the configuration is 64 bytes, palette 1, 1 to 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Tiles { rows }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: gives the registers back; nothing reads them afterwards.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
