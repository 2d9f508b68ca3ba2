//! Signals around a transfer: XDMA takes any that arrives in its wait for a timeout and aborts the transfer.

/// Blocks all signals of this thread until dropped. Those for the whole process go to other threads meanwhile.
pub struct Blocked(libc::sigset_t);

impl Blocked {
    /// Blocks them.
    pub fn new() -> Blocked {
        // SAFETY: both sets are plain data that the calls fill before they are read; the mask is this thread's own.
        unsafe {
            let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            Blocked(old)
        }
    }
}

impl Default for Blocked {
    fn default() -> Self {
        Blocked::new()
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that `new` was given by the system.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut());
        }
    }
}
