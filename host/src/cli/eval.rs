//! `eval`: logits and log-likelihood of a given text.

use super::args::{ModelArgs, NumericsArg, TokenIds, token_ids};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::output::Progress;
use super::prompt::read_text;
use super::replace::NewFile;
use super::{Global, output, report, signals};
use clap::Args;
use host::engine::{EngineError, Step, Want, check_request};
use host::generate::score::{Score, nll, top1};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Most logits held at once, as numbers.
const MAX_LOGITS: usize = 1 << 24;

/// Options of `eval`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host eval --text \"Once upon a time\"
  host eval -m DIR --ids 1,2,3 --numerics float --logits out.safetensors

--logits writes one F32 tensor, `logits` [tokens, vocab]: row i holds the logits after token i. \
Ids are taken as they are; text gets the tokenizer's beginning-of-text token.")]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct EvalArgs {
    /// Token ids: 1,2,3
    #[arg(long, value_name = "IDS", value_parser = token_ids, group = "input")]
    ids: Option<TokenIds>,
    /// Text
    #[arg(long, value_name = "TEXT", group = "input")]
    text: Option<String>,
    /// Text from a file, - is standard input
    #[arg(short, long, value_name = "FILE", group = "input")]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: NumericsArg,
    /// Write all logits to this safetensors file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    logits: Option<PathBuf>,
    /// One object with a row for every position
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command.
pub fn run(args: &EvalArgs, global: Global) -> Result<(), CliError> {
    let mut model = Model::open(&args.model, global.quiet)?;
    let text = match (&args.text, &args.file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(read_text(path)?),
        (None, None) => None,
    };
    let tokens = match (&args.ids, text) {
        (Some(ids), _) => ids.0.clone(),
        (None, text) => model.tokenizer()?.encode(&text.unwrap_or_default(), true)?,
    };
    if tokens.is_empty() {
        return Err(CliError::new(Exit::Data, "input: no tokens; give some text or token ids"));
    }
    check_request(model.config(), 0, &tokens).map_err(EngineError::from)?;
    let vocab = model.config().vocab;
    let mut engine = model.engine(&args.model, args.numerics, global.quiet)?;
    model.release();
    if args.logits.is_some() {
        signals::clean_up_on_terminate();
    }
    let mut file = args.logits.as_deref().map(|path| logits_file(path, tokens.len(), vocab)).transpose()?;

    let sequence = engine.new_sequence()?;
    let progress = Progress::count("evaluating", global.quiet);
    let mut score = Score::default();
    let mut rows = Vec::new();
    let mut done = 0;
    for chunk in tokens.chunks((MAX_LOGITS / vocab).clamp(1, 512)) {
        signals::check()?;
        let step = Step { sequence, tokens: chunk, want: Want::All };
        let logits = engine.forward(&[step])?.pop().unwrap_or_default();
        for (offset, row) in logits.chunks_exact(vocab).enumerate() {
            let position = done + offset;
            let next = tokens.get(position + 1).copied();
            next.into_iter().for_each(|next| score.add(row, next));
            if args.json {
                rows.push(json!({
                    "position": position,
                    "id": tokens[position],
                    "top1": top1(row),
                    "next": next,
                    "nll": next.map(|next| nll(row, next)),
                }));
            }
        }
        if let Some(file) = &mut file {
            let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
            file.write(&bytes)?;
        }
        done += chunk.len();
        progress.set(done as u64, tokens.len() as u64);
    }
    drop(progress);
    file.map_or(Ok(()), NewFile::commit)?;
    show(args, &model, &engine.describe(), &tokens, &score, rows)
}

fn show(
    args: &EvalArgs,
    model: &Model,
    backend: &str,
    tokens: &[u32],
    score: &Score,
    rows: Vec<Value>,
) -> Result<(), CliError> {
    let name = format!("{:?}", args.numerics).to_lowercase();
    if args.json {
        let mut object = report::head_json(model, backend, &name);
        object.insert("ids".into(), json!(tokens));
        object.insert("scored_tokens".into(), score.tokens.into());
        object.insert("nll".into(), score.mean().into());
        object.insert("perplexity".into(), score.perplexity().into());
        object.insert("top1_accuracy".into(), (score.hits as f64 / score.tokens.max(1) as f64).into());
        object.insert("positions".into(), rows.into());
        object.insert("logits".into(), json!(args.logits.as_deref().map(Path::display).map(|p| p.to_string())));
        return output::write_json(&Value::Object(object), true);
    }
    let mut text = format!("tokens      {} ({} scored)\n", tokens.len(), score.tokens);
    if score.tokens > 0 {
        text += &format!("nll         {:.5} nats per token\n", score.mean());
        text += &format!("perplexity  {:.4}\n", score.perplexity());
        let share = 100.0 * score.hits as f64 / score.tokens as f64;
        text += &format!("top-1       {} of {} ({share:.1} %)\n", score.hits, score.tokens);
    }
    text += &format!("numerics    {name}\nbackend     {backend}\n");
    if let Some(path) = &args.logits {
        text += &format!("logits      {}: [{}, {}] F32\n", path.display(), tokens.len(), model.config().vocab);
    }
    output::write(&text)
}

/// A safetensors file with one tensor, whose bytes follow.
fn logits_file(path: &Path, tokens: usize, vocab: usize) -> Result<NewFile, CliError> {
    let bytes = tokens as u64 * vocab as u64 * 4;
    let tensor = json!({"dtype": "F32", "shape": [tokens, vocab], "data_offsets": [0, bytes]});
    let mut header = json!({ "logits": tensor }).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = NewFile::create(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(header.as_bytes())?;
    Ok(file)
}
