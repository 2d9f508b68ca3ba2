//! Everything in which a simulated board (`sim::board`) differs from real nodes:
//!
//! * registers: requests in a mailbox, because a mapping cannot notice accesses of another process;
//! * events: come through a pipe, of which all is taken at once, as a kernel's flag or count is; those of `uio0` from
//!   the pipe `uio0_irq`, and what lets its next one through goes to the mailbox;
//! * the sync of u-dma-buf's cache: a request in the mailbox instead of an ioctl;
//! * where memory lies on the bus, which a real card's user must know: written in the mailbox.
//!
//! Memory of the card and u-dma-buf's memory are used through the code for real nodes.

use super::real::{poll_file, take_word};
use super::{CacheSync, EventNode, Ready, Window};
use sim::board::shared::{Mailbox, Request};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The mailbox of a board, for all its nodes.
#[derive(Clone)]
pub struct Standin(Arc<Mailbox>);

impl Standin {
    /// The mailbox in the register node's file.
    pub fn open(window: &Path) -> io::Result<Standin> {
        let mailbox = Mailbox::open(window)?;
        match mailbox.lives() {
            true => Ok(Standin(Arc::new(mailbox))),
            false => Err(io::Error::new(io::ErrorKind::NotConnected, "the simulated board's process is gone")),
        }
    }

    /// Bus address and bytes of device memory.
    pub fn memory(&self) -> (u64, u64) {
        self.0.memory()
    }

    fn ask(&self, request: Request) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        self.0.ask(request).map(|_| ()).ok_or_else(gone)
    }
}

impl Window for Standin {
    fn read32(&mut self, offset: u32) -> u32 {
        self.0.ask(Request::Read(offset)).unwrap_or(u32::MAX)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        let _ = self.0.ask(Request::Write(offset, value));
    }
}

/// Opens a pipe of events.
pub fn pipe(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Events of a board: the pipe, and for `uio0` the mailbox that lets the next one through.
pub struct StandinEvents {
    /// The pipe.
    pub pipe: File,
    /// The board, where the node masks interrupts.
    pub mask: Option<Standin>,
}

impl EventNode for StandinEvents {
    fn enable(&mut self) -> io::Result<()> {
        self.mask.as_ref().map_or(Ok(()), |board| board.ask(Request::Enable(true)))
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<Ready> {
        poll_file(&self.pipe, timeout)
    }

    fn take(&mut self) -> io::Result<u32> {
        let mut last = take_word(&self.pipe)?;
        while self.poll(Duration::ZERO)? == Ready::Event {
            last = take_word(&self.pipe)?;
        }
        Ok(last)
    }
}

impl CacheSync for Standin {
    fn for_device(&mut self, at: u64, bytes: u64) -> io::Result<()> {
        self.ask(Request::ForDevice(at, bytes))
    }

    fn for_cpu(&mut self, at: u64, bytes: u64) -> io::Result<()> {
        self.ask(Request::ForCpu(at, bytes))
    }
}
