//! What clients ask for: the fields of a request, checked before anything is computed.

use super::error::ApiError;
use super::fields::{Fields, token_ids};
use super::model::ModelInfo;
use crate::generate::SamplerSettings;
use crate::load::chat::{ChatError, Message};
use crate::load::turns::Turns;
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};

/// Most stop strings, and bytes in one.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;

/// The endpoint, which decides the form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// One text to generate.
#[derive(Clone, Debug)]
pub struct Ask {
    /// All tokens before the first new one.
    pub prompt: Vec<u32>,
    /// Whether the text goes on from the prompt's, rather than being a turn of its own.
    pub continues: bool,
    /// How tokens are chosen.
    pub sampler: SamplerSettings,
    /// Most new tokens.
    pub limit: usize,
    /// Texts that end the answer and are not part of it.
    pub stops: Vec<String>,
    /// Tokens that end the answer.
    pub ends: Vec<u32>,
    /// Tokens that are never chosen.
    pub banned: Vec<u32>,
    /// Whether keys and values of the last request may be used again.
    pub reuse: bool,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// Whether a stream ends with the numbers of tokens.
    pub include_usage: bool,
}

/// A field that would change the answer and is not supported, with the test of whether its value asks for nothing.
type Unsupported = (&'static str, fn(&Value) -> bool);

fn is_false(value: &Value) -> bool {
    *value == Value::Bool(false)
}

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn is_text_format(value: &Value) -> bool {
    value["type"] == "text"
}

fn is_text_modality(value: &Value) -> bool {
    value.as_array().is_some_and(|all| all.iter().all(|one| one == "text"))
}

fn is_no_tool(value: &Value) -> bool {
    value == "none" || value == "auto"
}

const UNSUPPORTED: &[Unsupported] = &[
    ("n", is_one),
    ("best_of", is_one),
    ("echo", is_false),
    ("suffix", is_empty),
    ("logprobs", is_false),
    ("top_logprobs", is_zero),
    ("n_probs", is_zero),
    ("logit_bias", is_empty),
    ("presence_penalty", is_zero),
    ("frequency_penalty", is_zero),
    ("tools", is_empty),
    ("tool_choice", is_no_tool),
    ("functions", is_empty),
    ("function_call", is_no_tool),
    ("response_format", is_text_format),
    ("modalities", is_text_modality),
    ("audio", is_empty),
    ("grammar", is_empty),
    ("json_schema", is_empty),
    ("mirostat", is_zero),
    ("typical_p", is_one),
    ("dynatemp_range", is_zero),
    ("dry_multiplier", is_zero),
    ("xtc_probability", is_zero),
];

/// Refuses what would silently be something else.
fn supported(fields: Fields<'_>) -> Result<(), ApiError> {
    let wanted = |(name, harmless): &&Unsupported| fields.get(name).is_some_and(|value| !harmless(value));
    match UNSUPPORTED.iter().find(wanted) {
        Some((name, _)) => {
            let mut error = ApiError::field(name, "not supported by this server; leave it out");
            error.code = "unsupported_parameter";
            Err(error)
        }
        None => Ok(()),
    }
}

impl Ask {
    /// Reads a request for one answer and makes tokens of its prompt.
    pub fn read(form: Form, fields: Fields<'_>, model: &ModelInfo) -> Result<Ask, ApiError> {
        supported(fields)?;
        let sampler = sampler(fields)?;
        let limit = fields.integer("max_tokens", 1..=1 << 32)?;
        let limit = fields.integer("max_completion_tokens", 1..=1 << 32)?.or(limit);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let stops = stops(fields)?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let include_usage = match fields.get("stream_options") {
            None => false,
            Some(Value::Object(options)) => Fields(options).flag("include_usage")?.unwrap_or(false),
            Some(_) => return Err(ApiError::field("stream_options", "expected an object")),
        };
        let reuse = fields.flag("cache_prompt")?.unwrap_or(true);
        let ignore_eos = fields.flag("ignore_eos")?.unwrap_or(false);
        let ends = match form {
            Form::Chat => model.turns.ends(&model.tokenizer),
            Form::Text => model.tokenizer.stop_ids().to_vec(),
        };
        let (ends, banned) = if ignore_eos { (Vec::new(), ends) } else { (ends, Vec::new()) };
        let (prompt, continues) = match form {
            Form::Chat => {
                let text = chat_text(fields, model)?;
                (encode(model, &text, true)?, matches!(model.turns, Turns::Plain))
            }
            Form::Text => (prompt(fields, model)?, true),
        };
        fits(&prompt, model)?;
        Ok(Ask { prompt, continues, sampler, limit, stops, ends, banned, reuse, stream, include_usage })
    }
}

fn sampler(fields: Fields<'_>) -> Result<SamplerSettings, ApiError> {
    let default = SamplerSettings::default();
    let seed = match fields.integer("seed", -1..=i64::MAX)? {
        None | Some(-1) => RandomState::new().hash_one(0) >> 32,
        Some(seed) => seed.unsigned_abs(),
    };
    let repeat_last_n = match fields.integer("repeat_last_n", -1..=1 << 31)? {
        None => default.repeat_last_n,
        Some(n) => usize::try_from(n).ok(),
    };
    let top_k = fields.integer("top_k", 0..=1 << 31)?.and_then(|k| usize::try_from(k).ok());
    let settings = SamplerSettings {
        temperature: fields.number("temperature", 0.0..=100.0)?.unwrap_or(default.temperature),
        top_k: top_k.unwrap_or(default.top_k),
        top_p: fields.number("top_p", 1e-6..=1.0)?.unwrap_or(default.top_p),
        min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(default.min_p),
        repeat_penalty: fields.number("repeat_penalty", 0.01..=100.0)?.unwrap_or(default.repeat_penalty),
        repeat_last_n,
        seed,
    };
    settings.validate().map_err(|error| ApiError::bad("invalid_value", error.to_string()))?;
    Ok(settings)
}

fn stops(fields: Fields<'_>) -> Result<Vec<String>, ApiError> {
    let wrong = || {
        let text = format!("expected a string or up to {MAX_STOPS} strings of at most {MAX_STOP_BYTES} bytes");
        ApiError::field("stop", text)
    };
    let one = |value: &Value| value.as_str().filter(|s| s.len() <= MAX_STOP_BYTES).map(String::from).ok_or_else(wrong);
    match fields.get("stop") {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) if values.len() <= MAX_STOPS => values.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}

/// The prompt of a completion: a text or token ids.
fn prompt(fields: Fields<'_>, model: &ModelInfo) -> Result<Vec<u32>, ApiError> {
    match fields.need("prompt")? {
        Value::String(text) => encode(model, text, true),
        Value::Array(ids) if ids.iter().all(Value::is_number) => token_ids("prompt", ids, model.tokenizer.vocab()),
        _ => Err(ApiError::field("prompt", "expected one string, or the token ids of one prompt")),
    }
}

/// The messages of a conversation as one text.
pub fn chat_text(fields: Fields<'_>, model: &ModelInfo) -> Result<String, ApiError> {
    let messages = messages(fields)?;
    model.turns.text(&messages).map_err(|error| match error {
        ChatError::Render(_) | ChatError::Endless => ApiError::field("messages", error),
        error => ApiError::internal(error.to_string()),
    })
}

fn messages(fields: Fields<'_>) -> Result<Vec<Message>, ApiError> {
    let wrong = |text: &str| ApiError::field("messages", text);
    let all = fields.need("messages")?.as_array().filter(|all| !all.is_empty());
    let all = all.ok_or_else(|| wrong("expected an array with at least one message"))?;
    let message = |value: &Value| {
        let role = match value["role"].as_str() {
            Some("developer") => "system",
            Some(role @ ("system" | "user" | "assistant")) => role,
            _ => return Err(wrong("expected the role of every message to be system, user or assistant")),
        };
        if value.get("tool_calls").is_some_and(|calls| !calls.is_null() && !is_empty(calls)) {
            return Err(wrong("tool_calls are not supported by this server"));
        }
        let content = match &value["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let text = |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(String::from);
                let parts: Option<Vec<String>> = parts.iter().map(text).collect();
                parts.ok_or_else(|| wrong("only parts of type text are supported"))?.join("\n")
            }
            _ => return Err(wrong("expected the content of every message to be a string")),
        };
        Ok(Message::new(role, content))
    };
    all.iter().map(message).collect()
}

