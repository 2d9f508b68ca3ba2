//! Runs ternary language models: loads them, packs them, and drives the CPU backend.
//!
//! * [`engine`]: the one interface between text generation and whatever computes the logits.
//! * [`generate`]: sampling, the generation loop, statistics, perplexity.
//! * [`load`]: models, tokenizers and chat templates from Hugging Face folders and GGUF files.
//! * [`mmap`]: read-only mapping of files.

pub mod engine;
pub mod generate;
pub mod load;
pub mod mmap;
