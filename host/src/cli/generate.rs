//! `generate`: continues one text, or several as a batch.

use super::args::{EndArgs, ModelArgs, NumericsArg, SamplingArgs, SpeedArgs};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::{Prompt, PromptArgs};
use super::{Global, output, report, signals, turns};
use clap::{Args, ValueEnum};
use host::generate::run::deadline;
use host::generate::{Control, Finish, Job, Reply, Sampler, SamplerSettings, Session, Timings, run as generate};
use host::load::Tokenizer;
use host::load::chat::Message;
use host::load::turns::Turns;
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
    #[command(flatten)]
    speed: SpeedArgs,
    /// Texts to draw from one prompt, with seeds N, N+1, ...
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with = "prompts_file",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Put the prompt into a conversation of this form: auto (the model's own), bitnet, chatml, falcon3,
    /// llama3 or a Jinja file; then only the answer is printed
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "ids", help_heading = "Prompt")]
    chat_template: Option<String>,
    /// Instructions before the prompt (also -sys)
    #[arg(long, value_name = "TEXT", requires = "chat_template", conflicts_with = "ids", help_heading = "Prompt")]
    system: Option<String>,
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
    reply: Reply<'a>,
    ids: Vec<u32>,
    finish: Finish,
}

/// Runs the command.
pub fn run(args: &GenerateArgs, global: Global) -> Result<(), CliError> {
    let settings = args.sampling.settings()?;
    let limit = args.end.limit()?;
    let prompts = args.prompt.read()?;
    let format = if args.json { Format::Json } else { args.format };
    let mut model = Model::open(&args.model, global.quiet)?;
    let needs_text = prompts.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) || !args.end.stop.is_empty();
    let tokenizer = match needs_text || model.tokenizer.is_some() {
        true => Some(model.tokenizer()?),
        false => None,
    };
    let mut engine = model.engine(&args.model, args.numerics, global.quiet)?;
    model.release();
    let turns = match (&args.chat_template, &tokenizer) {
        (Some(name), Some(tokenizer)) => Some(turns::select(&model, tokenizer, Some(name))?),
        _ => None,
    };
    let ends = match (&turns, &tokenizer) {
        (Some(turns), Some(tokenizer)) => turns.ends(tokenizer),
        (None, Some(tokenizer)) => tokenizer.stop_ids().to_vec(),
        _ => model.config().eos.clone(),
    };
    let (ends, banned) = if args.end.ignore_eos { (Vec::new(), ends) } else { (ends, Vec::new()) };

    let control = Control { cancel: Some(signals::flag()), deadline: deadline(args.end.timeout) };
    let mut items = Vec::new();
    for prompt in &prompts {
        match (control.interrupted(), args.end.timeout) {
            (Some(Finish::Timeout), Some(limit)) => return Err(CliError::timeout(limit)),
            (Some(_), _) => return Err(CliError::silent(Exit::Interrupted)),
            (None, _) => {}
        }
        let (text, ids) = tokens(args, prompt, tokenizer.as_ref(), turns.as_ref())?;
        for copy in 0..args.batch {
            let settings = SamplerSettings { seed: settings.seed.wrapping_add(copy.into()), ..settings.clone() };
            let before = if turns.is_none() { ids.as_slice() } else { &[] };
            let reply = Reply::new(tokenizer.as_ref(), before, &args.end.stop);
            let (prompt_text, prompt) = (text.clone(), ids.clone());
            items.push(Item { prompt_text, prompt, settings, reply, ids: Vec::new(), finish: Finish::Length });
        }
    }
    let mut timings = Timings::default();
    let many = items.len() > 1;
    for (number, group) in items.chunks_mut(BATCH).enumerate() {
        let show = Show { format, many, prompt: !args.no_display_prompt && turns.is_none(), first: number * BATCH };
        let guesses = args.speed.lookup.into();
        let took = run_batch(engine.as_mut(), group, &ends, &banned, limit, guesses, control, show)?;
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

/// A prompt's text and tokens.
fn tokens(
    args: &GenerateArgs,
    prompt: &Prompt,
    tokenizer: Option<&Tokenizer>,
    turns: Option<&Turns>,
) -> Result<(String, Vec<u32>), CliError> {
    Ok(match (prompt, tokenizer) {
        (Prompt::Text(text), Some(tokenizer)) => {
            let system = args.system.iter().map(|text| Message::new("system", text));
            let messages: Vec<Message> = system.chain([Message::new("user", text)]).collect();
            let chat = turns.map(|turns| turns.text(&messages)).transpose()?;
            (text.clone(), tokenizer.encode(chat.as_ref().unwrap_or(text), true)?)
        }
        (Prompt::Text(text), None) => (text.clone(), Vec::new()),
        (Prompt::Ids(ids), Some(tokenizer)) => {
            let known = ids.iter().all(|&id| (id as usize) < tokenizer.vocab());
            (if known { tokenizer.decode(ids)? } else { String::new() }, ids.clone())
        }
        (Prompt::Ids(ids), None) => (String::new(), ids.clone()),
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
    guesses: usize,
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
        let mut session = Session::new(engine)?;
        session.guess(guesses);
        sessions.push(session);
        samplers.push(Sampler::new(item.settings.clone(), banned.to_vec())?);
        prompts.push(item.prompt.clone());
    }
    let parts = sessions.iter_mut().zip(&mut samplers).zip(&prompts);
    let mut jobs: Vec<Job> =
        parts.map(|((session, sampler), prompt)| Job { session, prompt, sampler, limit, ends }).collect();
    let mut failed = None;
    let mut on_token = |index: usize, token: u32| {
        let shown = items[index].reply.push(token).map_err(CliError::from);
        let written = shown.and_then(|text| match (live, show.format) {
            (true, _) => output::write(&text),
            (_, Format::Jsonl) => {
                output::write_json(&json!({"index": show.first + index, "id": token, "text": text}), false)
            }
            _ => Ok(()),
        });
        failed = failed.take().or(written.err());
        failed.is_none() && items[index].reply.stopped_by().is_none()
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
        let rest = item.reply.finish()?;
        if live {
            output::write(&format!("{rest}\n"))?;
        } else if show.format == Format::Text {
            let prompt = if show.prompt { item.prompt_text.as_str() } else { "" };
            let separator = if show.first + index > 0 { format!("{SEPARATOR}\n") } else { String::new() };
            output::write(&format!("{separator}{prompt}{}\n", item.reply.text))?;
        }
    }
    Ok(timings)
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
            "temp": report::rounded(f64::from(settings.temperature), 6),
            "top_k": settings.top_k,
            "top_p": report::rounded(f64::from(settings.top_p), 6),
            "min_p": report::rounded(f64::from(settings.min_p), 6),
            "repeat_penalty": report::rounded(f64::from(settings.repeat_penalty), 6),
            "repeat_last_n": settings.repeat_last_n,
        }),
    );
    let one = |item: &Item<'_>| {
        json!({
            "text": item.reply.text,
            "ids": item.ids,
            "prompt": item.prompt_text,
            "prompt_ids": item.prompt,
            "finish_reason": item.finish.name(),
            "stop": item.reply.stopped_by(),
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
        return Err(CliError::timeout(limit));
    }
    Ok(())
}
