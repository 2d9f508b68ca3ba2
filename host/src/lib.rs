//! Runs ternary language models: loads them, packs them, and drives the CPU backend.
//!
//! * [`load`]: model files of every supported kind.
//! * [`engine`]: the one interface between text generation and whatever computes the logits.

pub mod engine;
pub mod load;
pub mod mmap;
