//! What can be wrong with a packed image.

use super::header::{MAGIC, MAX_HEADER_BYTES, VERSION};
use crate::format::FormatError;
use std::fmt::{self, Display};
use thiserror::Error;

/// A SHA-256, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A packed image that breaks a rule of the format. Every message says where, what was expected,
/// what was found and what to do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ImageError {
    /// The first bytes are not an image's.
    #[error(
        "not a packed image: starts with {}, expected {}; pack the model first (tercet pack)",
        found.escape_ascii(), MAGIC.escape_ascii()
    )]
    Magic {
        /// The bytes that are there instead.
        found: Vec<u8>,
    },
    /// Made for another version of the format.
    #[error("image format version {found}, expected {VERSION}; pack the model again with this program")]
    Version {
        /// The file's version.
        found: u16,
    },
    /// The file ends inside the header.
    #[error("{part}: {expected} bytes, but the file has only {found}; copy or pack it again")]
    Truncated {
        /// What does not fit the file.
        part: &'static str,
        /// Bytes it needs, counted from the start of the file.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The file is longer or shorter than its header says.
    #[error("the header promises {expected} bytes, the file has {found}; copy or pack it again")]
    FileLength {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A number in the header that nothing of this version writes.
    #[error("header field {field}: {found}, expected {expected}; pack the model again")]
    Header {
        /// The field.
        field: &'static str,
        /// The rule.
        expected: String,
        /// The field's value.
        found: u64,
    },
    /// More sections than a header may list.
    #[error("{found} sections do not fit a header of {MAX_HEADER_BYTES} bytes; the model has too many layers")]
    TooManySections {
        /// Sections that were to be listed.
        found: usize,
    },
    /// The section table is damaged.
    #[error("the section table's SHA-256 is {found}, the header says {expected}; copy or pack the file again")]
    TableHash {
        /// The hash in the header.
        expected: Digest,
        /// The hash of what is there.
        found: Digest,
    },
    /// A section's name is empty, too long or has other characters than names may have.
    #[error("section {index}: name {found:?}, expected 1 to 64 of a-z, 0-9, '_' and '.'; pack the model again")]
    Name {
        /// Place in the table.
        index: usize,
        /// The name.
        found: String,
    },
    /// Two sections have the same name.
    #[error("section {section}: listed twice, expected once; pack the model again")]
    Duplicate {
        /// Name of the section.
        section: String,
    },
    /// A field of a table entry breaks its rule.
    #[error("section {section}: {field} is {found}, expected {expected}; pack the model again")]
    Entry {
        /// Name of the section.
        section: String,
        /// The field.
        field: &'static str,
        /// The rule.
        expected: String,
        /// The field's value.
        found: String,
    },
    /// Bytes between sections are not zero.
    #[error("byte {at}, padding before section {section}, is {found}, expected 0; copy or pack the file again")]
    Padding {
        /// The section that follows.
        section: String,
        /// Place in the file.
        at: u64,
        /// The byte.
        found: u8,
    },
    /// A section's bytes are damaged.
    #[error("section {section}: CRC32C {found:08x}, expected {expected:08x}; copy or pack the file again")]
    Crc {
        /// Name of the section.
        section: String,
        /// The table's checksum.
        expected: u32,
        /// The checksum of what is there.
        found: u32,
    },
    /// A section is missing, unknown, out of order or of another kind or shape than the model asks for.
    #[error("expected section {expected}, found {found}; pack the model again")]
    Section {
        /// The section that the model asks for.
        expected: String,
        /// What the table has.
        found: String,
    },
    /// A section's content breaks the rules of its encoding.
    #[error("section {section}: {problem}; pack the model again")]
    Content {
        /// Name of the section.
        section: String,
        /// The broken rule.
        problem: FormatError,
    },
}
