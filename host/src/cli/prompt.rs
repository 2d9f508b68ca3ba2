//! Where prompts come from.

use super::args::{TokenIds, token_ids};
use super::exit::{CliError, Exit};
use clap::Args;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Longest prompt in bytes. Every model's context is far shorter.
const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// The prompt options.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompt")]
pub struct PromptArgs {
    /// The prompt; several words are joined by spaces. Without any prompt option, standard input is read
    #[arg(value_name = "TEXT", conflicts_with_all = ["prompt", "file", "ids", "prompts_file"])]
    pub text: Vec<String>,
    /// The prompt
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["file", "ids", "prompts_file"])]
    pub prompt: Option<String>,
    /// Read the prompt from a file, - is standard input; one line end at its end is dropped
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["ids", "prompts_file"])]
    pub file: Option<PathBuf>,
    /// The prompt as token ids: 1,2,3
    #[arg(long, value_name = "IDS", value_parser = token_ids, conflicts_with = "prompts_file")]
    pub ids: Option<TokenIds>,
    /// One prompt per line, run together as a batch of independent texts
    #[arg(long, value_name = "FILE")]
    pub prompts_file: Option<PathBuf>,
    /// Replace \n, \t, \r, \\, \", \' and \xHH in prompts given as text
    #[arg(short, long)]
    pub escape: bool,
}

/// A prompt before it is made of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
}

impl PromptArgs {
    /// All prompts, at least one.
    pub fn read(&self) -> Result<Vec<Prompt>, CliError> {
        let text = |text: String| -> Result<Vec<Prompt>, CliError> {
            Ok(vec![Prompt::Text(if self.escape { unescape(&text)? } else { text })])
        };
        if !self.text.is_empty() {
            return text(self.text.join(" "));
        }
        if let Some(prompt) = &self.prompt {
            return text(prompt.clone());
        }
        if let Some(ids) = &self.ids {
            return Ok(vec![Prompt::Ids(ids.0.clone())]);
        }
        if let Some(path) = &self.prompts_file {
            return lines(path, self.escape);
        }
        match &self.file {
            Some(path) => text(without_line_end(read_text(path)?)),
            None if io::stdin().is_terminal() => Err(CliError::usage(
                "prompt: none given; try: host generate \"Once upon a time\", or -f FILE, or pipe text in",
            )),
            None => text(without_line_end(read_text(Path::new("-"))?)),
        }
    }
}

fn lines(path: &Path, escape: bool) -> Result<Vec<Prompt>, CliError> {
    let text = read_text(path)?;
    let prompt = |line: &str| -> Result<Prompt, CliError> {
        Ok(Prompt::Text(if escape { unescape(line)? } else { line.into() }))
    };
    let prompts: Vec<Prompt> = text.lines().filter(|line| !line.is_empty()).map(prompt).collect::<Result<_, _>>()?;
    match prompts.is_empty() {
        true => Err(CliError::new(Exit::Data, format!("{}: no prompts; expected one on each line", path.display()))),
        false => Ok(prompts),
    }
}

/// Reads a UTF-8 text; `-` is standard input.
pub fn read_text(path: &Path) -> Result<String, CliError> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(MAX_PROMPT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| CliError::read(Path::new("standard input"), &error))?;
        ("standard input".into(), bytes)
    } else {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| CliError::read(path, &error))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(CliError::new(Exit::Input, format!("{name}: is a directory, expected a text file")));
        }
        let mut bytes = Vec::new();
        let read = file.take(MAX_PROMPT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| CliError::read(path, &error))?;
        (name, bytes)
    };
    if bytes.len() as u64 > MAX_PROMPT_BYTES {
        let text =
            format!("{name}: more than {} MiB, expected a text to read at once; split it", MAX_PROMPT_BYTES >> 20);
        return Err(CliError::new(Exit::Data, text));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CliError::new(Exit::Data, format!("{name}: byte {at} is not UTF-8; convert the text to UTF-8"))
    })
}

/// Drops one line end at the end of a text.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Replaces escapes as `-e` promises; others stay as they are.
pub fn unescape(text: &str) -> Result<String, CliError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, used) = match (first, tail) {
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [c @ (b'\\' | b'"' | b'\''), ..]) => (*c, 2),
            (b'\\', [b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |c: &u8| (*c as char).to_digit(16).unwrap_or(0) as u8;
                (digit(high) << 4 | digit(low), 4)
            }
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    String::from_utf8(bytes).map_err(|_| {
        CliError::new(Exit::Data, "--escape: the prompt's \\x escapes make no UTF-8; write whole characters")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_characters() {
        assert_eq!(unescape(r#"a\n\t\\n\"\q\x41\xc3\xa9\x"#).unwrap(), "a\n\t\\n\"\\qAé\\x");
        assert_eq!(unescape(r"\xff").unwrap_err().exit, Exit::Data);
        assert_eq!(unescape("plain\\").unwrap(), "plain\\");
    }

    #[test]
    fn one_line_end_is_dropped() {
        for (text, want) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            assert_eq!(without_line_end(text.into()), want);
        }
    }
}
