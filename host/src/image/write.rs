//! Packing: one pass over the weights, into a file that appears only when it is complete.

use super::config_json::config_to_json;
use super::{ContentError, ImageExtras, ImageIoError, ImageSummary, Origin};
use crate::load::LoadedModel;
use crate::replace::{Refused, Replacement};
use spec::format::image::layout::{CONFIG, MAX_PLANES};
use spec::format::image::{ImageError, ImageHeader, Section, Source, Tensor, describe};
use spec::model::ModelWeights;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

/// Bytes handed to the system at once.
const BUFFER: usize = 1 << 20;

/// Called with the bytes written and the bytes in all; `Break` stops the packing.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// Packs a model that was loaded from somewhere else, naming and hashing the files it came from.
pub fn pack(model: &LoadedModel, path: &Path, progress: Progress) -> Result<ImageSummary, ImageIoError> {
    let origin = Some(Origin::of(&model.source)?);
    let extras = ImageExtras { tokenizer: model.tokenizer.clone(), origin };
    write_image(&model.weights, &extras, path, progress)
}

/// Packs a model into the file `path`, which is replaced if it exists. Needs memory for a model's
/// scales but not for a second copy of its codes. On any error nothing is left behind and an older
/// file under this name stays as it was.
pub fn write_image(
    weights: &ModelWeights,
    extras: &ImageExtras,
    path: &Path,
    progress: Progress,
) -> Result<ImageSummary, ImageIoError> {
    write_through(weights, extras, path, progress, |file| file)
}

/// As [`write_image`], with a layer between packing and the file that tests can make fail.
pub(super) fn write_through<W: Write + Seek>(
    weights: &ModelWeights,
    extras: &ImageExtras,
    path: &Path,
    progress: Progress,
    layer: impl FnOnce(File) -> W,
) -> Result<ImageSummary, ImageIoError> {
    let config = config_to_json(&weights.config).map_err(ImageIoError::Model)?;
    let mut texts = vec![(CONFIG, Cow::Owned(config))];
    texts.extend(extras.texts(weights.config.vocab).map_err(ImageIoError::Model)?);
    let tensors = tensors(weights, &texts).map_err(ImageIoError::Model)?;
    let sections = tensors.iter().map(|tensor| tensor.section.clone()).collect();
    let mut header = ImageHeader::place(sections).map_err(|error| ImageIoError::Model(error.into()))?;
    let bytes = header.file_length;
    let failed = |action| move |source| ImageIoError::Write { path: path.into(), action, bytes, source };
    let replacement = Replacement::begin(path, ".tercet-pack-").map_err(|refused| match refused {
        Refused::Target(problem) => ImageIoError::Target { path: path.into(), problem },
        Refused::System(source) => failed("create a temporary file beside it")(source),
    })?;
    let file = replacement.file().map_err(failed("open it twice"))?;
    let mut out = BufWriter::with_capacity(BUFFER, layer(file));
    match stream(&mut out, &mut header, &tensors, progress) {
        Ok(()) => {}
        Err(Stop::Io(source)) => return Err(failed("write")(source)),
        Err(Stop::Cancelled) => return Err(ImageIoError::Cancelled { path: path.into() }),
    }
    replacement.commit().map_err(|(action, source)| failed(action)(source))?;
    Ok(ImageSummary::new(&header))
}

/// All sections in file order.
fn tensors<'a>(weights: &'a ModelWeights, texts: &'a [(&str, Cow<[u8]>)]) -> Result<Vec<Tensor<'a>>, ContentError> {
    weights.validate()?;
    for (index, layer) in weights.layers.iter().enumerate() {
        for linear in [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down] {
            if linear.planes.len() > MAX_PLANES {
                return Err(ContentError::Image(ImageError::Entry {
                    section: format!("layers.{index}"),
                    field: "number of trit planes",
                    expected: format!("1 to {MAX_PLANES}"),
                    found: linear.planes.len().to_string(),
                }));
            }
            for plane in &linear.planes {
                let section = format!("layers.{index}");
                plane.trits.check_codes().map_err(|problem| ImageError::Content { section, problem })?;
            }
        }
    }
    let text = texts
        .iter()
        .map(|(name, bytes)| Tensor { section: Section::json(name, bytes.len()), source: Source::Bytes(bytes) });
    Ok(text.chain(describe(weights)).collect())
}

enum Stop {
    Io(io::Error),
    Cancelled,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

/// Writes everything, the header last, when all checksums are known.
fn stream(
    out: &mut (impl Write + Seek),
    header: &mut ImageHeader,
    tensors: &[Tensor],
    progress: Progress,
) -> Result<(), Stop> {
    let total = header.file_length;
    let mut done = header.header_length();
    out.write_all(&vec![0; done as usize])?;
    for (section, tensor) in header.sections.iter_mut().zip(tensors) {
        out.write_all(&[0; 4096][..(section.offset - done) as usize])?;
        let mut length = 0;
        tensor.source.stream(|bytes| {
            section.crc32c = crc32c::crc32c_append(section.crc32c, bytes);
            length += bytes.len() as u64;
            out.write_all(bytes)?;
            match progress(section.offset + length, total) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Stop::Cancelled),
            }
        })?;
        debug_assert_eq!(length, section.length, "{}", section.name);
        done = section.end();
    }
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header.emit())?;
    Ok(out.flush()?)
}
