//! A conversation as a file, which `chat` writes and goes on with.
//!
//! The file is JSON for people and programs, in exactly one spelling: what differs from it in a single bit is refused,
//! as is a conversation with another model. It holds texts only; keys and values are computed again.

use super::chat::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Longest file; every model's context is far shorter.
pub const MAX_SESSION_BYTES: usize = 16 << 20;

const FORMAT: &str = "tercet conversation";
const VERSION: u32 = 1;

/// Why a file is no conversation to go on with.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    /// It is longer than any conversation.
    #[error("has {0} bytes, expected at most {MAX_SESSION_BYTES}")]
    TooLong(usize),
    /// It is not JSON with the fields of a conversation.
    #[error("is no saved conversation: {0}")]
    Form(String),
    /// It is of another kind or version.
    #[error("is {format:?} of version {version}, expected {FORMAT:?} of version {VERSION}")]
    Version {
        /// What it says it is.
        format: String,
        /// Of which version.
        version: u32,
    },
    /// It is not as it was written.
    #[error("was changed or damaged after it was saved; its checksum is another")]
    Damaged,
    /// It belongs to another model.
    #[error("is a conversation with model {found}, this one is {expected}")]
    Model {
        /// The model of the file.
        found: String,
        /// The model that would go on.
        expected: String,
    },
    /// A speaker that there is not.
    #[error("has a message of {0:?}, expected system, user or assistant")]
    Role(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    /// What identifies the model.
    model: String,
    messages: Vec<Message>,
    /// SHA-256 of the same text with an empty string here.
    sha256: String,
}

impl File {
    /// The file's one spelling.
    fn text(&self) -> Result<String, SessionError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| SessionError::Form(error.to_string()))?;
        Ok(format!("{text}\n"))
    }

    /// The checksum that belongs to the other fields.
    fn sum(&mut self) -> Result<String, SessionError> {
        let sum = std::mem::take(&mut self.sha256);
        let text = self.text()?;
        self.sha256 = sum;
        Ok(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The file of a conversation with a model.
pub fn write_session(model: &str, messages: &[Message]) -> Result<String, SessionError> {
    let (messages, sha256) = (messages.to_vec(), String::new());
    let mut file = File { format: FORMAT.into(), version: VERSION, model: model.into(), messages, sha256 };
    file.sha256 = file.sum()?;
    file.text()
}

/// Reads the file of a conversation with this model. Everything is checked before anything is given out.
pub fn read_session(bytes: &[u8], model: &str) -> Result<Vec<Message>, SessionError> {
    if bytes.len() > MAX_SESSION_BYTES {
        return Err(SessionError::TooLong(bytes.len()));
    }
    let mut file: File = serde_json::from_slice(bytes).map_err(|error| SessionError::Form(error.to_string()))?;
    if (file.format.as_str(), file.version) != (FORMAT, VERSION) {
        return Err(SessionError::Version { format: super::error::shorten(&file.format), version: file.version });
    }
    if file.sum()? != file.sha256 || file.text()?.as_bytes() != bytes {
        return Err(SessionError::Damaged);
    }
    let known = |role: &str| matches!(role, "system" | "user" | "assistant");
    if let Some(message) = file.messages.iter().find(|message| !known(&message.role)) {
        return Err(SessionError::Role(super::error::shorten(&message.role)));
    }
    if file.model != model {
        return Err(SessionError::Model { found: super::error::shorten(&file.model), expected: model.into() });
    }
    Ok(file.messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "0123abcd";

    fn messages() -> Vec<Message> {
        vec![
            Message::new("system", "Be brief."),
            Message::new("user", "Wer \"bist\" Dü?\n"),
            Message::new("assistant", "🦊"),
        ]
    }

    #[test]
    fn row_31_a_saved_conversation_is_read_back() {
        for messages in [messages(), Vec::new()] {
            let text = write_session(MODEL, &messages).unwrap();
            assert_eq!(read_session(text.as_bytes(), MODEL), Ok(messages));
        }
    }

    #[test]
    fn row_31_a_flipped_bit_anywhere_is_found() {
        let good = write_session(MODEL, &messages()).unwrap().into_bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(read_session(&bad, MODEL).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn row_31_a_file_cut_anywhere_or_longer_is_found() {
        let good = write_session(MODEL, &messages()).unwrap().into_bytes();
        for len in 0..good.len() {
            assert!(read_session(&good[..len], MODEL).is_err(), "{len} bytes");
        }
        for more in [&b" "[..], b"\n", b"\0", b"x", b"{}"] {
            assert!(read_session(&[&good, more].concat(), MODEL).is_err(), "{more:?}");
        }
        assert_eq!(read_session(&vec![b' '; MAX_SESSION_BYTES + 1], MODEL), Err(SessionError::TooLong((16 << 20) + 1)));
    }

    #[test]
    fn row_31_another_model_another_version_another_speaker() {
        let good = write_session(MODEL, &messages()).unwrap();
        assert!(matches!(read_session(good.as_bytes(), "other"), Err(SessionError::Model { .. })));
        let later = good.replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(read_session(later.as_bytes(), MODEL), Err(SessionError::Version { version: 2, .. })));
        // a right checksum does not make a wrong content right
        let odd = write_session(MODEL, &[Message::new("root", "x")]).unwrap();
        assert_eq!(read_session(odd.as_bytes(), MODEL), Err(SessionError::Role("root".into())));
        assert!(matches!(read_session(b"[]", MODEL), Err(SessionError::Form(_))));
    }
}
