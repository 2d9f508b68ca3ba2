//! Between the packed image and the other kinds of models: what both know about a tokenizer.

use super::exit::{CliError, Exit};
use host::image::{ImageExtras, ImageIoError, SourceFile, SourceInfo, TokenizerMeta};
use host::load::{LoadedModel, Tokenizer, TokenizerSource};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

impl From<ImageIoError> for CliError {
    fn from(error: ImageIoError) -> Self {
        match error {
            ImageIoError::Cancelled { .. } => CliError::silent(Exit::Interrupted),
            error => CliError::new(Exit::from_code(error.exit_code()), error),
        }
    }
}

/// The tokenizer that lies in the image at `path`.
pub fn tokenizer_of(path: &Path, extras: &ImageExtras) -> Option<TokenizerSource> {
    let json = extras.tokenizer_json.as_ref()?;
    let mut source = TokenizerSource::new(path.into(), json.to_vec());
    if let Some(meta) = &extras.meta {
        source.bos = meta.bos;
        source.stop = meta.eos.iter().chain(&meta.stop).copied().collect();
        source.add_bos = Some(meta.add_bos);
    }
    source.templates = extras.chat_template.iter().map(|text| ("default".into(), text.clone())).collect();
    Some(source)
}

/// What goes into the image of a loaded model beside its weights. Reads the source files once more
/// for their hashes; `progress` hears the bytes.
pub fn extras_of(model: &LoadedModel, progress: &mut dyn FnMut(u64)) -> Result<ImageExtras, CliError> {
    let config = &model.weights.config;
    let files = model.source.files.iter().map(|(path, _)| source_file(path, progress)).collect::<Result<_, _>>()?;
    let source = Some(SourceInfo { family: config.name.clone(), files });
    let Some(tokenizer) = &model.tokenizer else { return Ok(ImageExtras { source, ..Default::default() }) };
    let ready = Tokenizer::new(tokenizer, config.vocab)?;
    let mut stop = ready.stop_ids().to_vec();
    stop.retain(|id| !config.eos.contains(id));
    let meta = TokenizerMeta { add_bos: starts_with_bos(&ready), bos: ready.bos(), eos: config.eos.clone(), stop };
    Ok(ImageExtras {
        tokenizer_json: Some(tokenizer.json.clone().into()),
        meta: Some(meta),
        chat_template: tokenizer.template(None).map(String::from),
        source,
    })
}

/// Whether the tokenizer begins a text with its beginning-of-text token.
pub fn starts_with_bos(tokenizer: &Tokenizer) -> bool {
    let first = tokenizer.encode("a", true).ok().and_then(|ids| ids.first().copied());
    tokenizer.bos().is_some() && first == tokenizer.bos()
}

/// Hashes what is written to it and counts it.
struct Hasher<'a> {
    sha: Sha256,
    bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn source_file(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<SourceFile, CliError> {
    let mut file = File::open(path).map_err(|error| CliError::read(path, &error))?;
    let mut hasher = Hasher { sha: Sha256::new(), bytes: 0, progress };
    io::copy(&mut file, &mut hasher).map_err(|error| CliError::read(path, &error))?;
    let sha256 = hasher.sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceFile { name, bytes: hasher.bytes, sha256 })
}
