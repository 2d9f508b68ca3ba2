//! Zynq's programmable logic: registers and interrupt through UIO, memory through u-dma-buf.

use super::dmabuf::{Device, DmaMemory, Span};
use super::error::is_transient;
use super::node::{EventNode, Ready, Window};
use spec::transport::{Event, Transport, TransportError, check_offset};
use std::io;
use std::time::Duration;

/// Registers, interrupt and memory of the logic.
pub struct Axi {
    name: String,
    window: Box<dyn Window>,
    events: Box<dyn EventNode>,
    memory: DmaMemory,
    base: u64,
}

impl Axi {
    /// `base` is the bus address of the memory.
    pub fn new(window: Box<dyn Window>, events: Box<dyn EventNode>, memory: DmaMemory, name: String, base: u64) -> Axi {
        Axi { name, window, events, memory, base }
    }

    fn error(&self, what: &str, at: u64, len: usize, error: io::Error) -> TransportError {
        let what = format!("{}: {what} {len} bytes at {at:#x}", self.name);
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => TransportError::Lost { reason: format!("{what}: {error}") },
            _ => TransportError::System { what, error },
        }
    }
}

/// Writes bytes and gives them to the device.
fn put<'a>(span: Span<'a, Device>, bytes: &[u8]) -> io::Result<Span<'a, Device>> {
    // lines of the cache that are only partly written must be right before
    span.for_cpu()?.fill(bytes).for_device()
}

impl Transport for Axi {
    fn memory_base(&self) -> u64 {
        self.base
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    fn read32(&mut self, offset: u32) -> Result<u32, TransportError> {
        check_offset(offset)?;
        Ok(self.window.read32(offset))
    }

    fn write32(&mut self, offset: u32, value: u32) -> Result<(), TransportError> {
        check_offset(offset)?;
        self.window.write32(offset, value);
        Ok(())
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        let span = self.memory.span(address, bytes.len())?;
        let copied = span.for_cpu().map(|span| span.copy_to(bytes));
        copied.map_err(|error| self.error("reading", address, bytes.len(), error))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TransportError> {
        let written = put(self.memory.span(address, bytes.len())?, bytes).map(|_| ());
        written.map_err(|error| self.error("writing", address, bytes.len(), error))
    }

    /// The kernel masked the line at the last interrupt. The driver has cleared its cause before it waits again, so
    /// the line can be let through: enabled earlier, it would fire for the old cause.
    fn wait(&mut self, timeout: Duration) -> Result<Event, TransportError> {
        let what = |what: &str| format!("{}: {what}", self.name);
        let system = |what: String| {
            move |error: io::Error| match error.raw_os_error() {
                Some(libc::ENODEV | libc::ENXIO) => TransportError::Lost { reason: format!("{what}: {error}") },
                _ => TransportError::System { what, error },
            }
        };
        self.events.enable().map_err(system(what("allowing the interrupt")))?;
        match self.events.poll(timeout).map_err(system(what("waiting for the interrupt")))? {
            Ready::Nothing => Ok(Event::Timeout),
            Ready::Gone => Err(TransportError::Lost { reason: what("the interrupt's node hung up") }),
            Ready::Event => match self.events.take() {
                Err(error) if !is_transient(&error) => Err(system(what("taking the interrupt"))(error)),
                _ => Ok(Event::Interrupt),
            },
        }
    }
}
