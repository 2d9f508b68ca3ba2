//! What is served, and what the server knows about it while the engine has it.

use crate::engine::Engine;
use crate::load::Tokenizer;
use crate::load::turns::Turns;
use std::time::{SystemTime, UNIX_EPOCH};

/// Opens the backend once more after its device was lost; an error says why that is not possible yet.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Engine>, String>>;

/// A model that is ready.
pub struct Served {
    /// What clients call it.
    pub name: String,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The form of conversations.
    pub turns: Turns,
    /// What computes.
    pub engine: Box<dyn Engine>,
    /// How to get another engine when the device of this one is lost; `None` if it has no device.
    pub reopen: Option<Reopen>,
    /// Tokens to guess ahead by lookup; 0: none.
    pub lookup: usize,
}

/// The part of it that requests are read with.
pub struct ModelInfo {
    /// What clients call it.
    pub name: String,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The form of conversations.
    pub turns: Turns,
    /// Tokens that fit into a sequence.
    pub context: usize,
    /// Seconds since 1970 when it was ready.
    pub created: u64,
}

impl ModelInfo {
    /// Splits a model into what requests need and what the engine's thread needs.
    pub fn split(served: Served) -> (ModelInfo, Box<dyn Engine>, Option<Reopen>, usize) {
        let Served { name, tokenizer, turns, engine, reopen, lookup } = served;
        let (context, created) = (engine.config().max_context, seconds_since_1970());
        (ModelInfo { name, tokenizer, turns, context, created }, engine, reopen, lookup)
    }
}

/// The time of day as the API wants it.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
