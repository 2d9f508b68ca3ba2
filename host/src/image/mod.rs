//! The packed model image on disk: written to a temporary name and renamed, mapped and checked as a
//! whole when it is opened. The bytes are described in [`spec::format::image`].
//!
//! * [`pack`] and [`write_image`] pack weights, tokenizer and chat templates; the same input gives the
//!   same bytes.
//! * [`open_image`] maps a file and returns the weights without copying the codes.
//! * [`inspect`] says what a file holds; opening or inspecting a file verifies all of it.

mod config_json;
mod error;
mod extras;
mod inspect;
mod print;
mod read;
mod seal;
mod write;

#[cfg(test)]
mod tests;

pub use error::{ContentError, ImageIoError};
pub use extras::{ImageExtras, Origin, OriginFile};
pub use inspect::{Inspection, inspect};
pub use read::{LoadedImage, decode_image, is_image, open_image};
#[doc(hidden)]
pub use seal::{decode_hostile, reseal};
pub use write::{Progress, pack, write_image};

use spec::format::image::Digest;

/// What identifies an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// SHA-256 of header and section table: stands for the whole content.
    pub hash: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// Number of sections.
    pub sections: usize,
}

impl ImageSummary {
    fn new(header: &spec::format::image::ImageHeader) -> Self {
        ImageSummary { hash: header.hash(), bytes: header.file_length, sections: header.sections.len() }
    }
}
