//! The memory behind the ports.

use super::FaultKind;

/// Bytes; every access is checked.
pub struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    /// Takes the bytes.
    pub fn new(bytes: Vec<u8>) -> Memory {
        Memory { bytes }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&self, addr: u64, len: usize) -> Result<std::ops::Range<usize>, FaultKind> {
        let start = usize::try_from(addr).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        let size = self.bytes.len();
        range.filter(|range| range.end <= size).ok_or(FaultKind::Address { addr, len, size })
    }

    /// Bytes from `addr` on.
    pub fn read(&self, addr: u64, len: usize) -> Result<&[u8], FaultKind> {
        let range = self.range(addr, len)?;
        Ok(&self.bytes[range])
    }

    /// Writes bytes from `addr` on.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), FaultKind> {
        let range = self.range(addr, bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// A binary32.
    pub fn read_f32(&self, addr: u64) -> Result<f32, FaultKind> {
        let b = self.read(addr, 4)?;
        Ok(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}
