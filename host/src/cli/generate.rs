//! `generate`: continues one text, or several as a batch.

use super::args::{EndArgs, ModelArgs, NumericsArg, SamplingArgs};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::{Prompt, PromptArgs};
use super::{Global, output, report, signals};
use clap::{Args, ValueEnum};
use host::generate::run::deadline;
use host::generate::{Control, Finish, Job, Sampler, SamplerSettings, Session, StopGate, Timings, run as generate};
use host::load::Tokenizer;
use host::load::tokenizer::DecodeStream;
use serde_json::{Map, Value, json};

/// Most sequences in one batch; more are run one batch after another.
const BATCH: usize = 16;

/// Between the texts of a batch.
pub const SEPARATOR: &str = "<|endoftext|>";

/// What standard output carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Only the text, token by token
    Text,
    /// One object at the end
    Json,
    /// One object per token, then one for the whole
    Jsonl,
}

/// Options of `generate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host generate \"Once upon a time\"             a story from the shipped model
  host generate -p \"The fox\" -n 50 --greedy    always the most probable token
  echo \"One day\" | host generate -s 7 > a.txt  from a pipe into a file
  host run -m DIR -f prompt.txt --json -q      everything about the run as one object

Standard output carries the prompt and its continuation and nothing else. The seed is fixed unless \
-s says otherwise, so the same command prints the same text on every machine.")]
pub struct GenerateArgs {
    #[command(flatten)]
    prompt: PromptArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: NumericsArg,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    end: EndArgs,
    /// Texts to draw from one prompt, with seeds N, N+1, ...
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, conflicts_with = "prompts_file")]
    batch: usize,
    /// Print only the continuation
    #[arg(long, help_heading = "Output")]
    no_display_prompt: bool,
    /// What standard output carries
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    json: bool,
    /// Statistics on standard error even with --quiet or JSON
    #[arg(long, conflicts_with = "no_stats", help_heading = "Output")]
    stats: bool,
    /// No statistics
    #[arg(long, help_heading = "Output")]
    no_stats: bool,
}

/// One text to generate.
struct Item<'a> {
    prompt_text: String,
    prompt: Vec<u32>,
    settings: SamplerSettings,
    text: String,
    ids: Vec<u32>,
    finish: Finish,
    gate: StopGate,
    stream: Option<DecodeStream<'a>>,
}

/// Runs the command.
pub fn run(args: &GenerateArgs, global: Global) -> Result<(), CliError> {
    let settings = args.sampling.settings()?;
    let limit = args.end.limit()?;
    let prompts = args.prompt.read()?;
    let format = if args.json { Format::Json } else { args.format };
    let model = Model::open(&args.model, global.quiet)?;
    let needs_text = prompts.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) || !args.end.stop.is_empty();
    let tokenizer = match needs_text || model.tokenizer.is_some() {
        true => Some(model.tokenizer()?),
        false => None,
    };
    let mut engine = model.engine(&args.model, args.numerics)?;
    let ends = match &tokenizer {
        Some(tokenizer) => tokenizer.stop_ids().to_vec(),
        None => model.config().eos.clone(),
    };
    let (ends, banned) = if args.end.ignore_eos { (Vec::new(), ends) } else { (ends, Vec::new()) };

    let mut items = Vec::new();
    for prompt in &prompts {
        for copy in 0..args.batch.max(1) {
            let seed = settings.seed.wrapping_add(copy as u64);
            items.push(item(prompt, SamplerSettings { seed, ..settings.clone() }, tokenizer.as_ref(), &args.end.stop)?);
        }
    }
    let control = Control { cancel: Some(signals::flag()), deadline: deadline(args.end.timeout) };
    let mut timings = Timings::default();
    let many = items.len() > 1;
    for (number, group) in items.chunks_mut(BATCH).enumerate() {
        let show = Show { format, many, prompt: !args.no_display_prompt, first: number * BATCH };
        let took = run_batch(engine.as_mut(), group, &ends, &banned, limit, control, show)?;
        add(&mut timings, took);
    }
    let backend = engine.describe();
    if format != Format::Text {
        let name = format!("{:?}", args.numerics).to_lowercase();
        let mut object = report::head_json(&model, &backend, &name);
        answer_json(&mut object, &items, &settings);
        object.insert("timings".into(), report::timings_json(model.load, &timings));
        output::write_json(&Value::Object(object), format == Format::Json)?;
    }
    if args.stats || !(args.no_stats || global.quiet || format != Format::Text) {
        let finish = if many { format!("{} texts", items.len()) } else { items[0].finish.name().into() };
        let seed = (settings.temperature > 0.0).then_some(settings.seed);
        output::note(&format!("\n{}", report::stats_text(model.load, &timings, &finish, seed, &backend)));
    }
    ended(&items, args)
}

fn item<'a>(
    prompt: &Prompt,
    settings: SamplerSettings,
    tokenizer: Option<&'a Tokenizer>,
    stops: &[String],
) -> Result<Item<'a>, CliError> {
    let (prompt_text, prompt) = match (prompt, tokenizer) {
        (Prompt::Text(text), Some(tokenizer)) => (text.clone(), tokenizer.encode(text, true)?),
        (Prompt::Text(text), None) => (text.clone(), Vec::new()),
        (Prompt::Ids(ids), Some(tokenizer)) => {
            let known = ids.iter().all(|&id| (id as usize) < tokenizer.vocab());
            (if known { tokenizer.decode(ids)? } else { String::new() }, ids.clone())
        }
        (Prompt::Ids(ids), None) => (String::new(), ids.clone()),
    };
    let stream = tokenizer.map(Tokenizer::stream);
    let gate = StopGate::new(stops);
    Ok(Item {
        prompt_text,
        prompt,
        settings,
        text: String::new(),
        ids: Vec::new(),
        finish: Finish::Length,
        gate,
        stream,
    })
}

