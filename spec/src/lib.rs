//! The contract between the parts of Tercet, written once.
//!
//! * [`mod@format`]: how ternary weights, scales and whole models are laid out in bytes.
//! * [`numerics`]: the arithmetic of the accelerator, operation by operation.
//! * [`model`]: the plain reference decoder, in the published (`float`) and the
//!   accelerator's (`device`) arithmetic. Slow and obvious: everything fast is compared with it.
//! * [`program`], [`regs`]: what the host tells the machine.
//! * [`transport`]: how it reaches it.
//!
//! No input or output, no threads, no unsafe code.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod crc32c;
pub mod format;
pub mod model;
pub mod numerics;
pub mod program;
pub mod regs;
pub mod transport;

pub use bytes::Bytes;
