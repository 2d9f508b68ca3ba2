//! The model that device memory holds: written once, kept as long as nobody else writes or the power stays on.
//!
//! The first page of memory lies outside of the machine's window and says which model follows. It is trusted only
//! together with register SCRATCH, which loading a bitstream clears, and after what no checksum of the machine covers
//! has been read back.

use super::RunError;
use super::driver::Driver;
use super::error::Trouble;
use crate::compile::DeviceImage;
use sha2::{Digest, Sha256};
use spec::program::{LINE, PACKET};
use spec::regs::fault;
use spec::transport::{Transport, check_range};
use std::time::Instant;

/// Bytes in front of the machine's window.
pub const HEADER: u64 = 4096;

/// Bytes of a device's whole memory for a model and so many sequences behind a [`Driver`].
pub fn device_bytes(image: &DeviceImage, sequences: usize) -> u64 {
    image.memory_bytes(sequences).next_multiple_of(HEADER) + HEADER
}

/// Begins a header.
const MAGIC: &[u8; 8] = b"TERCMODL";
/// Bytes of a transfer between two signs of progress.
const CHUNK: usize = 4 << 20;
/// Bytes at either end of a section that are read back where the machine's checksums cover the rest.
const SAMPLE: usize = 4096;
/// Sections that the machine reads without a checksum.
const UNCHECKED: [&str; 2] = ["embedding", "rotary"];

/// Is told the bytes written so far, and all.
pub type OnProgress = Box<dyn FnMut(u64, u64) + Send>;

/// How models are loaded, and how the last one was.
#[derive(Default)]
pub struct Loading {
    /// Is told how far the upload is.
    pub progress: Option<OnProgress>,
    /// Write the model even if it seems to be there.
    pub always: bool,
    /// Believe a header without looking at SCRATCH or its hash; for tests that show what these are for.
    pub gullible: bool,
    /// Whether memory holds the model of this program.
    pub resident: bool,
    /// Whether it was there before.
    pub was_there: bool,
    tag: u32,
}

/// Identifies an image: all it puts into memory, and where.
pub fn image_hash(image: &DeviceImage) -> [u8; 32] {
    let mut hash = Sha256::new();
    for section in &image.sections {
        hash.update(section.line.to_le_bytes());
        hash.update((section.bytes.len() as u64).to_le_bytes());
        hash.update(&section.bytes);
    }
    hash.finalize().into()
}

fn header(config: u64, hash: &[u8; 32]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(config.to_le_bytes());
    bytes.extend(hash);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

impl<T: Transport + Send> Driver<T> {
    /// Bus address and bytes of the machine's window.
    pub(super) fn window(&self) -> (u64, u64) {
        let whole = self.transport.memory_bytes() & !(HEADER - 1);
        (self.transport.memory_base() + HEADER, whole.saturating_sub(HEADER))
    }

    pub(super) fn write_memory(&mut self, addr: u64, bytes: &[u8]) -> Result<(), RunError> {
        check_range(addr, bytes.len(), self.window().1)?;
        // whoever changes memory changes the model
        self.forget()?;
        Ok(self.transport.write(HEADER + addr, bytes)?)
    }

    pub(super) fn read_memory(&mut self, addr: u64, bytes: &mut [u8]) -> Result<(), RunError> {
        Ok(self.transport.read(HEADER + addr, bytes)?)
    }

    /// Takes the header away.
    pub fn forget(&mut self) -> Result<(), RunError> {
        if self.loading.resident {
            self.transport.write(0, &[0; 64])?;
            self.loading.resident = false;
        }
        Ok(())
    }

    /// Whether registers were reset since the model was loaded.
    pub(super) fn was_reset(&mut self) -> Result<bool, RunError> {
        Ok(self.read32("SCRATCH")? != self.loading.tag)
    }

    /// Loads a model unless memory holds it.
    pub(super) fn load_image(&mut self, image: &DeviceImage) -> Result<(), RunError> {
        let begin = Instant::now();
        let hash = image_hash(image);
        let wanted = header(self.expected.hash, &hash);
        // never zero, which SCRATCH is after loading a bitstream
        self.loading.tag = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) | 1;
        self.loading.resident = self.holds(&wanted)?;
        self.loading.was_there = self.loading.resident && !self.loading.always && self.check(image)?;
        if !self.loading.was_there {
            self.loading.resident = true;
            self.forget()?;
            self.write_image(image)?;
            if !self.check(image)? {
                let text = "memory does not hold what was written; run `host doctor`";
                return Err(self.error(Trouble::Io, text));
            }
            self.transport.write(0, &wanted)?;
        }
        self.loading.resident = true;
        let tag = self.loading.tag;
        self.write("SCRATCH", tag)?;
        self.stats.load_time = begin.elapsed();
        Ok(())
    }

    fn holds(&mut self, wanted: &[u8]) -> Result<bool, RunError> {
        let mut found = vec![0; wanted.len()];
        self.transport.read(0, &mut found)?;
        if self.loading.gullible {
            return Ok(found.starts_with(MAGIC));
        }
        Ok(!self.was_reset()? && found == wanted)
    }

    fn write_image(&mut self, image: &DeviceImage) -> Result<(), RunError> {
        let total = image.sections.iter().map(|section| section.bytes.len() as u64).sum();
        let mut done = 0;
        for section in &image.sections {
            for (number, part) in section.bytes.chunks(CHUNK).enumerate() {
                self.write_memory(section.line * LINE + (number * CHUNK) as u64, part)?;
                done += part.len() as u64;
                if let Some(progress) = &mut self.loading.progress {
                    progress(done, total);
                }
            }
        }
        self.stats.uploaded += done;
        Ok(())
    }

    /// Writes again what a fault of memory points at. A pass that is run again computes the same, so that is tried.
    pub(super) fn mend_fault(&mut self, image: &DeviceImage) -> Result<bool, RunError> {
        let Some((code, info)) = self.last_fault.take() else { return Ok(false) };
        let at = u64::from(info) * LINE;
        for section in &image.sections {
            let (start, bytes) = (section.line * LINE, &section.bytes);
            match code {
                fault::CRC if (start..start + bytes.len() as u64).contains(&at) => {
                    let from = (at - start) as usize;
                    self.transport.write(HEADER + at, &bytes[from..bytes.len().min(from + PACKET as usize)])?;
                }
                // the fault names only the port
                fault::ILLEGAL_CODE if section.holds_weights() => {
                    self.transport.write(HEADER + start, bytes)?;
                }
                _ => {}
            }
        }
        let again = matches!(code, fault::CRC | fault::ILLEGAL_CODE | fault::READ_ERROR);
        self.stats.retries += u64::from(again);
        Ok(again)
    }

    /// Reads back what no checksum of the machine covers, and both ends of all the rest.
    fn check(&mut self, image: &DeviceImage) -> Result<bool, RunError> {
        let gullible = self.loading.gullible;
        for section in image.sections.iter().filter(|_| !gullible) {
            let (len, at) = (section.bytes.len(), section.line * LINE);
            let whole = UNCHECKED.contains(&section.name.as_str()) || len <= 2 * SAMPLE;
            let (head, tail) = if whole { (0..len, len..len) } else { (0..SAMPLE, len - SAMPLE..len) };
            for part in [head, tail] {
                let mut found = vec![0; part.len()];
                self.read_memory(at + part.start as u64, &mut found)?;
                if crc32c::crc32c(&found) != crc32c::crc32c(&section.bytes[part]) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
