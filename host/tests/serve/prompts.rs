//! Row 30: prompts that are too long, empty or no text, and limits beyond the context.

use super::client::{exchange, request};
use super::server::{Server, settings};
use serde_json::json;

#[test]
fn row_30_a_prompt_is_taken_whole_or_refused() {
    let server = Server::shipped(settings());
    let ids = |count: usize| json!({"prompt": vec![418; count], "temperature": 0, "ignore_eos": true});
    for tokens in [513, 5000] {
        let error = server.post("/v1/completions", &ids(tokens)).fails(400, "context_length_exceeded");
        assert!(error["message"].as_str().unwrap().contains("512"), "{error}");
    }
    let long = json!({"messages": [{"role": "user", "content": "the fox ".repeat(400)}], "stream": true});
    server.post("/v1/chat/completions", &long).fails(400, "context_length_exceeded");
    // nothing was computed for them
    assert!(server.metric("prompt_tokens_total 0"));
    // one that fits exactly yields the one token that follows
    let full = server.post("/v1/completions", &ids(512)).ok().json();
    assert_eq!((&full["usage"]["prompt_tokens"], &full["usage"]["completion_tokens"]), (&json!(512), &json!(1)));
    assert_eq!(full["choices"][0]["finish_reason"], "length");
}

#[test]
fn row_30_a_full_context_ends_the_text() {
    let server = Server::shipped(settings());
    let mut ask = json!({"prompt": vec![418; 500], "temperature": 0, "ignore_eos": true, "max_tokens": 4294967296u64});
    let full = server.post("/v1/completions", &ask).ok().json();
    assert_eq!(full["choices"][0]["finish_reason"], "length");
    assert_eq!(full["usage"]["total_tokens"], 513);
    ask["max_tokens"] = 4294967297u64.into();
    server.post("/v1/completions", &ask).fails(400, "invalid_value");
}

#[test]
fn row_30_prompts_that_are_none() {
    let server = Server::shipped(settings());
    server.post("/v1/completions", &json!({"prompt": []})).fails(400, "empty_prompt");
    server.post("/v1/completions", &json!({})).fails(400, "invalid_value");
    server.post("/v1/completions", &json!({"prompt": null})).fails(400, "invalid_value");
    let raw = |body: &[u8]| exchange(server.address, &request("POST", "/v1/completions", "", body));
    raw(b"{\"prompt\": \"\xff\xfe\"}").fails(400, "invalid_json");
    raw(b"{\"prompt\": \"\\ud800\"}").fails(400, "invalid_json");
    raw(b"").fails(400, "invalid_json");
    // an empty text still begins with the token that begins a text
    let empty = server.post("/v1/completions", &json!({"prompt": "", "max_tokens": 1})).ok().json();
    assert_eq!(empty["usage"]["prompt_tokens"], 1);
}
