//! Why a model cannot be compiled for a machine.

use spec::{
    model::weights::WeightsError,
    program::{ProgramError, ShapeError},
};
use thiserror::Error;

/// A model that a machine cannot run.
#[derive(Debug, Error, PartialEq)]
pub enum CompileError {
    /// The machine itself is impossible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The weights do not fit their configuration.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A number that some field of a descriptor cannot hold.
    #[error("the program cannot be written: {0}; the model is too large for this instruction set")]
    Program(#[from] ProgramError),
    /// A memory or counter of the machine is too small.
    #[error("{what}: {found}, this machine takes at most {limit}; {advice}")]
    Limit {
        /// What is too large.
        what: String,
        /// Its size.
        found: usize,
        /// The largest size.
        limit: usize,
        /// What to do.
        advice: &'static str,
    },
    /// A size that does not suit the machine.
    #[error("{what}: {found}, expected {expected}; {advice}")]
    Rule {
        /// What does not suit.
        what: String,
        /// Its value.
        found: usize,
        /// The rule.
        expected: String,
        /// What to do.
        advice: &'static str,
    },
    /// The vectors of a layer do not fit the vector memory.
    #[error(
        "vector memory: {found} column words ({x} residual stream, {attention} queries, keys and values, {gated} gated \
         product in the same place, {norm} normed input, {planes} planes), this machine has {limit}; choose a preset \
         with a larger vector memory"
    )]
    VectorMemory {
        /// Words that are needed.
        found: usize,
        /// Words that there are.
        limit: usize,
        /// Residual stream.
        x: usize,
        /// Queries, keys and values.
        attention: usize,
        /// Gated product.
        gated: usize,
        /// Normed input of layers with a norm of their own.
        norm: usize,
        /// Sums of planes.
        planes: usize,
    },
}

/// `found <= limit`.
pub(super) fn at_most(
    what: impl Into<String>,
    found: usize,
    limit: usize,
    advice: &'static str,
) -> Result<(), CompileError> {
    if found <= limit {
        return Ok(());
    }
    Err(CompileError::Limit { what: what.into(), found, limit, advice })
}

/// `found` is a multiple of `unit`.
pub(super) fn multiple(
    what: impl Into<String>,
    found: usize,
    unit: usize,
    advice: &'static str,
) -> Result<(), CompileError> {
    if found.is_multiple_of(unit) {
        return Ok(());
    }
    Err(CompileError::Rule { what: what.into(), found, expected: format!("a multiple of {unit}"), advice })
}
