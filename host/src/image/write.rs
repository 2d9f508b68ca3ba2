//! Packing: one pass over the weights, into a temporary file beside the target that is renamed once
//! all of it is on the disk.

use super::config_json::config_to_json;
use super::{ContentError, ImageExtras, ImageIoError, ImageSummary, Origin};
use crate::load::LoadedModel;
use spec::format::image::layout::{CONFIG, MAX_PLANES};
use spec::format::image::{ImageError, ImageHeader, Section, Source, Tensor, describe};
use spec::model::ModelWeights;
use std::borrow::Cow;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
    let (target, folder) = target(path)?;
    let failed = |action| move |source| ImageIoError::Write { path: path.into(), action, bytes, source };
    let temporary = tempfile::Builder::new()
        .prefix(".tercet-pack-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666)) // less the process's umask
        .tempfile_in(&folder)
        .map_err(failed("create a temporary file beside it"))?;
    let file = temporary.as_file().try_clone().map_err(failed("open it twice"))?;
    let mut out = BufWriter::with_capacity(BUFFER, layer(file));
    match stream(&mut out, &mut header, &tensors, progress) {
        Ok(()) => {}
        Err(Stop::Io(source)) => return Err(failed("write")(source)),
        Err(Stop::Cancelled) => return Err(ImageIoError::Cancelled { path: path.into() }),
    }
    temporary.as_file().sync_all().map_err(failed("bring it to the disk"))?;
    temporary.persist(&target).map_err(|error| failed("rename the finished file")(error.error))?;
    // The rename has happened; a folder that cannot be synced (some network file systems) only
    // means that it may be undone by a power cut.
    if let Ok(folder) = File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(ImageSummary::new(&header))
}

/// The file to replace, links followed, and its folder.
fn target(path: &Path) -> Result<(PathBuf, PathBuf), ImageIoError> {
    let wrong = |problem| ImageIoError::Target { path: path.into(), problem };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => return Err(wrong("is a directory")),
        Ok(metadata) if !metadata.is_file() => return Err(wrong("is a pipe or a device")),
        _ => {}
    }
    if target.file_name().is_none() {
        return Err(wrong("names no file"));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_path_buf();
    if !folder.is_dir() {
        return Err(wrong("its folder does not exist"));
    }
    Ok((target, folder))
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
