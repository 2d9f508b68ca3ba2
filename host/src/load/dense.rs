//! Tensors of floating-point numbers: tables, norms, scales, master weights.

use super::error::LoadError;
use rayon::prelude::*;
use spec::{
    Bytes,
    format::{
        FormatError,
        table::{DenseMatrix, DenseType},
    },
};
use std::path::Path;

/// Where numbers come from, for messages.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The file.
    pub path: &'a Path,
    /// The tensor.
    pub tensor: &'a str,
}

impl Origin<'_> {
    /// The error for bytes that do not fit a format.
    pub fn format(self, source: FormatError) -> LoadError {
        LoadError::Format { path: self.path.into(), tensor: self.tensor.into(), source }
    }

    /// The error for a shape that is not the expected one.
    pub fn shape(self, found: &[usize], expected: impl Into<String>) -> LoadError {
        LoadError::Shape {
            path: self.path.into(),
            tensor: self.tensor.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// The error for an element type that is of no use here.
    pub fn dtype(self, found: impl ToString, expected: impl Into<String>) -> LoadError {
        LoadError::Dtype {
            path: self.path.into(),
            tensor: self.tensor.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// The error for a number that must not be there.
    pub fn value(self, index: usize, value: f32, expected: &'static str) -> LoadError {
        LoadError::Value { path: self.path.into(), tensor: self.tensor.into(), index, value, expected }
    }

    /// A zeroed buffer, or the error for too little memory.
    pub fn buffer<T: Clone + Default>(self, length: usize) -> Result<Vec<T>, LoadError> {
        let mut buffer = Vec::new();
        let bytes = length.saturating_mul(size_of::<T>());
        let memory = |_| LoadError::Memory { path: self.path.into(), tensor: self.tensor.into(), bytes };
        buffer.try_reserve_exact(length).map_err(memory)?;
        buffer.resize(length, T::default());
        Ok(buffer)
    }
}

/// A view of `rows` x `cols` numbers.
pub fn matrix(
    origin: Origin,
    rows: usize,
    cols: usize,
    dtype: DenseType,
    bytes: Bytes,
) -> Result<DenseMatrix, LoadError> {
    DenseMatrix::new(rows, cols, dtype, bytes).map_err(|source| origin.format(source))
}

/// Fails at the first number of `matrix` that is not finite.
pub fn check_finite(origin: Origin, matrix: &DenseMatrix) -> Result<(), LoadError> {
    let cols = matrix.cols();
    let bad = (0..matrix.rows()).into_par_iter().map_init(
        || vec![0.0f32; cols],
        |values, row| {
            matrix.read_row(row, values);
            let all = values.iter().fold(true, |all, v| all & v.is_finite());
            (!all).then(|| values.iter().position(|v| !v.is_finite()).map(|at| (row * cols + at, values[at])))
        },
    );
    match bad.flatten().flatten().min_by_key(|(index, _)| *index) {
        None => Ok(()),
        Some((index, value)) => Err(origin.value(index, value, "a finite number")),
    }
}

/// All numbers of `matrix` in one vector, checked to be finite.
pub fn vector(origin: Origin, matrix: &DenseMatrix) -> Result<Vec<f32>, LoadError> {
    let cols = matrix.cols();
    let mut values = origin.buffer(matrix.rows() * cols)?;
    for (row, out) in values.chunks_mut(cols.max(1)).enumerate() {
        matrix.read_row(row, out);
    }
    match values.iter().position(|v: &f32| !v.is_finite()) {
        None => Ok(values),
        Some(at) => Err(origin.value(at, values[at], "a finite number")),
    }
}
