//! Tensors of a GGUF file as tables, vectors and ternary linear layers.

use super::{
    blocks::{self, IllegalCode, TQ_BLOCK},
    reader::Entry,
    types::GgmlType,
};
use crate::load::{
    dense::{self, Origin},
    error::LoadError,
    hf::{linear::Split, values::Mode},
    ternary::pack_rows,
};
use rayon::prelude::*;
use spec::{
    Bytes,
    format::{
        matrix::{Encoding, Linear, TritMatrix},
        scale::Scale,
        table::{DenseMatrix, DenseType, Table},
    },
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

/// The tensors of one file.
pub struct Tensors<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    /// All of its bytes.
    pub bytes: &'a Bytes,
    /// Its directory.
    pub entries: &'a BTreeMap<String, Entry>,
}

impl<'a> Tensors<'a> {
    fn get(&self, name: &str) -> Result<(&'a Entry, Bytes), LoadError> {
        let entry = self.entries.get(name);
        let found = entry.and_then(|entry| Some((entry, self.bytes.slice(entry.range.clone())?)));
        let missing = || LoadError::MissingTensors { path: self.path.into(), count: 1, first: vec![name.into()] };
        found.ok_or_else(missing)
    }

    /// `rows` x `cols` floating-point numbers: a view, or dequantised to f32 exactly.
    fn dense(&self, name: &str, shape: &[usize]) -> Result<DenseMatrix, LoadError> {
        let origin = Origin { path: self.path, tensor: name };
        let (entry, bytes) = self.get(name)?;
        if entry.shape != shape {
            return Err(origin.shape(&entry.shape, format!("{shape:?}")));
        }
        let (rows, cols) = match *shape {
            [rows, cols] => (rows, cols),
            _ => (1, shape.iter().product()),
        };
        let (dtype, bytes) = match entry.kind {
            GgmlType::F32 => (DenseType::F32, bytes),
            GgmlType::F16 => (DenseType::F16, bytes),
            GgmlType::Bf16 => (DenseType::Bf16, bytes),
            GgmlType::Q8_0 => (DenseType::F32, dequantise(origin, entry.kind, cols, &bytes, blocks::q8_0_row)?),
            GgmlType::Q6K => (DenseType::F32, dequantise(origin, entry.kind, cols, &bytes, blocks::q6_k_row)?),
            other => return Err(origin.dtype(other.name(), "F32, F16, BF16, Q8_0 or Q6_K")),
        };
        dense::matrix(origin, rows, cols, dtype, bytes)
    }

    /// An embedding or head of `rows` x `cols`.
    pub fn table(&self, name: &str, rows: usize, cols: usize) -> Result<Table, LoadError> {
        let matrix = self.dense(name, &[rows, cols])?;
        dense::check_finite(Origin { path: self.path, tensor: name }, &matrix)?;
        Ok(Table::Dense(matrix))
    }

