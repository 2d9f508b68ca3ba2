//! `completions`: scripts that complete commands and options in a shell.

use super::exit::CliError;
use super::output;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Options of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  host completions bash > ~/.local/share/bash-completion/completions/host")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::Cli::command(), "host", &mut script);
    output::write(&String::from_utf8_lossy(&script))
}
