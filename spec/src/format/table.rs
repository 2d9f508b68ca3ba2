//! Embedding tables and output heads.

use super::planes::{MAX_CODE, PLANES, max_code};
use super::{FormatError, planes};
use crate::{Bytes, numerics::f32ops};

/// Element type of a dense table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenseType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl DenseType {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            DenseType::F32 => 4,
            DenseType::F16 | DenseType::Bf16 => 2,
        }
    }
}

/// A dense matrix as a model file holds it, `[rows, cols]`.
#[derive(Clone, Debug)]
pub struct DenseMatrix {
    rows: usize,
    cols: usize,
    dtype: DenseType,
    bytes: Bytes,
}

impl DenseMatrix {
    /// Takes elements after checking their number.
    pub fn new(rows: usize, cols: usize, dtype: DenseType, bytes: Bytes) -> Result<Self, FormatError> {
        let expected = rows.saturating_mul(cols).saturating_mul(dtype.bytes());
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(FormatError::Length { rows, cols, encoding: "a dense table", expected, found });
        }
        Ok(DenseMatrix { rows, cols, dtype, bytes })
    }

    /// Rows: vocabulary entries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: width of the residual stream.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Widens a row to `f32`, exactly.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        let width = self.dtype.bytes();
        let row = &self.bytes[row * self.cols * width..(row + 1) * self.cols * width];
        match self.dtype {
            DenseType::F32 => {
                for (out, b) in out.iter_mut().zip(row.chunks_exact(4)) {
                    *out = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            DenseType::F16 => {
                for (out, b) in out.iter_mut().zip(row.chunks_exact(2)) {
                    *out = f16_to_f32(u16::from_le_bytes([b[0], b[1]]));
                }
            }
            DenseType::Bf16 => {
                for (out, b) in out.iter_mut().zip(row.chunks_exact(2)) {
                    *out = f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16);
                }
            }
        }
    }
}

/// Widens a binary16, exactly.
pub fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 31);
    let fraction = u32::from(half & 0x3ff);
    let magnitude = match exponent {
        0 => return f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// Codes that are checked together.
const BLOCK: usize = 4096;

/// A table in the accelerator's form: integers in [-121, 121] (five trit planes,
/// [`super::planes`]) with one scale per row.
///
/// `code[r, c] = round_half_even(w[r, c] * (121 / max_c |w[r, c]|))`, `scale[r] = max / 121`.
#[derive(Clone, Debug)]
pub struct CodedMatrix {
    rows: usize,
    cols: usize,
    codes: Bytes,
    scales: Vec<f32>,
}

impl CodedMatrix {
    /// Takes codes (`[rows, cols]` i8) and scales (`[rows]`) after checking all of them.
    pub fn new(rows: usize, cols: usize, codes: Bytes, scales: Vec<f32>) -> Result<Self, FormatError> {
        let expected = rows.saturating_mul(cols);
        if codes.len() != expected {
            let found = codes.len();
            return Err(FormatError::Length { rows, cols, encoding: "coded table", expected, found });
        }
        if scales.len() != rows {
            return Err(FormatError::ScaleCount { kind: "per row", expected: rows, found: scales.len() });
        }
        let illegal = |code: u8| (code as i8).unsigned_abs() > MAX_CODE as u8;
        for (block, bytes) in codes.chunks(BLOCK).enumerate() {
            // Without an early exit inside a block the compiler compares whole vectors at once.
            if bytes.iter().fold(false, |any, &code| any | illegal(code)) {
                let at = block * BLOCK + bytes.iter().position(|&code| illegal(code)).unwrap_or(0);
                return Err(FormatError::IllegalCode { byte: codes[at], row: at / cols, at: at % cols });
            }
        }
        if let Some(index) = scales.iter().position(|s| !s.is_finite() || *s < 0.0) {
            return Err(FormatError::BadScale { index, value: scales[index] });
        }
        Ok(CodedMatrix { rows, cols, codes, scales })
    }

    /// Codes one row of values: `([cols] codes, scale)`.
    pub fn encode_row(values: &[f32], codes: &mut [i8]) -> f32 {
        CodedMatrix::encode_row_in(PLANES, values, codes)
    }

    /// As [`CodedMatrix::encode_row`] with so many planes, 1 to 5: codes up to [`max_code`] in place of 121.
    pub fn encode_row_in(planes: usize, values: &[f32], codes: &mut [i8]) -> f32 {
        let most = max_code(planes);
        let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let inverse = f32ops::div(f32::from(most), max);
        if !inverse.is_finite() || max == 0.0 {
            codes.fill(0);
            return 0.0;
        }
        for (code, &value) in codes.iter_mut().zip(values) {
            *code = (f32ops::round_to_i32(f32ops::mul(value, inverse)) as i8).clamp(-most, most);
        }
        f32ops::div(max, f32::from(most))
    }

    /// Fewest planes that hold all codes.
    pub fn planes(&self) -> usize {
        let largest = |bytes: &[u8]| bytes.iter().fold(0, |most, &code| most.max((code as i8).unsigned_abs()));
        planes::needed(largest(&self.codes))
    }

    /// Rows: vocabulary entries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: width of the residual stream.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All codes as bytes (two's complement).
    pub fn codes(&self) -> &Bytes {
        &self.codes
    }

    /// The codes of a row as bytes (two's complement).
    pub fn row(&self, row: usize) -> &[u8] {
        &self.codes[row * self.cols..(row + 1) * self.cols]
    }

    /// Scales, one per row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Dequantises a row: `code * scale`, rounded once.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        for (out, &code) in out.iter_mut().zip(self.row(row)) {
            *out = f32ops::mul(f32::from(code as i8), self.scales[row]);
        }
    }
}

