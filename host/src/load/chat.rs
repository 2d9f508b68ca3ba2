//! Chat templates: Jinja as transformers' `apply_chat_template` runs it.
//!
//! A rendered chat is encoded with [`Tokenizer::encode`](super::Tokenizer::encode) and special tokens
//! on: some templates write the beginning-of-text token, others leave it to the tokenizer, and
//! `encode` makes sure that it is there once and not twice.
//!
//! Templates come with models, so their length, their steps and their output are limited. The size of
//! the values in between is not, as the interpreter has no limit for it: a template that doubles a
//! string again and again can still use up the memory. Do not run templates from people you distrust.

use super::{clock, error::shorten, tokenizer::TokenizerSource};
use minijinja::{Environment, Error, ErrorKind, Value, context, value::Kwargs};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// A chat that cannot be written down.
#[derive(Debug, ThisError)]
pub enum ChatError {
    /// The model has no template.
    #[error("{model} has no chat template{}; give one with --chat-template: a file, or {BUILTIN_NAMES}", named(.name))]
    NoTemplate {
        /// The tokenizer's file.
        model: String,
        /// Name that was asked for.
        name: Option<String>,
    },
    /// No built-in template has that name.
    #[error("no built-in chat template is called {name:?}; there are {BUILTIN_NAMES}")]
    UnknownBuiltin {
        /// The name.
        name: String,
    },
    /// The template is longer than any real one.
    #[error("chat template has {bytes} bytes, expected at most {MAX_TEMPLATE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The template is not Jinja.
    #[error("chat template does not parse: {0:#}")]
    Syntax(#[source] Error),
    /// The template writes more than any context holds.
    #[error("chat template writes more than {} MiB; use another one with --chat-template", MAX_CHAT_BYTES >> 20)]
    Endless,
    /// The template failed, or refused the messages.
    #[error("chat template cannot render these messages: {0:#}")]
    Render(#[source] Error),
}

impl ChatError {
    /// The exit code of the command line: 2 for a wrong name, otherwise 65, bad data.
    pub fn exit_code(&self) -> u8 {
        match self {
            ChatError::UnknownBuiltin { .. } => 2,
            _ => 65,
        }
    }
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!(" called {:?}", shorten(name))).unwrap_or_default()
}

/// Longest template.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Longest chat as text; every model's context is far shorter.
pub const MAX_CHAT_BYTES: usize = 64 << 20;
/// Steps after which a template counts as stuck: thousands of turns need fewer.
const FUEL: u64 = 2_000_000;

const BUILTIN_NAMES: &str = "bitnet, chatml, falcon3, llama3";

/// The source of a built-in template.
pub fn builtin(name: &str) -> Result<&'static str, ChatError> {
    match name {
        "bitnet" => Ok(include_str!("templates/bitnet.jinja")),
        "chatml" => Ok(include_str!("templates/chatml.jinja")),
        "falcon3" => Ok(include_str!("templates/falcon3.jinja")),
        "llama3" => Ok(include_str!("templates/llama3.jinja")),
        _ => Err(ChatError::UnknownBuiltin { name: shorten(name) }),
    }
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Compiles `source`; `bos` and `eos` are the texts of the special tokens, which templates see
    /// as `bos_token` and `eos_token`.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLong { bytes: source.len() });
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| clock::format_now(&format));
        environment.add_filter("tojson", tojson);
        environment.add_template_owned(NAME, source.to_string()).map_err(ChatError::Syntax)?;
        Ok(ChatTemplate { environment, bos: bos.into(), eos: eos.into() })
    }

    /// Compiles the template called `name`, or the default one, of a tokenizer.
    pub fn of(source: &TokenizerSource, name: Option<&str>, bos: &str, eos: &str) -> Result<Self, ChatError> {
        match source.template(name) {
            Some(template) => Self::new(template, bos, eos),
            None => {
                let model = source.path.display().to_string();
                Err(ChatError::NoTemplate { model, name: name.map(String::from) })
            }
        }
    }

    /// Writes a chat as text, ending where the assistant speaks if `add_generation_prompt`.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        let template = self.environment.get_template(NAME).map_err(ChatError::Render)?;
        let variables = context! {
            messages,
            add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
            tools => (),
            documents => (),
        };
        let mut out = Limited { bytes: Vec::new(), full: false };
        let rendered = template.render_captured_to(variables, &mut out).map(|_| ());
        if out.full {
            return Err(ChatError::Endless);
        }
        rendered.map_err(ChatError::Render)?;
        Ok(String::from_utf8_lossy(&out.bytes).into_owned())
    }
}

