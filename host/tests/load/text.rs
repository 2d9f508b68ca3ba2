//! Tokenizers and chat templates of loaded models.

use crate::load;
use host::load::{
    LoadError, LoadOptions, NoProgress, Tokenizer,
    chat::{ChatTemplate, Message},
    gguf::load_bytes,
    testkit::{
        Tiny,
        gguf::{self, Builder, Ternary},
        hf::{Family, config, write, write_parts},
        text,
    },
};
use std::{fs, path::Path};
use tempfile::tempdir;

const TEXTS: [&str; 8] = [
    "hello world",
    "the 12345 others' hello\n\n  there",
    " leading and trailing ",
    "é€🎉 naïve",
    "<|begin_of_text|>written out<|eot_id|>",
    "tabs\tand\r\nlines",
    "",
    "HELLO'LL we'll",
];

fn from_gguf(add: impl Fn(&mut Builder)) -> Tokenizer {
    let mut file = gguf::model(&Tiny::new(20, true), "bitnet-b1.58", Ternary::I2S);
    add(&mut file);
    let model = load_bytes(Path::new("m.gguf"), file.build().into(), &LoadOptions::default(), &NoProgress).unwrap();
    model.tokenizer(Path::new("m.gguf")).unwrap()
}

fn from_folder() -> Tokenizer {
    let dir = tempdir().unwrap();
    write(dir.path(), &Tiny::new(20, true), Family::BitnetPacked);
    load(dir.path()).unwrap().tokenizer(dir.path()).unwrap()
}

#[test]
fn gguf_and_folder_tokenize_alike() {
    let (a, b) = (from_folder(), from_gguf(gguf::add_tokenizer));
    for text in TEXTS {
        for special in [false, true] {
            let ids = a.encode(text, special).unwrap();
            assert_eq!(ids, b.encode(text, special).unwrap(), "{text:?}");
            assert_eq!(a.decode(&ids).unwrap(), b.decode(&ids).unwrap());
        }
        let ids = a.encode(text, false).unwrap();
        assert_eq!(a.decode(&ids).unwrap(), text.replace("<|begin_of_text|>", "").replace("<|eot_id|>", ""));
    }
    assert_eq!((a.bos(), a.bos_token(), a.eos_token()), (Some(1), Some("<|begin_of_text|>"), Some("<|end_of_text|>")));
    assert_eq!((b.bos(), b.bos_token(), b.eos_token()), (Some(1), Some("<|begin_of_text|>"), Some("<|end_of_text|>")));
    assert_eq!((a.stop_ids(), b.stop_ids()), ([2, 3].as_slice(), [2, 3].as_slice()));
    let hello = a.encode("hello world", false).unwrap();
    assert_eq!(hello.iter().map(|id| a.id_to_token(*id).unwrap()).collect::<Vec<_>>(), ["hello", "\u{120}world"]);
}

#[test]
fn the_beginning_is_there_once() {
    for tokenizer in [from_folder(), from_gguf(gguf::add_tokenizer)] {
        let written = tokenizer.encode("<|begin_of_text|>hello", true).unwrap();
        assert_eq!(written, tokenizer.encode("hello", true).unwrap());
        assert_eq!(written[0], 1);
        assert_ne!(written[1], 1);
        assert_ne!(tokenizer.encode("hello", false).unwrap()[0], 1);
    }
    let without = from_gguf(|file| {
        gguf::add_tokenizer(file);
        file.raw("tokenizer.ggml.add_bos_token", 7, &[0]);
    });
    assert_ne!(without.encode("hello", true).unwrap()[0], 1);
}

#[test]
fn streams_never_split_a_character() {
    let tokenizer = from_folder();
    let text = "naïve 🎉🎉 hello world €";
    let ids = tokenizer.encode(text, false).unwrap();
    let mut stream = tokenizer.stream();
    let mut pieces: Vec<String> = Vec::new();
    for id in &ids {
        pieces.extend(stream.push(*id).unwrap());
    }
    assert_eq!(stream.flush().unwrap(), None);
    assert_eq!(pieces.concat(), text);
    assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
    assert!(pieces.len() > 8);
    // half of a character, then the end
    assert_eq!(stream.push(ids[2]).unwrap(), None);
    assert_eq!(stream.flush().unwrap().as_deref(), Some("\u{fffd}"));
    // bytes that never make a character do not block the stream
    let continuation = tokenizer.token_to_id(&text::byte_letters()[0x80].to_string()).unwrap();
    let mut stream = tokenizer.stream();
    let out: Vec<String> = (0..20).filter_map(|_| stream.push(continuation).unwrap()).collect();
    assert!(!out.is_empty());
    // special tokens have no text
    assert_eq!(tokenizer.stream().push(3).unwrap(), None);
}

