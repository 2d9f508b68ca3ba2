//! The bytes of a memory: this process's own, or a file that others see.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Bytes of a memory.
pub enum Bytes {
    /// Nobody else sees them.
    Own(Vec<u8>),
    /// A mapped file: a host reads and writes it as a DMA engine would.
    Shared(MmapMut),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Shared(map) => map,
        }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Shared(map) => map,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::Own(bytes)
    }
}

impl From<MmapMut> for Bytes {
    fn from(map: MmapMut) -> Bytes {
        Bytes::Shared(map)
    }
}
