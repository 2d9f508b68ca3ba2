//! Files that are either complete or not there: written under a temporary name beside the target and
//! renamed once all of it is on the disk.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is being written. Dropped before [`Replacement::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    target: PathBuf,
    folder: PathBuf,
    temporary: NamedTempFile,
}

/// Why a file cannot be replaced.
#[derive(Debug)]
pub enum Refused {
    /// The path is not a place for a file.
    Target(&'static str),
    /// The system refused.
    System(io::Error),
}

impl Replacement {
    /// Begins a file that will replace `path`; a link is followed and stays a link.
    pub fn begin(path: &Path, prefix: &str) -> Result<Self, Refused> {
        let (target, folder) = target(path).map_err(Refused::Target)?;
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(prefix).suffix(".tmp");
        // less the process's umask
        let temporary = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(&folder);
        Ok(Replacement { target, folder, temporary: temporary.map_err(Refused::System)? })
    }

    /// A handle to write through.
    pub fn file(&self) -> io::Result<File> {
        self.temporary.as_file().try_clone()
    }

    /// Gives the file its name, once all of it is on the disk. An error says what could not be done.
    pub fn commit(self) -> Result<(), (&'static str, io::Error)> {
        self.temporary.as_file().sync_all().map_err(|error| ("bring it to the disk", error))?;
        self.temporary.persist(&self.target).map_err(|error| ("rename the finished file", error.error))?;
        // The rename has happened; a folder that cannot be synced (some network file systems) only
        // means that it may be undone by a power cut.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// The file to replace, links followed, and its folder.
fn target(path: &Path) -> Result<(PathBuf, PathBuf), &'static str> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => return Err("is a directory"),
        Ok(metadata) if !metadata.is_file() => return Err("is a pipe or a device"),
        _ => {}
    }
    if target.file_name().is_none() {
        return Err("names no file");
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_path_buf();
    if folder.is_dir() { Ok((target, folder)) } else { Err("its folder does not exist") }
}
