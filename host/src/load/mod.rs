//! Models on disk: Hugging Face folders and GGUF files, their tokenizers and chat templates.
//!
//! [`load_model`] looks at what a path is, not at its name, and gives [`ModelWeights`] whatever the
//! source was. Large dense tables stay views of the mapped file. Nothing a file says can make the
//! loaders panic, read out of bounds or allocate more than a small multiple of the file's size.

pub mod chat;
mod clock;
pub mod dense;
pub mod error;
pub mod gguf;
pub mod hf;
pub mod json;
mod meter;
pub mod safetensors;
pub mod session;
pub mod ternary;
pub mod testkit;
pub mod tokenizer;
pub mod tokenizer_json;
pub mod turns;

pub use error::LoadError;
pub use meter::{NoProgress, Progress};
pub use tokenizer::{Tokenizer, TokenizerSource};

use crate::mmap::MappedFile;
use spec::model::ModelWeights;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a caller may choose about loading.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Do not look for a tokenizer.
    pub skip_tokenizer: bool,
}

/// Kinds of models on disk, told apart by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A folder with `config.json` and safetensors files.
    HuggingFace,
    /// A GGUF file.
    Gguf,
}

/// Where a model came from.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// Kind of source.
    pub kind: ModelKind,
    /// Family and weight format, for people: `bitnet, packed 2-bit, scale multiplies`.
    pub format: String,
    /// Files that were read, with their sizes.
    pub files: Vec<(PathBuf, u64)>,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
}

/// A loaded model.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Its weights and shape.
    pub weights: ModelWeights,
    /// Its tokenizer, if it has one.
    pub tokenizer: Option<TokenizerSource>,
    /// Where it came from.
    pub source: SourceInfo,
}

impl LoadedModel {
    /// The tokenizer, ready for use, or an error that says what is missing.
    pub fn tokenizer(&self, path: &Path) -> Result<Tokenizer, LoadError> {
        let expected = match self.source.kind {
            ModelKind::HuggingFace => "tokenizer.json",
            ModelKind::Gguf => "tokenizer.ggml.* keys",
        };
        match &self.tokenizer {
            Some(source) => Tokenizer::new(source, self.weights.config.vocab),
            None => Err(LoadError::NoTokenizer { path: path.into(), expected }),
        }
    }
}

/// Finds out what a path is.
pub fn detect(path: &Path) -> Result<ModelKind, LoadError> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(ModelKind::HuggingFace);
    }
    let file = MappedFile::open(path)?;
    let bytes = file.bytes();
    let found = match bytes.get(..4) {
        Some(b"GGUF") => return Ok(ModelKind::Gguf),
        Some(b"ggjt" | b"lmgg" | b"tjgg") => "a file of llama.cpp's old format, before GGUF".into(),
        _ if bytes.get(8) == Some(&b'{') => "a safetensors file; give its folder".into(),
        first => format!("a file that begins with bytes {:02x?}", first.unwrap_or(&bytes)),
    };
    Err(LoadError::NotAModel { path: path.into(), found, expected: EXPECTED })
}

const EXPECTED: &str = "a folder with config.json and safetensors files, or a GGUF file";

/// Loads the model at `path`.
pub fn load_model(path: &Path, options: &LoadOptions, progress: &dyn Progress) -> Result<LoadedModel, LoadError> {
    match detect(path)? {
        ModelKind::HuggingFace => hf::load(path, options, progress),
        ModelKind::Gguf => gguf::load(path, options, progress),
    }
}
