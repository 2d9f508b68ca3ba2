//! Ternary matrices and linear layers.

use super::{FormatError, scale::Scale, sherry, trit5};
use crate::{Bytes, model::config::MAX_DIM};

/// How the trits of a row are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// [`trit5`]: dense ternary, 1.6 bits a weight.
    Trit5,
    /// [`sherry`]: exactly one zero in every four, 1.25 bits a weight.
    Sherry,
}

impl Encoding {
    /// The format's name in messages and files.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Trit5 => "trit5",
            Encoding::Sherry => "sherry",
        }
    }

    /// Bytes of a row of `cols` weights.
    pub const fn row_bytes(self, cols: usize) -> usize {
        match self {
            Encoding::Trit5 => trit5::row_bytes(cols),
            Encoding::Sherry => sherry::row_bytes(cols),
        }
    }
}

/// A matrix of trits, `[rows, cols]`, row after row, each row starting at a byte.
#[derive(Clone, Debug)]
pub struct TritMatrix {
    rows: usize,
    cols: usize,
    encoding: Encoding,
    bytes: Bytes,
}

impl TritMatrix {
    /// Takes packed rows after checking shape, length and every code.
    pub fn new(rows: usize, cols: usize, encoding: Encoding, bytes: Bytes) -> Result<Self, FormatError> {
        let matrix = Self::new_unchecked_codes(rows, cols, encoding, bytes)?;
        matrix.check_codes()?;
        Ok(matrix)
    }

    /// As [`TritMatrix::new`] without reading the codes, for bytes whose checksum has been verified
    /// or will be, by [`TritMatrix::check_codes`], while they are converted.
    pub fn new_unchecked_codes(
        rows: usize,
        cols: usize,
        encoding: Encoding,
        bytes: Bytes,
    ) -> Result<Self, FormatError> {
        let shape = |rule| FormatError::Shape { rows, cols, encoding: encoding.name(), rule };
        if rows == 0 || cols == 0 || rows > 8 * MAX_DIM || cols > MAX_DIM {
            return Err(shape("1 to 1048576 rows and 1 to 131072 columns"));
        }
        if encoding == Encoding::Sherry && !cols.is_multiple_of(4) {
            return Err(shape("columns come in fours"));
        }
        let expected = rows * encoding.row_bytes(cols);
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(FormatError::Length { rows, cols, encoding: encoding.name(), expected, found });
        }
        Ok(TritMatrix { rows, cols, encoding, bytes })
    }

    /// Packs `rows * cols` trits as [`trit5`].
    pub fn pack(rows: usize, cols: usize, trits: &[i8]) -> Result<Self, FormatError> {
        let row_bytes = trit5::row_bytes(cols);
        let mut bytes = vec![0; rows * row_bytes];
        for (row, packed) in trits.chunks(cols).zip(bytes.chunks_mut(row_bytes)) {
            trit5::pack_row(row, packed);
        }
        Self::new_unchecked_codes(rows, cols, Encoding::Trit5, bytes.into())
    }

    /// Checks that every byte is a legal code.
    pub fn check_codes(&self) -> Result<(), FormatError> {
        if self.encoding == Encoding::Sherry {
            return Ok(()); // all 32 codes are legal
        }
        for row in 0..self.rows {
            if let Some(at) = trit5::first_illegal(self.row(row), self.cols) {
                return Err(FormatError::IllegalCode { byte: self.row(row)[at], row, at });
            }
        }
        Ok(())
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How rows are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// All packed bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The packed bytes of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        let row_bytes = self.encoding.row_bytes(self.cols);
        &self.bytes[row * row_bytes..(row + 1) * row_bytes]
    }

    /// Unpacks a row into `out`, `[cols]` trits.
    pub fn unpack_row(&self, row: usize, out: &mut [i8]) {
        match self.encoding {
            Encoding::Trit5 => trit5::unpack_row(self.row(row), out),
            Encoding::Sherry => sherry::unpack_row(self.row(row), out),
        }
    }
}

/// Trits with their scales.
#[derive(Clone, Debug)]
pub struct Plane {
    /// `[rows, cols]` trits.
    pub trits: TritMatrix,
    /// Their scales.
    pub scale: Scale,
}

/// A linear layer `y = sum_p scale_p * (trits_p . x) + bias`. One plane for most models, two for
/// PTQTP (arXiv 2509.16989).
#[derive(Clone, Debug)]
pub struct Linear {
    /// One or more planes of the same shape.
    pub planes: Vec<Plane>,
    /// Added to the result: `[rows]` (Tequila, arXiv 2509.23809).
    pub bias: Option<Vec<f32>>,
    /// A norm of its own before the input is quantised: weights `[cols]` and epsilon
    /// (transformers' `use_rms_norm`).
    pub input_norm: Option<(Vec<f32>, f32)>,
}

impl Linear {
    /// A layer of one plane, no bias and no norm.
    pub fn new(trits: TritMatrix, scale: Scale) -> Self {
        Linear { planes: vec![Plane { trits, scale }], bias: None, input_norm: None }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.planes[0].trits.rows()
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.planes[0].trits.cols()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lengths_and_codes_are_named() {
        let short = TritMatrix::new(2, 5, Encoding::Trit5, vec![121].into()).unwrap_err();
        assert_eq!(short.to_string(), "2 x 5 weights in trit5 take 2 bytes, found 1");
        let illegal = TritMatrix::new(2, 5, Encoding::Trit5, vec![121, 250].into()).unwrap_err();
        assert_eq!(illegal.to_string(), "illegal trit code 250 in row 1, byte 0");
        assert!(TritMatrix::new(1, 6, Encoding::Sherry, vec![0; 5].into()).is_err());
        assert!(TritMatrix::new(0, 6, Encoding::Trit5, Vec::new().into()).is_err());
    }

    #[test]
    fn packs_and_unpacks() {
        let trits = [1, 0, -1, 0, 1, 1, -1, -1, 0, 0, 1, 1];
        let matrix = TritMatrix::pack(2, 6, &trits).unwrap();
        let mut row = [0; 6];
        matrix.unpack_row(1, &mut row);
        assert_eq!(row, trits[6..]);
        matrix.check_codes().unwrap();
    }
}
