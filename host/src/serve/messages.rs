//! The messages of a conversation.

use super::error::ApiError;
use super::fields::Fields;
use super::model::ModelInfo;
use super::unsupported::is_empty;
use crate::load::chat::{ChatError, Message};
use serde_json::Value;

/// The messages of a conversation as one text.
pub fn chat_text(fields: Fields<'_>, model: &ModelInfo) -> Result<String, ApiError> {
    let messages = read_messages(fields)?;
    model.turns.text(&messages).map_err(|error| match error {
        ChatError::Render(_) | ChatError::Endless => ApiError::field("messages", error),
        error => ApiError::internal(error.to_string()),
    })
}

/// The messages of a request, checked.
pub fn read_messages(fields: Fields<'_>) -> Result<Vec<Message>, ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_texts_of_three_roles() {
        let read = |value: Value| read_messages(Fields(json!({ "messages": value }).as_object().unwrap()));
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
