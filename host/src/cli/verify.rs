//! `verify`: whether a board computes the reference's bits.

use super::board::BoardArgs;
use super::exit::{CliError, Exit};
use super::model::Model;
use super::{Global, output};
use clap::Args;
use host::device::PassRunner;
use host::device::verify::{Outcome, Vector, small, verify};
use serde_json::json;
use std::path::PathBuf;

/// Options of `verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  host verify --backend xdma -m model.tercet

Small models with weights of every kind run on the board, and with -m some tokens of a real one. Every logit is \
compared with the CPU backend's, bit for bit. A model on the board has to be uploaded again afterwards.")]
pub struct VerifyArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// A model to try as well
    #[arg(short, long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Tokens of that model, the prompt and as many after it
    #[arg(short, long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    n_predict: u32,
    /// Print one object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command. It fails if a bit differs.
pub fn run(args: &VerifyArgs, global: Global) -> Result<(), CliError> {
    let mut driver = args.board.driver()?;
    let mut vectors = small(driver.shape());
    if let Some(path) = &args.model {
        let model = Model::load(path, global.quiet)?;
        let vocab = model.config().vocab as u32;
        let prompt = (0..args.n_predict).map(|i| (i * 7919 + 13) % vocab).collect();
        let (name, weights) = (path.display().to_string(), model.weights()?.clone());
        vectors.push(Vector { name, weights, prompt, decode: args.n_predict as usize });
    }
    let board = driver.describe();
    let (mut results, mut different, mut equal) = (Vec::new(), 0, 0);
    for vector in &vectors {
        let (back, outcome) = verify(driver, vector)?;
        driver = back;
        let text = match &outcome {
            Outcome::Equal(count) => {
                equal += 1;
                format!("equal    {}: {count} logits", vector.name)
            }
            Outcome::Differs { position, token, found, expected } => {
                different += 1;
                format!(
                    "DIFFERS  {}: token {token} at position {position} is {found:#010x}, expected {expected:#010x}",
                    vector.name
                )
            }
            Outcome::Unsuitable(why) => format!("skipped  {}: {why}", vector.name),
        };
        if !args.json {
            output::write(&format!("{text}\n"))?;
        }
        results.push(
            json!({"vector": vector.name, "result": text.split(' ').next().map(str::to_lowercase), "text": text}),
        );
    }
    if args.json {
        output::write_json(&json!({"board": board, "ok": different == 0, "results": results}), true)?;
    } else {
        output::write(&format!("{board}: {equal} of {} equal, bit for bit\n", vectors.len()))?;
    }
    if different > 0 {
        return Err(CliError::new(Exit::Internal, format!("{board}: {different} vectors differ; run `host doctor`")));
    }
    if equal == 0 {
        return Err(CliError::new(
            Exit::Mismatch,
            format!("{board}: no vector suits this machine; give a model with -m"),
        ));
    }
    Ok(())
}
