//! The reference decoder: the executable specification. One file per operation.

pub mod attention;
pub mod config;
pub mod decoder;
pub mod ffn;
pub mod head;
pub mod linear;
pub mod norm;
pub mod random;
pub mod weights;

pub use config::{ActQuant, Activation, ModelConfig, RopeScaling};
pub use decoder::{Decoder, ForwardError, Numerics, Sequence};
pub use weights::{Layer, ModelWeights};
