//! The seam between the driver and a device: five calls that a simulated machine, a board behind
//! `/dev/uio` or a card behind PCIe answer alike.
//!
//! Registers are [`crate::regs`]. Memory is device memory: byte 0 is line 0 of programs and slots.
//! Calls happen in the order they are made: a register write finds the memory writes before it done, a
//! memory read after [`Event::Interrupt`] sees what the pass wrote.

use crate::regs::WINDOW;
use std::time::Duration;
use thiserror::Error;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The interrupt is high. It stays so until `IRQ_STATUS` is cleared.
    Interrupt,
    /// The time is over. Says nothing about the pass.
    Timeout,
}

/// Why a device did not do what it was asked to.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Not a multiple of four inside the window.
    #[error("register offset {offset:#x}: not a word of the window of {WINDOW:#x} bytes")]
    Offset {
        /// The offset.
        offset: u32,
    },
    /// Bytes outside device memory.
    #[error("{bytes} bytes at {address:#x}: device memory has {size:#x}")]
    Range {
        /// First byte.
        address: u64,
        /// How many.
        bytes: u64,
        /// Bytes of device memory.
        size: u64,
    },
    /// The device is gone or does not answer any more.
    #[error("the device does not answer: {reason}")]
    Lost {
        /// How that shows.
        reason: String,
    },
    /// The system refused.
    #[error("{what}: {error}")]
    System {
        /// What was asked.
        what: String,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A device as its driver sees it.
pub trait Transport {
    /// Bus address of device memory, for `MEM_BASE_LO` and `MEM_BASE_HI`.
    fn memory_base(&self) -> u64;
    /// Bytes of device memory.
    fn memory_bytes(&self) -> u64;
    /// Reads a register.
    fn read32(&mut self, offset: u32) -> Result<u32, TransportError>;
    /// Writes a register.
    fn write32(&mut self, offset: u32, value: u32) -> Result<(), TransportError>;
    /// Reads device memory.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), TransportError>;
    /// Writes device memory.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TransportError>;
    /// Waits for the interrupt. Returns at once if it is high.
    fn wait(&mut self, timeout: Duration) -> Result<Event, TransportError>;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn memory_base(&self) -> u64 {
        (**self).memory_base()
    }

    fn memory_bytes(&self) -> u64 {
        (**self).memory_bytes()
    }

    fn read32(&mut self, offset: u32) -> Result<u32, TransportError> {
        (**self).read32(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) -> Result<(), TransportError> {
        (**self).write32(offset, value)
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        (**self).read(address, bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TransportError> {
        (**self).write(address, bytes)
    }

    fn wait(&mut self, timeout: Duration) -> Result<Event, TransportError> {
        (**self).wait(timeout)
    }
}

/// Checks a register offset; for implementations.
pub fn check_offset(offset: u32) -> Result<(), TransportError> {
    match offset < WINDOW && offset.is_multiple_of(4) {
        true => Ok(()),
        false => Err(TransportError::Offset { offset }),
    }
}

/// Checks a range of device memory of `size` bytes; for implementations.
pub fn check_range(address: u64, bytes: usize, size: u64) -> Result<(), TransportError> {
    let bytes = bytes as u64;
    match address.checked_add(bytes).is_some_and(|end| end <= size) {
        true => Ok(()),
        false => Err(TransportError::Range { address, bytes, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_the_window_and_of_memory() {
        assert!(check_offset(0xfffc).is_ok() && check_offset(0x1_0000).is_err() && check_offset(2).is_err());
        assert!(check_range(4096, 0, 4096).is_ok() && check_range(4095, 2, 4096).is_err());
        assert!(check_range(u64::MAX, 1, 4096).is_err());
    }
}
