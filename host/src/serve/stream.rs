//! Server-sent events: `data: {...}` for every piece, `: ping` while nothing comes, `data: [DONE]` after a good end.
//! An error ends the stream without it.

use super::answer::{Event, Head};
use super::error::ApiError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The events of a job, and who cancels it when nobody waits for them any more.
pub struct Events<T> {
    /// What comes.
    pub receiver: Receiver<Event>,
    /// Dropped together with the receiver: when the answer is complete, or its reader gone.
    pub _ticket: T,
}

/// The body of a stream.
struct EventBody<T> {
    head: Head,
    include_usage: bool,
    events: Option<Events<T>>,
    ping: Interval,
    first: bool,
}

/// The answer that streams a job's events.
pub fn response<T: Send + Unpin + 'static>(
    head: Head,
    include_usage: bool,
    events: Events<T>,
    ping: Duration,
) -> Response {
    let mut ping = interval(ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let body = EventBody { head, include_usage, events: Some(events), ping, first: true };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // proxies that collect answers are told not to
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One event. JSON has no line ends outside of strings, where they are escaped.
fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

impl<T> EventBody<T> {
    /// The bytes of an event; the stream ends after all but text.
    fn bytes(&mut self, event: Option<Event>) -> String {
        let text = match event {
            Some(Event::Text(text)) => return data(&self.head.text(&text)),
            Some(Event::Done(summary)) => {
                let usage = if self.include_usage { data(&self.head.usage(&summary)) } else { String::new() };
                format!("{}{usage}data: [DONE]\n\n", data(&self.head.last(&summary)))
            }
            Some(Event::Failed(error)) => data(&error.json()),
            None => data(&ApiError::given_up().json()),
        };
        self.events = None;
        text
    }
}

impl<T: Unpin> hyper::body::Body for EventBody<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let frame = |text: String| Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
        if std::mem::take(&mut this.first)
            && let Some(first) = this.head.first()
        {
            return frame(data(&first));
        }
        let Some(events) = &mut this.events else { return Poll::Ready(None) };
        if let Poll::Ready(event) = events.receiver.poll_recv(context) {
            this.ping.reset();
            return frame(this.bytes(event));
        }
        ready!(this.ping.poll_tick(context));
        frame(": ping\n\n".into())
    }
}