    /// `length` numbers.
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        dense::vector(Origin { path: self.path, tensor: name }, &self.dense(name, &[length])?)
    }

    /// The ternary layer `name.weight`, with `name.scale` and `name.bias` if they exist. With
    /// `heads`, its rows are put back from the order of interleaved rotation.
    pub fn linear(&self, name: &str, rows: usize, cols: usize, heads: Option<usize>) -> Result<Linear, LoadError> {
        let source_row = |row: usize| match heads {
            Some(heads) => interleaved_row(row, rows / heads),
            None => row,
        };
        let weight = format!("{name}.weight");
        let (trits, mut scale) = self.ternary(&weight, rows, cols, &source_row)?;
        let factor = format!("{name}.scale");
        if self.entries.contains_key(&factor) {
            let value = self.vector(&factor, 1)?[0];
            if value < 0.0 {
                let origin = Origin { path: self.path, tensor: &factor };
                return Err(origin.value(0, value, "a finite number, not negative"));
            }
            multiply(&mut scale, value);
        }
        let mut linear = Linear::new(trits, scale);
        let bias = format!("{name}.bias");
        if self.entries.contains_key(&bias) {
            let stored = self.vector(&bias, rows)?;
            linear.bias = Some((0..rows).map(|row| stored[source_row(row)]).collect());
        }
        Ok(linear)
    }

    fn ternary(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
        source_row: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(TritMatrix, Scale), LoadError> {
        let origin = Origin { path: self.path, tensor: name };
        let (entry, bytes) = self.get(name)?;
        if entry.shape != [rows, cols] {
            return Err(origin.shape(&entry.shape, format!("[{rows}, {cols}]")));
        }
        let row_bytes = entry.kind.row_bytes(cols);
        let row = |row: usize| &bytes[source_row(row) * row_bytes..][..row_bytes];
        match entry.kind {
            GgmlType::I2S => {
                let trits = pack_rows(origin, rows, cols, |r, trits| {
                    blocks::i2_s_row(row(r), trits).map_err(|at| illegal(origin, r, at, "0, 1 or 2"))
                })?;
                let tail = &bytes[rows * row_bytes..];
                let value = tail.first_chunk::<4>().map_or(f32::NAN, |bytes| f32::from_le_bytes(*bytes));
                if !value.is_finite() || value < 0.0 {
                    return Err(origin.value(0, value, "a finite scale, not negative"));
                }
                Ok((trits, Scale::Tensor(value)))
            }
            GgmlType::Tq1_0 => tq(origin, rows, cols, |r, trits, scales| {
                blocks::tq1_0_row(row(r), trits, scales)
                    .map_err(|at| illegal(origin, r, at, "one of 243 codes of five trits"))
            }),
            GgmlType::Tq2_0 => tq(origin, rows, cols, |r, trits, scales| {
                blocks::tq2_0_row(row(r), trits, scales).map_err(|at| illegal(origin, r, at, "0, 1 or 2"))
            }),
            GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => {
                let matrix = self.dense(name, &[rows, cols])?;
                let (trits, scale) = Mode::Ternary.convert(origin, &matrix, Split::Rows)?;
                reorder(origin, trits, scale, source_row)
            }
            other => Err(origin.dtype(other.name(), "TQ1_0, TQ2_0, I2_S, or F32, F16, BF16 with ternary values")),
        }
    }
}

/// The stored row of row `row`: within each head of `width` rows, row `j` of the first half and row
/// `j` of the second half are stored next to each other.
fn interleaved_row(row: usize, width: usize) -> usize {
    let (head, at) = (row / width, row % width);
    let half = width / 2;
    head * width + 2 * (at % half) + at / half
}

fn illegal(origin: Origin, row: usize, at: IllegalCode, expected: &'static str) -> LoadError {
    let (path, tensor) = (origin.path.into(), origin.tensor.into());
    LoadError::TritCode { path, tensor, row, col: at.col, code: at.code, expected }
}

fn multiply(scale: &mut Scale, factor: f32) {
    match scale {
        Scale::Tensor(value) => *value *= factor,
        Scale::Row(values) | Scale::Group { values, .. } | Scale::Shard { values, .. } => {
            values.iter_mut().for_each(|value| *value *= factor);
        }
        Scale::Device(device) => device.row.iter_mut().for_each(|value| *value *= factor),
    }
}

/// Puts the rows of a converted matrix, and of its scales, in the right order.
fn reorder(
    origin: Origin,
    trits: TritMatrix,
    scale: Scale,
    source_row: &(dyn Fn(usize) -> usize + Sync),
) -> Result<(TritMatrix, Scale), LoadError> {
    let (rows, cols) = (trits.rows(), trits.cols());
    if (0..rows).all(|row| source_row(row) == row) {
        return Ok((trits, scale));
    }
    let bytes: Vec<u8> = (0..rows).flat_map(|row| trits.row(source_row(row)).iter().copied()).collect();
    let trits = TritMatrix::new_unchecked_codes(rows, cols, Encoding::Trit5, bytes.into());
    let scale = match scale {
        Scale::Row(values) => Scale::Row((0..rows).map(|row| values[source_row(row)]).collect()),
        Scale::Group { size, values } => {
            let groups = cols.div_ceil(size);
            let row = |row| &values[source_row(row) * groups..][..groups];
            Scale::Group { size, values: (0..rows).flat_map(row).copied().collect() }
        }
        // rows move within their head only: where a head lies in one block nothing changes
        Scale::Shard { row_blocks, col_blocks, values } if row_blocks > 1 => {
            let at = |row: usize| &values[source_row(row) / (rows / row_blocks) * col_blocks..][..col_blocks];
            let same = (0..rows).all(|row| source_row(row) / (rows / row_blocks) == row / (rows / row_blocks));
            match (same, col_blocks) {
                (true, _) => Scale::Shard { row_blocks, col_blocks, values },
                (false, 1) => Scale::Row((0..rows).map(|row| at(row)[0]).collect()),
                (false, _) => {
                    let size = cols / col_blocks;
                    Scale::Group { size, values: (0..rows).flat_map(at).copied().collect() }
                }
            }
        }
        other => other,
    };
    Ok((trits.map_err(|source| origin.format(source))?, scale))
}

