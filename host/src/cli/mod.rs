//! The command line: one file per command, exit codes in [`exit`].

mod args;
mod bench;
mod chat;
mod completions;
mod eval;
mod exit;
mod generate;
mod inspect;
mod memory;
mod model;
mod output;
mod pack;
mod perplexity;
mod prompt;
mod random;
mod replace;
mod reply;
mod report;
mod scoring;
mod signals;
mod turns;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::CliError;
use serde_json::json;
use std::ffi::OsString;
use std::process::ExitCode;

/// Version, with the commit where it was known at build time.
pub const VERSION: &str = match option_env!("TERCET_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Text from ternary language models, in the exact arithmetic of the Tercet accelerator
#[derive(Parser, Debug)]
#[command(name = "host", version = VERSION, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Try:\n  host generate \"Once upon a time\"\n  host inspect\n  host bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No notes, progress or statistics on standard error
    #[arg(short, long, global = true)]
    quiet: bool,
    /// No colours
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Continue a text
    #[command(visible_alias = "run")]
    Generate(generate::GenerateArgs),
    /// Hold a conversation
    Chat(chat::ChatArgs),
    /// Logits and log-likelihood of a given text
    Eval(eval::EvalArgs),
    /// How well the model predicts a text
    Perplexity(perplexity::PerplexityArgs),
    /// Make one packed image of a model
    Pack(pack::PackArgs),
    /// Show what a model file holds
    Inspect(inspect::InspectArgs),
    /// Measure prefill and decode speed
    Bench(bench::BenchArgs),
    /// Print a script that completes commands in a shell
    Completions(completions::CompletionsArgs),
}

/// Options of all commands.
#[derive(Clone, Copy, Debug)]
pub struct Global {
    /// Nothing on standard error but errors.
    pub quiet: bool,
    /// No colours.
    pub no_color: bool,
}

/// Runs the command line and turns its end into an exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().map(spelled_out).collect();
    let as_json = wants_json(&arguments);
    let mut command = Cli::command();
    command = command.after_long_help(exit_codes());
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let result = match parsed {
        Ok(cli) => dispatch(cli),
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(CliError::usage(usage_line(&error))),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(message) = &error.message {
        output::note(&format!("error: {message}"));
        if as_json {
            let _ = output::write_json(&json!({"error": {"code": error.exit as u8, "message": message}}), false);
        }
    }
    ExitCode::from(error.exit as u8)
}

fn dispatch(cli: Cli) -> Result<(), CliError> {
    let global = Global { quiet: cli.quiet, no_color: cli.no_color };
    signals::install()?;
    match cli.command {
        Command::Generate(args) => generate::run(&args, global),
        Command::Chat(args) => chat::run(&args, global),
        Command::Eval(args) => eval::run(&args, global),
        Command::Perplexity(args) => perplexity::run(&args, global),
        Command::Pack(args) => pack::run(&args, global),
        Command::Inspect(args) => inspect::run(&args, global),
        Command::Bench(args) => bench::run(&args, global),
        Command::Completions(args) => completions::run(&args),
    }
}

/// llama.cpp's `-sys` has more letters than a short option may have here.
fn spelled_out(argument: OsString) -> OsString {
    if argument == "-sys" { "--system".into() } else { argument }
}

/// Whether errors should also be JSON on standard output.
fn wants_json(arguments: &[OsString]) -> bool {
    let text: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let format = |value: &str| matches!(value, "json" | "jsonl");
    text.iter().any(|argument| *argument == "--json" || argument.strip_prefix("--format=").is_some_and(format))
        || text.windows(2).any(|pair| pair[0] == "--format" && format(pair[1]))
        || text.contains(&"bench") && text.windows(2).any(|pair| pair[0] == "-o" && format(pair[1]))
}

/// clap's message in one line.
fn usage_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let wanted: Vec<&str> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let text = wanted.join(" ");
    format!("{}; see host --help", text.strip_prefix("error: ").unwrap_or(&text))
}

fn exit_codes() -> String {
    let lines: Vec<String> = exit::TABLE.iter().map(|(exit, text)| format!("  {:>3}  {text}", *exit as u8)).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}
