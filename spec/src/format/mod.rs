//! Byte layouts of weights and what they mean. One file per layout.
//!
//! Lane 0 is in the low bits, byte 0 comes first, everything is little endian.

pub mod code3;
pub mod image;
pub mod matrix;
pub mod planes;
pub mod scale;
pub mod sherry;
pub mod table;
pub mod trit5;

use thiserror::Error;

/// Bytes or numbers that a format does not allow.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FormatError {
    /// A packed matrix has another size than its shape says.
    #[error("{rows} x {cols} weights in {encoding} take {expected} bytes, found {found}")]
    Length {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Name of the encoding.
        encoding: &'static str,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A dimension is zero, too large or not a multiple that the encoding needs.
    #[error("shape {rows} x {cols} cannot be stored in {encoding}: {rule}")]
    Shape {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Name of the encoding.
        encoding: &'static str,
        /// The broken rule.
        rule: &'static str,
    },
    /// A byte is no code of five trits, or padding is not zero.
    #[error("illegal trit code {byte} in row {row}, byte {at}")]
    IllegalCode {
        /// The byte.
        byte: u8,
        /// Its row.
        row: usize,
        /// Its place in the row.
        at: usize,
    },
    /// A scale is not a finite number of at least zero.
    #[error("scale {index} is {value}: expected a finite number, not negative")]
    BadScale {
        /// Place of the scale.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// There are more or fewer scales than the shape asks for.
    #[error("{found} scales, expected {expected} ({kind})")]
    ScaleCount {
        /// Kind of scale, for people.
        kind: &'static str,
        /// Scales that the shape needs.
        expected: usize,
        /// Scales that are there.
        found: usize,
    },
}
