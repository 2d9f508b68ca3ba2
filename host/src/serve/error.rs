//! What clients are told when something is refused or fails: always `{"error":{"message","type","code"}}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal or a failure.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status, if it is not too late for one.
    pub status: StatusCode,
    /// For programs: which error it is.
    pub code: &'static str,
    /// For people: what, expected, found.
    pub message: String,
    /// The request's field at fault.
    pub param: Option<String>,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u64>,
    /// Whether the connection ends with the answer, because the rest of the request was not read.
    pub close: bool,
}

impl ApiError {
    /// An error with a status and a code.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into(), param: None, retry_after: None, close: false }
    }

    /// The request is at fault.
    pub fn bad(code: &'static str, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A field of the request is at fault.
    pub fn field(name: &str, message: impl std::fmt::Display) -> Self {
        let mut error = ApiError::bad("invalid_value", format!("{name}: {message}"));
        error.param = Some(name.into());
        error
    }

    /// The server cannot do it now.
    pub fn unavailable(code: &'static str, message: impl Into<String>, retry_after: u64) -> Self {
        let mut error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error.retry_after = Some(retry_after);
        error
    }

    /// The server is being stopped.
    pub fn stopping() -> Self {
        ApiError::unavailable("shutting_down", "the server is being stopped", 10)
    }

    /// The generation ended without a word: its reader was too slow, or the engine's thread is gone.
    pub fn given_up() -> Self {
        ApiError::unavailable("given_up", "the generation was given up before its end", 1)
    }

    /// A mistake in this program or in the model's data.
    pub fn internal(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// Ends the connection after the answer.
    pub fn and_close(mut self) -> Self {
        self.close = true;
        self
    }

    /// OpenAI's word for the kind of error.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// The error as the body of an answer or as an event.
    pub fn json(&self) -> Value {
        let mut error = json!({"message": self.message, "type": self.kind(), "code": self.code});
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.json());
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer of JSON.
pub fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
