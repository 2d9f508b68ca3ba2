//! Ctrl-C: once to stop after the current token, twice to leave at once.

use super::exit::{CliError, Exit};
use std::sync::atomic::{AtomicBool, Ordering};

static CANCEL: AtomicBool = AtomicBool::new(false);

/// Installs the handler. Call once.
pub fn install() -> Result<(), CliError> {
    let handler = || {
        if CANCEL.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| CliError::new(Exit::System, format!("Ctrl-C: {error}")))
}

/// The flag that Ctrl-C sets.
pub fn flag() -> &'static AtomicBool {
    &CANCEL
}

/// Whether Ctrl-C was pressed since the last call; clears it.
pub fn take() -> bool {
    CANCEL.swap(false, Ordering::SeqCst)
}

/// An end by Ctrl-C, if it was pressed.
pub fn check() -> Result<(), CliError> {
    if CANCEL.load(Ordering::SeqCst) { Err(CliError::silent(Exit::Interrupted)) } else { Ok(()) }
}