/// What a template writes, up to [`MAX_CHAT_BYTES`].
struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.full |= bytes.len() > MAX_CHAT_BYTES - self.bytes.len();
        if self.full {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Python's `json.dumps`, where Jinja's own filter would escape for HTML.
fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    let _: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let failed = |error| Error::new(ErrorKind::BadSerialization, "not JSON").with_source(error);
    let text = match indent {
        Some(width) => {
            let indent = vec![b' '; width.min(16)];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
            let mut out = Vec::new();
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
            value.serialize(&mut serializer).map_err(failed)?;
            String::from_utf8_lossy(&out).into_owned()
        }
        None => {
            let mut out = Vec::new();
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
            value.serialize(&mut serializer).map_err(failed)?;
            String::from_utf8_lossy(&out).into_owned()
        }
    };
    Ok(Value::from_safe_string(text))
}

/// `", "` and `": "`, as Python separates.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Vec<Message> {
        vec![
            Message::new("system", "Be brief."),
            Message::new("user", " Hi there \n"),
            Message::new("assistant", "Hello."),
            Message::new("user", "Who are you?"),
        ]
    }

    fn render(source: &str, add: bool) -> String {
        ChatTemplate::new(source, "<s>", "</s>").unwrap().render(&chat(), add).unwrap()
    }

    #[test]
    fn builtin_templates_render() {
        assert_eq!(
            render(builtin("bitnet").unwrap(), true),
            "System: Be brief.<|eot_id|>User: Hi there<|eot_id|>Assistant: Hello.<|eot_id|>User: Who are you?<|eot_id|>Assistant: "
        );
        assert_eq!(
            render(builtin("llama3").unwrap(), true),
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
        );
        assert_eq!(
            render(builtin("chatml").unwrap(), false),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi there \n<|im_end|>\n\
             <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n"
        );
        assert_eq!(
            render(builtin("falcon3").unwrap(), true),
            "<|system|>\nBe brief.\n<|user|>\n Hi there \n\n<|assistant|>\nHello.</s>\n<|user|>\nWho are you?\n<|assistant|>\n"
        );
        assert_eq!(builtin("none").unwrap_err().exit_code(), 2);
    }

    /// The forms of published templates: the 2B-4T one with its `set`, Llama-3's, and one with the
    /// control flow of Llama 3.1.
    #[test]
    fn published_forms_render() {
        let bitnet = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = \
                      message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{{ content }}\
                      {% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";
        assert_eq!(render(bitnet, true), render(builtin("bitnet").unwrap(), true));
        let llama3 = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = \
                      '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + \
                      '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}\
                      {{ content }}{% endfor %}{% if add_generation_prompt %}\
                      {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
        assert_eq!(render(llama3, true), render(builtin("llama3").unwrap(), true));
        let control = "{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content'].strip() %}\n    \
                       {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system = '' %}\n{%- endif %}\n\
                       {%- set ns = namespace(last='') %}\n{{- system }}|\n{%- for m in messages %}\n    \
                       {%- if m.role not in ['user', 'assistant'] %}{% continue %}{% endif %}\n    \
                       {%- set ns.last = m.content.split(' ')[-1] %}\n    {{- m.content | tojson }}\n    \
                       {%- if not loop.last %},{% endif %}\n{%- endfor %}|{{ ns.last }}{% if tools is not none %}T{% endif %}";
        assert_eq!(render(control, false), "Be brief.|\" Hi there \\n\",\"Hello.\",\"Who are you?\"|you?");
    }

    #[test]
    fn functions_of_transformers_exist() {
        let source = "{{ strftime_now('%d %b %Y')|length }} {{ {'a<': [1, 'é']} | tojson }}";
        assert_eq!(render(source, false), "11 {\"a<\": [1, \"é\"]}");
        let refuse = "{% if messages[1].role != 'assistant' %}{{ raise_exception('roles must alternate') }}{% endif %}";
        let error = ChatTemplate::new(refuse, "", "").unwrap().render(&chat(), false).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"), "{error}");
    }

    #[test]
    fn broken_templates_are_errors() {
        assert!(matches!(ChatTemplate::new("{% if %}", "", ""), Err(ChatError::Syntax(_))));
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        let error = ChatTemplate::new(endless, "", "").unwrap().render(&chat(), false);
        assert!(matches!(error, Err(ChatError::Render(_))));
        let doubling = format!("{{% set a = 'x' * 1000000 %}}{}", "{{ a }}".repeat(100));
        let error = ChatTemplate::new(&doubling, "", "").unwrap().render(&chat(), false).unwrap_err();
        assert!(matches!(error, ChatError::Endless) && error.exit_code() == 65, "{error}");
        let long = " ".repeat(MAX_TEMPLATE_BYTES + 1);
        assert!(matches!(ChatTemplate::new(&long, "", ""), Err(ChatError::TooLong { .. })));
        let empty = TokenizerSource::new("m/tokenizer.json".into(), Vec::new());
        let error = ChatTemplate::of(&empty, None, "", "").err().unwrap();
        assert_eq!(
            error.to_string(),
            "m/tokenizer.json has no chat template; give one with --chat-template: a file, or bitnet, chatml, falcon3, llama3"
        );
    }
}
