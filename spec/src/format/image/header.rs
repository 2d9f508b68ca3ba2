//! The header: where everything lies, checked before anything is used.
//!
//! ```text
//! header, 64 bytes, then the section table, then the sections
//!   0  "TERCET"                          [6]
//!   6  version                           u16
//!   8  length of header and table        u64    64 + 128 x sections
//!  16  length of the file                u64
//!  24  number of sections                u32
//!  28  zero                              u32
//!  32  SHA-256 of bytes 0..32 and table  [32]   the image's identity
//! ```
//!
//! The table holds the length and the checksum of every section, so its hash stands for the whole
//! content. Sections lie in the order of the table, each at the first multiple of its alignment
//! after the one before it; the bytes between are zero and the last section ends the file: offsets
//! leave no choice, which makes equal models equal files.

use super::error::{Digest, ImageError};
use super::section::{ENTRY_BYTES, Section};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// First bytes of every image.
pub const MAGIC: &[u8; 6] = b"TERCET";
/// Version of the format.
pub const VERSION: u16 = 1;
/// Bytes before the section table.
pub const FIXED_BYTES: usize = 64;
/// Most bytes of header and table together.
pub const MAX_HEADER_BYTES: usize = 16 << 20;

/// The parsed header and section table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// Length of the file.
    pub file_length: u64,
    /// The sections in file order.
    pub sections: Vec<Section>,
}

impl ImageHeader {
    /// Gives every section its place.
    pub fn place(mut sections: Vec<Section>) -> Result<Self, ImageError> {
        if sections.len() > (MAX_HEADER_BYTES - FIXED_BYTES) / ENTRY_BYTES {
            return Err(ImageError::TooManySections { found: sections.len() });
        }
        let mut end = header_bytes(sections.len());
        for (index, section) in sections.iter_mut().enumerate() {
            section.check(index)?;
            section.offset = end.next_multiple_of(section.element.alignment());
            end = section.end();
        }
        check_unique(&sections)?;
        Ok(ImageHeader { file_length: end, sections })
    }

    /// Bytes of header and table.
    pub fn header_length(&self) -> u64 {
        header_bytes(self.sections.len())
    }

    /// The image's identity.
    pub fn hash(&self) -> Digest {
        let bytes = self.emit();
        hash_of(&bytes[..32], &bytes[FIXED_BYTES..])
    }

