//! What an image holds beside the weights.

use super::ContentError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spec::Bytes;

/// Tokenizer, chat template and origin of a model. All of it is optional.
#[derive(Clone, Debug, Default)]
pub struct ImageExtras {
    /// The bytes of `tokenizer.json`.
    pub tokenizer_json: Option<Bytes>,
    /// Special tokens.
    pub meta: Option<TokenizerMeta>,
    /// Jinja template of a conversation.
    pub chat_template: Option<String>,
    /// What the image was packed from.
    pub source: Option<SourceInfo>,
}

/// Special tokens of a tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerMeta {
    /// Whether a text starts with `bos`.
    pub add_bos: bool,
    /// Token that starts a text.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
    /// Further tokens at which generation stops, for example the end of a turn.
    pub stop: Vec<u32>,
}

/// Where a model came from. No dates and no folders: packing twice gives the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceInfo {
    /// Model family, for example `bitnet`.
    pub family: String,
    /// The files that were read.
    pub files: Vec<SourceFile>,
}

/// One file that a model was packed from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

impl TokenizerMeta {
    pub(super) fn check(&self, vocab: usize) -> Result<(), String> {
        match self.bos.iter().chain(&self.eos).chain(&self.stop).find(|&&id| id as usize >= vocab) {
            Some(id) => Err(format!("token id {id}, expected less than the vocabulary's {vocab}")),
            None => Ok(()),
        }
    }
}

impl SourceInfo {
    pub(super) fn check(&self) -> Result<(), String> {
        for file in &self.files {
            let name = &file.name;
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\']) {
                return Err(format!("file name {name:?}, expected one without folders"));
            }
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            if file.sha256.len() != 64 || !file.sha256.bytes().all(digit) {
                return Err(format!("SHA-256 {:?} of {name:?}, expected 64 hexadecimal digits", file.sha256));
            }
        }
        Ok(())
    }
}

/// The one JSON text of a value: fields in order of declaration, no spaces.
pub(super) fn to_json(section: &'static str, value: &impl Serialize) -> Result<Vec<u8>, ContentError> {
    serde_json::to_vec(value).map_err(|error| ContentError::Text { section, problem: error.to_string() })
}

/// Reads what [`to_json`] wrote and refuses every other spelling of it.
pub(super) fn from_json<T: Serialize + DeserializeOwned>(
    section: &'static str,
    bytes: &[u8],
) -> Result<T, ContentError> {
    let wrong = |problem: String| ContentError::Text { section, problem };
    let value: T = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if to_json(section, &value)? != bytes {
        return Err(wrong("not in the form that packing gives it".into()));
    }
    Ok(value)
}
