//! Options of llama.cpp whose short names have several letters, which clap does not know.

use super::exit::CliError;
use std::ffi::OsString;

/// Rewrites or drops such options before the command line is parsed. Returns what is left, and notes
/// on what was dropped.
pub fn translate(arguments: Vec<OsString>) -> Result<(Vec<OsString>, Vec<String>), CliError> {
    let command = arguments.iter().skip(1).find(|argument| !argument.as_encoded_bytes().starts_with(b"-"));
    let chats = command.is_some_and(|command| command == "chat");
    let (mut left, mut notes) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str().unwrap_or("") {
            "--" => {
                left.push(argument);
                left.extend(arguments);
                break;
            }
            "-sys" => left.push("--system".into()),
            name @ ("-cnv" | "--conversation") if chats => {
                notes.push(format!("{name}: ignored, chat is a conversation"))
            }
            name @ ("-cnv" | "--conversation") => {
                return Err(CliError::usage(format!("{name}: a conversation is a command here: host chat")));
            }
            name @ ("-no-cnv" | "--no-conversation") if !chats => {
                notes.push(format!("{name}: ignored, only chat is a conversation"));
            }
            name @ ("-no-cnv" | "--no-conversation") => {
                return Err(CliError::usage(format!("{name}: to continue a text use host generate")));
            }
            name @ ("-st" | "--single-turn") => {
                let text = format!("{name}: for one answer use host generate --chat-template auto -p TEXT");
                return Err(CliError::usage(text));
            }
            name @ ("-ngl" | "--gpu-layers" | "--n-gpu-layers") => {
                notes.push(format!("{name}: ignored, no layers run on a GPU here"));
                arguments.next();
            }
            _ => left.push(argument),
        }
    }
    Ok((left, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> Result<(String, usize), CliError> {
        let (left, notes) = translate(line.split(' ').map(OsString::from).collect())?;
        let left: Vec<&str> = left.iter().map(|argument| argument.to_str().unwrap()).collect();
        Ok((left.join(" "), notes.len()))
    }

    #[test]
    fn options_of_llama_cpp_are_translated() {
        for (line, want, notes) in [
            ("host chat -sys x", "host chat --system x", 0),
            ("host generate -no-cnv -ngl 99 x", "host generate x", 2),
            ("host chat -cnv -q", "host chat -q", 1),
            ("host generate -- -cnv", "host generate -- -cnv", 0),
        ] {
            assert_eq!(translated(line).unwrap(), (want.into(), notes), "{line}");
        }
        for line in ["host generate -cnv x", "host chat -no-cnv", "host chat -st", "host generate -st x"] {
            assert!(translated(line).unwrap_err().message.unwrap().contains("host "), "{line}");
        }
    }
}
