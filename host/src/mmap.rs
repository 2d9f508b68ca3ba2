//! Read-only mapping of files: the only place that maps memory.
//!
//! A mapped file must not shrink while it is in use: reading past its new end kills the process.
//! [`MappedFile::check_unchanged`] notices a change of size after the fact; replace model files by
//! renaming a new one over them, never by writing into them.

use spec::Bytes;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use thiserror::Error;

/// A file that cannot be read as a whole.
#[derive(Debug, Error)]
pub enum FileError {
    /// Opening or reading failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a directory, a pipe or a device.
    #[error("{}: is a {found}, expected a regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it names.
        found: &'static str,
    },
    /// The file has no bytes.
    #[error("{}: the file is empty; copy or download it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than its kind may be.
    #[error("{}: {found} bytes, expected at most {limit}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The longest allowed.
        limit: u64,
    },
    /// The file's size changed while it was open.
    #[error("{}: had {before} bytes when it was opened and has {after} now; load it again once nobody writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Length when it was opened.
        before: u64,
        /// Length now.
        after: u64,
    },
}

impl FileError {
    /// The exit code of the command line: 66 no readable input, 71 memory, 77 permission.
    pub fn exit_code(&self) -> u8 {
        match self {
            FileError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => 77,
                io::ErrorKind::OutOfMemory => 71,
                _ => 66,
            },
            FileError::TooLong { .. } => 65,
            FileError::NotRegular { .. } | FileError::Empty { .. } | FileError::Changed { .. } => 66,
        }
    }
}

/// Opens a regular file that is not empty: the handle and its length. Does not wait for a pipe.
fn open_regular(path: &Path) -> Result<(File, u64), FileError> {
    let io = |action| move |source| FileError::Io { path: path.into(), action, source };
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(io("open"))?;
    let metadata = file.metadata().map_err(io("examine"))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let found = match () {
            () if kind.is_dir() => "directory",
            () if kind.is_fifo() => "pipe",
            () if kind.is_socket() => "socket",
            () => "device",
        };
        return Err(FileError::NotRegular { path: path.into(), found });
    }
    match metadata.len() {
        0 => Err(FileError::Empty { path: path.into() }),
        length => Ok((file, length)),
    }
}

/// Reads a regular file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, length) = open_regular(path)?;
    if length > limit {
        return Err(FileError::TooLong { path: path.into(), found: length, limit });
    }
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| FileError::Io { path: path.into(), action: "read", source })?;
    match bytes.len() as u64 {
        found if found > limit => Err(FileError::TooLong { path: path.into(), found, limit }),
        after if after != length => Err(FileError::Changed { path: path.into(), before: length, after }),
        _ => Ok(bytes),
    }
}

/// Every mapping that may still be in use.
static MAPPINGS: Mutex<Vec<Weak<Mapping>>> = Mutex::new(Vec::new());

/// Lets the system take back the memory of all mapped files. What is read again comes back from the
/// system's file cache, so this costs little after a file has been converted and keeps the resident
/// size of the process down to what it really uses.
pub fn drop_pages() {
    let mut mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    mappings.retain(|mapping| {
        let Some(mapping) = mapping.upgrade() else { return false };
        // SAFETY: the mapping is of a file and never written, so a dropped page reads the same again.
        // A refusal only means that the memory stays.
        let _ = unsafe { mapping.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        true
    });
}

struct Mapping {
    map: memmap2::Mmap,
    file: File,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// A mapped file, with its handle held open.
pub struct MappedFile {
    path: PathBuf,
    length: u64,
    mapping: Arc<Mapping>,
}

struct Shared(Arc<Mapping>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl MappedFile {
    /// Maps a regular file that is not empty.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (file, length) = open_regular(path)?;
        // SAFETY: the mapping is read-only and private, and lives as long as any view of it. That
        // nobody shortens or rewrites the file meanwhile is required of the caller's system
        // (see the module's text); the length is checked again after loading.
        let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) };
        let map = map.map_err(|source| FileError::Io { path: path.into(), action: "map", source })?;
        if map.len() as u64 != length {
            return Err(FileError::Changed { path: path.into(), before: length, after: map.len() as u64 });
        }
        let mapping = Arc::new(Mapping { map, file });
        MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&mapping));
        Ok(MappedFile { path: path.into(), length, mapping })
    }

    /// All bytes. The view keeps the mapping and the handle alive.
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(Shared(Arc::clone(&self.mapping)))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the file's length is no longer what it was.
    pub fn check_unchanged(&self) -> Result<(), FileError> {
        let metadata = self.mapping.file.metadata();
        let io = |source| FileError::Io { path: self.path.clone(), action: "examine", source };
        match metadata.map_err(io)?.len() {
            after if after != self.length => {
                Err(FileError::Changed { path: self.path.clone(), before: self.length, after })
            }
            _ => Ok(()),
        }
    }
}

/// Maps a whole file. Refuses directories, pipes, devices and empty files.
pub fn map_file(path: &Path) -> Result<Bytes, FileError> {
    Ok(MappedFile::open(path)?.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn maps_a_file_and_keeps_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"ternary").unwrap();
        let bytes = map_file(file.path()).unwrap();
        drop(file);
        assert_eq!(&*bytes, b"ternary");
    }

    #[test]
    fn dropped_pages_read_the_same_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
        file.write_all(&bytes).unwrap();
        let mapped = map_file(file.path()).unwrap();
        assert_eq!(&*mapped, bytes);
        drop_pages();
        assert_eq!(&*mapped, bytes);
    }

    #[test]
    fn refuses_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let missing = map_file(&dir.path().join("nothing")).unwrap_err();
        assert!(matches!(missing, FileError::Io { action: "open", .. }));
        assert_eq!(missing.exit_code(), 66);
        let denied = |kind: io::ErrorKind| FileError::Io { path: "x".into(), action: "open", source: kind.into() };
        assert_eq!(denied(io::ErrorKind::PermissionDenied).exit_code(), 77);
        assert_eq!(denied(io::ErrorKind::OutOfMemory).exit_code(), 71);
        assert!(matches!(map_file(dir.path()), Err(FileError::NotRegular { found: "directory", .. })));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(map_file(&pipe), Err(FileError::NotRegular { found: "pipe", .. })));
        assert!(matches!(read_file(&pipe, 10), Err(FileError::NotRegular { found: "pipe", .. })));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(matches!(map_file(&empty), Err(FileError::Empty { .. })));
    }

    #[test]
    fn a_changed_length_is_noticed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[1; 100]).unwrap();
        let mapped = MappedFile::open(file.path()).unwrap();
        mapped.check_unchanged().unwrap();
        file.write_all(&[2; 10]).unwrap();
        let changed = mapped.check_unchanged().unwrap_err();
        assert!(matches!(changed, FileError::Changed { before: 100, after: 110, .. }));
        assert!(matches!(read_file(file.path(), 50), Err(FileError::TooLong { found: 110, limit: 50, .. })));
    }
}
