//! Runs ternary language models: loads them, packs them, and drives the CPU backend.
//!
//! * [`load`]: model files of every supported kind.
//! * [`cpu`]: the accelerator's arithmetic on the processor, bit for bit, fast.
//! * [`engine`]: the one interface between text generation and whatever computes the logits.

pub mod cpu;
pub mod engine;
pub mod load;
pub mod mmap;
