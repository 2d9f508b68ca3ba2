//! `bench`: prefill and decode speed, with llama-bench's names.

use super::args::{ModelArgs, NumericsArg};
use super::exit::{CliError, Exit};
use super::model::{Model, threads};
use super::output::Progress;
use super::report::{ms, rounded};
use super::{Global, memory, output, signals};
use clap::{Args, ValueEnum};
use host::cpu::bench::read_bandwidth;
use host::engine::{Engine, Step, Want};
use host::generate::score::top1;
use host::generate::stats::{mean_and_deviation, percentile};
use serde_json::{Value, json};
use spec::model::random::Rng;
use std::time::{Duration, Instant};

/// Form of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Markdown
    Md,
    /// Comma-separated values
    Csv,
    /// One array
    Json,
    /// One object per row
    Jsonl,
}

/// Options of `bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host bench
  host bench -m DIR -p 64,512 -n 64 -d 0,256 -t 1 -o json

As llama-bench: ppN is the prefill of N random tokens, tgN the decode of N tokens one by one, @ dD after \
D tokens of context; one unmeasured run, then -r measured ones; tokenising and sampling are not included. \
ttft is the time of the whole prefill with the choice of the first token; itl the time between tokens; \
MB/token what decoding one token reads from memory: weights, head, keys and values.")]
pub struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: NumericsArg,
    /// Prefill lengths; 0 for none
    #[arg(short = 'p', long, value_name = "N,N", default_value = "512", value_delimiter = ',')]
    n_prompt: Vec<usize>,
    /// Decode lengths; 0 for none
    #[arg(short = 'n', long, value_name = "N,N", default_value = "128", value_delimiter = ',')]
    n_gen: Vec<usize>,
    /// Tokens of context before the test
    #[arg(short = 'd', long, value_name = "N,N", default_value = "0", value_delimiter = ',')]
    n_depth: Vec<usize>,
    /// Measured runs of each test
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Form of the table
    #[arg(short, long, value_enum, default_value = "md", help_heading = "Output")]
    output: Form,
    /// The same as -o json
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    json: bool,
    /// Also measure how fast this machine reads memory with that many threads (takes 1 GiB)
    #[arg(long)]
    bandwidth: bool,
}

/// What is not measured test by test.
struct Process {
    /// From the start of the command to an engine that can run.
    ready: Duration,
    /// Bytes in memory after the tests, and at most.
    resident: Option<(u64, u64)>,
    /// Bytes a second that the machine reads.
    read_rate: Option<f64>,
}

/// One row of the table.
struct Test {
    name: String,
    prompt: usize,
    decode: usize,
    depth: usize,
    rates: Vec<f64>,
    first: Vec<Duration>,
    intervals: Vec<Duration>,
}

/// Runs the command.
pub fn run(args: &BenchArgs, global: Global) -> Result<(), CliError> {
    let begin = Instant::now();
    let mut model = Model::open(&args.model, global.quiet)?;
    let tests = tests(args, model.config().max_context)?;
    let mut engine = model.engine(&args.model, args.numerics, global.quiet)?;
    model.release();
    let ready = begin.elapsed();
    let progress = Progress::count("measuring", global.quiet);
    let runs = tests.len() as u64 * u64::from(args.repetitions + 1);
    let mut finished = 0;
    let mut rows = Vec::new();
    for mut test in tests {
        for repetition in 0..=args.repetitions {
            measure(engine.as_mut(), &mut test, repetition > 0)?;
            finished += 1;
            progress.set(finished, runs);
        }
        rows.push(test);
    }
    drop(progress);
    let resident = memory::resident();
    let read_rate = match args.bandwidth {
        true => Some(read_bandwidth(threads(args.model.threads)?).map_err(|error| {
            CliError::new(Exit::System, format!("--bandwidth: 1 GiB of memory could not be had: {error}"))
        })?),
        false => None,
    };
    show(args, &model, engine.as_ref(), &Process { ready, resident, read_rate }, &rows)
}

fn tests(args: &BenchArgs, context: usize) -> Result<Vec<Test>, CliError> {
    let mut tests = Vec::new();
    for &depth in &args.n_depth {
        let kinds = args.n_prompt.iter().map(|&n| ("pp", n, 0)).chain(args.n_gen.iter().map(|&n| ("tg", 0, n)));
        for (kind, prompt, decode) in kinds.filter(|(_, prompt, decode)| prompt + decode > 0) {
            let fits = depth.checked_add(prompt + decode).is_some_and(|needed| needed <= context);
            let at = if depth > 0 { format!(" @ d{depth}") } else { String::new() };
            let name = format!("{kind}{}{at}", prompt + decode);
            if !fits {
                let text =
                    format!("{name}: needs more tokens than the context of {context}; use a smaller -p, -n or -d");
                return Err(CliError::usage(text));
            }
            let (rates, first, intervals) = (Vec::new(), Vec::new(), Vec::new());
            tests.push(Test { name, prompt, decode, depth, rates, first, intervals });
        }
    }
    if tests.is_empty() {
        return Err(CliError::usage("bench: no tests; give -p or -n a number above 0"));
    }
    Ok(tests)
}

