//! Device nodes as a driver uses them. Transports know nothing below these traits, so a test can put anything there.
//!
//! * [`mod@real`]: character devices: positional I/O, mapped registers, poll, ioctl.
//! * `simulated`: the stand-ins of a simulated board (feature `sim`); all that differs from a real node is there.
//! * [`mod@lock`]: one program at a time.

pub mod lock;
pub mod real;
#[cfg(feature = "sim")]
pub mod simulated;

use super::error::{DeviceError, Trouble};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

/// What a wait for events found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// An event can be taken.
    Event,
    /// The time is over.
    Nothing,
    /// The node is dead.
    Gone,
}

/// Memory by positional I/O. Calls may do less than they are asked.
pub trait DataNode: Send {
    /// Reads from a bus address.
    fn read_at(&self, address: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Writes to a bus address.
    fn write_at(&self, address: u64, bytes: &[u8]) -> io::Result<usize>;
}

/// Interrupts.
pub trait EventNode: Send {
    /// Lets the next interrupt through, where the node stops them.
    fn enable(&mut self) -> io::Result<()>;
    /// Waits for an event.
    fn poll(&mut self, timeout: Duration) -> io::Result<Ready>;
    /// Takes an event. Its number says nothing that a driver could rely on.
    fn take(&mut self) -> io::Result<u32>;
}

/// Mapped registers. There are no errors on a bus: what is gone reads as all ones.
pub trait Window: Send {
    /// Reads a word; the offset has been checked.
    fn read32(&mut self, offset: u32) -> u32;
    /// Writes a word; the offset has been checked.
    fn write32(&mut self, offset: u32, value: u32);
}

/// Keeps the processor's cache and device memory together.
pub trait CacheSync: Send {
    /// Makes what the processor wrote visible to the device.
    fn for_device(&mut self, at: u64, bytes: u64) -> io::Result<()>;
    /// Makes what the device wrote visible to the processor.
    fn for_cpu(&mut self, at: u64, bytes: u64) -> io::Result<()>;
}

/// Whether an open node is a character device or the stand-in of a simulated board.
pub fn is_real(path: &Path, file: &File) -> Result<bool, DeviceError> {
    let kind = file.metadata().map_err(|error| DeviceError::system(path.display(), &error))?.file_type();
    if kind.is_char_device() {
        return Ok(true);
    }
    if cfg!(feature = "sim") && (kind.is_file() || kind.is_fifo()) {
        return Ok(false);
    }
    let text = format!("{}: is no device node; expected a character device of the kernel's driver", path.display());
    Err(DeviceError::new(Trouble::Lost, text))
}
