//! What boards hold.

/// Resources of a board's FPGA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name in presets.
    pub name: &'static str,
    /// The part.
    pub part: &'static str,
    /// Look-up tables.
    pub luts: u32,
    /// Flip-flops.
    pub ffs: u32,
    /// DSP48E2 slices.
    pub dsps: u32,
    /// 36-kilobit block RAMs.
    pub brams: u32,
    /// 288-kilobit UltraRAMs.
    pub urams: u32,
}

/// All boards. `sim` is no board: nothing limits it. Sources: AMD DS987 (K26), DS965 (U50).
pub const BOARDS: [Board; 3] = [
    Board {
        name: "sim",
        part: "none",
        luts: u32::MAX,
        ffs: u32::MAX,
        dsps: u32::MAX,
        brams: u32::MAX,
        urams: u32::MAX,
    },
    Board {
        name: "kv260",
        part: "xck26-sfvc784-2LV-c",
        luts: 117_120,
        ffs: 234_240,
        dsps: 1_248,
        brams: 144,
        urams: 64,
    },
    Board {
        name: "u50",
        part: "xcu50-fsvh2104-2-e",
        luts: 871_680,
        ffs: 1_743_360,
        dsps: 5_952,
        brams: 1_344,
        urams: 640,
    },
];

impl Board {
    /// The board of that name.
    pub fn named(name: &str) -> Option<&'static Board> {
        BOARDS.iter().find(|b| b.name == name)
    }
}
