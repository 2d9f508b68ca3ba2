//! The tokenizer in GGUF metadata, as a `tokenizer.json`.
//!
//! `gpt2` is byte-level BPE: tokens and merges are given, the split into words is named by
//! `tokenizer.ggml.pre`. `llama` is SentencePiece's BPE: there are no merges, but scores. Its
//! algorithm joins, again and again, the neighbours whose joint piece has the highest score, the
//! leftmost first. Ordering all ways to cut a piece in two by the score of the piece gives merges
//! that make the same choices, which is also how the published `tokenizer.json` files were made.

use super::{config::CONTROL, metadata::Metadata};
use crate::load::{
    error::{LoadError, shorten},
    tokenizer::TokenizerSource,
    tokenizer_json::{guard, read},
};
use serde_json::{Value, json};
use spec::model::ModelConfig;
use std::collections::HashMap;

/// Kinds of tokens in `tokenizer.ggml.token_type`.
const NORMAL: f64 = 1.0;
const USER_DEFINED: f64 = 4.0;

const MODELS: &str = "gpt2 (byte-level BPE), llama (SentencePiece BPE)";
const SPLITS: &str = "default, gpt-2, llama-bpe, llama3, llama-v3, falcon3, falcon-h1, falcon, olmo, mpt";

/// The tokenizer of a file; `None` if it has none.
pub fn source(metadata: &Metadata, model: &ModelConfig) -> Result<Option<TokenizerSource>, LoadError> {
    const KEY: &str = "tokenizer.ggml.model";
    let Some(kind) = metadata.text(KEY)?.filter(|kind| !["none", "no_vocab"].contains(kind)) else { return Ok(None) };
    let list_key = "tokenizer.ggml.tokens";
    let tokens = metadata.texts(list_key)?.ok_or_else(|| metadata.missing(list_key, "the list of tokens"))?;
    let mut ids = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if ids.insert(token.as_str(), id).is_some() {
            return Err(LoadError::Duplicate { path: metadata.path.into(), kind: "token", name: shorten(token) });
        }
    }
    let kinds = metadata.numbers("tokenizer.ggml.token_type", tokens.len())?;
    let vocabulary = Vocabulary { tokens, ids, kinds };
    let (json, add_bos) = match kind {
        "gpt2" => byte_level(metadata, &vocabulary)?,
        "llama" => sentence_piece(metadata, &vocabulary)?,
        other => return Err(metadata.unsupported(KEY, other, MODELS)),
    };

    // through the library, which checks it, and writes it as it writes its own files
    let tokenizer = read(metadata.path, json.to_string().as_bytes())?;
    let json = guard(metadata.path, || tokenizer.to_string(false))?.into_bytes();
    let mut source = TokenizerSource::new(metadata.path.into(), json);
    let text = |id: u32| tokens.get(id as usize).cloned();
    source.bos = model.bos;
    source.bos_token = model.bos.and_then(text);
    source.eos_token = metadata.token("tokenizer.ggml.eos_token_id")?.and_then(text);
    source.stop = model.eos.clone();
    let add_bos = metadata.boolean("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos);
    source.add_bos = Some(add_bos && model.bos.is_some());
    source.templates = templates(metadata)?;
    Ok(Some(source))
}

struct Vocabulary<'a> {
    tokens: &'a [String],
    ids: HashMap<&'a str, usize>,
    kinds: Option<&'a [f64]>,
}

impl Vocabulary<'_> {
    fn kind(&self, id: usize) -> f64 {
        self.kinds.and_then(|kinds| kinds.get(id)).copied().unwrap_or(NORMAL)
    }

    fn json(&self) -> Value {
        self.tokens
            .iter()
            .zip(0..)
            .map(|(token, id)| (token.clone(), Value::from(id)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Tokens that are looked for in a text before it is split.
    fn added(&self) -> Value {
        let added = (0..self.tokens.len()).filter(|id| [CONTROL, USER_DEFINED].contains(&self.kind(*id)));
        let entry = |id| {
            json!({
                "id": id,
                "content": self.tokens[id],
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": self.kind(id) == CONTROL,
            })
        };
        added.filter(|id| !self.tokens[*id].is_empty()).map(entry).collect()
    }
}

/// The tokenizer, and whether texts begin with `bos` by default.
fn byte_level(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<(Value, bool), LoadError> {
    let pre = metadata.text("tokenizer.ggml.pre")?;
    // the first files of 2B-4T do not name it, but have the tokens of Llama 3
    let guess = if vocabulary.ids.contains_key("<|begin_of_text|>") { "llama-bpe" } else { "default" };
    let split = Split::named(pre.unwrap_or(guess));
    let split = split.ok_or_else(|| metadata.unsupported("tokenizer.ggml.pre", pre.unwrap_or(guess), SPLITS))?;
    let key = "tokenizer.ggml.merges";
    let lines = metadata.texts(key)?.ok_or_else(|| metadata.missing(key, "the list of merges"))?;
    let mut merges = Vec::with_capacity(lines.len());
    for line in lines {
        let parts = line.split_once(' ').filter(|(left, right)| !left.is_empty() && !right.is_empty());
        let Some((left, right)) = parts.filter(|(_, right)| !right.contains(' ')) else {
            return Err(LoadError::KeyValue {
                path: metadata.path.into(),
                key: key.into(),
                found: format!("{:?}", shorten(line)),
                expected: "two tokens with a space between them".into(),
            });
        };
        merges.push(json!([left, right]));
    }
    let mut steps: Vec<Value> = split.patterns.iter().map(|pattern| {
        json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
    }).collect();
    steps.push(byte_level_step());
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
        "post_processor": null,
        "decoder": byte_level_step(),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": split.whole_words,
            "vocab": vocabulary.json(),
            "merges": merges,
        },
    });
    Ok((json, split.whole_words))
}

