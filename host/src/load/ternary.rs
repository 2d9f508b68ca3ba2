//! Making trit matrices: out of packed codes, of ternary values, and of master weights.

use super::{dense::Origin, error::LoadError};
use rayon::prelude::*;
use spec::format::{
    matrix::{Encoding, TritMatrix},
    scale::Scale,
    table::DenseMatrix,
    trit5,
};

/// Packs `rows` x `cols` trits; `fill(row, trits)` makes one row. Rows are made in parallel; of
/// several errors, one is returned.
pub fn pack_rows(
    origin: Origin,
    rows: usize,
    cols: usize,
    fill: impl Fn(usize, &mut [i8]) -> Result<(), LoadError> + Sync,
) -> Result<TritMatrix, LoadError> {
    let row_bytes = trit5::row_bytes(cols);
    let mut bytes = origin.buffer::<u8>(rows.saturating_mul(row_bytes))?;
    bytes.par_chunks_mut(row_bytes.max(1)).enumerate().try_for_each_init(
        || vec![0i8; cols],
        |trits, (row, packed)| {
            fill(row, trits)?;
            pack_row(trits, packed);
            Ok::<(), LoadError>(())
        },
    )?;
    TritMatrix::new_unchecked_codes(rows, cols, Encoding::Trit5, bytes.into()).map_err(|e| origin.format(e))
}

/// As [`trit5::pack_row`], which it must equal, three times as fast: a byte is 121 and the sum of its
/// trits' balanced digits.
fn pack_row(trits: &[i8], packed: &mut [u8]) {
    let whole = trits.len() / 5;
    for (five, byte) in trits.chunks_exact(5).zip(packed.iter_mut()) {
        let [a, b, c, d, e] = [five[0], five[1], five[2], five[3], five[4]].map(i16::from);
        *byte = (121 + a + 3 * b + 9 * c + 27 * d + 81 * e) as u8;
    }
    trit5::pack_row(&trits[whole * 5..], &mut packed[whole..]);
}

/// Unpacks the layout of Hugging Face's `pack_weights`: byte `[r, c]` of `rows / 4` x `cols` bytes
/// holds rows `r`, `r + rows/4`, `r + rows/2` and `r + 3 rows/4`, two bits each, lowest first, as
/// trit + 1. `rows` is a multiple of 4 and `bytes` has `rows / 4 * cols` bytes.
pub fn unpack_strided(origin: Origin, rows: usize, cols: usize, bytes: &[u8]) -> Result<TritMatrix, LoadError> {
    let stride = rows / 4;
    pack_rows(origin, rows, cols, |row, trits| {
        let shift = 2 * (row / stride);
        let packed = &bytes[row % stride * cols..][..cols];
        let mut illegal = 0;
        for (trit, &byte) in trits.iter_mut().zip(packed) {
            let code = byte >> shift & 3;
            illegal |= code & code >> 1;
            *trit = code as i8 - 1;
        }
        if illegal == 0 {
            return Ok(());
        }
        let col = trits.iter().position(|&trit| trit == 2).unwrap_or(0);
        let (path, tensor) = (origin.path.into(), origin.tensor.into());
        Err(LoadError::TritCode { path, tensor, row, col, code: 3, expected: "0, 1 or 2" })
    })
}

/// Takes a matrix whose elements are -1, 0 and 1 as they are.
pub fn from_units(origin: Origin, matrix: &DenseMatrix) -> Result<TritMatrix, LoadError> {
    from_rows(origin, matrix, |row, values, trits| {
        for (col, (trit, &value)) in trits.iter_mut().zip(values).enumerate() {
            *trit = match value {
                0.0 => 0,
                1.0 => 1,
                -1.0 => -1,
                _ => return Err(origin.value(row * values.len() + col, value, "-1, 0 or 1")),
            };
        }
        Ok(())
    })
}

/// The sign of every element of `matrix`, whose numbers have been checked.
pub fn from_signs(origin: Origin, matrix: &DenseMatrix) -> Result<TritMatrix, LoadError> {
    from_rows(origin, matrix, |_, values, trits| {
        for (trit, &value) in trits.iter_mut().zip(values) {
            *trit = i8::from(value > 0.0) - i8::from(value < 0.0);
        }
        Ok(())
    })
}

fn from_rows(
    origin: Origin,
    matrix: &DenseMatrix,
    fill: impl Fn(usize, &[f32], &mut [i8]) -> Result<(), LoadError> + Sync,
) -> Result<TritMatrix, LoadError> {
    pack_rows(origin, matrix.rows(), matrix.cols(), |row, trits| {
        let mut values = vec![0.0; matrix.cols()];
        matrix.read_row(row, &mut values);
        fill(row, &values, trits)
    })
}

