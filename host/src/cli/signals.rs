//! Ctrl-C: once to stop after the current token, twice to leave at once.

use super::exit::{CliError, Exit};
use super::output::note;
use std::io::{Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static CANCEL: AtomicBool = AtomicBool::new(false);
static PROMPT: Mutex<Option<&'static str>> = Mutex::new(None);

/// Installs the handler. Call once.
pub fn install() -> Result<(), CliError> {
    host::posix::ignore_file_size_signal();
    let handler = || {
        if CANCEL.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
        if let Some(prompt) = PROMPT.lock().ok().and_then(|prompt| *prompt) {
            note("\nCtrl-C again to leave");
            let _ = stderr().lock().write_all(prompt.as_bytes());
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

/// Makes SIGTERM stop a command as Ctrl-C does, for one that calls [`check`] often and has a temporary
/// file to take away.
pub fn clean_up_on_terminate() {
    host::posix::catch_terminate();
}

/// An end by Ctrl-C, if it was pressed.
pub fn check() -> Result<(), CliError> {
    if CANCEL.load(Ordering::SeqCst) || host::posix::is_terminated() {
        Err(CliError::silent(Exit::Interrupted))
    } else {
        Ok(())
    }
}

/// Tells whether the user is being asked for a line, and how.
pub fn at_prompt(prompt: Option<&'static str>) {
    if let Ok(mut current) = PROMPT.lock() {
        *current = prompt;
    }
}
