//! What can go wrong with a packed image on disk.

use crate::mmap::FileError;
use spec::format::image::ImageError;
use spec::model::weights::WeightsError;
use std::{io, path::PathBuf};
use thiserror::Error;

/// An image whose bytes are not those of a model.
#[derive(Debug, Error)]
pub enum ContentError {
    /// Header, section table, checksums or codes.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A JSON section.
    #[error("section {section}: {problem}; pack the model again")]
    Text {
        /// Name of the section.
        section: &'static str,
        /// The broken rule.
        problem: String,
    },
    /// Configuration, scales or norms.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// An image that cannot be read or written.
#[derive(Debug, Error)]
pub enum ImageIoError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no valid image.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        problem: ContentError,
    },
    /// What was to be packed is no model that an image can hold.
    #[error("cannot pack this model: {0}")]
    Model(ContentError),
    /// The target is not a place for an image.
    #[error("{}: {problem}; choose another output path", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// Writing failed; nothing has been left behind.
    #[error("{}: cannot {action} ({bytes} bytes in all): {source}; nothing was written under this name", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Length of the whole image.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The caller asked to stop; nothing has been left behind.
    #[error("{}: stopped before the end; nothing was written under this name", path.display())]
    Cancelled {
        /// The target.
        path: PathBuf,
    },
}

impl ImageIoError {
    /// The exit code of the command line: 2 usage, 65 bad data, 66 no readable input, 71 memory,
    /// 74 failed write, 77 permission, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            ImageIoError::File(error) => error.exit_code(),
            ImageIoError::Content { .. } | ImageIoError::Model(_) => 65,
            ImageIoError::Target { .. } => 2,
            ImageIoError::Write { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => 77,
                io::ErrorKind::OutOfMemory => 71,
                _ => 74,
            },
            ImageIoError::Cancelled { .. } => 130,
        }
    }
}
