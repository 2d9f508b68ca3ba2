//! Memory that processor and device share behind a cache, with its owner in its type.
//!
//! Bytes can only be read or written in a [`Span`] that belongs to the processor, and a span only goes from one owner
//! to the other through the sync that makes the one's writes visible to the other. So a forgotten sync is a type error:
//!
//! ```compile_fail
//! # use host::device::dmabuf::{Device, DmaMemory, Span};
//! fn read(memory: &mut DmaMemory, bytes: &mut [u8]) {
//!     let span: Span<'_, Device> = memory.span(0, 64).unwrap();
//!     span.copy_to(bytes); // the device's: there is no such method before `for_cpu`
//! }
//! ```

use super::node::CacheSync;
use memmap2::{MmapOptions, MmapRaw};
use spec::transport::{TransportError, check_range};
use std::fs::File;
use std::io;
use std::marker::PhantomData;

/// The device owns a span.
pub struct Device;
/// The processor owns it and may read it.
pub struct Cpu;
/// The processor owns it and has written it.
pub struct Written;

/// Mapped memory of u-dma-buf.
pub struct DmaMemory {
    map: MmapRaw,
    sync: Box<dyn CacheSync>,
    /// Keeps the node locked.
    _node: File,
}

/// Some bytes of it, with their owner.
#[must_use = "a span that is dropped before `for_device` leaves the device old bytes"]
pub struct Span<'a, Owner> {
    memory: &'a mut DmaMemory,
    at: usize,
    len: usize,
    owner: PhantomData<Owner>,
}

impl DmaMemory {
    /// Maps the first `bytes` bytes of a node.
    pub fn new(node: File, bytes: u64, sync: Box<dyn CacheSync>) -> io::Result<DmaMemory> {
        let len = usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(DmaMemory { map: MmapOptions::new().len(len).map_raw(&node)?, sync, _node: node })
    }

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Bytes that belong to the device.
    pub fn span(&mut self, at: u64, len: usize) -> Result<Span<'_, Device>, TransportError> {
        check_range(at, len, self.bytes())?;
        Ok(Span { memory: self, at: at as usize, len, owner: PhantomData })
    }
}

impl<'a, Owner> Span<'a, Owner> {
    fn give<New>(self) -> Span<'a, New> {
        Span { memory: self.memory, at: self.at, len: self.len, owner: PhantomData }
    }

    fn start(&self) -> *mut u8 {
        self.memory.map.as_mut_ptr().wrapping_add(self.at)
    }
}

impl<'a> Span<'a, Device> {
    /// The processor takes the bytes, as the device left them.
    pub fn for_cpu(self) -> io::Result<Span<'a, Cpu>> {
        self.memory.sync.for_cpu(self.at as u64, self.len as u64)?;
        Ok(self.give())
    }
}

impl<'a> Span<'a, Cpu> {
    /// Copies the bytes out.
    pub fn copy_to(&self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len, "as many bytes as the span has");
        // SAFETY: `span` checked that the range lies in the mapping, which lives as long as `memory`; the destination
        // is as long. The device does not write what belongs to the processor, and bytes have no invalid patterns.
        unsafe { self.start().copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len) }
    }

    /// Replaces the bytes.
    pub fn fill(self, bytes: &[u8]) -> Span<'a, Written> {
        assert_eq!(bytes.len(), self.len, "as many bytes as the span has");
        // SAFETY: as in `copy_to`; `&mut` of the memory keeps others in this program out.
        unsafe { self.start().copy_from_nonoverlapping(bytes.as_ptr(), self.len) }
        self.give()
    }
}

impl<'a> Span<'a, Written> {
    /// The device gets the bytes, as the processor wrote them.
    pub fn for_device(self) -> io::Result<Span<'a, Device>> {
        self.memory.sync.for_device(self.at as u64, self.len as u64)?;
        Ok(self.give())
    }
}