/// One run of a test; `keep` says whether it counts.
fn measure(engine: &mut dyn Engine, test: &mut Test, keep: bool) -> Result<(), CliError> {
    signals::check()?;
    let vocab = engine.config().vocab;
    let mut rng = Rng::new(test.depth as u64);
    let mut random = |count: usize| -> Vec<u32> { (0..count).map(|_| rng.below(vocab) as u32).collect() };
    let (context, prompt, decode) = (random(test.depth), random(test.prompt), random(test.decode));
    let sequence = engine.new_sequence()?;
    if !context.is_empty() {
        engine.forward(&[Step { sequence, tokens: &context, want: Want::Nothing }])?;
    }
    let mut intervals = Vec::new();
    let mut first = None;
    let begin = Instant::now();
    if !prompt.is_empty() {
        let logits = engine.forward(&[Step { sequence, tokens: &prompt, want: Want::Last }])?;
        std::hint::black_box(logits.first().and_then(|row| top1(row)));
        first = Some(begin.elapsed());
    }
    for token in &decode {
        let start = Instant::now();
        engine.forward(&[Step { sequence, tokens: std::slice::from_ref(token), want: Want::Last }])?;
        intervals.push(start.elapsed());
        signals::check()?;
    }
    let took = begin.elapsed();
    engine.free_sequence(sequence);
    if keep {
        test.rates.push((test.prompt + test.decode) as f64 / took.as_secs_f64());
        test.first.extend(first);
        test.intervals.extend(intervals);
    }
    Ok(())
}

fn show(
    args: &BenchArgs,
    model: &Model,
    engine: &dyn Engine,
    process: &Process,
    tests: &[Test],
) -> Result<(), CliError> {
    let row = |test| row(args, model, engine, process, test);
    let values: Vec<Value> = tests.iter().map(row).collect::<Result<_, _>>()?;
    let form = if args.json { Form::Json } else { args.output };
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match form {
        Form::Json => output::write_json(&Value::Array(values), true),
        Form::Jsonl => values.iter().try_for_each(|value| output::write_json(value, false)),
        Form::Csv => {
            let quote = |value: &Value| format!("\"{}\"", cell(value).replace('"', "\"\""));
            let names: Vec<&str> = values[0].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let mut text = names.join(",") + "\n";
            for value in &values {
                let cells: Vec<String> = names.iter().map(|name| quote(&value[*name])).collect();
                text += &(cells.join(",") + "\n");
            }
            output::write(&text)
        }
        Form::Md => {
            let first = &values[0];
            let mut text = format!("{}; {}\n\n", cell(&first["backend"]), cell(&first["evidence"]));
            text += "| model | size MiB | params M | test | tok/s | ttft ms | itl p50 ms | itl p99 ms | MB/token | GB/s |\n";
            text += "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
            for value in &values {
                let mib = value["model_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
                let millions = value["params"].as_f64().unwrap_or(0.0) / 1e6;
                let rate = value["tok_s"].as_f64().unwrap_or(0.0);
                let deviation = value["tok_s_stddev"].as_f64().unwrap_or(0.0);
                let (model, test) = (cell(&value["model"]), cell(&value["test"]));
                let (ttft, p50, p99) =
                    (cell(&value["ttft_ms"]), cell(&value["itl_ms_p50"]), cell(&value["itl_ms_p99"]));
                let megabytes = value["bytes_per_token"].as_f64().map_or(String::new(), |b| format!("{:.2}", b / 1e6));
                let speed = value["gb_s"].as_f64().map_or(String::new(), |speed| format!("{speed:.2}"));
                text += &format!(
                    "| {model} | {mib:.2} | {millions:.2} | {test} | {rate:.2} ± {deviation:.2} | {ttft} | {p50} | {p99} | {megabytes} | {speed} |\n"
                );
            }
            output::write(&text)
        }
    }
}

fn row(
    args: &BenchArgs,
    model: &Model,
    engine: &dyn Engine,
    process: &Process,
    test: &Test,
) -> Result<Value, CliError> {
    let (rate, deviation) = mean_and_deviation(&test.rates);
    let seconds: Vec<f64> = test.first.iter().map(Duration::as_secs_f64).collect();
    let first = (!seconds.is_empty()).then(|| rounded(mean_and_deviation(&seconds).0 * 1e3, 3));
    // the mean context of the decoded tokens
    let bytes = engine.decode_bytes(test.depth + test.decode / 2).filter(|_| test.decode > 0);
    Ok(json!({
        "version": super::VERSION,
        "model": model.path.file_name().map(|name| name.to_string_lossy()),
        "family": model.config().name,
        "model_bytes": model.files.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        "params": model.parameters,
        "backend": engine.describe(),
        "numerics": format!("{:?}", args.numerics).to_lowercase(),
        "threads": if Model::is_reference(&args.model, args.numerics) { 1 } else { threads(args.model.threads)? },
        "test": test.name,
        "n_prompt": test.prompt,
        "n_gen": test.decode,
        "n_depth": test.depth,
        "repetitions": test.rates.len(),
        "tok_s": rounded(rate, 3),
        "tok_s_stddev": rounded(deviation, 3),
        "samples_tok_s": test.rates.iter().map(|rate| rounded(*rate, 3)).collect::<Vec<_>>(),
        "ttft_ms": first,
        "itl_ms_p50": percentile(&test.intervals, 50).map(ms),
        "itl_ms_p99": percentile(&test.intervals, 99).map(ms),
        "bytes_per_token": bytes,
        "gb_s": bytes.map(|bytes| rounded(bytes as f64 * rate / 1e9, 3)),
        "read_gb_s": process.read_rate.map(|rate| rounded(rate / 1e9, 2)),
        "load_ms": ms(model.load),
        "ready_ms": ms(process.ready),
        "resident_bytes": process.resident.map(|(now, _)| now),
        "peak_resident_bytes": process.resident.map(|(_, peak)| peak),
        "evidence": evidence(&engine.describe()),
    }))
}

/// What a backend's figures are: those of a simulation are times of the simulation, not of the machine.
fn evidence(backend: &str) -> &'static str {
    if backend.starts_with("simulated") || backend.starts_with("RTL") { "simulated" } else { "measured" }
}
