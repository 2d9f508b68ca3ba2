//! How a conversation becomes one text.

use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::read_text;
use host::load::Tokenizer;
use host::load::chat::{ChatError, ChatTemplate, Message, builtin};
use std::path::Path;

/// Tokens that end a turn in templates whose models do not always name them as an end.
const TURN_ENDS: [&str; 3] = ["<|eot_id|>", "<|im_end|>", "<|end|>"];

/// The form of a conversation.
pub enum Turns {
    /// Everything said so far, one line after another; the model goes on from there.
    Plain,
    /// A chat template.
    Template(Box<ChatTemplate>),
}

impl From<ChatError> for CliError {
    fn from(error: ChatError) -> Self {
        CliError::new(Exit::from_code(error.exit_code()), error)
    }
}

impl Turns {
    /// The form called `name`: `plain`, `auto` (the model's own), a built-in template or a file.
    pub fn select(model: &Model, tokenizer: &Tokenizer, name: &str) -> Result<Self, CliError> {
        let (bos, eos) = (tokenizer.bos_token().unwrap_or(""), tokenizer.eos_token().unwrap_or(""));
        let template = match (name, &model.tokenizer) {
            ("plain", _) => return Ok(Turns::Plain),
            ("auto", Some(source)) => ChatTemplate::of(source, None, bos, eos),
            _ if Path::new(name).is_file() => ChatTemplate::new(&read_text(Path::new(name))?, bos, eos),
            _ => builtin(name).and_then(|source| ChatTemplate::new(source, bos, eos)),
        };
        let template = template.map_err(|error| match error {
            ChatError::NoTemplate { .. } | ChatError::UnknownBuiltin { .. } => {
                let exit = Exit::from_code(error.exit_code());
                CliError::new(exit, format!("{error}, or plain to continue a text line by line"))
            }
            error => error.into(),
        })?;
        Ok(Turns::Template(Box::new(template)))
    }

    /// The tokens of a conversation up to where the model speaks.
    pub fn tokens(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, CliError> {
        let text = match self {
            Turns::Plain => plain(messages),
            Turns::Template(template) => template.render(messages, true)?,
        };
        Ok(tokenizer.encode(&text, true)?)
    }

    /// The tokens that end the model's turn.
    pub fn ends(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let mut ends = tokenizer.stop_ids().to_vec();
        if let Turns::Template(_) = self {
            ends.extend(TURN_ENDS.iter().filter_map(|name| tokenizer.token_to_id(name)));
        }
        ends
    }
}

/// Every line of the user begins a new line; what the model said goes on in the same one.
fn plain(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        if message.role != "assistant" && !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&message.content);
    }
    text
}