    /// Header and table as bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.header_length() as usize);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.header_length().to_le_bytes());
        bytes.extend(self.file_length.to_le_bytes());
        bytes.extend((self.sections.len() as u32).to_le_bytes());
        bytes.extend([0; 36]);
        for section in &self.sections {
            bytes.extend(section.emit());
        }
        let hash = hash_of(&bytes[..32], &bytes[FIXED_BYTES..]);
        bytes[32..FIXED_BYTES].copy_from_slice(&hash.0);
        bytes
    }

    /// Reads the header of a whole file and checks every rule of the format except the sections'
    /// checksums and contents.
    pub fn parse(file: &[u8]) -> Result<Self, ImageError> {
        let fixed = check_fixed(file)?;
        let table = &file[FIXED_BYTES..fixed.header_length];
        let found = hash_of(&file[..32], table);
        let expected = Digest(array(&file[32..FIXED_BYTES]));
        if found != expected {
            return Err(ImageError::TableHash { expected, found });
        }
        let entries = table.chunks_exact(ENTRY_BYTES).enumerate();
        let sections = entries.map(|(index, entry)| Section::parse(index, &array(entry)));
        let sections = sections.collect::<Result<Vec<_>, _>>()?;
        check_unique(&sections)?;
        check_places(file, &sections)?;
        Ok(ImageHeader { file_length: file.len() as u64, sections })
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

struct Fixed {
    header_length: usize,
}

/// Checks the first 64 bytes.
fn check_fixed(file: &[u8]) -> Result<Fixed, ImageError> {
    let start = &file[..file.len().min(MAGIC.len())];
    if start != MAGIC {
        return Err(ImageError::Magic { found: start.into() });
    }
    let found = file.len() as u64;
    if file.len() < FIXED_BYTES {
        return Err(ImageError::Truncated { part: "header", expected: FIXED_BYTES as u64, found });
    }
    let version = u16::from_le_bytes(array(&file[6..8]));
    if version != VERSION {
        return Err(ImageError::Version { found: version });
    }
    let header_length = u64::from_le_bytes(array(&file[8..16]));
    let file_length = u64::from_le_bytes(array(&file[16..24]));
    let count = u32::from_le_bytes(array(&file[24..28])) as usize;
    let zero = u32::from_le_bytes(array(&file[28..32]));
    let header = |field, expected: String, found: u64| Err(ImageError::Header { field, expected, found });
    let most = (MAX_HEADER_BYTES - FIXED_BYTES) / ENTRY_BYTES;
    if !(1..=most).contains(&count) {
        return header("number of sections", format!("1 to {most}"), count as u64);
    }
    if header_length != header_bytes(count) {
        return header("header length", format!("{} for {count} sections", header_bytes(count)), header_length);
    }
    if zero != 0 {
        return header("reserved", "0".into(), u64::from(zero));
    }
    if header_length > found {
        return Err(ImageError::Truncated { part: "section table", expected: header_length, found });
    }
    if file_length != found {
        return Err(ImageError::FileLength { expected: file_length, found });
    }
    Ok(Fixed { header_length: header_length as usize })
}

/// Checks that sections follow each other without overlap, hole or trailing bytes, and that the
/// padding between them is zero.
fn check_places(file: &[u8], sections: &[Section]) -> Result<(), ImageError> {
    let mut end = header_bytes(sections.len());
    for section in sections {
        let fault = |field, expected: u64, found: u64| {
            let (expected, found) = (expected.to_string(), found.to_string());
            Err(ImageError::Entry { section: section.name.clone(), field, expected, found })
        };
        // `end` lies inside the file, so rounding it up cannot overflow.
        let offset = end.next_multiple_of(section.element.alignment());
        if section.offset != offset {
            return fault("offset", offset, section.offset);
        }
        let left = (file.len() as u64).saturating_sub(offset);
        if section.length > left {
            return fault("length at most", left, section.length);
        }
        let padding = &file[end as usize..offset as usize];
        if let Some(at) = padding.iter().position(|&byte| byte != 0) {
            let section = section.name.clone();
            return Err(ImageError::Padding { section, at: end + at as u64, found: padding[at] });
        }
        end = section.end();
    }
    if end != file.len() as u64 {
        return Err(ImageError::FileLength { expected: end, found: file.len() as u64 });
    }
    Ok(())
}

fn check_unique(sections: &[Section]) -> Result<(), ImageError> {
    let mut names = HashSet::with_capacity(sections.len());
    match sections.iter().find(|section| !names.insert(section.name.as_str())) {
        Some(section) => Err(ImageError::Duplicate { section: section.name.clone() }),
        None => Ok(()),
    }
}

fn header_bytes(sections: usize) -> u64 {
    FIXED_BYTES as u64 + ENTRY_BYTES as u64 * sections as u64
}

fn hash_of(start: &[u8], table: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update(start).chain_update(table).finalize().into())
}

/// The bytes of a slice whose length has been checked.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::super::section::Element;
    use super::*;

    fn sections() -> Vec<Section> {
        let array = |name: &str, element, dims: &[usize]| Section::array(name.into(), element, dims, 0);
        vec![Section::json("config", 7), array("codes", Element::Trit5, &[3, 11]), array("scales", Element::F32, &[3])]
    }

    #[test]
    fn sections_follow_each_other_at_their_alignment() {
        let header = ImageHeader::place(sections()).unwrap();
        let places: Vec<_> = header.sections.iter().map(|s| (s.offset, s.length)).collect();
        assert_eq!(places, [(448, 7), (4096, 9), (4160, 12)]);
        assert_eq!(header.file_length, 4172);
        let mut file = header.emit();
        file.resize(4172, 0);
        assert_eq!(ImageHeader::parse(&file).unwrap(), header);
        assert_eq!(header.hash().to_string().len(), 64);
    }

    #[test]
    fn impossible_sections_are_not_placed() {
        let mut twice = sections();
        twice.push(twice[1].clone());
        assert_eq!(ImageHeader::place(twice), Err(ImageError::Duplicate { section: "codes".into() }));
        for dims in [&[][..], &[0], &[1 << 25], &[5], &[1, 2, 3, 4, 5], &[1 << 24; 4]] {
            let section = Section::array("codes".into(), Element::Trit5, dims, 0);
            assert!(ImageHeader::place(vec![section]).is_err(), "{dims:?}");
        }
        assert_eq!(Element::F32.bytes(&[1 << 24; 3]), None); // 2^74 bytes
        assert_eq!(Element::Sherry.bytes(&[2, 6]), None);
        assert_eq!(Element::Sherry.bytes(&[2, 36]), Some(20));
        let many = (0..=131_071).map(|n| Section::json(&format!("s{n}"), 1)).collect();
        assert_eq!(ImageHeader::place(many), Err(ImageError::TooManySections { found: 131_072 }));
    }
}