/// BitNet's `WeightQuant` (arXiv 2402.17764, equations 1 to 3): one scale for the matrix,
/// `g = max(mean |W|, 1e-5)`, `t = clamp(round_half_even(W / g), -1, 1)`, value `t / (1/g)`.
///
/// The mean is summed in f64, row by row: f32 sums of millions of terms are off by enough to flip
/// trits near `g/2`. The division by `1/g` in f32 is what the published code does.
pub fn weight_quant(origin: Origin, matrix: &DenseMatrix) -> Result<(TritMatrix, Scale), LoadError> {
    let mean = block_means(origin, matrix, 1, 1)?[0];
    let inverse = 1.0 / (mean as f32).max(1e-5);
    let trits = from_rows(origin, matrix, |_, values, trits| {
        for (trit, &value) in trits.iter_mut().zip(values) {
            *trit = round_to_trit(value * inverse);
        }
        Ok(())
    })?;
    Ok((trits, Scale::Tensor(1.0 / inverse)))
}

/// `clamp(round_half_even(x), -1, 1)`: a half rounds to zero, the even neighbour.
fn round_to_trit(x: f32) -> i8 {
    i8::from(x > 0.5) - i8::from(x < -0.5)
}

/// TriLM's rule for master weights (arXiv 2407.12327): as [`weight_quant`] for each block of a
/// `row_blocks` x `col_blocks` grid, with `g = 1e-5 + mean |W|` and division by `g`. The blocks are
/// the shards of model-parallel training, each of which had its own scale.
pub fn shard_quant(
    origin: Origin,
    matrix: &DenseMatrix,
    row_blocks: usize,
    col_blocks: usize,
) -> Result<(TritMatrix, Scale), LoadError> {
    let means = block_means(origin, matrix, row_blocks, col_blocks)?;
    let values: Vec<f32> = means.iter().map(|mean| (1e-5 + mean) as f32).collect();
    let (block_rows, block_cols) = (matrix.rows() / row_blocks, matrix.cols() / col_blocks);
    let trits = from_rows(origin, matrix, |row, weights, trits| {
        let scales = &values[row / block_rows * col_blocks..];
        for (col, (trit, &weight)) in trits.iter_mut().zip(weights).enumerate() {
            *trit = round_to_trit(weight / scales[col / block_cols]);
        }
        Ok(())
    })?;
    let scale = match values.as_slice() {
        &[one] => Scale::Tensor(one),
        _ => Scale::Shard { row_blocks, col_blocks, values },
    };
    Ok((trits, scale))
}

/// The sum in f64, in eight partial sums so that additions do not wait for each other.
fn sum_of_magnitudes(values: &[f32]) -> f64 {
    let mut partial = [0.0f64; 8];
    for eight in values.chunks(8) {
        for (sum, value) in partial.iter_mut().zip(eight) {
            *sum += f64::from(value.abs());
        }
    }
    partial.iter().sum()
}

/// Mean magnitude of every block, summed in f64 along rows, then over the rows in order. The result
/// does not depend on the number of threads.
fn block_means(
    origin: Origin,
    matrix: &DenseMatrix,
    row_blocks: usize,
    col_blocks: usize,
) -> Result<Vec<f64>, LoadError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let block_cols = cols / col_blocks;
    let row_sums = (0..rows).into_par_iter().map_init(
        || vec![0.0f32; cols],
        |values, row| {
            matrix.read_row(row, values);
            let sums: Vec<f64> = values.chunks(block_cols).map(sum_of_magnitudes).collect();
            if sums.iter().all(|sum| sum.is_finite()) {
                return Ok(sums);
            }
            let at = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
            Err(origin.value(row * cols + at, values[at], "a finite number"))
        },
    );
    let row_sums: Vec<Vec<f64>> = row_sums.collect::<Result<_, LoadError>>()?;
    let mut sums = vec![0.0; row_blocks * col_blocks];
    for (row, row_sums) in row_sums.iter().enumerate() {
        let first = row / (rows / row_blocks) * col_blocks;
        for (sum, part) in sums[first..].iter_mut().zip(row_sums) {
            *sum += part;
        }
    }
    let count = (rows / row_blocks * block_cols) as f64;
    Ok(sums.iter().map(|sum| sum / count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_packed_as_the_format_says() {
        for cols in 0..32 {
            let trits: Vec<i8> = (0..cols).map(|i| ((i * i * 7 + i * 3 + cols) % 3) as i8 - 1).collect();
            let (mut fast, mut plain) = (vec![0; trit5::row_bytes(cols)], vec![0; trit5::row_bytes(cols)]);
            pack_row(&trits, &mut fast);
            trit5::pack_row(&trits, &mut plain);
            assert_eq!(fast, plain, "{cols} trits");
        }
    }

    #[test]
    fn halves_round_to_zero() {
        let found = [0.5, -0.5, 0.500001, -0.500001, 0.0, 1.5, -7.0, f32::INFINITY].map(round_to_trit);
        assert_eq!(found, [0, 0, 1, -1, 0, 1, -1, 1]);
    }
}
