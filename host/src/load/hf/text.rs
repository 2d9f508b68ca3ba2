//! Tokenizer and chat templates of a Hugging Face folder.

use super::files::{MAX_TEXT_BYTES, read_optional};
use crate::load::{
    error::LoadError,
    json::{Object, parse_object},
    tokenizer::{MAX_TOKENIZER_BYTES, TokenizerSource},
};
use serde_json::{Map, Value};
use spec::model::ModelConfig;
use std::path::Path;

/// The tokenizer of a folder; `None` without `tokenizer.json`.
pub fn tokenizer(dir: &Path, model: &ModelConfig) -> Result<Option<TokenizerSource>, LoadError> {
    let path = dir.join("tokenizer.json");
    let Some(json) = read_optional(&path, MAX_TOKENIZER_BYTES)? else { return Ok(None) };
    let mut source = TokenizerSource::new(path, json);
    source.bos = model.bos;
    source.stop = model.eos.clone();
    let special = dir.join("special_tokens_map.json");
    if let Some(text) = read_optional(&special, MAX_TEXT_BYTES)? {
        let map = parse_object(&special, &text)?;
        let object = Object { path: &special, prefix: "", map: &map };
        source.bos_token = token_text(&object, "bos_token")?;
        source.eos_token = token_text(&object, "eos_token")?;
    }
    let config = dir.join("tokenizer_config.json");
    if let Some(text) = read_optional(&config, MAX_TEXT_BYTES)? {
        let map = parse_object(&config, &text)?;
        let object = Object { path: &config, prefix: "", map: &map };
        source.bos_token = token_text(&object, "bos_token")?.or(source.bos_token);
        source.eos_token = token_text(&object, "eos_token")?.or(source.eos_token);
        source.add_bos = object.boolean("add_bos_token")?;
        source.templates = templates(&object)?;
    }
    // newer transformers write the template to a file of its own, which then counts
    let path = dir.join("chat_template.jinja");
    if let Some(text) = read_optional(&path, MAX_TEXT_BYTES)? {
        let text = String::from_utf8(text).map_err(|error| LoadError::Utf8 {
            path: path.clone(),
            what: "the template".into(),
            offset: error.utf8_error().valid_up_to() as u64,
        })?;
        source.templates.retain(|(name, _)| name != "default");
        source.templates.insert(0, ("default".into(), text));
    }
    Ok(Some(source))
}

/// A special token: text, or an object with `content`.
fn token_text(object: &Object, key: &str) -> Result<Option<String>, LoadError> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
    match text {
        Some(text) => Ok(Some(text.into())),
        None => Err(object.wrong(key, value, "text, or an object with content")),
    }
}

/// `chat_template`: one template, or a list of `{name, template}`.
fn templates(object: &Object) -> Result<Vec<(String, String)>, LoadError> {
    const KEY: &str = "chat_template";
    let Some(value) = object.get(KEY) else { return Ok(Vec::new()) };
    if let Some(text) = value.as_str() {
        return Ok(vec![("default".into(), text.into())]);
    }
    let pair = |entry: &Map<String, Value>| {
        let text = |key| entry.get(key).and_then(Value::as_str).map(String::from);
        Some((text("name")?, text("template")?))
    };
    let list = value.as_array().and_then(|list| list.iter().map(|entry| pair(entry.as_object()?)).collect());
    list.ok_or_else(|| object.wrong(KEY, value, "a template, or a list of objects with name and template"))
}
