//! Reads the body of a request: no more than allowed, and no longer than allowed.

use super::error::ApiError;
use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Body as _;
use serde_json::{Map, Value};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

/// The body's bytes, at most `limit` of them, all within `wait`.
pub async fn read(mut body: Body, limit: usize, wait: Duration) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let text = format!("the request's body has more than {limit} bytes; the server's --max-body sets this limit");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text).and_close()
    };
    // known before anything has come, if the client says it
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large());
    }
    let all = async {
        let mut bytes = Vec::with_capacity(announced);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame =
                frame.map_err(|_| ApiError::bad("bad_body", "the request's body cannot be read").and_close())?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > limit - bytes.len() {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(wait, all).await.unwrap_or_else(|_| {
        let text = format!("the request's body did not come within {} s", wait.as_secs_f64());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", text).and_close())
    })
}

/// A JSON object. The parser refuses more than 128 levels, and numbers that are none.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad("invalid_json", format!("the request's body is not JSON: {error}")))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::bad("invalid_json", "the request's body is no JSON object; expected {...}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_of_reasonable_depth_pass() {
        assert_eq!(object(b"{\"a\": 1}").unwrap()["a"], 1);
        let deep = [b"{\"a\":".as_slice(), &b"[".repeat(100_000)].concat();
        for bad in [&deep[..], b"[]", b"", b"{\"a\": NaN}", b"{\"a\": 1e999}", b"{\"a\": \"\xff\"}", b"{} {}"] {
            assert_eq!(object(bad).unwrap_err().code, "invalid_json");
        }
    }
}
