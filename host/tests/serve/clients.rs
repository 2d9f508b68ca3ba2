//! Row 32: clients that go away, or take nothing.

use super::client::{answer, parse};
use super::server::{OPEN, Server, settings, tokenizer};
use host::serve::Settings;
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn endless(stream: bool) -> Value {
    json!({"prompt": "x", "stream": stream, "temperature": 0})
}

/// Reads until the first event of a stream has come; returns what was read.
fn first_piece(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.windows(6).any(|bytes| bytes == b"data: ") {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..count]);
    }
    seen
}

/// The server works as if nothing had happened.
#[track_caller]
fn good(server: &Server) {
    let ask = json!({"prompt": "x", "max_tokens": 3, "temperature": 0});
    assert_eq!(server.post("/v1/completions", &ask).ok().json()["usage"]["completion_tokens"], 3);
}

#[test]
fn row_32_a_client_that_goes_away_stops_its_text_within_a_token() {
    let server = Server::scripted(settings(), " a b");
    for (number, streams) in [(1, true), (2, false)] {
        // the next pass waits at the gate while the client leaves
        let before = server.gate.passes.load(Ordering::SeqCst);
        server.gate.permit(3);
        let mut client = server.begin("/v1/completions", &endless(streams));
        if streams {
            first_piece(&mut client);
        }
        server.until("three passes", || server.gate.passes.load(Ordering::SeqCst) == before + 3);
        drop(client);
        server.until("the connection's end", || server.metric("connections 1"));
        server.gate.permit(OPEN);
        server.until_metric(&format!("generations_total{{end=\"cancelled\"}} {number}"));
        let passes = server.gate.passes.load(Ordering::SeqCst) - before;
        assert!(passes <= 4, "{passes} passes, of which 3 were for the client");
        good(&server);
    }
}

#[test]
fn row_32_a_client_that_goes_away_frees_its_place_in_the_queue() {
    let server = Server::scripted(Settings { queue: 1, ..settings() }, " a b");
    server.gate.permit(0);
    let first = server.begin("/v1/completions", &endless(true));
    server.until_metric("running 1");
    let second = server.begin("/v1/completions", &endless(false));
    server.until_metric("queue_length 1");
    server.post("/v1/completions", &endless(false)).fails(503, "queue_full");
    drop(second);
    server.until_metric("queue_length 0");
    drop(first);
    server.gate.permit(OPEN);
    server.until_metric("generations_total{end=\"cancelled\"} 2");
    good(&server);
}

#[test]
fn row_32_a_slow_reader_does_not_hold_the_engine() {
    let wait = Duration::from_millis(300);
    let server = Server::scripted(Settings { client_timeout: wait, ..settings() }, " a b");
    let client = server.begin("/v1/completions", &endless(true));
    server.until_metric("generations_total{end=\"cancelled\"} 1");
    server.until_metric("connections 1");
    // what was made for it fits into sockets, connection and channel
    let passes = server.gate.passes.load(Ordering::SeqCst);
    assert!(passes < 50_000, "{passes} tokens for a client that takes nothing");
    good(&server);
    drop(client);
}

#[test]
fn row_32_who_does_not_take_a_whole_answer_loses_the_connection() {
    let wait = Duration::from_millis(300);
    let server = Server::scripted(Settings { client_timeout: wait, ..settings() }, " a b");
    // more than all buffers on its way hold
    let word = tokenizer().encode(" frightened", false).unwrap()[0];
    let client = server.begin("/detokenize", &json!({"tokens": vec![word; 150_000]}));
    server.until_metric("connections 2");
    server.until_metric("connections 1");
    drop(client);
}

#[test]
fn row_32_a_reader_that_is_only_slow_gets_everything() {
    let server = Server::scripted(settings(), " a b");
    let mut ask = endless(true);
    ask["max_tokens"] = 5_000.into();
    let mut client = server.begin("/v1/completions", &ask);
    let mut bytes = first_piece(&mut client);
    std::thread::sleep(Duration::from_millis(400));
    client.read_to_end(&mut bytes).unwrap();
    let stream = parse(&bytes).ok();
    assert!(stream.body.ends_with("data: [DONE]\n\n"));
    assert_eq!(stream.events().len(), 5_000 + 2);
    server.until_metric("generations_total{end=\"length\"} 1");
}

#[test]
fn one_runs_a_few_wait_and_the_rest_are_told_to_come_back() {
    let server = Server::scripted(Settings { queue: 1, ..settings() }, " a b");
    server.gate.permit(0);
    let ask = json!({"prompt": "x", "max_tokens": 2});
    let mut first = server.begin("/v1/completions", &ask);
    server.until_metric("running 1");
    let mut second = server.begin("/v1/completions", &ask);
    server.until_metric("queue_length 1");
    let third = server.post("/v1/completions", &ask);
    third.fails(503, "queue_full");
    assert!(third.head.contains("retry-after: 1"), "{third:?}");
    assert!(server.metric("queue_full_total 1"));
    server.gate.permit(OPEN);
    answer(&mut first).ok();
    answer(&mut second).ok();
}

#[test]
fn a_server_that_stops_finishes_what_is_short() {
    let server = Server::scripted(Settings { grace: Duration::from_secs(20), ..settings() }, " a b");
    server.gate.permit(2);
    let mut running = server.begin("/v1/completions", &json!({"prompt": "x", "max_tokens": 4}));
    server.until("two passes", || server.gate.passes.load(Ordering::SeqCst) == 2);
    let mut waiting = server.begin("/v1/completions", &endless(true));
    server.until_metric("queue_length 1");
    server.stop();
    // who waits is told so at once
    let told = answer(&mut waiting);
    assert!(told.body.contains("shutting_down") && !told.body.contains("[DONE]"), "{told:?}");
    assert!(TcpStream::connect(server.address).is_err(), "no more connections");
    server.gate.permit(OPEN);
    assert_eq!(answer(&mut running).ok().json()["usage"]["completion_tokens"], 4);
    assert!(server.join().is_ok());
}

#[test]
fn a_server_that_stops_cancels_what_is_long() {
    let server = Server::scripted(settings(), " a b");
    let mut running = server.begin("/v1/completions", &endless(false));
    server.until_metric("running 1");
    let mut idle = TcpStream::connect(server.address).unwrap();
    server.stop();
    answer(&mut running).fails(503, "shutting_down");
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(server.join().is_ok());
}
