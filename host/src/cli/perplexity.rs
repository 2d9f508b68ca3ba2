//! `perplexity`: how well a model predicts a text, in one numerics or in both.

use super::args::{ModelArgs, NumericsArg};
use super::exit::{CliError, Exit};
use super::generate::SEPARATOR;
use super::model::{Model, threads};
use super::output::Progress;
use super::prompt::read_text;
use super::{Global, output, report, scoring};
use clap::{Args, ValueEnum};
use host::engine::Engine;
use host::generate::score::{Score, Window, document_windows, halved_windows};
use host::load::Tokenizer;
use scoring::Scored;
use serde_json::{Map, json};
use std::path::PathBuf;

/// Arithmetic to compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// What the published model computes
    Float,
    /// The accelerator's arithmetic
    Device,
    /// Both, compared with each other
    Both,
}

/// Options of `perplexity`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host perplexity -f valid.txt                       as llama.cpp measures it
  host perplexity -f valid.txt --per-document --numerics both

Windows, as llama.cpp makes them: the tokens of the whole text are cut into windows of -c tokens \
that do not overlap, an incomplete last one is dropped; the first token of each is replaced by the \
beginning-of-text token if the model uses one; the second half is scored, from position c/2 + 1 on. \
With --per-document the text is split at each <|endoftext|>, white space around documents is dropped, \
and every token is scored, the end of the document too if the tokenizer knows <|endoftext|>; documents \
longer than the context are cut into pieces.")]
pub struct PerplexityArgs {
    /// The text, - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: Which,
    /// Evaluate the documents between <|endoftext|> one by one
    #[arg(long)]
    per_document: bool,
    /// Only the first N windows or pieces
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    /// One object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command.
pub fn run(args: &PerplexityArgs, global: Global) -> Result<(), CliError> {
    let model = Model::open(&args.model, global.quiet)?;
    let tokenizer = model.tokenizer()?;
    let text = read_text(&args.file)?;
    let windows = windows(args, &model, &tokenizer, &text)?;
    let numerics: &[NumericsArg] = match args.numerics {
        Which::Float => &[NumericsArg::Float],
        Which::Device => &[NumericsArg::Device],
        Which::Both => &[NumericsArg::Float, NumericsArg::Device],
    };
    let mut results = Vec::new();
    for &numerics in numerics {
        let mut engines = engines(&model, &args.model, numerics)?;
        let backend = engines[0].describe();
        let label = if numerics == NumericsArg::Float { "float" } else { "device" };
        let progress = Progress::count(label, global.quiet);
        let scored = scoring::score(&mut engines, &windows, &|done| progress.set(done as u64, windows.len() as u64))?;
        results.push(Measured { name: label, backend, scored });
    }
    show(args, &model, &windows, &results)
}

struct Measured {
    name: &'static str,
    backend: String,
    scored: Vec<Scored>,
}

impl Measured {
    fn total(&self) -> Score {
        let mut total = Score::default();
        for one in &self.scored {
            total.tokens += one.score.tokens;
            total.nll += one.score.nll;
            total.nll_squared += one.score.nll_squared;
            total.hits += one.score.hits;
        }
        total
    }
}

/// The engines that share the work: one with threads of its own, or a plain one for each core.
fn engines(model: &Model, args: &ModelArgs, numerics: NumericsArg) -> Result<Vec<Box<dyn Engine>>, CliError> {
    let count = if Model::is_reference(args, numerics) { threads(args.threads)? } else { 1 };
    (0..count).map(|_| model.engine(args, numerics, true)).collect()
}

fn windows(args: &PerplexityArgs, model: &Model, tokenizer: &Tokenizer, text: &str) -> Result<Vec<Window>, CliError> {
    let context = model.config().max_context;
    let bos = tokenizer.bos().filter(|_| starts_with_bos(tokenizer));
    let mut windows = Vec::new();
    let mut found = 0;
    if args.per_document {
        let end = tokenizer.token_to_id(SEPARATOR);
        for document in text.split(SEPARATOR).map(str::trim).filter(|document| !document.is_empty()) {
            let mut tokens = tokenizer.encode(document, false)?;
            tokens.extend(end);
            found += tokens.len();
            windows.extend(document_windows(&tokens, context, bos));
        }
    } else {
        let tokens = tokenizer.encode(text, true)?;
        found = tokens.len();
        windows = halved_windows(&tokens, context, bos);
    }
    windows.truncate(args.chunks.map_or(usize::MAX, |chunks| chunks as usize));
    if windows.iter().all(|window| window.first_scored >= window.tokens.len()) {
        let name = args.file.display();
        let text = format!(
            "{name}: {found} tokens, expected at least one window of {context} that leaves tokens to score; \
             use a longer text{}",
            if args.per_document { "" } else { ", a smaller --ctx-size (-c, at least 3) or --per-document" }
        );
        return Err(CliError::new(Exit::Data, text));
    }
    Ok(windows)
}

/// Whether the tokenizer begins a text with its beginning-of-text token.
fn starts_with_bos(tokenizer: &Tokenizer) -> bool {
    let first = tokenizer.encode("a", true).ok().and_then(|ids| ids.first().copied());
    tokenizer.bos().is_some() && first == tokenizer.bos()
}

fn show(args: &PerplexityArgs, model: &Model, windows: &[Window], results: &[Measured]) -> Result<(), CliError> {
    let context = model.config().max_context;
    let rule = if args.per_document { "documents" } else { "halved windows" };
    let compared = match results {
        [float, device] => Some((float, device)),
        _ => None,
    };
    let difference = compared.map(|(f, d)| 100.0 * (d.total().perplexity() / f.total().perplexity() - 1.0));
    let agreement = compared.map(|(f, d)| agreement(&f.scored, &d.scored));
    if args.json {
        let mut by_name = Map::new();
        for result in results {
            let total = result.total();
            let value = json!({
                "perplexity": total.perplexity(),
                "standard_error": total.perplexity_error(),
                "nll": total.mean(),
                "top1_accuracy": total.hits as f64 / total.tokens.max(1) as f64,
                "backend": result.backend,
            });
            by_name.insert(result.name.into(), value);
        }
        let value = json!({
            "version": super::VERSION,
            "model": report::model_json(model),
            "rule": rule,
            "context": context,
            "windows": windows.len(),
            "scored_tokens": results[0].total().tokens,
            "numerics": by_name,
            "difference_percent": difference,
            "top1_agreement": agreement,
        });
        return output::write_json(&value, true);
    }
    let scored = results[0].total().tokens;
    let mut text =
        format!("text        {} {rule}, at most {context} tokens each, {scored} tokens scored\n", windows.len());
    for result in results {
        let total = result.total();
        let hits = 100.0 * total.hits as f64 / total.tokens.max(1) as f64;
        let (perplexity, error) = (total.perplexity(), total.perplexity_error());
        let name = result.name;
        text +=
            &format!("{name:<11} perplexity {perplexity:.4} +/- {error:.4}, top-1 {hits:.2} % ({})\n", result.backend);
    }
    if let (Some(difference), Some(agreement)) = (difference, agreement) {
        let agreement = 100.0 * agreement;
        text += &format!("difference  {difference:+.3} % (device against float), same top-1 in {agreement:.2} %\n");
    }
    output::write(&text)
}

/// Share of scored positions where both have the same most probable token.
fn agreement(a: &[Scored], b: &[Scored]) -> f64 {
    let pairs = a.iter().zip(b).flat_map(|(a, b)| a.top1.iter().zip(&b.top1));
    let (mut same, mut all) = (0usize, 0usize);
    for (a, b) in pairs {
        same += usize::from(a == b);
        all += 1;
    }
    same as f64 / all.max(1) as f64
}
