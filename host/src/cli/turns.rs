//! Chooses the form of a conversation.

use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::read_text;
use host::load::Tokenizer;
use host::load::chat::{ChatError, ChatTemplate, builtin};
use host::load::turns::Turns;
use std::path::Path;

impl From<ChatError> for CliError {
    fn from(error: ChatError) -> Self {
        CliError::new(Exit::from_code(error.exit_code()), error)
    }
}

/// The form called `name`: `plain`, `auto` (the model's own), a built-in template or a file. Without a name it is the
/// model's own, but plain for the shipped model, which knows no turns.
pub fn select(model: &Model, tokenizer: &Tokenizer, name: Option<&str>) -> Result<Turns, CliError> {
    let has_template = model.tokenizer.as_ref().is_some_and(|source| source.template(None).is_some());
    let name = name.unwrap_or(if model.shipped && !has_template { "plain" } else { "auto" });
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
