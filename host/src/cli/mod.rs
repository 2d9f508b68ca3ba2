//! The command line: one file per command, exit codes in [`exit`].

mod args;
mod bench;
mod board;
mod chat;
mod completions;
mod doctor;
mod eval;
mod exit;
mod generate;
mod habits;
mod inspect;
mod memory;
mod model;
mod output;
mod pack;
mod perplexity;
mod prompt;
mod random;
mod replace;
mod report;
mod scoring;
mod serve;
mod signals;
mod stats;
mod turns;
mod verify;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{CliError, Exit};
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
    /// Answer programs over HTTP, with OpenAI's API
    Serve(serve::ServeArgs),
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
    /// Find out what is wrong with a board
    Doctor(doctor::DoctorArgs),
    /// Compare a board with the reference, bit for bit
    Verify(verify::VerifyArgs),
    /// Show what a board spends its cycles on
    Stats(stats::StatsArgs),
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
    let arguments: Vec<_> = std::env::args_os().collect();
    let as_json = wants_json(&arguments);
    let result = match habits::translate(arguments) {
        Ok((arguments, notes)) => match parse(arguments) {
            Ok(cli) => dispatch(cli, &notes),
            Err(error) if !error.use_stderr() => {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = error.print();
                return ExitCode::from(Exit::Usage as u8);
            }
            Err(error) => Err(CliError::usage(usage_line(&error))),
        },
        Err(error) => Err(error),
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

fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().after_long_help(exit_codes()).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn dispatch(cli: Cli, notes: &[String]) -> Result<(), CliError> {
    let global = Global { quiet: cli.quiet, no_color: cli.no_color };
    signals::install()?;
    if !cli.quiet {
        notes.iter().for_each(|text| output::note(&format!("note: {text}")));
    }
    match cli.command {
        Command::Generate(args) => generate::run(&args, global),
        Command::Chat(args) => chat::run(&args, global),
        Command::Serve(args) => serve::run(args, global),
        Command::Eval(args) => eval::run(&args, global),
        Command::Perplexity(args) => perplexity::run(&args, global),
        Command::Pack(args) => pack::run(&args, global),
        Command::Inspect(args) => inspect::run(&args, global),
        Command::Bench(args) => bench::run(&args, global),
        Command::Doctor(args) => doctor::run(&args),
        Command::Verify(args) => verify::run(&args, global),
        Command::Stats(args) => stats::run(&args, global),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Whether errors should also be JSON on standard output.
fn wants_json(arguments: &[OsString]) -> bool {
    let options = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    let text: Vec<&str> = options.map(|argument| argument.to_str().unwrap_or("")).collect();
    // elsewhere -o names a file
    let is_bench = text.iter().find(|argument| !argument.starts_with('-')) == Some(&"bench");
    let names: &[&str] = if is_bench { &["--output", "-o"] } else { &["--format"] };
    let format = |value: &str| matches!(value, "json" | "jsonl");
    let attached = |argument: &str, name: &str| {
        let value = argument.strip_prefix(name).unwrap_or("");
        format(value.strip_prefix('=').unwrap_or(if name.starts_with("--") { "" } else { value }))
    };
    let one = |argument: &str| argument == "--json" || names.iter().any(|name| attached(argument, name));
    text.iter().any(|argument| one(argument)) || text.windows(2).any(|pair| names.contains(&pair[0]) && format(pair[1]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_before_options_are_parsed() {
        let wants = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["generate --json", "generate --format jsonl", "generate --format=json", "bench -o json"] {
            assert!(wants(&format!("host {line}")), "{line}");
        }
        for line in ["-q bench -ojsonl", "bench --output json", "bench --output=json", "bench -o=json"] {
            assert!(wants(&format!("host {line}")), "{line}");
        }
        for line in ["generate -- --json", "pack bench -o json", "bench -o md", "generate --format=text", "-q"] {
            assert!(!wants(&format!("host {line}")), "{line}");
        }
    }
}
