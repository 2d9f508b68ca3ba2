//! Row 22: the device is lost while it generates, and comes back.

use super::client::answer;
use super::server::{Server, settings};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn ask(stream: bool) -> Value {
    json!({"prompt": "x", "temperature": 0, "stream": stream, "max_tokens": 6})
}

#[test]
fn row_22_a_lost_device_ends_the_stream_with_an_error_and_is_opened_again() {
    let server = Server::scripted(super::server::settings(), " a b");
    let golden = server.post("/v1/completions", &ask(false)).ok().json()["choices"][0]["text"].clone();
    let golden = golden.as_str().unwrap();
    let before = server.gate.passes.load(Ordering::SeqCst);
    server.gate.permit(3);
    let mut client = server.begin("/v1/completions", &ask(true));
    let mut waiting = {
        server.until("three passes", || server.gate.passes.load(Ordering::SeqCst) == before + 3);
        server.begin("/v1/completions", &ask(false))
    };
    server.until_metric("queue_length 1");
    server.gate.lost.store(true, Ordering::SeqCst);
    server.gate.permit(1 << 20);
    // what was said is the beginning of the right text, and the end is no good one
    let stream = answer(&mut client).ok();
    let last: Value = serde_json::from_str(stream.events().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "device_lost", "{last}");
    assert!(last["error"]["message"].as_str().unwrap().contains("the card was pulled"), "{last}");
    assert!(!stream.body.contains("[DONE]"), "{}", stream.body);
    let said: String = stream.events()[..stream.events().len() - 1]
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap()["choices"][0]["text"].as_str().unwrap().to_string())
        .collect();
    assert!(!said.is_empty() && golden.starts_with(&said), "{said:?} of {golden:?}");
    // who waited is told, and so is who comes now
    answer(&mut waiting).fails(503, "device_lost");
    let health = server.get("/health");
    assert_eq!(health.fails(503, "device_lost")["type"], "server_error");
    assert_eq!(health.json()["status"], "faulted");
    server.post("/v1/completions", &ask(true)).fails(503, "device_lost");
    server.post("/tokenize", &json!({"content": "x"})).ok();
    assert!(server.metric("device_errors_total 1") && server.metric("state{state=\"faulted\"} 1"));
    // it stays so until the device is there again
    server.until("attempts", || server.gate.opened.load(Ordering::SeqCst) >= 3);
    server.get("/health").fails(503, "device_lost");
    server.gate.lost.store(false, Ordering::SeqCst);
    server.until("ready again", || server.get("/health").status == 200);
    assert!(server.metric("device_resets_total 1"));
    assert_eq!(server.post("/v1/completions", &ask(false)).ok().json()["choices"][0]["text"], golden);
}

#[test]
fn row_22_a_device_lost_before_the_first_token_is_told_as_an_error() {
    let server = Server::scripted(settings(), " a b");
    server.gate.lost.store(true, Ordering::SeqCst);
    server.post("/v1/completions", &ask(false)).fails(503, "device_lost");
    server.gate.lost.store(false, Ordering::SeqCst);
    server.until("ready again", || server.get("/health").status == 200);
    server.post("/v1/completions", &ask(false)).ok();
    server.until_metric("generations_total{end=\"device_lost\"} 1");
}
