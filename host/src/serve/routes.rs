//! The endpoints.

use super::answer::{Event, Head};
use super::app::{App, Ticket};
use super::body;
use super::error::{ApiError, json_response};
use super::fields::{Fields, token_ids};
use super::guard::check_origin;
use super::messages::chat_text;
use super::model::{ModelInfo, seconds_since_1970};
use super::request::{Ask, Form, encode};
use super::stream::{self, Events};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::sync::Arc;

type Shared = State<Arc<App>>;
type Answer = Result<Response, ApiError>;

/// All endpoints behind the guard.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(|State(app): Shared, request| generate(Form::Chat, app, request)))
        .route("/v1/completions", post(|State(app): Shared, request| generate(Form::Text, app, request)))
        .route("/v1/models", get(models))
        .route("/tokenize", post(|State(app): Shared, request| text(tokenize, app, request)))
        .route("/detokenize", post(|State(app): Shared, request| text(detokenize, app, request)))
        .route("/apply-template", post(|State(app): Shared, request| text(apply_template, app, request)))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such endpoint") })
        .method_not_allowed_fallback(|| async {
            let text = "this endpoint knows another method; texts are asked for with POST";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        })
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Lets through who may ask, and counts answers. Whether the server is well everybody may know.
async fn guard(State(app): Shared, request: Request, next: Next) -> Response {
    let public = request.uri().path() == "/health";
    let allowed = check_origin(request.headers(), app.loopback)
        .and_then(|()| if public { Ok(()) } else { app.keys.check(request.headers()) });
    let response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    app.metrics.request(response.status().as_u16());
    response
}

/// Reads a request's body and works on it aside, as texts can be long.
async fn read<T: Send + 'static>(
    app: &Arc<App>,
    request: Request,
    work: impl FnOnce(&Map<String, Value>, &App) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let settings = &app.settings;
    let bytes = body::read(request.into_body(), settings.max_body, settings.client_timeout).await?;
    let app = app.clone();
    let work = tokio::task::spawn_blocking(move || work(&body::object(&bytes)?, &app));
    work.await.unwrap_or_else(|_| Err(ApiError::internal("reading the request failed")))
}

/// Chat and completion.
async fn generate(form: Form, app: Arc<App>, request: Request) -> Answer {
    let work = move |object: &_, app: &App| {
        let model = app.ready()?;
        Ok((Ask::read(form, Fields(object), model)?, model.name.clone()))
    };
    let (ask, model) = read(&app, request, work).await?;
    let (streams, include_usage) = (ask.stream, ask.include_usage);
    let (id, events) = app.submit(ask)?;
    let head = Head { form, id, created: seconds_since_1970(), model };
    match streams {
        true => Ok(stream::response(head, include_usage, events, app.settings.ping)),
        false => whole(&head, events).await,
    }
}

async fn whole(head: &Head, mut events: Events<Ticket>) -> Answer {
    let mut text = String::new();
    while let Some(event) = events.receiver.recv().await {
        match event {
            Event::Text(more) => text.push_str(&more),
            Event::Done(summary) => return Ok(json_response(StatusCode::OK, &head.whole(&text, &summary))),
            Event::Failed(error) => return Err(error),
        }
    }
    Err(ApiError::given_up())
}

/// An endpoint that answers from the text alone.
async fn text(work: fn(Fields<'_>, &ModelInfo) -> Result<Value, ApiError>, app: Arc<App>, request: Request) -> Answer {
    let value = read(&app, request, move |object, app| work(Fields(object), app.model()?)).await?;
    Ok(json_response(StatusCode::OK, &value))
}

fn tokenize(fields: Fields<'_>, model: &ModelInfo) -> Result<Value, ApiError> {
    let add_special = fields.flag("add_special")?.unwrap_or(false);
    Ok(json!({ "tokens": encode(model, fields.text("content")?, add_special)? }))
}

fn detokenize(fields: Fields<'_>, model: &ModelInfo) -> Result<Value, ApiError> {
    let ids = fields.need("tokens")?.as_array().ok_or_else(|| ApiError::field("tokens", "expected an array"))?;
    let ids = token_ids("tokens", ids, model.tokenizer.vocab())?;
    let text = model.tokenizer.decode(&ids).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(json!({ "content": text }))
}

fn apply_template(fields: Fields<'_>, model: &ModelInfo) -> Result<Value, ApiError> {
    Ok(json!({ "prompt": chat_text(fields, model)? }))
}

async fn models(State(app): Shared) -> Answer {
    let model = app.model()?;
    let meta = json!({"n_ctx": model.context, "n_vocab": model.tokenizer.vocab()});
    let one = json!({
        "id": model.name, "object": "model", "created": model.created, "owned_by": "tercet", "meta": meta,
    });
    Ok(json_response(StatusCode::OK, &json!({"object": "list", "data": [one]})))
}

async fn health(State(app): Shared) -> Response {
    let health = app.health();
    match health.error() {
        None => json_response(StatusCode::OK, &json!({"status": "ok"})),
        Some(error) => {
            let mut value = json!({ "status": health.name() });
            value["error"] = error.json()["error"].take();
            let mut response = json_response(error.status, &value);
            let seconds = error.retry_after.unwrap_or(1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
    }
}

async fn metrics(State(app): Shared) -> Response {
    let mut response = app.metrics_page().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
