//! `chat`: a conversation, on a terminal or line by line from a script.

use super::args::{EndArgs, ModelArgs, NumericsArg, SamplingArgs, SpeedArgs};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::read_text;
use super::replace::NewFile;
use super::{Global, output, report, signals, turns};
use clap::Args;
use host::engine::Engine;
use host::generate::run::deadline;
use host::generate::{Control, Finish, Job, Reply, Sampler, Session, Timings, run as generate};
use host::load::Tokenizer;
use host::load::chat::Message;
use host::load::session::{read_session, write_session};
use host::load::turns::Turns;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

const HELP: &str = "\
/reset        forget the conversation
/system TEXT  new instructions; forgets the conversation
/stats        how long the last answer took
/save FILE    write the conversation, for --session
/quit         leave (also Ctrl-D)
Ctrl-C stops an answer; pressed twice, it leaves.";

/// Options of `chat`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host chat -m DIR -sys \"Answer briefly.\"
  printf 'Who are you?\\nAre you sure?\\n' | host chat -m DIR -q > answers.txt

A script gives one turn per line; standard output carries only the answers. In the conversation, /help \
lists the commands. What earlier turns have left in the model's memory is kept: only new tokens are computed.")]
pub struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: NumericsArg,
    /// Form of the conversation: auto (the model's own), bitnet, chatml, falcon3, llama3, plain (just continue
    /// the text), or a Jinja file [default: auto; plain for the shipped story model, which knows no turns]
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,
    /// Instructions before the conversation (also -sys)
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE", conflicts_with = "system")]
    session: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    speed: SpeedArgs,
    /// Statistics after every answer
    #[arg(long, help_heading = "Output")]
    stats: bool,
}

struct Chat<'a> {
    args: &'a ChatArgs,
    model: &'a Model,
    engine: Box<dyn Engine>,
    tokenizer: &'a Tokenizer,
    turns: Turns,
    sampler: Sampler,
    session: Session,
    ends: Vec<u32>,
    messages: Vec<Message>,
    last: Option<(Timings, Finish)>,
    load: std::time::Duration,
    live: bool,
}

/// Runs the command.
pub fn run(args: &ChatArgs, global: Global) -> Result<(), CliError> {
    let settings = args.sampling.settings()?;
    args.end.limit()?;
    let mut model = Model::open(&args.model, global.quiet)?;
    let tokenizer = model.tokenizer()?;
    let turns = turns::select(&model, &tokenizer, args.chat_template.as_deref())?;
    let mut engine = model.engine(&args.model, args.numerics, global.quiet)?;
    model.release();
    let model = &model;
    let messages = match &args.session {
        Some(path) => read(path, model)?,
        None => args.system.iter().map(|text| Message::new("system", text)).collect(),
    };
    let mut session = Session::new(engine.as_mut())?;
    session.guess(args.speed.lookup.into());
    let ends = turns.ends(&tokenizer);
    let (ends, banned) = if args.end.ignore_eos { (Vec::new(), ends) } else { (ends, Vec::new()) };
    let sampler = Sampler::new(settings, banned)?;
    let live = io::stdin().is_terminal();
    if live && !global.quiet {
        output::note(&format!("{}; {}", model.path.display(), engine.describe()));
        if matches!(turns, Turns::Plain) {
            output::note("plain: begin a text, the model goes on; every further line is put below it");
        }
        output::note("/help lists the commands");
    }
    let load = model.load;
    let tokenizer = &tokenizer;
    let last = None;
    let mut chat = Chat { args, model, engine, tokenizer, turns, sampler, session, ends, messages, last, load, live };
    let prompt = if output::colours(global.no_color) { "\x1b[32m> \x1b[0m" } else { "> " };
    while let Some(line) = read_line(live.then_some(prompt))? {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" | "/bye" => break,
            command if command.starts_with('/') => {
                let result = chat.command(command);
                chat.report(result)?;
            }
            text => {
                let result = chat.turn(text);
                chat.report(result)?;
            }
        }
    }
    Ok(())
}

