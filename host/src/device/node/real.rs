//! Character devices of XDMA, UIO and u-dma-buf.

use super::{CacheSync, DataNode, EventNode, Ready, Window};
use memmap2::{MmapOptions, MmapRaw};
use rustix::event::{PollFd, PollFlags, poll};
use spec::regs::WINDOW;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// One buffer a call, at a bus address; the file's position is never used, XDMA does not move it.
impl DataNode for File {
    fn read_at(&self, address: u64, bytes: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, bytes, address)
    }

    fn write_at(&self, address: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, address)
    }
}

/// Waits until a file can be read.
pub fn poll_file(file: &File, timeout: Duration) -> io::Result<Ready> {
    let time = rustix::time::Timespec {
        tv_sec: timeout.as_secs().min(1 << 30) as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut fds, Some(&time)) {
        Err(rustix::io::Errno::INTR) | Ok(0) => Ok(Ready::Nothing),
        Err(error) => Err(error.into()),
        Ok(_) if fds[0].revents().contains(PollFlags::IN) => Ok(Ready::Event),
        Ok(_) => Ok(Ready::Gone),
    }
}

/// Takes an event: exactly four bytes, which both XDMA and UIO insist on.
pub fn take_word(mut file: &File) -> io::Result<u32> {
    let mut word = [0; 4];
    match file.read(&mut word)? {
        4 => Ok(u32::from_ne_bytes(word)),
        found => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("an event of {found} bytes"))),
    }
}

/// `xdma*_events_*`: an event means that there is something to look at, not how much.
pub struct XdmaEvents(pub File);

impl EventNode for XdmaEvents {
    fn enable(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<Ready> {
        poll_file(&self.0, timeout)
    }

    fn take(&mut self) -> io::Result<u32> {
        take_word(&self.0)
    }
}

/// `uio*`: the kernel masks the interrupt each time; a written one lets the next through.
pub struct UioEvents(pub File);

impl EventNode for UioEvents {
    fn enable(&mut self) -> io::Result<()> {
        match self.0.write(&1u32.to_ne_bytes())? {
            4 => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<Ready> {
        poll_file(&self.0, timeout)
    }

    fn take(&mut self) -> io::Result<u32> {
        take_word(&self.0)
    }
}

/// Registers of a mapped node.
pub struct Mapped {
    map: MmapRaw,
    /// Bytes from the mapping's start to the registers.
    skip: usize,
}

impl Mapped {
    /// Maps the window, `skip` bytes behind `offset` of the node. Never more than the window: XDMA does not check.
    pub fn new(file: &File, offset: u64, skip: usize) -> io::Result<Mapped> {
        if !skip.is_multiple_of(4) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("registers at odd offset {skip:#x}")));
        }
        let map = MmapOptions::new().offset(offset).len(skip + WINDOW as usize).map_raw(file)?;
        Ok(Mapped { map, skip })
    }

    fn at(&self, offset: u32) -> *mut u32 {
        assert!(offset < WINDOW && offset.is_multiple_of(4), "offset {offset:#x} was not checked");
        self.map.as_mut_ptr().wrapping_add(self.skip + offset as usize).cast()
    }
}

impl Window for Mapped {
    fn read32(&mut self, offset: u32) -> u32 {
        // SAFETY: `at` stays inside the mapping, which lives as long as `self`, and is a multiple of four behind a
        // page boundary. Nothing in this program holds a reference into device registers.
        unsafe { self.at(offset).read_volatile() }
    }

    fn write32(&mut self, offset: u32, value: u32) {
        // memory that was written before must be there when the device hears of it
        fence(Ordering::SeqCst);
        // SAFETY: as in `read32`.
        unsafe { self.at(offset).write_volatile(value) }
    }
}

/// u-dma-buf's `SET_SYNC`, `_IOW('U', 9, 24 bytes)`.
const SET_SYNC: u64 = 0x4018_5509;
const _: () = assert!(SET_SYNC == 1 << 30 | (size_of::<SyncArgs>() as u64) << 16 | (b'U' as u64) << 8 | 9);

#[repr(C)]
struct SyncArgs {
    flags: u64,
    size: u64,
    offset: u64,
}

/// The cache of a processor in front of u-dma-buf's memory.
pub struct UDmaBufSync(pub File);

impl UDmaBufSync {
    fn sync(&self, command: u64, direction: u64, at: u64, bytes: u64) -> io::Result<()> {
        // a size of zero would mean that of the last call
        if bytes == 0 {
            return Ok(());
        }
        let mut args = SyncArgs { flags: command | direction << 2, size: bytes, offset: at };
        // SAFETY: the descriptor is open, and SET_SYNC reads exactly one `SyncArgs`, which outlives the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SET_SYNC as _, &raw mut args) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl CacheSync for UDmaBufSync {
    fn for_device(&mut self, at: u64, bytes: u64) -> io::Result<()> {
        self.sync(3, 1, at, bytes)
    }

    fn for_cpu(&mut self, at: u64, bytes: u64) -> io::Result<()> {
        self.sync(1, 2, at, bytes)
    }
}

/// A port that sees the processor's cache needs no help.
pub struct Coherent;

impl CacheSync for Coherent {
    fn for_device(&mut self, _: u64, _: u64) -> io::Result<()> {
        fence(Ordering::SeqCst);
        Ok(())
    }

    fn for_cpu(&mut self, _: u64, _: u64) -> io::Result<()> {
        fence(Ordering::SeqCst);
        Ok(())
    }
}
