//! Row 33: requests that are too large, too slow, too deep, too many, or not allowed.

use super::client::{Answer, answer, connect, exchange, request};
use super::server::{OPEN, Server, settings};
use host::serve::Settings;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[track_caller]
fn good(server: &Server) {
    server.post("/v1/completions", &json!({"prompt": "x", "max_tokens": 1})).ok();
}

#[test]
fn row_33_a_body_may_have_so_many_bytes() {
    let server = Server::scripted(Settings { max_body: 10_000, ..settings() }, " a b");
    let ask = |bytes: usize| {
        let ask = json!({"prompt": "x", "max_tokens": 1, "user": ""}).to_string();
        ask.replace("\"\"", &format!("{:?}", "u".repeat(bytes - ask.len()))).into_bytes()
    };
    assert_eq!(ask(10_000).len(), 10_000);
    let post = |body: &[u8]| exchange(server.address, &request("POST", "/v1/completions", "", body));
    post(&ask(10_000)).ok();
    post(&ask(10_001)).fails(413, "body_too_large");
    // the length that is announced is enough to know
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n";
    let announced = format!("{head}content-length: 999999999999\r\n\r\n");
    let refused = exchange(server.address, announced.as_bytes());
    refused.fails(413, "body_too_large");
    assert!(refused.head.contains("connection: close"), "{refused:?}");
    // a body of unknown length is read up to the limit
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..11 {
        chunked.extend_from_slice(b"3e8\r\n");
        chunked.extend_from_slice(&[b' '; 1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    exchange(server.address, &chunked).fails(413, "body_too_large");
    good(&server);
}

#[test]
fn row_33_a_head_may_have_so_many_bytes() {
    let server = Server::scripted(settings(), " a b");
    let long = format!("x: {}\r\n", "x".repeat(40_000));
    let many = (0..100).map(|n| format!("x{n}: 1\r\n")).collect::<String>();
    for headers in [long, many] {
        assert_eq!(exchange(server.address, &request("GET", "/health", &headers, b"")).status, 431);
    }
    good(&server);
}

#[test]
fn row_33_a_request_must_come_in_time() {
    let wait = Duration::from_millis(250);
    let server = Server::scripted(Settings { client_timeout: wait, ..settings() }, " a b");
    // bytes that keep coming do not help: what counts is the whole
    let trickle = |begin: &str| {
        let (start, mut stream) = (Instant::now(), connect(server.address));
        stream.write_all(begin.as_bytes()).unwrap();
        while start.elapsed() < 40 * wait && stream.write_all(b"x").is_ok() {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            if !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
                break;
            }
        }
        assert!(start.elapsed() >= wait && start.elapsed() < 30 * wait, "{:?}", start.elapsed());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    let head = trickle("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
    assert!(head.is_empty() || head.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&head));
    let body = trickle("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\n");
    super::client::parse(&body).fails(408, "request_timeout");
    // a connection on which nothing is asked ends as well
    let mut idle = connect(server.address);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    server.until_metric("connections 1");
    good(&server);
}

#[test]
fn row_33_deep_json_is_refused() {
    let server = Server::scripted(settings(), " a b");
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"prompt\": {}1{}}}", open.repeat(100_000), close.repeat(100_000));
        exchange(server.address, &request("POST", "/v1/completions", "", deep.as_bytes())).fails(400, "invalid_json");
    }
    good(&server);
}

#[test]
fn row_33_without_the_key_nothing_is_done() {
    let server = Server::scripted(Settings { keys: vec!["secret".into()], ..settings() }, " a b");
    let ask = |key: &str, path: &str, body: &[u8]| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        exchange(server.address, &request(method, path, key, body))
    };
    let body = b"{\"prompt\": \"x\", \"max_tokens\": 1}";
    for key in ["", "authorization: Bearer secre\r\n", "authorization: Bearer secrets\r\n", "authorization: secret\r\n"]
    {
        let refused = ask(key, "/v1/completions", body);
        assert_eq!(refused.fails(401, "invalid_api_key")["type"], "authentication_error");
        assert!(refused.head.contains("www-authenticate: bearer"), "{refused:?}");
        for path in ["/v1/models", "/metrics", "/nothing"] {
            ask(key, path, b"").fails(401, "invalid_api_key");
        }
        ask(key, "/tokenize", b"{\"content\": \"x\"}").fails(401, "invalid_api_key");
    }
    ask("authorization: Bearer secret\r\n", "/v1/completions", body).ok();
    // whether it is well everybody may know
    ask("", "/health", b"").ok();
    let metrics = ask("authorization: Bearer secret\r\n", "/metrics", b"").ok().body;
    assert!(metrics.contains("tercet_generations_total{end=\"length\"} 1\n"), "{metrics}");
}

#[test]
fn row_33_pages_of_others_are_refused() {
    let server = Server::scripted(settings(), " a b");
    let head = |host: &str, more: &str| {
        let text = format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        exchange(server.address, text.as_bytes())
    };
    head("evil.example:80", "").fails(403, "forbidden");
    head("127.0.0.1.evil.example", "").fails(403, "forbidden");
    head("localhost", "origin: http://evil.example\r\n").fails(403, "forbidden");
    head("localhost", "origin: null\r\n").fails(403, "forbidden");
    for host in ["localhost", "127.0.0.1:8080", "[::1]"] {
        head(host, "").ok();
    }
    head("localhost:8080", "origin: http://localhost:8080\r\n").ok();
}

#[test]
fn row_33_three_hundred_connections() {
    let server = Server::scripted(Settings { connections: 16, queue: 1000, ..settings() }, " a b");
    server.gate.permit(0);
    let ask = json!({"prompt": "x", "max_tokens": 1});
    let mut clients: Vec<TcpStream> = (0..300).map(|_| server.begin_any("/v1/completions", &ask)).collect();
    sleep(Duration::from_millis(100));
    server.gate.permit(OPEN);
    let (mut good, mut busy, mut closed) = (0, 0, 0);
    for client in &mut clients {
        let mut bytes = Vec::new();
        let _ = client.read_to_end(&mut bytes);
        if bytes.is_empty() {
            closed += 1;
            continue;
        }
        let Answer { status, .. } = super::client::parse(&bytes);
        match status {
            200 => good += 1,
            503 => busy += 1,
            status => panic!("{status}"),
        }
    }
    println!("{good} answered, {busy} refused, {closed} closed");
    assert_eq!((good, busy + closed), (16, 300 - 16));
    let metrics = server.get("/metrics").ok().body;
    let refused = metrics.lines().find_map(|line| line.strip_prefix("tercet_connections_refused_total "));
    assert_eq!(refused.unwrap().parse::<usize>().unwrap(), 300 - 16, "{metrics}");
    good_again(&server);
}

#[track_caller]
fn good_again(server: &Server) {
    server.until("room", || server.metric("connections 1"));
    let mut client = server.begin("/v1/completions", &json!({"prompt": "x", "max_tokens": 2}));
    answer(&mut client).ok();
}
