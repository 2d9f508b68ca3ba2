//! How a conversation becomes one text.

use super::Tokenizer;
use super::chat::{ChatError, ChatTemplate, Message};

/// Tokens that end a turn in templates whose models do not always name them as an end.
const TURN_ENDS: [&str; 3] = ["<|eot_id|>", "<|im_end|>", "<|end|>"];

/// The form of a conversation.
pub enum Turns {
    /// Everything said so far, one line after another; the model goes on from there.
    Plain,
    /// A chat template.
    Template(Box<ChatTemplate>),
}

impl Turns {
    /// The text of a conversation up to where the model speaks. Encode it with special tokens on.
    pub fn text(&self, messages: &[Message]) -> Result<String, ChatError> {
        match self {
            Turns::Plain => Ok(plain(messages)),
            Turns::Template(template) => template.render(messages, true),
        }
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