fn byte_level_step() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false })
}

/// How a text is cut into words before BPE. Several patterns apply one after the other.
struct Split {
    patterns: &'static [&'static str],
    /// A word that is a token is taken as it is. Such models also begin texts with `bos`.
    whole_words: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";

impl Split {
    fn named(name: &str) -> Option<Self> {
        let (patterns, whole_words): (&[&str], bool) = match name {
            "gpt-2" | "olmo" | "mpt" => (&[GPT2], false),
            "default" => (&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", THREE_DIGITS], false),
            "falcon" => (&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, THREE_DIGITS], false),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" => (&[LLAMA3], true),
            _ => return None,
        };
        Some(Split { patterns, whole_words })
    }
}

/// The tokenizer, and whether texts begin with `bos` by default.
fn sentence_piece(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<(Value, bool), LoadError> {
    let key = "tokenizer.ggml.scores";
    let scores = metadata.numbers(key, vocabulary.tokens.len())?;
    let scores = scores.ok_or_else(|| metadata.missing(key, "a score for each token"))?;
    if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
        return Err(LoadError::KeyValue {
            path: metadata.path.into(),
            key: key.into(),
            found: score.to_string(),
            expected: "finite scores".into(),
        });
    }
    let prefix = metadata.boolean("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let has_byte = |byte: u8| vocabulary.ids.contains_key(format!("<0x{byte:02X}>").as_str());
    let byte_fallback = (0..=255).all(has_byte);
    let unknown = metadata.token("tokenizer.ggml.unknown_token_id")?.unwrap_or(0);
    let unknown = vocabulary.tokens.get(unknown as usize);

    let space = "\u{2581}";
    let mut normalizers = vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": space })];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": space }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": space }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": byte_fallback,
            "ignore_merges": false,
            "vocab": vocabulary.json(),
            "merges": merges(vocabulary, scores),
        },
    });
    Ok((json, true))
}

/// Longest piece that is cut: cuts grow with the square of its length.
const LONGEST_PIECE_BYTES: usize = 512;

/// All ways to cut a normal piece into two, best piece first; of one piece, longer left
/// parts first.
fn merges(vocabulary: &Vocabulary, scores: &[f64]) -> Vec<Value> {
    let normal = |id: usize| vocabulary.kind(id) == NORMAL;
    let part = |text: &str| vocabulary.ids.get(text).copied().filter(|id| normal(*id));
    let mut cuts = Vec::new();
    for (id, piece) in vocabulary.tokens.iter().enumerate() {
        if !normal(id) || piece.len() > LONGEST_PIECE_BYTES {
            continue;
        }
        let first = cuts.len();
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(left), Some(right)) = (part(left), part(right)) {
                cuts.push((scores[id], left, right));
            }
        }
        cuts[first..].sort_by_key(|&(_, left, right)| (left, right));
    }
    let length = |id: usize| vocabulary.tokens[id].chars().count();
    cuts.sort_by(|a, b| {
        let longer = || (length(b.1), length(b.2)).cmp(&(length(a.1), length(a.2)));
        b.0.total_cmp(&a.0).then_with(longer)
    });
    cuts.iter().map(|&(_, left, right)| json!([vocabulary.tokens[left], vocabulary.tokens[right]])).collect()
}

/// `tokenizer.chat_template`, and those listed by `tokenizer.chat_templates`.
fn templates(metadata: &Metadata) -> Result<Vec<(String, String)>, LoadError> {
    const KEY: &str = "tokenizer.chat_template";
    let mut templates = Vec::new();
    if let Some(source) = metadata.text(KEY)? {
        templates.push(("default".to_string(), source.to_string()));
    }
    for name in metadata.texts("tokenizer.chat_templates")?.unwrap_or_default() {
        if let Some(source) = metadata.text(&format!("{KEY}.{name}"))? {
            templates.push((name.clone(), source.into()));
        }
    }
    Ok(templates)
}