#[derive(Clone, Copy)]
struct Show {
    format: Format,
    many: bool,
    prompt: bool,
    first: usize,
}

fn run_batch(
    engine: &mut dyn host::engine::Engine,
    items: &mut [Item<'_>],
    ends: &[u32],
    banned: &[u32],
    limit: usize,
    control: Control<'_>,
    show: Show,
) -> Result<Timings, CliError> {
    // show nothing before the prompts are known to be in order
    for item in items.iter() {
        host::engine::check_request(engine.config(), 0, &item.prompt).map_err(host::engine::EngineError::from)?;
    }
    let live = show.format == Format::Text && !show.many;
    if live && show.prompt {
        output::write(&items[0].prompt_text)?;
    }
    let mut sessions = Vec::new();
    let mut samplers = Vec::new();
    let mut prompts = Vec::new();
    for item in items.iter() {
        sessions.push(Session::new(engine)?);
        samplers.push(Sampler::new(item.settings.clone(), banned.to_vec())?);
        prompts.push(item.prompt.clone());
    }
    let parts = sessions.iter_mut().zip(&mut samplers).zip(&prompts);
    let mut jobs: Vec<Job> =
        parts.map(|((session, sampler), prompt)| Job { session, prompt, sampler, limit, ends }).collect();
    let mut failed = None;
    let mut on_token = |index: usize, token: u32| {
        let shown = items[index].push(token);
        let written = shown.and_then(|text| match (live, show.format) {
            (true, _) => output::write(&text),
            (_, Format::Jsonl) => {
                output::write_json(&json!({"index": show.first + index, "id": token, "text": text}), false)
            }
            _ => Ok(()),
        });
        failed = failed.take().or(written.err());
        failed.is_none() && items[index].gate.hit().is_none()
    };
    let result = generate(engine, &mut jobs, control, &mut on_token);
    if let Some(error) = failed {
        return Err(error);
    }
    let (outcomes, timings) = result?;
    sessions.into_iter().for_each(|session| session.close(engine));
    for (index, (item, outcome)) in items.iter_mut().zip(outcomes).enumerate() {
        item.finish = outcome.finish;
        item.ids = outcome.tokens;
        let rest = item.finish()?;
        if live {
            output::write(&format!("{rest}\n"))?;
        } else if show.format == Format::Text {
            let prompt = if show.prompt { item.prompt_text.as_str() } else { "" };
            let separator = if show.first + index > 0 { format!("{SEPARATOR}\n") } else { String::new() };
            output::write(&format!("{separator}{prompt}{}\n", item.text))?;
        }
    }
    Ok(timings)
}

impl Item<'_> {
    /// Takes a token; returns the text that may be shown now.
    fn push(&mut self, token: u32) -> Result<String, CliError> {
        let piece = match &mut self.stream {
            Some(stream) => stream.push(token)?.unwrap_or_default(),
            None => format!("{}{token}", if self.text.is_empty() { "" } else { " " }),
        };
        let shown = self.gate.push(&piece);
        self.text.push_str(&shown);
        Ok(shown)
    }

    /// The text that was held back.
    fn finish(&mut self) -> Result<String, CliError> {
        let tail = match &mut self.stream {
            Some(stream) => stream.flush()?.unwrap_or_default(),
            None => String::new(),
        };
        let mut rest = self.gate.push(&tail);
        rest.push_str(&self.gate.finish());
        self.text.push_str(&rest);
        Ok(rest)
    }
}

fn add(sum: &mut Timings, part: Timings) {
    sum.prompt_tokens += part.prompt_tokens;
    sum.prefill += part.prefill;
    sum.first_token = sum.first_token.or(part.first_token);
    sum.new_tokens += part.new_tokens;
    sum.intervals.extend(part.intervals);
    sum.total += part.total;
}

fn answer_json(object: &mut Map<String, Value>, items: &[Item<'_>], settings: &SamplerSettings) {
    object.insert("seed".into(), settings.seed.into());
    object.insert(
        "settings".into(),
        json!({
            "temp": settings.temperature,
            "top_k": settings.top_k,
            "top_p": settings.top_p,
            "min_p": settings.min_p,
            "repeat_penalty": settings.repeat_penalty,
            "repeat_last_n": settings.repeat_last_n,
        }),
    );
    let one = |item: &Item<'_>| {
        json!({
            "text": item.text,
            "ids": item.ids,
            "prompt": item.prompt_text,
            "prompt_ids": item.prompt,
            "finish_reason": item.finish.name(),
            "stop": item.gate.hit(),
            "seed": item.settings.seed,
        })
    };
    match items {
        [item] => {
            if let Value::Object(fields) = one(item) {
                object.extend(fields);
            }
        }
        _ => drop(object.insert("results".into(), items.iter().map(one).collect())),
    }
}

/// The exit code that the ends of all texts amount to.
fn ended(items: &[Item<'_>], args: &GenerateArgs) -> Result<(), CliError> {
    if items.iter().any(|item| item.finish == Finish::Cancelled) {
        return Err(CliError::silent(Exit::Interrupted));
    }
    if let (true, Some(limit)) = (items.iter().any(|item| item.finish == Finish::Timeout), args.end.timeout) {
        let text =
            format!("--timeout: the text was not finished after {} s; what there was is printed", limit.as_secs_f64());
        return Err(CliError::new(Exit::Io, text));
    }
    Ok(())
}
