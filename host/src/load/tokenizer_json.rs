//! What the tokenizer library does not check in a `tokenizer.json`: it panics on merges that are
//! longer than every token, and numbers added tokens anew where the file's ids do not fit.

use super::error::{LoadError, shorten};
use serde::Deserialize;
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use thiserror::Error;
use tokenizers::Tokenizer;

/// A fault that the library does not report.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenizerFault {
    /// A merge of tokens that are not there.
    #[error("merge {rank} of {left:?} and {right:?}: {missing:?} is no token")]
    Merge {
        /// Place of the merge.
        rank: usize,
        /// Left part.
        left: String,
        /// Right part.
        right: String,
        /// The part, or the whole, that is missing.
        missing: String,
    },
    /// A merge in the old form that is not two words.
    #[error("merge {rank} is {found:?}, expected two tokens with a space between them")]
    MergeText {
        /// Place of the merge.
        rank: usize,
        /// Its text.
        found: String,
    },
    /// An added token cannot have the id that the file gives it.
    #[error("added token {token:?} has id {id} in the file but {found:?} in use; its vocabulary is incomplete")]
    AddedToken {
        /// The token.
        token: String,
        /// Id in the file.
        id: u32,
        /// Id in use.
        found: Option<u32>,
    },
    /// The library panicked.
    #[error("the tokenizer library failed on this file or text")]
    Panicked,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    vocab: serde_json::Value,
    #[serde(default)]
    merges: Merges,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Merges {
    #[default]
    None,
    Pairs(Vec<(String, String)>),
    Lines(Vec<String>),
    Other(serde::de::IgnoredAny),
}

/// Reads a `tokenizer.json` through the library, after and before checks of our own.
pub fn read(path: &Path, json: &[u8]) -> Result<Tokenizer, LoadError> {
    let fault = |fault: TokenizerFault| LoadError::Tokenizer { path: path.into(), source: fault.into() };
    let file: File = match serde_json::from_slice(json) {
        Ok(file) => file,
        Err(error) => return Err(LoadError::Tokenizer { path: path.into(), source: error.into() }),
    };
    check_merges(&file.model).map_err(fault)?;
    let tokenizer = guard(path, || Tokenizer::from_bytes(json))?;
    for AddedToken { id, content } in file.added_tokens {
        let found = tokenizer.token_to_id(&content);
        if found != Some(id) && !content.is_empty() {
            return Err(fault(TokenizerFault::AddedToken { token: shorten(&content), id, found }));
        }
    }
    Ok(tokenizer)
}

/// Runs the library; a panic becomes an error.
pub fn guard<T>(path: &Path, run: impl FnOnce() -> Result<T, tokenizers::Error>) -> Result<T, LoadError> {
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(TokenizerFault::Panicked.into()));
    result.map_err(|source| LoadError::Tokenizer { path: path.into(), source })
}

/// Checks that the parts of every merge, and what they make, are tokens.
fn check_merges(model: &Model) -> Result<(), TokenizerFault> {
    let is_bpe = model.kind.as_deref().is_none_or(|kind| kind == "BPE");
    let Some(vocab) = model.vocab.as_object().filter(|_| is_bpe) else { return Ok(()) };
    let vocab: HashMap<&str, ()> = vocab.keys().map(|key| (key.as_str(), ())).collect();
    let prefix = model.continuing_subword_prefix.as_deref().unwrap_or("");
    let mut joined = String::new();
    let mut check = |rank: usize, left: &str, right: &str| {
        let missing = |missing: &str| TokenizerFault::Merge {
            rank,
            left: shorten(left),
            right: shorten(right),
            missing: shorten(missing),
        };
        for part in [left, right] {
            if !vocab.contains_key(part) {
                return Err(missing(part));
            }
        }
        // the library cuts as many bytes as the prefix has, whatever they are
        let Some(tail) = right.get(prefix.len()..) else { return Err(missing(prefix)) };
        joined.clear();
        joined.push_str(left);
        joined.push_str(tail);
        if vocab.contains_key(joined.as_str()) { Ok(()) } else { Err(missing(&joined)) }
    };
    match &model.merges {
        Merges::Pairs(pairs) => pairs.iter().enumerate().try_for_each(|(rank, (left, right))| check(rank, left, right)),
        Merges::Lines(lines) => lines.iter().filter(|line| !line.starts_with("#version")).enumerate().try_for_each(
            |(rank, line)| match line.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => check(rank, left, right),
                _ => Err(TokenizerFault::MergeText { rank, found: shorten(line) }),
            },
        ),
        Merges::None | Merges::Other(_) => Ok(()), // the library refuses these itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Option<String> {
        match read(Path::new("t"), json.as_bytes()) {
            Err(LoadError::Tokenizer { source, .. }) => {
                assert_ne!(source.downcast_ref(), Some(&TokenizerFault::Panicked), "{json}");
                Some(source.to_string())
            }
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn merges_that_would_panic_are_errors() {
        let bpe = |rest: &str| {
            format!(r#"{{"version": "1.0", "model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 2}}, {rest}}}}}"#)
        };
        assert_eq!(fault(&bpe(r#""merges": [["a", "b"]]"#)), None);
        assert_eq!(fault(&bpe(r#""merges": ["a b"]"#)), None);
        assert!(fault(&bpe(r#""merges": [["ab", "b"]]"#)).unwrap().contains("\"abb\" is no token"));
        assert!(fault(&bpe(r#""merges": ["a c"]"#)).unwrap().contains("\"c\" is no token"));
        assert!(fault(&bpe(r#""merges": ["ab"]"#)).unwrap().contains("expected two tokens"));
        assert!(fault(&bpe(r#""merges": ["a b"], "continuing_subword_prefix": "long""#)).is_some());
        assert!(fault(&bpe(r#""merges": 7"#)).is_some());
        assert!(fault("{}").is_some());
        assert!(fault("\u{0}").is_some());
    }

    #[test]
    fn added_tokens_keep_their_ids() {
        let with = |id: u32| {
            let token = r#""content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true"#;
            let added = format!(r#"[{{"id": {id}, {token}}}]"#);
            fault(&format!(
                r#"{{"version": "1.0", "added_tokens": {added}, "model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1}}, "merges": []}}}}"#
            ))
        };
        assert_eq!(with(2), None);
        assert!(with(5).unwrap().contains("id 5 in the file"));
    }
}
