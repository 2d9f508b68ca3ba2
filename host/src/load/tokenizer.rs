//! Text to token ids and back.

use super::{
    error::LoadError,
    tokenizer_json::{guard, read},
};
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer as Inner;

/// Longest `tokenizer.json`.
pub const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// A tokenizer as it lies on disk, with what is known about its special tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerSource {
    /// The file it came from.
    pub path: PathBuf,
    /// A `tokenizer.json` of Hugging Face's `tokenizers`.
    pub json: Vec<u8>,
    /// Chat templates, `(name, Jinja source)`; the one to use first is named `default`.
    pub templates: Vec<(String, String)>,
    /// Id of the token that begins a text.
    pub bos: Option<u32>,
    /// Text of that token.
    pub bos_token: Option<String>,
    /// Text of the token that ends a text.
    pub eos_token: Option<String>,
    /// Ids that end a generation.
    pub stop: Vec<u32>,
    /// Whether texts begin with `bos`; `None` leaves it to the post-processor in `json`.
    pub add_bos: Option<bool>,
}

impl TokenizerSource {
    /// A tokenizer without templates and special tokens.
    pub fn new(path: PathBuf, json: Vec<u8>) -> Self {
        TokenizerSource {
            path,
            json,
            templates: Vec::new(),
            bos: None,
            bos_token: None,
            eos_token: None,
            stop: Vec::new(),
            add_bos: None,
        }
    }

    /// The chat template called `name`, or the default one: `default`, or the only one.
    pub fn template(&self, name: Option<&str>) -> Option<&str> {
        let wanted = name.unwrap_or("default");
        let found = self.templates.iter().find(|(name, _)| name == wanted);
        let only = || self.templates.first().filter(|_| name.is_none() && self.templates.len() == 1);
        found.or_else(only).map(|(_, source)| source.as_str())
    }
}

/// A tokenizer, checked against the vocabulary of a model.
pub struct Tokenizer {
    inner: Inner,
    path: PathBuf,
    vocab: usize,
    bos: Option<u32>,
    bos_token: Option<String>,
    eos_token: Option<String>,
    stop: Vec<u32>,
    add_bos: Option<bool>,
}

impl Tokenizer {
    /// Reads a tokenizer for a model with ids below `vocab`.
    pub fn new(source: &TokenizerSource, vocab: usize) -> Result<Self, LoadError> {
        let path = &source.path;
        let mut inner = read(path, &source.json)?;
        // length limits and padding are for training batches
        guard(path, || inner.with_truncation(None).map(|_| ()))?;
        inner.with_padding(None);
        check_vocabulary(path, &inner, vocab)?;
        let id = |text: &Option<String>| text.as_deref().and_then(|text| inner.token_to_id(text));
        let bos = id(&source.bos_token).or(source.bos);
        let mut stop = source.stop.clone();
        stop.extend(id(&source.eos_token));
        stop.sort_unstable();
        stop.dedup();
        let text = |id: Option<u32>| id.and_then(|id| inner.id_to_token(id));
        let bos_token = source.bos_token.clone().or_else(|| text(bos));
        let eos_token = source.eos_token.clone().or_else(|| text(stop.first().copied()));
        let (path, add_bos) = (path.clone(), source.add_bos);
        Ok(Tokenizer { path, vocab, bos, bos_token, eos_token, stop, add_bos, inner })
    }

    /// Token ids of a text. Special tokens written out in the text become their ids.
    ///
    /// `with_special` puts the beginning-of-text token in front, and whatever else the tokenizer's
    /// post-processor adds. A chat template may already have written that token: it is never there
    /// twice.
    pub fn encode(&self, text: &str, with_special: bool) -> Result<Vec<u32>, LoadError> {
        let post_process = with_special && self.add_bos != Some(false);
        let encoding = guard(&self.path, || self.inner.encode_fast(text, post_process))?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(bos) = self.bos.filter(|_| with_special) {
            if self.add_bos == Some(true) && ids.first() != Some(&bos) {
                ids.insert(0, bos);
            }
            if ids.starts_with(&[bos, bos]) {
                ids.remove(0);
            }
        }
        Ok(ids)
    }

    /// The text of token ids, without special tokens. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LoadError> {
        guard(&self.path, || self.inner.decode(ids, true))
    }

    /// A decoder for tokens that come one by one.
    pub fn stream(&self) -> DecodeStream<'_> {
        DecodeStream { tokenizer: self, ids: Vec::new(), shown: 0 }
    }

    /// A decoder for tokens that follow `prompt`, whose last tokens decide how the next one reads.
    pub fn stream_after(&self, prompt: &[u32]) -> DecodeStream<'_> {
        let ids = prompt[prompt.len().saturating_sub(DecodeStream::LONGEST_WAIT)..].to_vec();
        DecodeStream { tokenizer: self, shown: ids.len(), ids }
    }

    /// Id of the token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Text of the token that begins a text, for chat templates.
    pub fn bos_token(&self) -> Option<&str> {
        self.bos_token.as_deref()
    }

    /// Text of the token that ends a text, for chat templates.
    pub fn eos_token(&self) -> Option<&str> {
        self.eos_token.as_deref()
    }

    /// Ids that end a generation, ascending.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop
    }

    /// Number of ids that the model knows.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The id of a token given by its text.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The text of a token as the vocabulary has it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}

fn check_vocabulary(path: &Path, inner: &Inner, vocab: usize) -> Result<(), LoadError> {
    let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
    match largest {
        Some((token, id)) if id as usize >= vocab => {
            Err(LoadError::Vocabulary { path: path.into(), token: super::error::shorten(&token), id, vocab })
        }
        _ => Ok(()),
    }
}

/// Turns tokens into text as they come, never splitting a character.
///
/// A token may be a part of a character, and how a token reads may depend on the one before it (the
/// space of SentencePiece). So a few tokens before the new ones are decoded again each time, and
/// only what follows their text is given out, once it does not end in an unfinished character.
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens of the last text given out, then those whose text has not been.
    ids: Vec<u32>,
    /// How many of `ids` have been given out.
    shown: usize,
}

impl DecodeStream<'_> {
    /// Tokens after which an unfinished character counts as damaged: four bytes make the longest.
    const LONGEST_WAIT: usize = 8;

    /// Takes a token; returns the text that is certain now, if any.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, LoadError> {
        self.ids.push(id);
        let text = self.rest()?;
        let unfinished = text.ends_with('\u{fffd}') && self.ids.len() - self.shown < Self::LONGEST_WAIT;
        if text.is_empty() || unfinished {
            return Ok(None);
        }
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        Ok(Some(text))
    }

    /// The text that was held back, at the end of a generation.
    pub fn flush(&mut self) -> Result<Option<String>, LoadError> {
        let text = self.rest()?;
        self.ids.clear();
        self.shown = 0;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The text of the tokens that have not been given out.
    fn rest(&self) -> Result<String, LoadError> {
        let before = self.tokenizer.decode(&self.ids[..self.shown])?;
        let all = self.tokenizer.decode(&self.ids)?;
        match all.strip_prefix(before.as_str()) {
            Some(rest) => Ok(rest.into()),
            None => self.tokenizer.decode(&self.ids[self.shown..]),
        }
    }
}
