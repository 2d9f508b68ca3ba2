//! The forms of answers: whole ones and pieces of a stream, as OpenAI's API has them, with llama-server's `timings`.

use super::error::ApiError;
use super::request::Form;
use crate::generate::Timings;
use serde_json::{Value, json};
use std::time::Duration;

/// What the engine's thread says about a job.
#[derive(Clone, Debug)]
pub enum Event {
    /// More text, whole characters.
    Text(String),
    /// The end.
    Done(Box<Summary>),
    /// An end that is none.
    Failed(ApiError),
}

/// A text that came to its end.
#[derive(Clone, Debug)]
pub struct Summary {
    /// `stop` or `length`.
    pub finish: &'static str,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those of them that were there from the request before.
    pub cached: usize,
    /// New tokens.
    pub new: usize,
    /// The seed, which gives the same text again.
    pub seed: u64,
    /// What it took.
    pub timings: Timings,
}

impl Summary {
    /// Numbers of tokens.
    pub fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.new,
            "total_tokens": self.prompt + self.new,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }

    /// Times, with llama-server's names; `n` counts what was computed.
    pub fn timings(&self) -> Value {
        let t = &self.timings;
        let (prefill, decode) = (t.prefill, t.total.saturating_sub(t.prefill));
        json!({
            "cache_n": self.cached,
            "prompt_n": t.prompt_tokens,
            "prompt_ms": ms(prefill),
            "prompt_per_token_ms": per(ms(prefill), t.prompt_tokens),
            "prompt_per_second": t.prompt_rate(),
            "predicted_n": self.new,
            "predicted_ms": ms(decode),
            "predicted_per_token_ms": per(ms(decode), self.new),
            "predicted_per_second": t.decode_rate(),
        })
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn per(sum: f64, count: usize) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

/// What all parts of one answer have in common.
#[derive(Clone, Debug)]
pub struct Head {
    /// The endpoint.
    pub form: Form,
    /// Number of the answer.
    pub id: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
}

impl Head {
    fn object(&self, object: &str, choices: Value) -> Value {
        let kind = if self.form == Form::Chat { "chatcmpl" } else { "cmpl" };
        json!({
            "id": format!("{kind}-{}-{}", self.created, self.id),
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    /// The whole answer.
    pub fn whole(&self, text: &str, summary: &Summary) -> Value {
        let (object, mut choice) = match self.form {
            Form::Chat => ("chat.completion", json!({"index": 0, "message": {"role": "assistant", "content": text}})),
            Form::Text => ("text_completion", json!({"index": 0, "text": text})),
        };
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = summary.finish.into();
        let mut answer = self.object(object, json!([choice]));
        answer["usage"] = summary.usage();
        answer["timings"] = summary.timings();
        answer["seed"] = summary.seed.into();
        answer
    }

    /// The first piece of a conversation's stream, which says who speaks; completions have none.
    pub fn first(&self) -> Option<Value> {
        (self.form == Form::Chat).then(|| self.piece(json!({"role": "assistant", "content": ""}), "", None))
    }

    /// A piece of text.
    pub fn text(&self, text: &str) -> Value {
        self.piece(json!({ "content": text }), text, None)
    }

    /// The last piece, which says why there is no more.
    pub fn last(&self, summary: &Summary) -> Value {
        let mut last = self.piece(json!({}), "", Some(summary.finish));
        last["timings"] = summary.timings();
        last["seed"] = summary.seed.into();
        last
    }

    /// A piece without choices that carries the numbers of tokens.
    pub fn usage(&self, summary: &Summary) -> Value {
        let mut piece = self.object(self.piece_name(), json!([]));
        piece["usage"] = summary.usage();
        piece
    }

    fn piece_name(&self) -> &'static str {
        if self.form == Form::Chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn piece(&self, delta: Value, text: &str, finish: Option<&str>) -> Value {
        let choice = match self.form {
            Form::Chat => json!({"index": 0, "delta": delta, "finish_reason": finish}),
            Form::Text => json!({"index": 0, "text": text, "finish_reason": finish}),
        };
        self.object(self.piece_name(), json!([choice]))
    }
}