/// An embedding table or an output head.
#[derive(Clone, Debug)]
pub enum Table {
    /// As published.
    Dense(DenseMatrix),
    /// As the accelerator wants it.
    Coded(CodedMatrix),
}

impl Table {
    /// Rows: vocabulary entries.
    pub fn rows(&self) -> usize {
        match self {
            Table::Dense(table) => table.rows(),
            Table::Coded(table) => table.rows(),
        }
    }

    /// Columns: width of the residual stream.
    pub fn cols(&self) -> usize {
        match self {
            Table::Dense(table) => table.cols(),
            Table::Coded(table) => table.cols(),
        }
    }

    /// A row as `f32`.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        match self {
            Table::Dense(table) => table.read_row(row, out),
            Table::Coded(table) => table.read_row(row, out),
        }
    }

    /// The accelerator's form; the same table if it has it already.
    pub fn to_coded(&self) -> CodedMatrix {
        match self {
            Table::Coded(table) => table.clone(),
            Table::Dense(_) => self.coded_in(PLANES),
        }
    }

    /// Coded anew with so many planes, 1 to 5: each row by its own largest magnitude.
    pub fn coded_in(&self, planes: usize) -> CodedMatrix {
        let (rows, cols) = (self.rows(), self.cols());
        let mut bytes = Vec::with_capacity(rows * cols);
        let mut scales = Vec::with_capacity(rows);
        let (mut values, mut codes) = (vec![0.0; cols], vec![0i8; cols]);
        for row in 0..rows {
            self.read_row(row, &mut values);
            scales.push(CodedMatrix::encode_row_in(planes, &values, &mut codes));
            bytes.extend(codes.iter().map(|&c| c as u8));
        }
        CodedMatrix { rows, cols, codes: bytes.into(), scales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_exactly() {
        assert_eq!(f16_to_f32(0x3c00), 1.0);
        assert_eq!(f16_to_f32(0xc000), -2.0);
        assert_eq!(f16_to_f32(0x0001), 2f32.powi(-24));
        assert_eq!(f16_to_f32(0x03ff), 1023.0 * 2f32.powi(-24));
        assert_eq!(f16_to_f32(0x7bff), 65504.0);
        assert_eq!(f16_to_f32(0x7c00), f32::INFINITY);
        assert!(f16_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn coding_hits_both_ends_and_keeps_zero() {
        let mut codes = [0; 4];
        let scale = CodedMatrix::encode_row(&[0.5, -0.5, 0.0, 0.25], &mut codes);
        assert_eq!(codes, [121, -121, 0, 60]); // 60.5 rounds to even
        assert_eq!(scale, 0.5 / 121.0);
        assert_eq!(CodedMatrix::encode_row(&[0.0; 4], &mut codes), 0.0);
        assert_eq!(codes, [0; 4]);
        let scale = CodedMatrix::encode_row_in(4, &[0.5, -0.5, 0.0, 0.25], &mut codes);
        assert_eq!((codes, scale), ([40, -40, 0, 20], 0.5 / 40.0));
    }

    #[test]
    fn codes_beyond_five_planes_are_refused() {
        assert!(CodedMatrix::new(1, 2, vec![121, 122].into(), vec![1.0]).is_err());
        assert!(CodedMatrix::new(1, 2, vec![121, 0x87].into(), vec![1.0]).is_ok());
        assert!(CodedMatrix::new(1, 2, vec![0, 0x80].into(), vec![1.0]).is_err());
        assert!(CodedMatrix::new(1, 2, vec![0, 0].into(), vec![f32::NAN]).is_err());
    }
}
