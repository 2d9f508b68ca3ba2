//! The accelerator behind [`crate::engine::Engine`].
//!
//! * [`mod@engine`]: sequences, slots and passes; the same for every kind of device.
//! * [`mod@reference`]: the device of `spec`, plain and slow.
//! * [`driver`]: a machine behind a transport; [`residency`]: the model that its memory holds; [`stats`]: what it counts.
//! * [`xdma`], [`axi`]: transports of boards, on the traits of [`node`]; [`mod@open`] finds a board's nodes.
//! * [`board`]: a model on an open board.
//! * [`doctor`], [`verify`]: what is wrong with a board.
//! * [`error`]: kinds of trouble.
//! * `simulated`: the RTL in Verilator, in this process (feature `sim`).
//!
//! A device is whatever implements [`PassRunner`]: the reference device, a simulation of the RTL, a board.

pub mod axi;
pub mod board;
pub mod dmabuf;
pub mod doctor;
pub mod driver;
pub mod engine;
pub mod error;
mod identity;
pub mod node;
pub mod open;
mod pass;
pub mod reference;
pub mod residency;
#[cfg(test)]
mod shortlist_tests;
pub mod signals;
#[cfg(feature = "sim")]
pub mod simulated;
pub mod stats;
pub mod sysfs;
#[cfg(test)]
pub(crate) mod tests;
pub mod verify;
pub mod xdma;

pub use engine::DeviceEngine;
pub use reference::{ReferenceDevice, ReferenceRunner};
#[cfg(feature = "sim")]
pub use simulated::SimulatedDevice;

use crate::compile::DeviceImage;
use error::DeviceError;
use spec::program::LINE;
use spec::{
    device::{Fault, Pass, PassResult},
    program::DeviceShape,
};
use thiserror::Error;

/// Why a device did not do what it was told.
#[derive(Debug, Error)]
pub enum RunError {
    /// It gave a pass up.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// It could not be reached, or is not what it should be.
    #[error("{0}")]
    Device(String),
    /// The same, with a kind.
    #[error(transparent)]
    Trouble(#[from] DeviceError),
}

/// A device that carries out passes. The only part that differs between reference, simulation and board.
pub trait PassRunner: Send {
    /// Its sizes.
    fn shape(&self) -> &DeviceShape;

    /// What it is, for people.
    fn describe(&self) -> String;

    /// Bytes of its memory.
    fn memory_bytes(&self) -> u64;

    /// Writes memory.
    fn upload(&mut self, addr: u64, bytes: &[u8]) -> Result<(), RunError>;

    /// Writes a compiled model to memory.
    fn load(&mut self, image: &DeviceImage) -> Result<(), RunError> {
        image.sections.iter().try_for_each(|section| self.upload(section.line * LINE, &section.bytes))
    }

    /// After a pass that failed: puts right what may have been wrong with memory. Whether it is worth another try.
    fn mend(&mut self, _image: &DeviceImage) -> Result<bool, RunError> {
        Ok(false)
    }

    /// Reads memory.
    fn read(&mut self, addr: u64, len: usize) -> Result<Vec<u8>, RunError>;

    /// Carries out a pass; logits that are wanted pass through `logits` in memory.
    fn run(&mut self, pass: &Pass, logits: LogitsArea) -> Result<PassResult, RunError>;
}

/// Where a device puts logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogitsArea {
    /// First line of slot 0.
    pub line: u64,
    /// Lines from a slot to the next.
    pub stride: u64,
    /// Logits of a slot.
    pub vocab: usize,
}
