//! The reference decoder: the executable specification. One file per operation.

pub mod config;
pub mod weights;

pub use config::{ActQuant, Activation, ModelConfig, RopeScaling};
pub use weights::{Layer, ModelWeights};
