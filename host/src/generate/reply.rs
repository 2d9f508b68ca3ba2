//! The text of tokens as they come: whole characters, up to a stop string.

use super::stop::StopGate;
use crate::load::tokenizer::DecodeStream;
use crate::load::{LoadError, Tokenizer};

/// A text that grows token by token.
pub struct Reply<'a> {
    stream: Option<DecodeStream<'a>>,
    gate: StopGate,
    /// What has been shown.
    pub text: String,
}

impl<'a> Reply<'a> {
    /// An empty text that goes on after the tokens `before` (none if it begins a text of its own, as
    /// after a chat template) and ends at any of `stops`. Without a tokenizer the text is the ids.
    pub fn new(tokenizer: Option<&'a Tokenizer>, before: &[u32], stops: &[String]) -> Self {
        let stream = tokenizer.map(|tokenizer| tokenizer.stream_after(before));
        Reply { stream, gate: StopGate::new(stops), text: String::new() }
    }

    /// Takes a token; returns the text that may be shown now.
    pub fn push(&mut self, token: u32) -> Result<String, LoadError> {
        let piece = match &mut self.stream {
            Some(stream) => stream.push(token)?.unwrap_or_default(),
            None if self.text.is_empty() => token.to_string(),
            None => format!(" {token}"),
        };
        let shown = self.gate.push(&piece);
        self.text.push_str(&shown);
        Ok(shown)
    }

    /// The text that was held back, once no more tokens come.
    pub fn finish(&mut self) -> Result<String, LoadError> {
        let tail = match &mut self.stream {
            Some(stream) => stream.flush()?.unwrap_or_default(),
            None => String::new(),
        };
        let mut rest = self.gate.push(&tail);
        rest.push_str(&self.gate.finish());
        self.text.push_str(&rest);
        Ok(rest)
    }

    /// The stop string that ended the text.
    pub fn stopped_by(&self) -> Option<&str> {
        self.gate.hit()
    }
}
