//! Sections: named runs of bytes with a kind, a shape and a checksum; one table entry each.
//!
//! ```text
//! entry, 128 bytes
//!   0  name, ASCII, padded with zeros    [64]
//!  64  offset in the file                u64
//!  72  length in bytes                   u64
//!  80  CRC32C of these bytes             u32
//!  84  element                           u8     (Element)
//!  85  number of dimensions, 0 to 4      u8
//!  86  zero                              [2]
//!  88  dimensions, the unused ones zero  4 x u32
//! 104  columns in a group, or zero       u32    (group multipliers only)
//! 108  zero                              [20]
//! ```

use super::error::ImageError;
use crate::format::matrix::Encoding;

/// Bytes of a table entry.
pub const ENTRY_BYTES: usize = 128;
/// Longest name.
pub const MAX_NAME: usize = 64;
/// Largest dimension.
pub const MAX_SECTION_DIM: usize = 1 << 24;
/// Longest JSON section.
pub const MAX_JSON_BYTES: u64 = 1 << 26;

/// What the bytes of a section are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// JSON in UTF-8, without dimensions.
    Json = 1,
    /// IEEE binary32.
    F32 = 2,
    /// Unsigned bytes.
    U8 = 3,
    /// Integers in [-121, 121], two's complement ([`crate::format::planes`]).
    Code121 = 4,
    /// [`crate::format::trit5`].
    Trit5 = 5,
    /// [`crate::format::sherry`].
    Sherry = 6,
}

impl Element {
    /// All kinds.
    pub const ALL: [Element; 6] =
        [Element::Json, Element::F32, Element::U8, Element::Code121, Element::Trit5, Element::Sherry];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Element::Json => "json",
            Element::F32 => "f32",
            Element::U8 => "u8",
            Element::Code121 => "code121",
            Element::Trit5 => "trit5",
            Element::Sherry => "sherry",
        }
    }

    /// What a section of this kind starts at a multiple of: pages for weights, cache lines otherwise.
    pub const fn alignment(self) -> u64 {
        match self {
            Element::Code121 | Element::Trit5 | Element::Sherry => 4096,
            _ => 64,
        }
    }

    /// The encoding of a ternary matrix.
    pub const fn encoding(self) -> Option<Encoding> {
        match self {
            Element::Trit5 => Some(Encoding::Trit5),
            Element::Sherry => Some(Encoding::Sherry),
            _ => None,
        }
    }

    /// Bytes of an array of this shape, or `None` if it cannot have this shape.
    pub fn bytes(self, dims: &[usize]) -> Option<u64> {
        if self == Element::Json || dims.is_empty() || dims.len() > 4 {
            return None;
        }
        if dims.iter().any(|dim| !(1..=MAX_SECTION_DIM).contains(dim)) {
            return None;
        }
        let product = |dims: &[usize], width: usize| {
            dims.iter().try_fold(width as u64, |bytes, &dim| bytes.checked_mul(dim as u64))
        };
        match (self.encoding(), dims) {
            (Some(Encoding::Sherry), [_, cols]) if !cols.is_multiple_of(4) => None,
            (Some(encoding), [rows, cols]) => product(&[*rows], encoding.row_bytes(*cols)),
            (Some(_), _) => None,
            (None, _) => product(dims, if self == Element::F32 { 4 } else { 1 }),
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Element::ALL.into_iter().find(|element| *element as u8 == code)
    }
}

impl From<Encoding> for Element {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Trit5 => Element::Trit5,
            Encoding::Sherry => Element::Sherry,
        }
    }
}

/// A named run of bytes of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Unique name, for example `layers.0.q.plane0.trits`.
    pub name: String,
    /// What the bytes are.
    pub element: Element,
    /// Shape; empty for JSON.
    pub dims: Vec<usize>,
    /// Columns that share a multiplier; 0 for everything else.
    pub group: usize,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// CRC32C of the bytes.
    pub crc32c: u32,
}

