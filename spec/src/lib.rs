//! The contract between the parts of Tercet, written once.
//!
//! * [`mod@format`]: how ternary weights, scales and whole models are laid out in bytes.
//! * [`numerics`]: the arithmetic of the accelerator, operation by operation.
//! * [`mod@program`]: what the sequencer of the machine is told, and the sizes of a machine.
//! * [`device`]: the machine itself, plain: carries programs out on a memory of bytes.
//! * [`model`]: the plain reference decoder, in the published (`float`) and the
//!   accelerator's (`device`) arithmetic. Slow and obvious: everything fast is compared with it.
//! * [`program`], [`regs`]: what the host tells the machine.
//! * [`transport`]: how it reaches it.
//! * [`nodes`]: what a board's nodes are called.
//!
//! No input or output, no threads, no unsafe code.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod crc32c;
pub mod device;
pub mod format;
pub mod model;
pub mod nodes;
pub mod numerics;
pub mod program;
pub mod regs;
pub mod transport;

pub use bytes::Bytes;
