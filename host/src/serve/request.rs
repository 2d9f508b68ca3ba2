//! What clients ask for: the fields of a request, checked before anything is computed.

use super::error::ApiError;
use super::fields::{Fields, token_ids};
use super::messages::chat_text;
use super::model::ModelInfo;
use super::unsupported::supported;
use crate::generate::SamplerSettings;
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
    use super::super::messages::read_messages;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let name = prop_oneof![Just("role".to_string()), Just("content".into()), Just("type".into()), ".{0,4}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..4).prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the fields hold, they are read or refused; what is read keeps to the sampler's rules.
        #[test]
        fn any_values_are_read_or_refused(values in prop::collection::vec(value(), 11)) {
            let names = ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n", "seed", "stop",
                "n", "logit_bias", "messages"];
            for (name, value) in names.iter().zip(values) {
                let object = json!({ *name: value });
                let fields = Fields(object.as_object().unwrap());
                let _ = (supported(fields), stops(fields), read_messages(fields));
                if let Ok(settings) = sampler(fields) {
                    prop_assert!(settings.validate().is_ok());
                }
            }
        }
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
}
