//! For tests: a byte-level tokenizer of 320 tokens in the pattern of Llama 3's, as `tokenizer.json`
//! and as GGUF metadata.
//!
//! Ids: 0 `<|pad|>`, 1 `<|begin_of_text|>`, 2 `<|end_of_text|>`, 3 `<|eot_id|>`, 4 to 259 the bytes,
//! from 260 merged pieces.

use serde_json::{Value, json};

/// Special tokens, ids 0 to 3.
pub const SPECIAL: [&str; 4] = ["<|pad|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"];

/// Pieces, each made of two earlier ones.
const MERGES: [(&str, &str); 16] = [
    ("h", "e"),
    ("l", "l"),
    ("ll", "o"),
    ("he", "llo"),
    ("\u{120}", "w"),
    ("o", "r"),
    ("\u{120}w", "or"),
    ("l", "d"),
    ("\u{120}wor", "ld"),
    ("t", "h"),
    ("th", "e"),
    ("\u{120}", "the"),
    ("1", "2"),
    ("12", "3"),
    ("\u{120}", "t"),
    ("i", "n"),
];

/// The split of words in Llama 3's tokenizer.
const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// GPT-2's letters for bytes: printable ones stand for themselves, the others for letters from 256.
pub fn byte_letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let letter = |byte: u32| {
        let code = if printable(byte) { byte } else { next };
        next += u32::from(!printable(byte));
        char::from_u32(code).expect("a letter")
    };
    (0..256).map(letter).collect()
}

/// All tokens by id, without the special ones' difference.
pub fn tokens() -> Vec<String> {
    let special = SPECIAL.iter().map(|token| token.to_string());
    let bytes = byte_letters().into_iter().map(String::from);
    let merged = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
    special.chain(bytes).chain(merged).collect()
}

/// Merges, best first, as GGUF writes them.
pub fn merges() -> Vec<String> {
    MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect()
}

/// `tokenizer.json`, with a post-processor that puts the beginning-of-text token in front.
pub fn tokenizer_json() -> String {
    let all = tokens();
    let vocab: serde_json::Map<String, Value> =
        all.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let added = SPECIAL.iter().enumerate().map(|(id, token)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let bos = json!({ "SpecialToken": { "id": SPECIAL[1], "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let second = json!({ "Sequence": { "id": "B", "type_id": 1 } });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": SPLIT }, "behavior": "Isolated", "invert": false },
            byte_level.clone(),
        ] },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, second],
            "special_tokens": { SPECIAL[1]: { "id": SPECIAL[1], "ids": [1], "tokens": [SPECIAL[1]] } },
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": vocab, "merges": merges(),
        },
    })
    .to_string()
}

/// `tokenizer_config.json` with two named templates.
pub fn tokenizer_config() -> Value {
    json!({
        "bos_token": SPECIAL[1],
        "eos_token": { "content": SPECIAL[2], "special": true },
        "chat_template": [
            { "name": "default", "template": "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}<|eot_id|>{% endfor %}" },
            { "name": "plain", "template": "{{ bos_token }}{{ messages[-1].content }}" },
        ],
    })
}

/// A SentencePiece vocabulary: `(piece, score, type)`; ids 0 to 2 special, 3 to 258 bytes.
pub fn sentence_pieces() -> Vec<(String, f32, i32)> {
    let mut pieces = vec![("<unk>".to_string(), 0.0, 2), ("<s>".to_string(), 0.0, 3), ("</s>".to_string(), 0.0, 3)];
    pieces.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    let merged =
        ["\u{2581}t", "he", "\u{2581}the", "in", "\u{2581}h", "\u{2581}he", "ll", "llo", "\u{2581}hello", "or", "ro"];
    let letters = ["\u{2581}", "t", "h", "e", "i", "n", "l", "o", "r", "w", "d", "."];
    pieces
        .extend(merged.iter().chain(&letters).enumerate().map(|(rank, piece)| (piece.to_string(), -(rank as f32), 1)));
    pieces
}
