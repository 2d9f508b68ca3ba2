//! Files that are either complete or not there: written under a temporary name and renamed.

use super::exit::{CliError, Exit};
use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before [`NewFile::commit`], it leaves nothing behind.
pub struct NewFile {
    path: PathBuf,
    out: BufWriter<tempfile::NamedTempFile>,
}

impl NewFile {
    /// Begins a file that will replace `path`.
    pub fn create(path: &Path) -> Result<Self, CliError> {
        let name = path.display();
        if path.is_dir() {
            return Err(CliError::usage(format!("{name}: is a directory, expected the name of a file to write")));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let text = format!("{name}: its folder {} does not exist; create it first", folder.display());
            return Err(CliError::usage(text));
        }
        if path.exists() && !path.is_file() {
            return Err(CliError::usage(format!("{name}: is a pipe or a device, expected a regular file")));
        }
        let temporary = tempfile::Builder::new()
            .prefix(".tercet-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o666)) // less the process's umask
            .tempfile_in(folder)
            .map_err(|error| CliError::write(&name.to_string(), &error))?;
        Ok(NewFile { path: path.into(), out: BufWriter::new(temporary) })
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
        let temporary = self.out.into_inner().map_err(|error| failed(error.into_error()))?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
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
