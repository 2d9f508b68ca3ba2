//! Exit codes and the errors that carry them: the one place where they are decided.

use host::device::error::{DeviceError, Trouble};
use host::engine::EngineError;
use host::generate::GenerateError;
use host::generate::sampler::SettingError;
use host::image::ImageIoError;
use host::load::LoadError;
use host::mmap::FileError;
use std::{fmt, io, net::SocketAddr, path::Path, time::Duration};

/// Exit codes, after BSD's sysexits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failure = 1,
    Usage = 2,
    Data = 65,
    Input = 66,
    Unavailable = 69,
    Internal = 70,
    System = 71,
    Io = 74,
    Busy = 75,
    Mismatch = 76,
    Permission = 77,
    Interrupted = 130,
}

/// Every exit code with its meaning, as `--help` prints it.
pub const TABLE: [(Exit, &str); 13] = [
    (Exit::Ok, "done"),
    (Exit::Failure, "failed for a reason without a code of its own"),
    (Exit::Usage, "wrong use of the command line"),
    (Exit::Data, "bad model or input data"),
    (Exit::Input, "an input is missing or is no readable file"),
    (Exit::Unavailable, "backend or device not available"),
    (Exit::Internal, "internal error or failed self-test"),
    (Exit::System, "out of memory or another system resource"),
    (Exit::Io, "writing failed, a device failed, or the time was up"),
    (Exit::Busy, "device busy; try again"),
    (Exit::Mismatch, "bitstream, program and model do not match"),
    (Exit::Permission, "permission denied"),
    (Exit::Interrupted, "stopped by Ctrl-C"),
];

impl Exit {
    /// The code that a number of [`TABLE`] stands for.
    pub fn from_code(code: u8) -> Exit {
        TABLE.iter().map(|(exit, _)| *exit).find(|exit| *exit as u8 == code).unwrap_or(Exit::Failure)
    }
}

/// A failed command: one line for people and a code for scripts.
#[derive(Debug)]
pub struct CliError {
    /// The code.
    pub exit: Exit,
    /// The line; `None` if everything has been said.
    pub message: Option<String>,
}

impl CliError {
    /// An error with a message: what, expected, found, what to do.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        // one error, one line: whatever names and system messages bring along
        let message = message.to_string().replace(['\n', '\r'], " ");
        CliError { exit, message: Some(message) }
    }

    /// An end that needs no message: Ctrl-C, or a reader that went away.
    pub fn silent(exit: Exit) -> Self {
        CliError { exit, message: None }
    }

    /// `--timeout` ended a text.
    pub fn timeout(limit: Duration) -> Self {
        let text =
            format!("--timeout: the text was not finished after {} s; what there was is printed", limit.as_secs_f64());
        CliError::new(Exit::Io, text)
    }

    /// Wrong use of the command line.
    pub fn usage(message: impl fmt::Display) -> Self {
        CliError::new(Exit::Usage, message)
    }

    /// Output to `target` failed. A reader that went away ends the program quietly.
    pub fn write(target: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::silent(Exit::Ok),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                CliError::new(Exit::Permission, format!("{target}: cannot write: {error}"))
            }
            _ => CliError::new(Exit::Io, format!("{target}: cannot write: {error}")),
        }
    }

    /// Listening at an address failed.
    pub fn listen(address: SocketAddr, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::AddrInUse => Exit::Busy,
            io::ErrorKind::AddrNotAvailable => Exit::Usage,
            _ => Exit::System,
        };
        CliError::new(exit, format!("{address}: cannot listen: {error}; choose others with --host and --port"))
    }

    /// Reading `path` failed.
    pub fn read(path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::OutOfMemory => Exit::System,
            _ => Exit::Input,
        };
        CliError::new(exit, format!("{}: cannot read: {error}", path.display()))
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        CliError::new(Exit::from_code(error.exit_code()), error)
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        CliError::new(Exit::from_code(error.exit_code()), error)
    }
}

impl From<ImageIoError> for CliError {
    fn from(error: ImageIoError) -> Self {
        match error {
            ImageIoError::Cancelled { .. } => CliError::silent(Exit::Interrupted),
            error => CliError::new(Exit::from_code(error.exit_code()), error),
        }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        let exit = match &error {
            EngineError::Request(_) | EngineError::Weights(_) => Exit::Data,
            EngineError::Memory { .. } | EngineError::Device(_) => Exit::System,
            EngineError::Sequence(_) => Exit::Internal,
            EngineError::Board(error) => error.trouble.into(),
        };
        CliError::new(exit, error)
    }
}

impl From<Trouble> for Exit {
    fn from(trouble: Trouble) -> Exit {
        match trouble {
            Trouble::Lost => Exit::Unavailable,
            Trouble::Io => Exit::Io,
            Trouble::Busy => Exit::Busy,
            Trouble::Mismatch => Exit::Mismatch,
            Trouble::Permission => Exit::Permission,
            Trouble::System => Exit::System,
            Trouble::Internal => Exit::Internal,
        }
    }
}

impl From<DeviceError> for CliError {
    fn from(error: DeviceError) -> Self {
        CliError::new(error.trouble.into(), error)
    }
}

impl From<GenerateError> for CliError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Engine(error) => error.into(),
            GenerateError::NoCandidate(error) => CliError::new(Exit::Data, error),
            GenerateError::EmptyPrompt => CliError::new(Exit::Data, error),
        }
    }
}

impl From<SettingError> for CliError {
    fn from(error: SettingError) -> Self {
        CliError::usage(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(codes, [0, 1, 2, 65, 66, 69, 70, 71, 74, 75, 76, 77, 130]);
        assert_eq!(Exit::from_code(77), Exit::Permission);
        assert_eq!(Exit::from_code(3), Exit::Failure);
    }

    #[test]
    fn an_error_is_one_line() {
        let error = CliError::new(Exit::Data, "a\nfile: bad");
        assert_eq!(error.message.as_deref(), Some("a file: bad"));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = CliError::write("standard output", &io::ErrorKind::BrokenPipe.into());
        assert_eq!((error.exit, error.message), (Exit::Ok, None));
        assert_eq!(CliError::write("x", &io::ErrorKind::StorageFull.into()).exit, Exit::Io);
        assert_eq!(CliError::write("x", &io::ErrorKind::PermissionDenied.into()).exit, Exit::Permission);
    }
}
