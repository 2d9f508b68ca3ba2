//! Signals that would leave half-written files behind.

use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a write past the limit on the size of files an error (EFBIG) instead of the end of the process.
pub fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN is a valid disposition; no code of ours runs in a handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

static TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn terminated(_: libc::c_int) {
    TERMINATED.store(true, Ordering::SeqCst);
}

/// From now on SIGTERM only sets what [`is_terminated`] tells. For commands that look at it often.
pub fn catch_terminate() {
    let handler: extern "C" fn(libc::c_int) = terminated;
    // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
}

/// Whether SIGTERM came since [`catch_terminate`].
pub fn is_terminated() -> bool {
    TERMINATED.load(Ordering::SeqCst)
}
