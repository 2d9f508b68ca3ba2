//! One large block of memory for packed weights, on huge pages where the system has them.

use std::{io, ops::Deref, ops::DerefMut, ptr::NonNull};

const HUGE: usize = 2 << 20;

/// Zeroed bytes, aligned to 64. Large ones come straight from the system and are only backed by
/// memory once they are written.
pub struct Store {
    base: NonNull<u8>,
    mapped: usize,
    start: usize,
    len: usize,
}

// SAFETY: the memory is owned by the value and reached only through references to it.
unsafe impl Send for Store {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Store {}

impl Store {
    /// `len` zero bytes and at least 4 KiB more that may be prefetched but belong to nobody.
    pub fn new(len: usize) -> io::Result<Self> {
        let mapped = (len + 4096 + HUGE).next_multiple_of(4096);
        let base = map(mapped)?;
        let start = if len >= HUGE { base.as_ptr().align_offset(HUGE) } else { base.as_ptr().align_offset(64) };
        let store = Store { base, mapped, start, len };
        advise_huge(&store);
        Ok(store)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        unmap(self.base, self.mapped);
    }
}

impl Deref for Store {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start + len <= mapped`, and the mapping is zeroed and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.start), self.len) }
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the slice unique.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(self.start), self.len) }
    }
}

#[cfg(unix)]
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    // SAFETY: a new private mapping at an address of the system's choice touches nothing of ours.
    let address =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

#[cfg(unix)]
fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: `base` and `bytes` are what `map` returned, and the only owner is being dropped.
    let _ = unsafe { rustix::mm::munmap(base.as_ptr().cast(), bytes) };
}

#[cfg(target_os = "linux")]
fn advise_huge(store: &Store) {
    if store.len >= HUGE {
        // SAFETY: the range lies inside the mapping; the advice does not change its contents.
        let _ = unsafe {
            rustix::mm::madvise(
                store.base.as_ptr().add(store.start).cast(),
                store.len,
                rustix::mm::Advice::LinuxHugepage,
            )
        }; // only advice: without huge pages everything still works
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_: &Store) {}

#[cfg(not(unix))]
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let layout = std::alloc::Layout::from_size_align(bytes, 64).map_err(io::Error::other)?;
    // SAFETY: the size is not zero.
    let base = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(base).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

#[cfg(not(unix))]
fn unmap(base: NonNull<u8>, bytes: usize) {
    if let Ok(layout) = std::alloc::Layout::from_size_align(bytes, 64) {
        // SAFETY: `base` and `bytes` are what `map` returned, and the only owner is being dropped.
        unsafe { std::alloc::dealloc(base.as_ptr(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zeroed_aligned_and_writable_to_its_last_byte() {
        for len in [0, 1, 4096, HUGE - 1, HUGE, 3 * HUGE + 5] {
            let mut store = Store::new(len).unwrap();
            assert_eq!(store.len(), len);
            assert!(store.iter().all(|&b| b == 0));
            assert_eq!(store.as_ptr() as usize % 64, 0);
            store.fill(7);
        }
    }
}
