//! Runs ternary language models: loads them, packs them, and drives the CPU backend.
//!
//! * [`load`]: model files of every supported kind.
//! * [`image`]: the packed image, our own model file.
//! * [`cpu`]: the accelerator's arithmetic on the processor, bit for bit, fast.
//! * [`mod@compile`]: a model to programs and memory of the accelerator.
//! * [`device`]: the accelerator as an engine: reference, simulation or board.
//! * [`engine`]: the one interface between text generation and whatever computes the logits.
//! * [`generate`]: sampling, the generation loop, statistics, perplexity.
//! * [`serve`]: an HTTP server in front of an engine.

pub mod compile;
pub mod cpu;
pub mod device;
pub mod engine;
pub mod generate;
pub mod image;
pub mod load;
pub mod mmap;
pub mod posix;
pub mod replace;
pub mod serve;
