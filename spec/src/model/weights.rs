//! The weights of a model, in whatever form they were loaded.

use super::config::{ConfigError, ModelConfig};
use crate::format::{matrix::Linear, table::Table};
use thiserror::Error;

/// One block. Shapes as in [`ModelConfig`]; projections are `[out, in]`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Norm before attention, `[hidden]`.
    pub attn_norm: Vec<f32>,
    /// Query projection, `[q_dim, hidden]`.
    pub q: Linear,
    /// Key projection, `[kv_dim, hidden]`.
    pub k: Linear,
    /// Value projection, `[kv_dim, hidden]`.
    pub v: Linear,
    /// Norm of the concatenated heads before `o`, `[q_dim]`.
    pub attn_sub_norm: Option<Vec<f32>>,
    /// Output projection, `[hidden, q_dim]`.
    pub o: Linear,
    /// Norm before the feed-forward network, `[hidden]`.
    pub ffn_norm: Vec<f32>,
    /// Gate projection, `[ffn, hidden]`.
    pub gate: Linear,
    /// Up projection, `[ffn, hidden]`.
    pub up: Linear,
    /// Norm of the gated product before `down`, `[ffn]`.
    pub ffn_sub_norm: Option<Vec<f32>>,
    /// Down projection, `[hidden, ffn]`.
    pub down: Linear,
}

/// A whole model.
#[derive(Clone, Debug)]
pub struct ModelWeights {
    /// Its shape.
    pub config: ModelConfig,
    /// Token embedding, `[vocab, hidden]`.
    pub embed: Table,
    /// The blocks, first to last.
    pub layers: Vec<Layer>,
    /// Norm before the head, `[hidden]`.
    pub final_norm: Vec<f32>,
    /// Output head, `[vocab, hidden]`; `None` if it is the embedding.
    pub head: Option<Table>,
}

/// Weights that do not fit their configuration.
#[derive(Debug, Error, PartialEq)]
pub enum WeightsError {
    /// The configuration itself is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor has another shape than the configuration asks for.
    #[error("{tensor}: shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor holds a number that is not finite, or another illegal value.
    #[error("{tensor}: {problem}")]
    Value {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
}

impl ModelWeights {
    /// Codes the head with so many trit planes, 1 to 5; an embedding that was the head, too, keeps its own codes, for
    /// nobody streams its rows.
    pub fn narrow_head(&mut self, planes: usize) {
        self.head = Some(Table::Coded(self.head().coded_in(planes)));
    }

    /// The table of the head.
    pub fn head(&self) -> &Table {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Checks every shape against the configuration, and every norm, scale and bias.
    pub fn validate(&self) -> Result<(), WeightsError> {
        let c = &self.config;
        c.validate()?;
        check_shape("embed", &[self.embed.rows(), self.embed.cols()], &[c.vocab, c.hidden])?;
        if let Some(head) = &self.head {
            check_shape("head", &[head.rows(), head.cols()], &[c.vocab, c.hidden])?;
        }
        check_vector("final_norm", &self.final_norm, c.hidden)?;
        check_shape("layers", &[self.layers.len()], &[c.layers])?;
        for (index, layer) in self.layers.iter().enumerate() {
            let name = |part: &str| format!("layer {index} {part}");
            check_vector(&name("attn_norm"), &layer.attn_norm, c.hidden)?;
            check_vector(&name("ffn_norm"), &layer.ffn_norm, c.hidden)?;
            if let Some(norm) = &layer.attn_sub_norm {
                check_vector(&name("attn_sub_norm"), norm, c.q_dim())?;
            }
            if let Some(norm) = &layer.ffn_sub_norm {
                check_vector(&name("ffn_sub_norm"), norm, c.ffn)?;
            }
            for (part, linear, rows, cols) in [
                ("q", &layer.q, c.q_dim(), c.hidden),
                ("k", &layer.k, c.kv_dim(), c.hidden),
                ("v", &layer.v, c.kv_dim(), c.hidden),
                ("o", &layer.o, c.hidden, c.q_dim()),
                ("gate", &layer.gate, c.ffn, c.hidden),
                ("up", &layer.up, c.ffn, c.hidden),
                ("down", &layer.down, c.hidden, c.ffn),
            ] {
                check_linear(&name(part), linear, rows, cols)?;
            }
        }
        Ok(())
    }
}

fn check_shape(tensor: &str, found: &[usize], expected: &[usize]) -> Result<(), WeightsError> {
    if found == expected {
        return Ok(());
    }
    Err(WeightsError::Shape { tensor: tensor.into(), found: found.into(), expected: expected.into() })
}

fn check_vector(tensor: &str, values: &[f32], expected: usize) -> Result<(), WeightsError> {
    check_shape(tensor, &[values.len()], &[expected])?;
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let problem = format!("element {at} is {}, expected a finite number", values[at]);
            Err(WeightsError::Value { tensor: tensor.into(), problem })
        }
    }
}

fn check_linear(tensor: &str, linear: &Linear, rows: usize, cols: usize) -> Result<(), WeightsError> {
    if linear.planes.is_empty() {
        return Err(WeightsError::Value { tensor: tensor.into(), problem: "no trit plane".into() });
    }
    for plane in &linear.planes {
        check_shape(tensor, &[plane.trits.rows(), plane.trits.cols()], &[rows, cols])?;
        let scale = plane.scale.validate(rows, cols);
        scale.map_err(|e| WeightsError::Value { tensor: tensor.into(), problem: e.to_string() })?;
    }
    if let Some(bias) = &linear.bias {
        check_vector(&format!("{tensor} bias"), bias, rows)?;
    }
    if let Some((weight, eps)) = &linear.input_norm {
        check_vector(&format!("{tensor} input norm"), weight, cols)?;
        if !(eps.is_finite() && *eps > 0.0) {
            let problem = format!("norm epsilon is {eps}, expected a positive number");
            return Err(WeightsError::Value { tensor: tensor.into(), problem });
        }
    }
    Ok(())
}
