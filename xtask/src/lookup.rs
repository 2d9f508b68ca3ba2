//! `cargo xtask bench lookup`: what guessing by look-up brings where a text repeats itself, and costs where it does not.
//!
//! The same text with and without guesses, in turn, round after round; the best of all rounds, for a machine that others
//! use, too. A random model says one word again and again if it is greedy, and never the same three if it draws evenly;
//! the shipped model's story lies between them.

use crate::bench::{best, host, image, pack};
use crate::run::{output, run};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

/// Options of `bench lookup`.
#[derive(Args)]
pub struct LookupArgs {
    /// Most tokens that are guessed
    #[arg(long, default_value_t = 7)]
    most: usize,
    /// Measured rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Shape of the random model.
const SHAPE: &str = "bitnet-0.73b";

/// Prints the table.
pub fn lookup(args: &LookupArgs) -> Result<()> {
    run("cargo", &["build", "--release", "--locked", "-p", "host"])?;
    pack(SHAPE)?;
    let random = image(SHAPE).display().to_string();
    let model = ["-m", &random, "--ids", "1,2,3"];
    // a story is over in milliseconds: more rounds
    let texts: [(&str, usize, Vec<&str>); 3] = [
        ("0.73B, one word again and again", 1, [&model[..], &["--greedy", "-n", "200"]].concat()),
        (
            "0.73B, words drawn evenly",
            1,
            [&model[..], &["--temp", "1e8", "--top-k", "0", "--top-p", "1", "--min-p", "0", "-n", "64"]].concat(),
        ),
        ("the shipped model's story", 8, vec!["Once upon a time", "--greedy", "-n", "256"]),
    ];
    println!("| text | tok/s without | with up to {} guesses | ratio |\n|---|--:|--:|--:|", args.most);
    for (name, times, text) in texts {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..2 * times * args.rounds {
            // pairs in changing order
            let guesses = (round + round / 2) % 2;
            rates[guesses].push(rate(&text, args.threads, guesses * args.most)?);
        }
        let [without, with] = rates.map(best);
        println!("| {name} | {without:.1} | {with:.1} | {:.3} |", with / without);
    }
    Ok(())
}

/// Tokens a second after the prompt.
fn rate(text: &[&str], threads: usize, guesses: usize) -> Result<f64> {
    let (threads, guesses) = (threads.to_string(), guesses.to_string());
    let host = host().display().to_string();
    let line = [&["generate", "--json", "-t", &threads, "--lookup", &guesses], text].concat();
    let said: Value = serde_json::from_str(&output(&host, &line)?).context("the host's JSON")?;
    said["timings"]["gen_tok_s"].as_f64().context("timings.gen_tok_s in the host's JSON")
}
