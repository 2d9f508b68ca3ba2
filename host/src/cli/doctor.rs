//! `doctor`: what is wrong with a board.

use super::board::BoardArgs;
use super::exit::CliError;
use super::output;
use clap::Args;
use host::device::doctor::{Finding, examine, trouble};
use serde_json::json;
use std::path::PathBuf;

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host doctor --backend xdma                    the card at /dev/xdma0
  host doctor --backend axi                     the logic of this Zynq
  host doctor --backend axi --device DIR/uio0   a simulated board

Nothing that is changed stays changed; a model on the board stays there.")]
pub struct DoctorArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// Manifest of the kit that the bitstream came from [default: the one beside the bitstream that was loaded]
    #[arg(long, value_name = "FILE", help_heading = "Board")]
    manifest: Option<PathBuf>,
    /// Print one object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command. It fails if something does not work.
pub fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let findings = examine(&args.board.address()?, args.board.preset.as_deref(), args.manifest.as_deref());
    let trouble = trouble(&findings);
    if args.json {
        let one = |f: &Finding| json!({"check": f.check, "verdict": f.verdict.name(), "found": f.found, "fix": f.fix});
        let all: Vec<_> = findings.iter().map(one).collect();
        output::write_json(&json!({"ok": trouble.is_none(), "findings": all}), true)?;
    } else {
        let width = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        let mut told = None;
        for finding in &findings {
            text += &format!("{:<7}  {:<width$}  {}\n", finding.verdict.name(), finding.check, finding.found);
            if let Some(fix) = finding.fix.as_ref().filter(|fix| told != Some(*fix)) {
                told = Some(fix);
                text += &format!("{:<7}  {:<width$}  -> {fix}\n", "", "");
            }
        }
        output::write(&text)?;
    }
    match trouble {
        None => Ok(()),
        // the findings have said it
        Some(trouble) => Err(CliError::silent(trouble.into())),
    }
}
