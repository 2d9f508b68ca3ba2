//! What an image holds beside the weights: the tokenizer and where the model came from.

use super::ContentError;
use crate::load::{self, TokenizerSource};
use crate::mmap::{FileError, MappedFile};
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use spec::Bytes;
use spec::format::image::Digest;
use spec::format::image::layout::{CHAT_TEMPLATES, SOURCE, TOKENIZER, TOKENIZER_META};
use std::borrow::Cow;
use std::path::Path;

/// JSON sections with their names.
pub(super) type Texts<'a> = Vec<(&'static str, Cow<'a, [u8]>)>;

/// Tokenizer with chat templates, and origin of a model. Both are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageExtras {
    /// The tokenizer; its path is not kept.
    pub tokenizer: Option<TokenizerSource>,
    /// What the image was packed from.
    pub origin: Option<Origin>,
}

/// Where a model came from. No dates and no folders: packing twice gives the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Family and weight format, for people.
    pub format: String,
    /// The files that were read.
    pub files: Vec<OriginFile>,
}

/// One file that a model was packed from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginFile {
    /// Its name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// [`TokenizerSource`] without its texts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaJson {
    bos: Option<u32>,
    bos_token: Option<String>,
    eos_token: Option<String>,
    stop: Vec<u32>,
    add_bos: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateJson {
    name: String,
    source: String,
}

impl ImageExtras {
    /// The JSON sections of the extras, in file order.
    pub(super) fn texts(&self, vocab: usize) -> Result<Texts<'_>, ContentError> {
        let mut texts = Texts::new();
        if let Some(tokenizer) = &self.tokenizer {
            let TokenizerSource { path: _, json, templates, bos, bos_token, eos_token, stop, add_bos } = tokenizer;
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(json);
            parsed.map_err(|error| wrong(TOKENIZER, format!("not JSON: {error}")))?;
            texts.push((TOKENIZER, Cow::Borrowed(json.as_slice())));
            let (bos_token, eos_token) = (bos_token.clone(), eos_token.clone());
            let meta = MetaJson { bos: *bos, bos_token, eos_token, stop: stop.clone(), add_bos: *add_bos };
            meta.check(vocab)?;
            texts.push((TOKENIZER_META, to_json(TOKENIZER_META, &meta)?.into()));
            if !templates.is_empty() {
                let template =
                    |(name, source): &(String, String)| TemplateJson { name: name.clone(), source: source.clone() };
                let templates: Vec<_> = templates.iter().map(template).collect();
                texts.push((CHAT_TEMPLATES, to_json(CHAT_TEMPLATES, &templates)?.into()));
            }
        }
        if let Some(origin) = &self.origin {
            origin.check()?;
            texts.push((SOURCE, to_json(SOURCE, origin)?.into()));
        }
        Ok(texts)
    }

    /// Reads what [`ImageExtras::texts`] wrote. `text` finds a section.
    pub(super) fn read(
        vocab: usize,
        path: &Path,
        text: impl Fn(&'static str) -> Result<Option<Bytes>, ContentError>,
    ) -> Result<Self, ContentError> {
        let tokenizer = match (text(TOKENIZER)?, text(TOKENIZER_META)?, text(CHAT_TEMPLATES)?) {
            (None, None, None) => None,
            (Some(json), Some(meta), templates) => {
                // Its JSON is parsed when the tokenizer is made.
                let utf8 = std::str::from_utf8(&json);
                utf8.map_err(|error| wrong(TOKENIZER, format!("not UTF-8: {error}")))?;
                let meta: MetaJson = from_json(TOKENIZER_META, &meta)?;
                meta.check(vocab)?;
                let MetaJson { bos, bos_token, eos_token, stop, add_bos } = meta;
                let templates: Vec<TemplateJson> = match templates {
                    Some(bytes) => from_json(CHAT_TEMPLATES, &bytes)?,
                    None => Vec::new(),
                };
                Some(TokenizerSource {
                    path: path.into(),
                    json: json.to_vec(),
                    templates: templates.into_iter().map(|template| (template.name, template.source)).collect(),
                    bos,
                    bos_token,
                    eos_token,
                    stop,
                    add_bos,
                })
            }
            (None, ..) => return Err(wrong(TOKENIZER, "missing, but other tokenizer sections are there".into())),
            (_, None, _) => return Err(wrong(TOKENIZER_META, "missing, but the tokenizer is there".into())),
        };
        let origin = match text(SOURCE)? {
            Some(bytes) => {
                let origin: Origin = from_json(SOURCE, &bytes)?;
                origin.check()?;
                Some(origin)
            }
            None => None,
        };
        Ok(ImageExtras { tokenizer, origin })
    }
}

impl MetaJson {
    fn check(&self, vocab: usize) -> Result<(), ContentError> {
        match self.bos.iter().chain(&self.stop).find(|&&id| id as usize >= vocab) {
            Some(id) => {
                Err(wrong(TOKENIZER_META, format!("token id {id}, expected less than the vocabulary's {vocab}")))
            }
            None => Ok(()),
        }
    }
}

impl Origin {
    /// Names and hashes the files that a model was loaded from, which are read once more for that.
    pub fn of(source: &load::SourceInfo) -> Result<Self, FileError> {
        let files = source.files.par_iter().map(|(path, _)| {
            let bytes = MappedFile::open(path)?.bytes();
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let sha256 = Digest(Sha256::digest(&*bytes).into()).to_string();
            Ok(OriginFile { name, bytes: bytes.len() as u64, sha256 })
        });
        Ok(Origin { format: source.format.clone(), files: files.collect::<Result<_, FileError>>()? })
    }

    fn check(&self) -> Result<(), ContentError> {
        for OriginFile { name, sha256, .. } in &self.files {
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\']) {
                return Err(wrong(SOURCE, format!("file name {name:?}, expected one without folders")));
            }
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            if sha256.len() != 64 || !sha256.bytes().all(digit) {
                return Err(wrong(SOURCE, format!("SHA-256 {sha256:?} of {name:?}, expected 64 hexadecimal digits")));
            }
        }
        Ok(())
    }
}

fn wrong(section: &'static str, problem: String) -> ContentError {
    ContentError::Text { section, problem }
}

/// The one JSON text of a value: fields in order of declaration, no spaces.
pub(super) fn to_json(section: &'static str, value: &impl Serialize) -> Result<Vec<u8>, ContentError> {
    serde_json::to_vec(value).map_err(|error| wrong(section, error.to_string()))
}

/// Reads what [`to_json`] wrote and refuses every other spelling of it.
pub(super) fn from_json<T: Serialize + DeserializeOwned>(
    section: &'static str,
    bytes: &[u8],
) -> Result<T, ContentError> {
    let value: T = serde_json::from_slice(bytes).map_err(|error| wrong(section, error.to_string()))?;
    if to_json(section, &value)? != bytes {
        return Err(wrong(section, "not in the form that packing gives it".into()));
    }
    Ok(value)
}