impl Chat<'_> {
    fn reset(&mut self, system: Option<&str>) {
        self.messages.clear();
        self.messages.extend(system.map(|text| Message::new("system", text)));
    }

    /// On a terminal a failed turn is told and the conversation goes on; a script ends.
    fn report(&self, result: Result<(), CliError>) -> Result<(), CliError> {
        match result {
            Err(CliError { message: Some(message), exit }) if self.live && exit != Exit::Internal => {
                output::note(&format!("error: {message}"));
                Ok(())
            }
            other => other,
        }
    }

    fn command(&mut self, command: &str) -> Result<(), CliError> {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("/help", "") => output::note(HELP),
            ("/reset", "") => {
                let system = self.messages.first().filter(|message| message.role == "system");
                let system = system.map(|message| message.content.clone());
                self.reset(system.as_deref());
            }
            ("/system", text) => self.reset(Some(text).filter(|text| !text.is_empty())),
            ("/stats", "") => self.stats(),
            ("/save", "") => return Err(CliError::usage("/save: no file name; expected /save FILE")),
            ("/save", path) => self.save(Path::new(path))?,
            _ => return Err(CliError::usage(format!("{command}: no such command; /help lists them"))),
        }
        Ok(())
    }

    fn stats(&self) {
        match &self.last {
            None => output::note("no answer yet"),
            Some((timings, finish)) => {
                let seed = Some(self.sampler.settings().seed);
                let backend = self.engine.describe();
                output::note(&report::stats_text(self.load, timings, finish.name(), seed, &backend));
                let (used, all) = (self.session.tokens().len(), self.engine.config().max_context);
                output::note(&format!("context  {used} of {all} tokens"));
            }
        }
    }

    fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = write_session(&self.model.identity()?, &self.messages)
            .map_err(|error| CliError::new(Exit::Internal, format!("/save: {error}")))?;
        let mut file = NewFile::create(path)?;
        file.write(text.as_bytes())?;
        file.commit()
    }

    fn turn(&mut self, text: &str) -> Result<(), CliError> {
        self.messages.push(Message::new("user", text));
        let answered = self.answer();
        if answered.is_err() {
            self.messages.pop();
        }
        answered
    }

    fn answer(&mut self) -> Result<(), CliError> {
        let prompt = self.tokenizer.encode(&self.turns.text(&self.messages)?, true)?;
        let context = self.engine.config().max_context;
        if prompt.len() >= context {
            let text = format!(
                "context: the conversation has {} tokens, {context} fit; /reset begins a new one",
                prompt.len()
            );
            return Err(CliError::new(Exit::Data, text));
        }
        let before = if matches!(self.turns, Turns::Plain) { prompt.as_slice() } else { &[] };
        let mut reply = Reply::new(Some(self.tokenizer), before, &self.args.end.stop);
        let mut failed = None;
        let mut on_token = |_, token| {
            let written = reply.push(token).map_err(CliError::from).and_then(|text| output::write(&text));
            failed = failed.take().or(written.err());
            failed.is_none() && reply.stopped_by().is_none()
        };
        let (session, sampler) = (&mut self.session, &mut self.sampler);
        let limit = self.args.end.limit()?;
        let mut jobs = [Job { session, prompt: &prompt, sampler, limit, ends: &self.ends }];
        let control = Control { cancel: Some(signals::flag()), deadline: deadline(self.args.end.timeout) };
        let result = generate(self.engine.as_mut(), &mut jobs, control, &mut on_token);
        if let Some(error) = failed {
            return Err(error);
        }
        let (outcomes, timings) = result?;
        let finish = outcomes[0].finish;
        output::write(&format!("{}\n", reply.finish()?))?;
        self.messages.push(Message::new("assistant", reply.text));
        self.last = Some((timings, finish));
        match finish {
            Finish::Cancelled if !self.live => return Err(CliError::silent(Exit::Interrupted)),
            Finish::Cancelled => drop(signals::take()),
            Finish::Context => {
                output::note(&format!("note: the context of {context} tokens is full; /reset begins a new one"))
            }
            Finish::Timeout if self.live => output::note("note: the time was up"),
            _ => {}
        }
        if self.args.stats {
            self.stats();
        }
        match self.args.end.timeout {
            Some(limit) if finish == Finish::Timeout && !self.live => Err(CliError::timeout(limit)),
            _ => Ok(()),
        }
    }
}

/// A conversation with this model that `/save` wrote.
fn read(path: &Path, model: &Model) -> Result<Vec<Message>, CliError> {
    let text = read_text(path)?;
    let messages = read_session(text.as_bytes(), &model.identity()?);
    messages.map_err(|error| CliError::new(Exit::Data, format!("{}: {error}", path.display())))
}

/// The next line; `None` at the end of input.
fn read_line(prompt: Option<&'static str>) -> Result<Option<String>, CliError> {
    if let Some(prompt) = prompt {
        let mut err = io::stderr().lock();
        let _ = err.write_all(prompt.as_bytes()).and_then(|()| err.flush());
        signals::at_prompt(Some(prompt));
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut bytes);
    signals::at_prompt(None);
    if prompt.is_some() {
        signals::take();
    }
    read.map_err(|error| CliError::read(Path::new("standard input"), &error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(bytes);
    let text =
        text.map_err(|_| CliError::new(Exit::Data, "standard input: a line is not UTF-8; convert it to UTF-8"))?;
    Ok(Some(text))
}
