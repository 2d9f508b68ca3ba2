//! Dense weights of ternary models without a quantisation entry (TriLM): ternary values or masters.
//!
//! The published TriLM files hold `-s`, `0` or `s`, with one `s` for each shard of model-parallel
//! training: blocks of rows in column-parallel layers, blocks of columns in row-parallel ones. The
//! layout is found by looking at the numbers, the simplest that explains them wins.

use super::linear::Split;
use crate::load::{dense::Origin, error::LoadError, ternary};
use rayon::prelude::*;
use spec::format::{matrix::TritMatrix, scale::Scale, table::DenseMatrix};

/// Most blocks along one dimension.
const MAX_BLOCKS: usize = 64;
/// Runs of columns with a scale of their own that are looked for, longest first.
const GROUPS: [usize; 4] = [256, 128, 64, 32];

/// What the dense numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Ternary values.
    Ternary,
    /// Master weights of a TriLM with this many shards.
    Masters {
        /// Shards of model-parallel training.
        shards: usize,
    },
}

impl Mode {
    /// Looks at one matrix. Masters are accepted only where the configuration tells the number of
    /// shards: otherwise any language model at all would pass for a ternary one.
    pub fn detect(origin: Origin, matrix: &DenseMatrix, shards: Option<usize>) -> Result<Self, LoadError> {
        match (layout(origin, matrix), shards) {
            (Ok(_), _) => Ok(Mode::Ternary),
            (Err(LoadError::NotTernary { .. }), Some(shards)) => Ok(Mode::Masters { shards }),
            (Err(error), _) => Err(error),
        }
    }

    /// Trits and scales of one matrix.
    pub fn convert(self, origin: Origin, matrix: &DenseMatrix, split: Split) -> Result<(TritMatrix, Scale), LoadError> {
        match self {
            Mode::Ternary => Ok((ternary::from_signs(origin, matrix)?, layout(origin, matrix)?)),
            Mode::Masters { shards } => {
                let (row_blocks, col_blocks) = match split {
                    Split::Rows => (shards, 1),
                    Split::Cols => (1, shards),
                };
                if !matrix.rows().is_multiple_of(row_blocks) || !matrix.cols().is_multiple_of(col_blocks) {
                    let expected = format!("a shape that pretraining_model_parallel = {shards} divides");
                    return Err(origin.shape(&[matrix.rows(), matrix.cols()], expected));
                }
                ternary::shard_quant(origin, matrix, row_blocks, col_blocks)
            }
        }
    }
}

/// The simplest scale layout in which every block has one magnitude apart from zero.
pub fn layout(origin: Origin, matrix: &DenseMatrix) -> Result<Scale, LoadError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let whole_rows = match magnitudes(origin, matrix, cols)? {
        Ok(values) => values,
        Err(mixed) => return blocks_of_columns(origin, matrix, mixed),
    };
    for row_blocks in (1..=MAX_BLOCKS.min(rows)).filter(|blocks| rows.is_multiple_of(*blocks)) {
        if let Some(values) = join_rows(&whole_rows, 1, rows / row_blocks) {
            return Ok(match values.as_slice() {
                &[one] => Scale::Tensor(one),
                _ => Scale::Shard { row_blocks, col_blocks: 1, values },
            });
        }
    }
    Ok(Scale::Row(whole_rows))
}

fn blocks_of_columns(origin: Origin, matrix: &DenseMatrix, mixed: Mixed) -> Result<Scale, LoadError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    for col_blocks in (2..=MAX_BLOCKS.min(cols)).filter(|blocks| cols.is_multiple_of(*blocks)) {
        let Ok(parts) = magnitudes(origin, matrix, cols / col_blocks)? else { continue };
        for row_blocks in (1..=MAX_BLOCKS.min(rows)).filter(|blocks| rows.is_multiple_of(*blocks)) {
            if let Some(values) = join_rows(&parts, col_blocks, rows / row_blocks) {
                return Ok(Scale::Shard { row_blocks, col_blocks, values });
            }
        }
    }
    for size in GROUPS.into_iter().filter(|size| *size < cols) {
        if let Ok(values) = magnitudes(origin, matrix, size)? {
            return Ok(Scale::Group { size, values });
        }
    }
    Err(LoadError::NotTernary {
        path: origin.path.into(),
        tensor: origin.tensor.into(),
        row: mixed.row,
        first: mixed.first,
        second: mixed.second,
        help: "only ternary models can be loaded; master weights need quantization_config, weight_bits or \
               pretraining_model_parallel in config.json",
    })
}

/// A run of columns with two magnitudes.
#[derive(Clone, Copy, Debug)]
struct Mixed {
    row: usize,
    first: f32,
    second: f32,
}

/// The magnitude of every run of `size` columns, row after row: 0 for a run of zeros.
fn magnitudes(origin: Origin, matrix: &DenseMatrix, size: usize) -> Result<Result<Vec<f32>, Mixed>, LoadError> {
    enum Stop {
        Mixed(Mixed),
        Error(LoadError),
    }
    let cols = matrix.cols();
    let runs = cols.div_ceil(size);
    let mut values = origin.buffer::<f32>(matrix.rows().saturating_mul(runs))?;
    let result = values.par_chunks_mut(runs).enumerate().try_for_each_init(
        || vec![0.0f32; cols],
        |weights, (row, values)| {
            matrix.read_row(row, weights);
            for (run, value) in weights.chunks(size).zip(values) {
                for &weight in run {
                    let magnitude = weight.abs();
                    if magnitude == *value || magnitude == 0.0 {
                        continue;
                    }
                    if !magnitude.is_finite() {
                        let at = weights.iter().position(|v| !v.is_finite()).unwrap_or(0);
                        return Err(Stop::Error(origin.value(row * cols + at, weights[at], "a finite number")));
                    }
                    if *value != 0.0 {
                        return Err(Stop::Mixed(Mixed { row, first: *value, second: magnitude }));
                    }
                    *value = magnitude;
                }
            }
            Ok(())
        },
    );
    match result {
        Ok(()) => Ok(Ok(values)),
        Err(Stop::Mixed(mixed)) => Ok(Err(mixed)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Joins the magnitudes of `[rows, runs]` over blocks of `block_rows` rows; `None` if two differ.
fn join_rows(parts: &[f32], runs: usize, block_rows: usize) -> Option<Vec<f32>> {
    let mut joined = Vec::new();
    for block in parts.chunks(block_rows * runs) {
        let mut values = vec![0.0; runs];
        for row in block.chunks(runs) {
            for (value, &part) in values.iter_mut().zip(row) {
                if part == 0.0 || part == *value {
                    continue;
                }
                if *value != 0.0 {
                    return None;
                }
                *value = part;
            }
        }
        joined.extend(values);
    }
    Some(joined)
}
