//! Server-sent events, byte by byte.

use super::client::answer;
use super::server::{OPEN, Server, settings};
use host::serve::Settings;
use serde_json::{Value, json};
use std::time::Duration;

const PROMPT: &str = "Once upon a time";

/// Replaces what differs between two answers.
fn normal(data: &str) -> String {
    let mut value: Value = serde_json::from_str(data).unwrap();
    for name in ["id", "created", "timings", "seed"] {
        value.as_object_mut().unwrap().shift_remove(name);
    }
    value.to_string()
}

#[test]
fn a_conversation_streams_as_openai_says() {
    let server = Server::scripted(settings(), " a b");
    let messages = json!([{"role": "user", "content": "x"}]);
    let ask = json!({"messages": messages, "max_tokens": 2, "stream": true, "temperature": 0,
        "stream_options": {"include_usage": true}});
    let stream = server.post("/v1/chat/completions", &ask).ok();
    assert!(stream.head.contains("content-type: text/event-stream"), "{}", stream.head);
    assert!(stream.body.ends_with("data: [DONE]\n\n") && stream.body.starts_with("data: {"), "{}", stream.body);
    let events = stream.events();
    let choice = |delta: &str, finish: &str| {
        format!(
            "{{\"object\":\"chat.completion.chunk\",\"model\":\"scripted\",\"choices\":[{{\"index\":0,\
             \"delta\":{delta},\"finish_reason\":{finish}}}]}}"
        )
    };
    assert_eq!(events.len(), 6, "{events:?}");
    assert_eq!(normal(events[0]), choice("{\"role\":\"assistant\",\"content\":\"\"}", "null"));
    let texts: Vec<String> = ["a", "b"].map(|text| choice(&format!("{{\"content\":\" {text}\"}}"), "null")).into();
    let found: Vec<String> = events[1..3].iter().map(|event| normal(event)).collect();
    assert!(found == texts || found == [texts[1].clone(), texts[0].clone()], "{found:?}");
    assert_eq!(normal(events[3]), choice("{}", "\"length\""));
    let usage: Value = serde_json::from_str(events[4]).unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(2)));
    assert_eq!(events[5], "[DONE]");
    let ids: Vec<Value> = events[..5].iter().map(|e| serde_json::from_str::<Value>(e).unwrap()["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.as_str().unwrap().starts_with("chatcmpl-")), "{ids:?}");
}

#[test]
fn pieces_make_the_whole_text() {
    let server = Server::shipped(settings());
    let mut ask = json!({"prompt": PROMPT, "max_tokens": 60, "seed": 5});
    let whole = server.post("/v1/completions", &ask).ok().json();
    ask["stream"] = true.into();
    let stream = server.post("/v1/completions", &ask).ok();
    assert_eq!(stream.streamed_text(), whole["choices"][0]["text"].as_str().unwrap());
    assert!(!stream.body.contains("role") && !stream.body.contains("\"usage\""), "{}", stream.body);
    assert!(stream.events().len() > 20);
}

#[test]
fn stop_strings_end_both_forms_alike() {
    let server = Server::scripted(settings(), " one two three");
    let mut ask = json!({"prompt": "x", "temperature": 0, "stop": ["two thr", "never"]});
    let whole = server.post("/v1/completions", &ask).ok().json();
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let text = whole["choices"][0]["text"].as_str().unwrap().to_string();
    assert!(text.ends_with("one ") && !text.contains("two thr"), "{text:?}");
    ask["stream"] = true.into();
    ask["stop"] = "two thr".into();
    assert_eq!(server.post("/v1/completions", &ask).ok().streamed_text(), text);
}

/// Characters of several tokens come as a whole.
#[test]
fn characters_are_never_split() {
    let server = Server::scripted(settings(), "é🙂ß漢");
    let ask = json!({"prompt": "x", "temperature": 0, "max_tokens": 60, "stream": true});
    let stream = server.post("/v1/completions", &ask).ok();
    let text = stream.streamed_text();
    let inner = text.trim_matches('\u{fffd}');
    assert!(inner.contains("🙂ß漢é🙂") && !inner.contains('\u{fffd}'), "{text:?}");
}

#[test]
fn silence_is_filled_with_comments() {
    let quick = Settings { ping: Duration::from_millis(30), ..settings() };
    let server = Server::scripted(quick, " a b");
    server.gate.permit(0);
    let ask = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "stream": true});
    let mut stream = server.begin("/v1/chat/completions", &ask);
    std::thread::sleep(Duration::from_millis(150));
    server.gate.permit(OPEN);
    let stream = answer(&mut stream).ok();
    assert!(stream.body.matches("\n\n: ping\n\n").count() >= 2, "{}", stream.body);
    assert!(stream.body.ends_with("data: [DONE]\n\n") && stream.streamed_text().len() == 6, "{}", stream.body);
}

#[test]
fn a_text_that_takes_too_long_ends_with_an_error() {
    let short = Settings { deadline: Duration::from_millis(60), ..settings() };
    let server = Server::scripted(short, " a b");
    let mut ask = json!({"prompt": "x"});
    server.post("/v1/completions", &ask).fails(504, "generation_timeout");
    ask["stream"] = true.into();
    let stream = server.post("/v1/completions", &ask).ok();
    let last: Value = serde_json::from_str(stream.events().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "generation_timeout");
    assert!(!stream.body.contains("[DONE]"));
    server.until_metric("generations_total{end=\"timeout\"} 2");
}
