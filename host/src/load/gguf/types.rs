//! Element types of GGUF tensors and their sizes.

/// The element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgmlType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// 32 int8 with a scale.
    Q8_0,
    /// 256 six-bit integers with two levels of scales.
    Q6K,
    /// 256 trits, five to a byte, with a scale.
    Tq1_0,
    /// 256 trits, four to a byte, with a scale.
    Tq2_0,
    /// Trits, four to a byte in runs of 128, one scale for the tensor (bitnet.cpp on x86).
    I2S,
}

impl GgmlType {
    /// The supported types, for messages.
    pub const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q6_K, TQ1_0, TQ2_0 or I2_S";

    /// The type with this number in files.
    pub fn from_id(id: u32) -> Option<Self> {
        match id {
            0 => Some(GgmlType::F32),
            1 => Some(GgmlType::F16),
            8 => Some(GgmlType::Q8_0),
            14 => Some(GgmlType::Q6K),
            30 => Some(GgmlType::Bf16),
            34 => Some(GgmlType::Tq1_0),
            35 => Some(GgmlType::Tq2_0),
            36 => Some(GgmlType::I2S),
            _ => None,
        }
    }

    /// A name for any type number.
    pub fn describe(id: u32) -> String {
        let name = match id {
            2 => "Q4_0",
            3 => "Q4_1",
            6 => "Q5_0",
            7 => "Q5_1",
            10 => "Q2_K",
            11 => "Q3_K",
            12 => "Q4_K",
            13 => "Q5_K",
            38 => "TL1 of bitnet.cpp, whose tiling the file does not describe",
            39 => "TL2 of bitnet.cpp, whose tiling the file does not describe, or MXFP4",
            41 => "Q1_0",
            42 => "Q2_0",
            134 => "IQ1_BN of ik_llama.cpp",
            135 => "IQ2_BN of ik_llama.cpp",
            _ => return format!("type {id}"),
        };
        format!("type {id} ({name})")
    }

    /// The name of the type.
    pub fn name(self) -> &'static str {
        match self {
            GgmlType::F32 => "F32",
            GgmlType::F16 => "F16",
            GgmlType::Bf16 => "BF16",
            GgmlType::Q8_0 => "Q8_0",
            GgmlType::Q6K => "Q6_K",
            GgmlType::Tq1_0 => "TQ1_0",
            GgmlType::Tq2_0 => "TQ2_0",
            GgmlType::I2S => "I2_S",
        }
    }

    /// Elements and bytes of a block.
    pub const fn block(self) -> (usize, usize) {
        match self {
            GgmlType::F32 => (1, 4),
            GgmlType::F16 | GgmlType::Bf16 => (1, 2),
            GgmlType::Q8_0 => (32, 34),
            GgmlType::Q6K => (256, 210),
            GgmlType::Tq1_0 => (256, 54),
            GgmlType::Tq2_0 => (256, 66),
            GgmlType::I2S => (128, 32),
        }
    }

    /// What the length of a row must be a multiple of.
    pub const fn row_multiple(self) -> usize {
        self.block().0
    }

    /// Bytes of a row of `cols` elements, without what follows the whole tensor.
    pub const fn row_bytes(self, cols: usize) -> usize {
        let (elements, bytes) = self.block();
        cols / elements * bytes
    }

    /// Bytes of `rows` rows of `cols` elements; `None` if rows do not fill blocks or the number is
    /// too large.
    pub fn bytes(self, rows: u64, cols: u64) -> Option<u64> {
        let (elements, bytes) = self.block();
        if !cols.is_multiple_of(elements as u64) {
            return None;
        }
        let row = (cols / elements as u64).checked_mul(bytes as u64)?;
        // I2_S: the scale and 28 unused bytes
        rows.checked_mul(row)?.checked_add(if self == GgmlType::I2S { I2S_TAIL_BYTES } else { 0 })
    }
}

/// Bytes after the codes of an I2_S tensor: its scale, then padding.
pub const I2S_TAIL_BYTES: u64 = 32;