/// Decodes blocks of 256 trits with a scale each, and finds the simplest form of the scales.
fn tq(
    origin: Origin,
    rows: usize,
    cols: usize,
    decode: impl Fn(usize, &mut [i8], &mut [f32]) -> Result<(), LoadError> + Sync,
) -> Result<(TritMatrix, Scale), LoadError> {
    let groups = cols / TQ_BLOCK;
    // bit patterns, so that rows can be decoded in any order; u32::MAX marks a block of zeros
    let bits: Vec<AtomicU32> = (0..rows * groups).map(|_| AtomicU32::new(ZEROS)).collect();
    let trits = pack_rows(origin, rows, cols, |row, trits| {
        let mut scales = vec![0.0f32; groups];
        decode(row, trits, &mut scales)?;
        for (group, (&scale, block)) in scales.iter().zip(trits.chunks(TQ_BLOCK)).enumerate() {
            let index = row * groups + group;
            if !scale.is_finite() || scale < 0.0 {
                return Err(origin.value(index, scale, "a finite block scale, not negative"));
            }
            if block.iter().any(|&trit| trit != 0) {
                bits[index].store(scale.to_bits(), Ordering::Relaxed);
            }
        }
        Ok(())
    })?;
    let scales = bits.iter().map(|bits| match bits.load(Ordering::Relaxed) {
        ZEROS => None,
        bits => Some(f32::from_bits(bits)),
    });
    let scales: Vec<Option<f32>> = scales.collect();
    Ok((trits, simplify(groups, &scales)))
}

/// Not the bit pattern of any legal scale.
const ZEROS: u32 = u32::MAX;

/// One scale for all, one for each row, or as they are. Blocks of zeros fit any scale.
fn simplify(groups: usize, scales: &[Option<f32>]) -> Scale {
    let uniform = |scales: &[Option<f32>]| {
        let mut known = scales.iter().flatten();
        let first = known.next().copied().unwrap_or(0.0);
        known.all(|scale| *scale == first).then_some(first)
    };
    if let Some(one) = uniform(scales) {
        return Scale::Tensor(one);
    }
    match scales.chunks(groups).map(uniform).collect() {
        Some(rows) => Scale::Row(rows),
        None => Scale::Group { size: TQ_BLOCK, values: scales.iter().map(|scale| scale.unwrap_or(0.0)).collect() },
    }
}

fn dequantise(
    origin: Origin,
    kind: GgmlType,
    cols: usize,
    bytes: &[u8],
    decode: impl Fn(&[u8], &mut [f32]) + Sync,
) -> Result<Bytes, LoadError> {
    let row_bytes = kind.row_bytes(cols);
    let rows = bytes.len() / row_bytes.max(1);
    let mut out = origin.buffer::<u8>(rows.saturating_mul(cols).saturating_mul(4))?;
    out.par_chunks_mut(cols * 4).zip(bytes.par_chunks(row_bytes)).for_each_init(
        || vec![0.0f32; cols],
        |values, (out, row)| {
            decode(row, values);
            for (out, value) in out.chunks_exact_mut(4).zip(values) {
                out.copy_from_slice(&value.to_le_bytes());
            }
        },
    );
    Ok(out.into())
}
