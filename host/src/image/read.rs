//! Opening: the file is mapped, every section's checksum and every code is verified in parallel, and
//! the weights point into the mapping.

use super::config_json::config_from_json;
use super::{ContentError, ImageExtras, ImageIoError, ImageSummary};
use crate::mmap::MappedFile;
use rayon::prelude::*;
use spec::Bytes;
use spec::format::image::layout;
use spec::format::image::{ImageError, ImageHeader, Section, assemble};
use spec::format::matrix::TritMatrix;
use spec::model::ModelWeights;
use std::io::Read;
use std::path::Path;

/// A packed model, ready to run.
#[derive(Debug)]
pub struct LoadedImage {
    /// The weights; their codes lie in the mapped file.
    pub weights: ModelWeights,
    /// Tokenizer, chat template and origin.
    pub extras: ImageExtras,
    /// Identity and size.
    pub summary: ImageSummary,
    /// Where everything lies.
    pub header: ImageHeader,
}

/// Maps and verifies a packed image. The file must not be written to while the result is in use;
/// replacing it by a rename, as [`super::write_image`] does, is safe.
pub fn open_image(path: &Path) -> Result<LoadedImage, ImageIoError> {
    let file = MappedFile::open(path)?;
    let image = decode_image(file.bytes(), path);
    file.check_unchanged()?;
    image.map_err(|problem| ImageIoError::Content { path: path.into(), problem })
}

/// Whether a file starts as packed images do. Any failure to read it is a no.
pub fn is_image(path: &Path) -> bool {
    let mut start = [0; 6];
    let regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let read = || std::fs::File::open(path)?.read_exact(&mut start);
    regular && { read }().is_ok() && &start == spec::format::image::header::MAGIC
}

/// Verifies the bytes of an image and returns the model that lies in them. `path` is what messages
/// about its tokenizer will name.
pub fn decode_image(file: Bytes, path: &Path) -> Result<LoadedImage, ContentError> {
    let header = ImageHeader::parse(&file)?;
    // Sections are handed out one by one: a few of them hold nearly all bytes.
    let checked: Vec<_> =
        header.sections.par_iter().with_max_len(1).map(|section| check_section(section, &file)).collect();
    checked.into_iter().collect::<Result<(), _>>()?;
    crate::mmap::drop_pages();
    let text = |name| find(&header, &file, name);
    let required = || ImageError::Section { expected: layout::CONFIG.into(), found: "none".into() };
    let config = config_from_json(&text(layout::CONFIG)?.ok_or_else(required)?)?;
    let vocab = config.vocab;
    let weights = assemble(config, &header, &file)?;
    weights.validate()?;
    let extras = ImageExtras::read(vocab, path, text)?;
    Ok(LoadedImage { weights, extras, summary: ImageSummary::new(&header), header })
}

/// Verifies a section's checksum and, of ternary matrices, every code.
fn check_section(section: &Section, file: &Bytes) -> Result<(), ImageError> {
    let bytes = view(section, file)?;
    let found = crc32c::crc32c(&bytes);
    if found != section.crc32c {
        return Err(ImageError::Crc { section: section.name.clone(), expected: section.crc32c, found });
    }
    if let (Some(encoding), [rows, cols]) = (section.element.encoding(), section.dims.as_slice()) {
        let problem = |problem| ImageError::Content { section: section.name.clone(), problem };
        TritMatrix::new(*rows, *cols, encoding, bytes).map_err(problem)?;
    }
    Ok(())
}

fn view(section: &Section, file: &Bytes) -> Result<Bytes, ImageError> {
    let bytes = file.slice(section.offset as usize..section.end() as usize);
    bytes.ok_or(ImageError::FileLength { expected: section.end(), found: file.len() as u64 })
}

fn find(header: &ImageHeader, file: &Bytes, name: &str) -> Result<Option<Bytes>, ContentError> {
    Ok(header.section(name).map(|section| view(section, file)).transpose()?)
}
