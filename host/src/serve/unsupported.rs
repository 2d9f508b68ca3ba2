//! Fields of OpenAI's API and of llama-server that would change the answer and that this server does not know. They are
//! refused by name, unless their value asks for nothing.

use super::error::ApiError;
use super::fields::Fields;
use serde_json::Value;

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

/// Whether a list, an object or a text has nothing in it.
pub fn is_empty(value: &Value) -> bool {
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
pub fn supported(fields: Fields<'_>) -> Result<(), ApiError> {
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
}
