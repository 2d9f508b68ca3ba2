//! The files of a board.

use super::shared::{Mailbox, shared_memory};
use super::{BoardError, Kind};
use crate::axi::Bytes;
use crate::device::MEMORY_BASE;
use memmap2::MmapMut;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the UIO device, as the device tree gives it.
pub const UIO_NAME: &str = "tercet";

/// The open files of a board.
pub struct Nodes {
    /// Registers.
    pub mailbox: Mailbox,
    /// Interrupts, to the host.
    pub events: File,
    /// What the host's processor sees of device memory, where that is not the same: behind a cache.
    pub cached: Option<MmapMut>,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, BoardError> {
    result.map_err(|error| BoardError::Node { path: path.to_path_buf(), error })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A pipe, open for writing whether or not somebody reads.
fn pipe(path: &Path) -> io::Result<File> {
    remove(path)?;
    mknodat(CWD, path, FileType::Fifo, Mode::from_bits_truncate(0o600), 0)?;
    OpenOptions::new().read(true).write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)
}

impl Nodes {
    /// Makes the nodes of a board under `dir`, with the memory that the machine sees.
    pub fn create(kind: Kind, dir: &Path, memory_bytes: u64) -> Result<(Nodes, Bytes), BoardError> {
        at(dir, fs::create_dir_all(dir))?;
        match kind {
            Kind::Xdma => Nodes::xdma(dir, memory_bytes),
            Kind::Axi => Nodes::axi(dir, memory_bytes),
        }
    }

    fn window(path: &Path, memory_bytes: u64) -> Result<Mailbox, BoardError> {
        if Mailbox::open(path).is_ok_and(|old| old.lives()) {
            let error =
                io::Error::new(io::ErrorKind::AddrInUse, "another simulated board lives here; use another --dir");
            return Err(BoardError::Node { path: path.to_path_buf(), error });
        }
        at(path, remove(path))?;
        at(path, Mailbox::create(path, MEMORY_BASE, memory_bytes))
    }

    fn xdma(dir: &Path, memory_bytes: u64) -> Result<(Nodes, Bytes), BoardError> {
        let node = |name: &str| dir.join(format!("xdma0_{name}"));
        let (down, up, events) = (node("h2c_0"), node("c2h_0"), node("events_0"));
        let mailbox = Nodes::window(&node("user"), memory_bytes)?;
        at(&down, remove(&down))?;
        at(&up, remove(&up))?;
        let memory = at(&down, shared_memory(&down, MEMORY_BASE, memory_bytes))?;
        at(&up, fs::hard_link(&down, &up))?;
        let events = at(&events, pipe(&events))?;
        Ok((Nodes { mailbox, events, cached: None }, memory.into()))
    }

    fn axi(dir: &Path, memory_bytes: u64) -> Result<(Nodes, Bytes), BoardError> {
        let (uio, irq, memory) = (dir.join("uio0"), dir.join("uio0_irq"), dir.join("udmabuf0"));
        let mailbox = Nodes::window(&uio, memory_bytes)?;
        at(&memory, remove(&memory))?;
        let cached = at(&memory, shared_memory(&memory, 0, memory_bytes))?;
        let events = at(&irq, pipe(&irq))?;
        let class = dir.join("sys/class");
        let attribute = |path: PathBuf, value: String| {
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            at(&path, made.and_then(|()| fs::write(&path, format!("{value}\n"))))
        };
        let maps = class.join("uio/uio0/maps/map0");
        attribute(class.join("uio/uio0/name"), UIO_NAME.into())?;
        attribute(maps.join("name"), "registers".into())?;
        attribute(maps.join("addr"), "0x00000000a0000000".into())?;
        attribute(maps.join("size"), format!("{:#018x}", spec::regs::WINDOW))?;
        attribute(maps.join("offset"), "0x0".into())?;
        let buffer = class.join("u-dma-buf/udmabuf0");
        for (name, value) in [
            ("phys_addr", format!("{MEMORY_BASE:#018x}")),
            ("size", memory_bytes.to_string()),
            ("sync_mode", "1".into()),
            ("sync_direction", "0".into()),
            ("sync_owner", "0".into()),
            ("dma_coherent", "0".into()),
            ("ioctl_version", "2".into()),
        ] {
            attribute(buffer.join(name), value)?;
        }
        Ok((Nodes { mailbox, events, cached: Some(cached) }, vec![0; memory_bytes as usize].into()))
    }

    /// Tells the host of an interrupt. A host that does not listen does not stop the board.
    pub fn signal(&mut self, word: u32) {
        let _ = self.events.write(&word.to_ne_bytes());
    }
}
