//! The register window of the simulated board as two processes see it: a file with a mailbox.
//!
//! A shared mapping cannot notice accesses of another process, so the window itself is empty and every access is a
//! request in the page behind it. The board answers one request after the other, as a bus does; whoever asks waits.
//! A board whose process is gone reads as all ones, as a card that fell off its bus does.
#![allow(unsafe_code)]

use memmap2::{MmapMut, MmapOptions, MmapRaw};
use rustix::thread::futex;
use spec::regs::WINDOW;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of the file: the window and the mailbox.
pub const FILE_BYTES: u64 = WINDOW as u64 + 4096;
/// Marks a mailbox.
const MAGIC: u32 = 0x5442_4f58;
/// A process that waits looks this often without sleeping.
const SPINS: u32 = 200;
/// How often a waiting host looks whether the board lives.
const LOOK: Duration = Duration::from_millis(100);
/// A board that lives but does not answer for so long is taken for dead, as by PCI Express.
const LIMIT: Duration = Duration::from_secs(20);

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A register's word.
    Read(u32),
    /// Writes a register.
    Write(u32, u32),
    /// Allows or forbids the interrupt of a UIO node.
    Enable(bool),
    /// The host's cache gives these bytes to the device: first byte, how many.
    ForDevice(u64, u64),
    /// The host's cache forgets these bytes, so that it sees the device's.
    ForCpu(u64, u64),
}

impl Request {
    fn words(self) -> (u32, u64, u64) {
        match self {
            Request::Read(offset) => (1, offset.into(), 0),
            Request::Write(offset, value) => (2, offset.into(), value.into()),
            Request::Enable(on) => (3, on.into(), 0),
            Request::ForDevice(at, bytes) => (4, at, bytes),
            Request::ForCpu(at, bytes) => (5, at, bytes),
        }
    }

    fn from_words(op: u32, a: u64, b: u64) -> Option<Request> {
        Some(match op {
            1 => Request::Read(a as u32),
            2 => Request::Write(a as u32, b as u32),
            3 => Request::Enable(a != 0),
            4 => Request::ForDevice(a, b),
            5 => Request::ForCpu(a, b),
            _ => return None,
        })
    }
}

#[repr(C)]
struct Page {
    memory_base: AtomicU64,
    memory_bytes: AtomicU64,
    a: AtomicU64,
    b: AtomicU64,
    op: AtomicU32,
    result: AtomicU32,
    /// Number of the last request, and of the last one that was answered.
    asked: AtomicU32,
    answered: AtomicU32,
    magic: AtomicU32,
}

/// One end of a mailbox.
pub struct Mailbox {
    map: MmapRaw,
    file: File,
}

// All access goes through atomics of the page.
impl Mailbox {
    /// The board's end: a new file, locked as long as the board lives.
    pub fn create(path: &Path, memory_base: u64, memory_bytes: u64) -> io::Result<Mailbox> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        file.set_len(FILE_BYTES)?;
        let mailbox = Mailbox { map: MmapOptions::new().map_raw(&file)?, file };
        let page = mailbox.page();
        page.memory_base.store(memory_base, Ordering::Relaxed);
        page.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        page.magic.store(MAGIC, Ordering::Release);
        Ok(mailbox)
    }

    /// The host's end.
    pub fn open(path: &Path) -> io::Result<Mailbox> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not the window of a simulated board");
        if file.metadata()?.len() != FILE_BYTES {
            return Err(wrong());
        }
        let mailbox = Mailbox { map: MmapOptions::new().map_raw(&file)?, file };
        match mailbox.page().magic.load(Ordering::Acquire) {
            MAGIC => Ok(mailbox),
            _ => Err(wrong()),
        }
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping has FILE_BYTES bytes and lives as long as `self`; WINDOW is a multiple of the page's
        // alignment; every bit pattern is a valid `Page`; all its fields are atomics, so that another process may
        // change them at any time. Nobody shortens the file: only the board's end creates it.
        unsafe { &*self.map.as_mut_ptr().add(WINDOW as usize).cast::<Page>() }
    }

    /// Bus address of device memory and its bytes.
    pub fn memory(&self) -> (u64, u64) {
        let page = self.page();
        (page.memory_base.load(Ordering::Relaxed), page.memory_bytes.load(Ordering::Relaxed))
    }

    /// The next request, if one comes in time.
    pub fn next(&self, timeout: Duration) -> Option<Request> {
        let page = self.page();
        let answered = page.answered.load(Ordering::Relaxed);
        if !wait_while(&page.asked, answered, timeout) {
            return None;
        }
        let request = Request::from_words(
            page.op.load(Ordering::Relaxed),
            page.a.load(Ordering::Relaxed),
            page.b.load(Ordering::Relaxed),
        );
        if request.is_none() {
            self.answer(0);
        }
        request
    }

    /// Answers the request that [`Mailbox::next`] returned.
    pub fn answer(&self, result: u32) {
        let page = self.page();
        page.result.store(result, Ordering::Relaxed);
        page.answered.store(page.asked.load(Ordering::Relaxed), Ordering::Release);
        let _ = futex::wake(&page.answered, futex::Flags::empty(), 1);
    }

    /// Asks and waits for the answer; `None` if the board is gone. One host at a time, which its lock on the data
    /// node ensures; a request of a host that was killed is waited for.
    pub fn ask(&self, request: Request) -> Option<u32> {
        let page = self.page();
        let pending = page.asked.load(Ordering::Relaxed);
        self.wait_for(pending)?;
        let (op, a, b) = request.words();
        page.op.store(op, Ordering::Relaxed);
        page.a.store(a, Ordering::Relaxed);
        page.b.store(b, Ordering::Relaxed);
        let number = pending.wrapping_add(1);
        page.asked.store(number, Ordering::Release);
        let _ = futex::wake(&page.asked, futex::Flags::empty(), 1);
        self.wait_for(number)?;
        Some(page.result.load(Ordering::Relaxed))
    }

    /// Waits until this request is answered.
    fn wait_for(&self, number: u32) -> Option<()> {
        let (page, begin) = (self.page(), Instant::now());
        loop {
            let answered = page.answered.load(Ordering::Acquire);
            if answered == number {
                return Some(());
            }
            if !wait_while(&page.answered, answered, LOOK) && (!self.lives() || begin.elapsed() > LIMIT) {
                return None;
            }
        }
    }

    /// Whether a board's process holds the file.
    pub fn lives(&self) -> bool {
        match self.file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
            Ok(()) => {
                let _ = self.file.unlock();
                false
            }
        }
    }
}

/// Waits until a word is not `value` any more; whether that came in time.
fn wait_while(word: &AtomicU32, value: u32, timeout: Duration) -> bool {
    let changed = || word.load(Ordering::Acquire) != value;
    for _ in 0..SPINS {
        if changed() {
            return true;
        }
        std::hint::spin_loop();
    }
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if changed() || left.is_zero() {
            return changed();
        }
        let time = rustix::time::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        // woken, changed before, interrupted or timed out: the loop looks again
        let _ = futex::wait(word, futex::Flags::empty(), value, Some(&time));
    }
}

/// A new file of `bytes` zeros from `base` on, mapped; what lies below `base` is a hole.
pub fn shared_memory(path: &Path, base: u64, bytes: u64) -> io::Result<MmapMut> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(base + bytes)?;
    // SAFETY: the board plays memory that a DMA engine of another process changes. Bytes have no invalid patterns, and
    // the protocol keeps the two from the same bytes at the same time, as it does on a board. Nobody shortens the file.
    unsafe { MmapOptions::new().offset(base).len(bytes as usize).map_mut(&file) }
}