#[test]
fn streams_after_a_prompt_keep_the_space() {
    let tokenizer = from_gguf(gguf::add_sentence_pieces);
    let ids = tokenizer.encode("hello the", false).unwrap();
    let split = ids.len() - 1;
    let mut fresh = tokenizer.stream();
    let mut after = tokenizer.stream_after(&ids[..split]);
    assert_eq!(fresh.push(ids[split]).unwrap().as_deref(), Some("the"));
    assert_eq!(after.push(ids[split]).unwrap().as_deref(), Some(" the"));
}

/// SentencePiece's own algorithm: join the neighbours whose piece scores best, leftmost first.
fn sentence_piece_reference(text: &str) -> Vec<String> {
    let pieces = text::sentence_pieces();
    let score = |piece: &str| pieces.iter().find(|p| p.0 == piece && p.2 == 1).map(|p| p.1);
    let text = format!(" {text}").replace(' ', "\u{2581}");
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for at in 0..parts.len().saturating_sub(1) {
            let Some(score) = score(&format!("{}{}", parts[at], parts[at + 1])) else { continue };
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, at));
            }
        }
        let Some((_, at)) = best else { break };
        let right = parts.remove(at + 1);
        parts[at] += &right;
    }
    let bytes = |part: String| match score(&part) {
        Some(_) => vec![part],
        None => part.bytes().map(|byte| format!("<0x{byte:02X}>")).collect(),
    };
    parts.into_iter().flat_map(bytes).collect()
}

#[test]
fn scores_become_merges() {
    let tokenizer = from_gguf(gguf::add_sentence_pieces);
    for text in [
        "the hello",
        "in the inn",
        "hello world.",
        "or theor llello",
        "oro roror",
        "he ello\u{e9}",
        "thhe hehe  the",
        "xyz",
    ] {
        let ids = tokenizer.encode(text, false).unwrap();
        let tokens: Vec<String> = ids.iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect();
        assert_eq!(tokens, sentence_piece_reference(text), "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    assert_eq!(tokenizer.encode("the", true).unwrap()[0], 1);
    assert_eq!(tokenizer.stop_ids(), [2]);
}

#[test]
fn templates_come_with_the_model() {
    let dir = tempdir().unwrap();
    write(dir.path(), &Tiny::new(20, true), Family::BitnetPacked);
    let source = load(dir.path()).unwrap().tokenizer.unwrap();
    let chat = [Message::new("user", " hello ")];
    let render =
        |name: Option<&str>| ChatTemplate::of(&source, name, "<|begin_of_text|>", "").unwrap().render(&chat, false);
    assert_eq!(render(None).unwrap(), "User: hello<|eot_id|>");
    assert_eq!(render(Some("plain")).unwrap(), "<|begin_of_text|> hello ");
    assert!(ChatTemplate::of(&source, Some("absent"), "", "").is_err());
    // both ways of writing the beginning encode alike
    let tokenizer = Tokenizer::new(&source, 320).unwrap();
    let plain = tokenizer.encode(&render(Some("plain")).unwrap(), true).unwrap();
    assert_eq!(plain, tokenizer.encode(" hello ", true).unwrap());
    // a file of its own wins
    fs::write(dir.path().join("chat_template.jinja"), "{{ messages | length }}").unwrap();
    let source = load(dir.path()).unwrap().tokenizer.unwrap();
    let template = ChatTemplate::of(&source, None, "", "").unwrap();
    assert_eq!(template.render(&chat, true).unwrap(), "1");
}

#[test]
fn wrong_tokenizers_are_errors() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(20, true);
    write(dir.path(), &tiny, Family::BitnetPacked);
    let put = |text: &str| fs::write(dir.path().join("tokenizer.json"), text).unwrap();
    let tokenizer = || load(dir.path()).unwrap().tokenizer(dir.path()).err().unwrap();
    put(r#"{"version": "1.0"}"#);
    assert!(matches!(tokenizer(), LoadError::Tokenizer { .. }));
    put(&text::tokenizer_json().replacen(r#""hello":"#, r#""goodbye":999,"hello":"#, 1));
    let error = tokenizer();
    assert!(matches!(error, LoadError::Vocabulary { id: 999, vocab: 320, .. }), "{error}");
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let error = tokenizer();
    assert!(matches!(error, LoadError::NoTokenizer { .. }));
    assert_eq!(error.exit_code(), 66);
    let mut json = config(&tiny, Family::BitnetPacked);
    json["eos_token_id"] = 320.into();
    write_parts(dir.path(), &json, &[]);
    assert!(matches!(load(dir.path()), Err(LoadError::Config { .. })));
}
