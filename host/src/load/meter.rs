//! Progress of a load.

use std::sync::atomic::{AtomicU64, Ordering};

/// Told about progress, from any thread.
pub trait Progress: Sync {
    /// Another tensor is done: bytes of the source so far, and of all tensors together.
    fn tensor(&self, done_bytes: u64, total_bytes: u64);
}

/// Progress that nobody watches.
pub struct NoProgress;

impl Progress for NoProgress {
    fn tensor(&self, _done_bytes: u64, _total_bytes: u64) {}
}

/// Adds up bytes for a [`Progress`].
pub(crate) struct Meter<'a> {
    progress: &'a dyn Progress,
    done: AtomicU64,
    total: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, total: u64) -> Self {
        progress.tensor(0, total);
        Meter { progress, done: AtomicU64::new(0), total }
    }

    /// Counts a tensor of `bytes` bytes.
    pub(crate) fn add(&self, bytes: usize) {
        let done = self.done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        self.progress.tensor(done, self.total);
    }

    /// Everything is done, small tensors that were not counted as well.
    pub(crate) fn finish(&self) {
        self.progress.tensor(self.total, self.total);
    }
}