/// Token ids of a text.
pub fn encode(model: &ModelInfo, text: &str, with_special: bool) -> Result<Vec<u32>, ApiError> {
    model.tokenizer.encode(text, with_special).map_err(|error| ApiError::internal(error.to_string()))
}

/// A prompt is taken as a whole or not at all.
fn fits(prompt: &[u32], model: &ModelInfo) -> Result<(), ApiError> {
    if prompt.is_empty() {
        return Err(ApiError::bad("empty_prompt", "the prompt has no tokens; give some text or token ids"));
    }
    let (tokens, context) = (prompt.len(), model.context);
    if tokens > context {
        let text = format!("the prompt has {tokens} tokens, {context} fit into the context; make it shorter");
        return Err(ApiError::bad("context_length_exceeded", text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_would_change_the_answer_is_refused_by_name() {
        let refused = |object: Value| supported(Fields(object.as_object().unwrap())).err().and_then(|e| e.param);
        for (name, value) in [
            ("n", json!(2)),
            ("logprobs", json!(true)),
            ("logprobs", json!(0)),
            ("tools", json!([{}])),
            ("tool_choice", json!("required")),
            ("response_format", json!({"type": "json_object"})),
            ("modalities", json!(["text", "audio"])),
            ("suffix", json!("x")),
            ("presence_penalty", json!(0.5)),
            ("logit_bias", json!({"1": 2})),
            ("grammar", json!("root ::= x")),
        ] {
            assert_eq!(refused(json!({ name: value })).as_deref(), Some(name), "{value}");
        }
        let harmless = json!({
            "n": 1, "logprobs": false, "tools": [], "tool_choice": "auto", "response_format": {"type": "text"},
            "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": null, "echo": false, "user": "me", "new": 1,
        });
        assert_eq!(refused(harmless), None);
    }

    #[test]
    fn stops_are_few_and_short() {
        let read = |value: Value| stops(Fields(json!({ "stop": value }).as_object().unwrap()));
        assert_eq!(read(json!("a")).unwrap(), ["a"]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert!(read(Value::Null).unwrap().is_empty());
        for bad in [json!(1), json!([1]), json!(vec!["x"; 17]), json!("x".repeat(1025))] {
            assert_eq!(read(bad).unwrap_err().param.as_deref(), Some("stop"));
        }
    }

    #[test]
    fn settings_have_ranges() {
        let read = |name: &str, value: Value| sampler(Fields(json!({ name: value }).as_object().unwrap()));
        for (name, bad) in [
            ("temperature", json!(-0.1)),
            ("temperature", json!(1e300)),
            ("top_p", json!(0)),
            ("top_p", json!(1.5)),
            ("min_p", json!(-1)),
            ("top_k", json!(-1)),
            ("top_k", json!(1e300)),
            ("repeat_penalty", json!(0)),
            ("seed", json!(-2)),
            ("seed", json!("1")),
            ("repeat_last_n", json!(-2)),
        ] {
            assert_eq!(read(name, bad.clone()).unwrap_err().param.as_deref(), Some(name), "{bad}");
        }
        assert_eq!(read("seed", json!(7)).unwrap().seed, 7);
        assert_eq!(read("repeat_last_n", json!(-1)).unwrap().repeat_last_n, None);
        assert_eq!(read("top_k", json!(0)).unwrap().top_k, 0);
    }

    #[test]
    fn messages_are_texts_of_three_roles() {
        let read = |value: Value| messages(Fields(json!({ "messages": value }).as_object().unwrap()));
        let good = read(json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ]));
        assert_eq!(good.unwrap(), [Message::new("system", "Be brief."), Message::new("user", "a\nb")]);
        for bad in [
            json!([]),
            json!("x"),
            json!([1]),
            json!([{"role": "tool", "content": "x"}]),
            json!([{"role": "user"}]),
            json!([{"role": "user", "content": [{"type": "image_url"}]}]),
            json!([{"role": "assistant", "content": "x", "tool_calls": [{}]}]),
        ] {
            assert_eq!(read(bad.clone()).unwrap_err().param.as_deref(), Some("messages"), "{bad}");
        }
    }
}
