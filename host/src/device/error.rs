//! What can go wrong with a device, sorted by what the user can do about it.

use spec::transport::TransportError;
use std::io;
use thiserror::Error;

/// A kind of trouble; each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The device is not there, or not any more.
    Lost,
    /// It is there and failed.
    Io,
    /// Somebody else has it.
    Busy,
    /// Bitstream, program and model do not belong together.
    Mismatch,
    /// No right to use it.
    Permission,
    /// The host has not enough of something.
    System,
    /// A mistake in this program.
    Internal,
}

/// An error with its kind.
#[derive(Debug, Error)]
#[error("{text}")]
pub struct DeviceError {
    /// Its kind.
    pub trouble: Trouble,
    /// What, expected, found, what to do.
    pub text: String,
}

impl DeviceError {
    /// An error of this kind.
    pub fn new(trouble: Trouble, text: impl Into<String>) -> DeviceError {
        DeviceError { trouble, text: text.into() }
    }

    /// What the system said about an operation on a node.
    pub fn system(what: impl std::fmt::Display, error: &io::Error) -> DeviceError {
        let (trouble, advice) = errno(error);
        let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
        // 512 escapes from older XDMA drivers and has no text
        let said = match error.raw_os_error() {
            Some(ERESTARTSYS) => "timed out (error 512)".to_string(),
            _ => error.to_string(),
        };
        DeviceError::new(trouble, format!("{what}: {said}{advice}"))
    }
}

impl From<TransportError> for DeviceError {
    fn from(error: TransportError) -> DeviceError {
        match &error {
            TransportError::Lost { .. } => DeviceError::new(Trouble::Lost, error.to_string()),
            TransportError::System { what, error } => DeviceError::system(what, error),
            _ => DeviceError::new(Trouble::Internal, error.to_string()),
        }
    }
}

/// What Linux keeps for itself, but XDMA drivers before June 2026 return for a timeout.
pub const ERESTARTSYS: i32 = 512;

/// Whether the error says that a transfer took too long: then the hardware may still be at it.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ERESTARTSYS | libc::ETIMEDOUT))
}

/// Whether the same call may be made again.
pub fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// What an error number of a device node means, and what to do.
pub fn errno(error: &io::Error) -> (Trouble, &'static str) {
    match error.raw_os_error().unwrap_or(0) {
        ERESTARTSYS | libc::ETIMEDOUT => (
            Trouble::Io,
            "the transfer may still go on, so the device is not used any more: reload its driver, or reset it",
        ),
        libc::EIO => (Trouble::Io, "the bus answered with an error; run `host doctor`"),
        libc::EINTR | libc::EAGAIN => (Trouble::Io, "again and again; is somebody sending signals to this program?"),
        libc::EBUSY => (Trouble::Busy, "the device is being reset or is in use; try again"),
        libc::ENOENT | libc::ENODEV | libc::ENXIO => {
            (Trouble::Lost, "is the bitstream loaded and the kernel's driver there? `host doctor` tells")
        }
        libc::EACCES | libc::EPERM => {
            (Trouble::Permission, "join the group of the device (docs/board.md) or see `host doctor`")
        }
        libc::ENOMEM | libc::ENOSPC | libc::EMFILE | libc::ENFILE => (Trouble::System, "the system ran out of it"),
        libc::EFAULT | libc::EINVAL | libc::EPROTO => {
            (Trouble::Internal, "that is a mistake in this program; please report it")
        }
        _ => (Trouble::Io, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_number_has_its_kind() {
        for (number, trouble) in [
            (512, Trouble::Io),
            (libc::ETIMEDOUT, Trouble::Io),
            (libc::EIO, Trouble::Io),
            (libc::EINTR, Trouble::Io),
            (libc::EAGAIN, Trouble::Io),
            (libc::EFAULT, Trouble::Internal),
            (libc::ENODEV, Trouble::Lost),
            (libc::EBUSY, Trouble::Busy),
            (libc::EACCES, Trouble::Permission),
            (libc::ENOMEM, Trouble::System),
        ] {
            let error = DeviceError::system("reading", &io::Error::from_raw_os_error(number));
            assert_eq!(error.trouble, trouble, "{number}: {error}");
            assert!(!error.text.contains("Unknown"), "{error}");
        }
        let [old, new] = [512, libc::ETIMEDOUT].map(io::Error::from_raw_os_error);
        assert!(is_timeout(&old) && is_timeout(&new) && !is_transient(&new));
    }
}