impl Section {
    /// JSON of `length` bytes, not yet placed.
    pub fn json(name: &str, length: usize) -> Self {
        let (name, length) = (name.into(), length as u64);
        Section { name, element: Element::Json, dims: vec![], group: 0, offset: 0, length, crc32c: 0 }
    }

    /// An array, not yet placed. A shape that it cannot have gives length 0, which no image may hold.
    pub fn array(name: String, element: Element, dims: &[usize], group: usize) -> Self {
        let length = element.bytes(dims).unwrap_or(0);
        Section { name, element, dims: dims.into(), group, offset: 0, length, crc32c: 0 }
    }

    /// One past its last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Kind and shape for messages: `trit5 [4096, 1536]`.
    pub fn describe(&self) -> String {
        match (self.dims.as_slice(), self.group) {
            ([], _) => self.element.name().into(),
            (dims, 0) => format!("{} {dims:?}", self.element.name()),
            (dims, group) => format!("{} {dims:?} for groups of {group}", self.element.name()),
        }
    }

    /// Checks everything that does not depend on other sections.
    pub(super) fn check(&self, index: usize) -> Result<(), ImageError> {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'.';
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.bytes().all(legal) {
            return Err(ImageError::Name { index, found: self.name.clone() });
        }
        let entry = |field, expected: String, found: String| {
            Err(ImageError::Entry { section: self.name.clone(), field, expected, found })
        };
        if self.element == Element::Json {
            if !self.dims.is_empty() {
                return entry("shape", "none".into(), format!("{:?}", self.dims));
            }
            if !(1..=MAX_JSON_BYTES).contains(&self.length) {
                return entry("length", format!("1 to {MAX_JSON_BYTES}"), self.length.to_string());
            }
        } else {
            let Some(expected) = self.element.bytes(&self.dims) else {
                let rule = format!("a shape that {} can have", self.element.name());
                return entry("shape", rule, format!("{:?}", self.dims));
            };
            if self.length != expected {
                let expected = format!("{expected} for {}", self.describe());
                return entry("length", expected, self.length.to_string());
            }
        }
        if self.group != 0 && self.element != Element::U8 || self.group > MAX_SECTION_DIM {
            return entry("group", "0, except for u8".into(), self.group.to_string());
        }
        Ok(())
    }

    /// Its table entry.
    pub(super) fn emit(&self) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(64, &self.offset.to_le_bytes());
        put(72, &self.length.to_le_bytes());
        put(80, &self.crc32c.to_le_bytes());
        put(84, &[self.element as u8, self.dims.len() as u8]);
        for (k, &dim) in self.dims.iter().enumerate() {
            put(88 + 4 * k, &(dim as u32).to_le_bytes());
        }
        put(104, &(self.group as u32).to_le_bytes());
        entry
    }

    /// Reads entry number `index` of the table.
    pub(super) fn parse(index: usize, entry: &[u8; ENTRY_BYTES]) -> Result<Self, ImageError> {
        let u32_at = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let used = entry[..MAX_NAME].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let name = String::from_utf8_lossy(&entry[..used]).into_owned();
        let fault = |field, expected: &str, found: String| {
            Err(ImageError::Entry { section: name.escape_debug().to_string(), field, expected: expected.into(), found })
        };
        let Some(element) = Element::from_code(entry[84]) else {
            return fault("element", "1 to 6", entry[84].to_string());
        };
        let rank = usize::from(entry[85]);
        if rank > 4 {
            return fault("number of dimensions", "0 to 4", rank.to_string());
        }
        let all: Vec<usize> = (0..4).map(|k| u32_at(88 + 4 * k) as usize).collect();
        let (dims, unused) = all.split_at(rank);
        if unused.iter().any(|&dim| dim != 0) || entry[86..88].iter().chain(&entry[108..]).any(|&byte| byte != 0) {
            return fault("an unused place", "0", "not zero".into());
        }
        let dims = dims.to_vec();
        let section = Section {
            element,
            dims,
            group: u32_at(104) as usize,
            offset: u64_at(64),
            length: u64_at(72),
            crc32c: u32_at(80),
            name,
        };
        section.check(index)?;
        Ok(section)
    }
}
