//! A card behind AMD's XDMA driver: memory by positional I/O, registers in a mapped BAR, an interrupt as events.
//!
//! Rules that the driver asks for, and few of which it enforces: one buffer a call, at most 4 MiB, from writable
//! memory at a page, which large writes may try without; no signal while a transfer runs; a short count is an error still to come; after a timeout the
//! card may still write into the buffer, so it is never used again and nothing more is sent.

use super::error::{is_timeout, is_transient};
use super::node::{DataNode, EventNode, Ready, Window};
use super::signals::Blocked;
use memmap2::{MmapMut, MmapOptions};
use spec::transport::{Event, Transport, TransportError, check_offset, check_range};
use std::io;
use std::time::{Duration, Instant};

/// Most bytes of a call.
pub const CHUNK: usize = 4 << 20;
/// Least bytes of a call that takes the caller's own buffer: it saves a copy.
const DIRECT: usize = 1 << 20;
/// How often a call that did nothing is made again.
const ATTEMPTS: usize = 8;

/// The nodes of a card.
pub struct XdmaNodes {
    /// `xdma*_user`.
    pub window: Box<dyn Window>,
    /// `xdma*_h2c_0`, open for writing only.
    pub down: Box<dyn DataNode>,
    /// `xdma*_c2h_0`, open for reading only.
    pub up: Box<dyn DataNode>,
    /// `xdma*_events_0`.
    pub events: Box<dyn EventNode>,
}

/// A card.
pub struct Xdma {
    nodes: XdmaNodes,
    /// For messages.
    name: String,
    base: u64,
    bytes: u64,
    /// Where the card reads and writes. Gone after a timeout.
    bounce: Option<MmapMut>,
    /// Whether large writes may come from the caller's buffer. The card only reads it; that it lies at no page, or that
    /// its pages are read-only, some cards and drivers refuse.
    direct: bool,
}

fn error(what: String, error: io::Error) -> TransportError {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => TransportError::Lost { reason: format!("{what}: {error}") },
        _ => TransportError::System { what, error },
    }
}

impl Xdma {
    /// A card whose memory has `bytes` bytes from bus address `base` on. Old events are dropped.
    pub fn new(nodes: XdmaNodes, name: String, base: u64, bytes: u64) -> Result<Xdma, TransportError> {
        let bounce = MmapOptions::new().len(CHUNK).populate().map_anon();
        let bounce = bounce.map_err(|e| error(format!("{name}: {CHUNK} bytes for transfers"), e))?;
        let mut card = Xdma { nodes, name, base, bytes, bounce: Some(bounce), direct: true };
        let begin = Instant::now();
        // a stuck interrupt may tell of new events for ever
        while card.nodes.events.poll(Duration::ZERO).is_ok_and(|found| found == Ready::Event)
            && begin.elapsed() < Duration::from_millis(50)
        {
            card.take()?;
        }
        Ok(card)
    }

    fn take(&mut self) -> Result<(), TransportError> {
        match self.nodes.events.take() {
            Err(e) if !is_transient(&e) => Err(error(format!("{}: reading an event", self.name), e)),
            _ => Ok(()),
        }
    }

    /// Carries out one transfer; `step` does a part of it through the buffer, from a place of the transfer on. What is
    /// in `own` need not go through the buffer.
    fn transfer(
        &mut self,
        what: &str,
        address: u64,
        len: usize,
        own: Option<&[u8]>,
        mut step: impl FnMut(&XdmaNodes, &mut [u8], usize) -> io::Result<usize>,
    ) -> Result<(), TransportError> {
        let begin = Instant::now();
        let (mut done, mut idle) = (0, 0);
        while done < len {
            let at = address + done as u64;
            let part = (len - done).min(CHUNK);
            let Some(buffer) = self.bounce.as_deref_mut() else {
                let text = format!("{}: a transfer timed out before; reset the card and start again", self.name);
                return Err(error(text, io::Error::from_raw_os_error(libc::ETIMEDOUT)));
            };
            let own = own.filter(|_| self.direct && part >= DIRECT);
            let result = {
                let _quiet = Blocked::new();
                match own {
                    Some(own) => self.nodes.down.write_at(at, &own[done..done + part]),
                    None => step(&self.nodes, &mut buffer[..part], done),
                }
            };
            let said = match result {
                // never more than was asked for, whatever a driver says
                Ok(count) if count > 0 && count <= part => {
                    (done, idle) = (done + count, 0);
                    continue;
                }
                Ok(count) => io::Error::new(io::ErrorKind::UnexpectedEof, format!("{count} bytes transferred")),
                Err(e) => e,
            };
            if own.is_some() && matches!(said.raw_os_error(), Some(libc::EINVAL | libc::EFAULT)) {
                self.direct = false;
                continue;
            }
            idle += 1;
            if is_transient(&said) && idle < ATTEMPTS {
                continue;
            }
            if is_timeout(&said) {
                // the card may still be writing there
                if let Some(buffer) = self.bounce.take() {
                    std::mem::forget(buffer);
                }
            }
            let (name, took) = (&self.name, begin.elapsed().as_secs_f64());
            return Err(error(format!("{name}: {what} {part} bytes at {at:#x} after {took:.3} s"), said));
        }
        Ok(())
    }
}

impl Transport for Xdma {
    fn memory_base(&self) -> u64 {
        self.base
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    fn read32(&mut self, offset: u32) -> Result<u32, TransportError> {
        check_offset(offset)?;
        Ok(self.nodes.window.read32(offset))
    }

    fn write32(&mut self, offset: u32, value: u32) -> Result<(), TransportError> {
        check_offset(offset)?;
        self.nodes.window.write32(offset, value);
        Ok(())
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        check_range(address, bytes.len(), self.bytes)?;
        let start = self.base + address;
        self.transfer("reading", start, bytes.len(), None, |nodes, buffer, done| {
            let count = nodes.up.read_at(start + done as u64, buffer)?;
            if count <= buffer.len() {
                bytes[done..done + count].copy_from_slice(&buffer[..count]);
            }
            Ok(count)
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TransportError> {
        check_range(address, bytes.len(), self.bytes)?;
        let start = self.base + address;
        self.transfer("writing", start, bytes.len(), Some(bytes), |nodes, buffer, done| {
            buffer.copy_from_slice(&bytes[done..done + buffer.len()]);
            nodes.down.write_at(start + done as u64, buffer)
        })
    }

    fn wait(&mut self, timeout: Duration) -> Result<Event, TransportError> {
        let found = self.nodes.events.poll(timeout);
        match found.map_err(|e| error(format!("{}: waiting for an event", self.name), e))? {
            Ready::Nothing => Ok(Event::Timeout),
            Ready::Event => self.take().map(|()| Event::Interrupt),
            Ready::Gone => Err(TransportError::Lost { reason: format!("{}: the event node hung up", self.name) }),
        }
    }
}
