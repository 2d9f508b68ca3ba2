//! Output files that are either complete or not there.

use super::exit::{CliError, Exit};
use host::replace::{Refused, Replacement};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before [`NewFile::commit`], it leaves nothing behind.
pub struct NewFile {
    path: PathBuf,
    replacement: Replacement,
    out: BufWriter<File>,
}

impl NewFile {
    /// Begins a file that will replace `path`.
    pub fn create(path: &Path) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let failed = |error: io::Error| CliError::write(&name, &error);
        let replacement = Replacement::begin(path, ".tercet-").map_err(|refused| match refused {
            Refused::Target(problem) => CliError::usage(format!("{name}: {problem}; choose another file to write")),
            Refused::System(error) => failed(error),
        })?;
        let out = BufWriter::new(replacement.file().map_err(failed)?);
        Ok(NewFile { path: path.into(), replacement, out })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.out.write_all(bytes);
        written.map_err(|error| self.failed(&error))
    }

    /// Gives the file its name, once all of it is on the disk.
    pub fn commit(self) -> Result<(), CliError> {
        let name = self.path.display().to_string();
        let failed = |error: io::Error| file_error(&name, &error);
        self.out.into_inner().map_err(|error| failed(error.into_error()))?;
        self.replacement.commit().map_err(|(_, error)| failed(error))
    }

    fn failed(&self, error: &io::Error) -> CliError {
        file_error(&self.path.display().to_string(), error)
    }
}

/// Unlike standard output, a file has no reader that may go away.
fn file_error(name: &str, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::new(Exit::Io, format!("{name}: cannot write: {error}")),
        _ => CliError::write(name, error),
    }
}
