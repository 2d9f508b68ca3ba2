//! One ternary linear layer out of a checkpoint.

use super::{
    config::Scheme,
    files::{Checkpoint, Tensor},
    values::Mode,
};
use crate::load::{dense::Origin, error::LoadError, ternary};
use ::safetensors::Dtype;
use spec::format::{
    matrix::{Linear, TritMatrix},
    scale::Scale,
};

/// The dimension along which model-parallel training cuts a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// q, k, v, gate, up: shards are blocks of rows.
    Rows,
    /// o, down: shards are blocks of columns.
    Cols,
}

/// Reads `name.weight` with its scale and, where they exist, its bias and input norm.
pub fn linear(
    checkpoint: &Checkpoint,
    name: &str,
    (rows, cols): (usize, usize),
    scheme: Scheme,
    (split, mode): (Split, Option<Mode>),
    input_norm_eps: Option<f32>,
) -> Result<Linear, LoadError> {
    let weight = need(checkpoint, format!("{name}.weight"))?;
    let (trits, scale) = match (scheme, mode) {
        (Scheme::Packed { divides }, _) => {
            let scale = need(checkpoint, format!("{name}.weight_scale"))?;
            (packed(weight, rows, cols)?, weight_scale(scale, divides)?)
        }
        (Scheme::Masters, _) => ternary::weight_quant(weight.origin(), &weight.matrix(rows, cols)?)?,
        (Scheme::Values { .. }, mode) => {
            let matrix = weight.matrix(rows, cols)?;
            mode.unwrap_or(Mode::Ternary).convert(weight.origin(), &matrix, split)?
        }
    };
    let mut linear = Linear::new(trits, scale);
    if let Some(bias) = checkpoint.get(&format!("{name}.bias")) {
        linear.bias = Some(bias.vector(rows)?);
    }
    if let Some(eps) = input_norm_eps {
        let norm = need(checkpoint, format!("{name}.rms_norm.weight"))?;
        linear.input_norm = Some((norm.vector(cols)?, eps));
    }
    Ok(linear)
}

/// The tensor `name`, which the list of needed tensors has promised.
pub fn need(checkpoint: &Checkpoint, name: String) -> Result<&Tensor, LoadError> {
    match checkpoint.get(&name) {
        Some(tensor) => Ok(tensor),
        None => Err(LoadError::MissingTensors { path: checkpoint.dir().into(), count: 1, first: vec![name] }),
    }
}

/// Two-bit codes `[rows / 4, cols]`, or the same trits as floating-point numbers `[rows, cols]`.
fn packed(weight: &Tensor, rows: usize, cols: usize) -> Result<TritMatrix, LoadError> {
    let origin = weight.origin();
    if weight.dtype != Dtype::U8 {
        return match weight.matrix(rows, cols) {
            Err(LoadError::Dtype { .. }) => {
                Err(origin.dtype(weight.dtype, "U8 (packed), or F32, F16, BF16 (-1, 0, 1)"))
            }
            matrix => ternary::from_units(origin, &matrix?),
        };
    }
    if !rows.is_multiple_of(4) || weight.shape != [rows / 4, cols] {
        return Err(origin.shape(&weight.shape, format!("[{}, {cols}]: {rows} rows, four to a byte", rows.div_ceil(4))));
    }
    ternary::unpack_strided(origin, rows, cols, &weight.bytes)
}

fn weight_scale(tensor: &Tensor, divides: bool) -> Result<Scale, LoadError> {
    let origin: Origin = tensor.origin();
    let stored = tensor.scalar()?;
    if !stored.is_finite() || stored <= 0.0 {
        return Err(origin.value(0, stored, "a finite number above zero"));
    }
    let value = if divides { 1.0 / stored } else { stored };
    if !value.is_finite() {
        return Err(origin.value(0, stored, "a scale whose inverse is finite"));
    }
    Ok(Scale::Tensor(value))
}
