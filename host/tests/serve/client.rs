//! A client that speaks HTTP/1.1 byte by byte, so that tests can also speak it badly.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer as a whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless this is an error of the API with this status and code.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].take();
        assert_eq!(error["code"], code, "{self:?}");
        assert!(error["message"].is_string() && error["type"].is_string(), "{self:?}");
        error
    }

    /// Fails unless it is good.
    #[track_caller]
    pub fn ok(self) -> Answer {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    /// The data of its server-sent events.
    pub fn events(&self) -> Vec<&str> {
        self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }

    /// The text that its events carry.
    #[track_caller]
    pub fn streamed_text(&self) -> String {
        let pieces = self.events().into_iter().filter(|data| *data != "[DONE]").map(|data| {
            let piece: Value = serde_json::from_str(data).unwrap();
            let choice = &piece["choices"][0];
            choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or("").to_string()
        });
        pieces.collect()
    }
}

/// A connection on which answers are waited for at most half a minute.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}");
    [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// Sends bytes and reads the answer to the end of the connection.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(address);
    // the server may answer, and close, before it has read everything
    let _ = stream.write_all(bytes);
    answer(&mut stream)
}

/// Reads an answer to the end of the connection.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

/// Takes an answer apart.
#[track_caller]
pub fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8(bytes.to_vec()).expect("answers are UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let head = head.to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.into() };
    Answer { status, head, body }
}

/// Joins the chunks of a body; one that breaks off ends there.
fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        body.push_str(more.get(..size).unwrap_or(more));
        rest = more.get(size + 2..).unwrap_or("");
    }
    body
}
