//! The CPU backend: the accelerator's arithmetic on the processor, bit for bit.
//!
//! Ternary weights are repacked once into a vector layout ([`layout`]), five bits for three (or, for
//! Sherry, four) weights where the processor can look up 32 bytes in one instruction, two bits a weight
//! elsewhere. Every instruction set has its own file of integer kernels; the plain version in
//! [`scalar`] is what they are tested against.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub mod acts;
pub mod attention;
pub mod bench;
pub mod buffer;
mod build;
mod engine;
pub mod gate;
pub mod head;
mod heads;
pub mod isa;
pub mod kv;
mod layer;
pub mod layout;
pub mod linear;
pub mod matmul;
pub mod pack;
pub mod pool;
pub mod scalar;
pub mod shared;
pub mod softmax;
pub mod store;
#[cfg(test)]
mod testing;
pub mod tiles;
pub mod vector;

pub use engine::CpuEngine;
pub use isa::Isa;
