//! `stats`: what a board spends its cycles on.

use super::args::{ModelArgs, NumericsArg};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::{Global, board, output, report};
use clap::Args;
use host::device::board::BoardDevice;
use host::device::stats::{Counts, engine_shares};
use host::engine::{Engine, EngineError, Step, Want};
use serde_json::{Value, json};

/// Options of `stats`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  host stats --backend xdma -n 16

Runs a prompt and some tokens and prints the machine's counters for both. The cycles of the matrix engine add up to all \
cycles of a pass.")]
pub struct StatsArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens after the prompt
    #[arg(short, long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    n_predict: u32,
    /// Print one object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Counters of some passes together.
struct Phase {
    name: &'static str,
    passes: u64,
    counts: Counts,
}

/// Runs the command.
pub fn run(args: &StatsArgs, global: Global) -> Result<(), CliError> {
    let model = Model::open(&args.model, global.quiet)?;
    let mut device = board::engine(model.weights()?, &args.model, global.quiet)?;
    let context = device.config().max_context;
    let slots = device.image().shape.tokens;
    let wanted = slots + args.n_predict as usize;
    if wanted > context {
        return Err(CliError::usage(format!("--n-predict: {wanted} tokens in all, expected at most {context}")));
    }
    let vocab = device.config().vocab as u32;
    let prompt: Vec<u32> = (0..slots as u32).map(|i| (i * 7919 + 13) % vocab).collect();
    let id = device.new_sequence()?;
    let mut phases = vec![Phase { name: "prompt", passes: 0, counts: Vec::new() }];
    pass(&mut device, Step { sequence: id, tokens: &prompt, want: Want::Last }, &mut phases[0])?;
    phases.push(Phase { name: "decode", passes: 0, counts: Vec::new() });
    for i in 0..args.n_predict {
        let token = [(i * 31 + 7) % vocab];
        pass(&mut device, Step { sequence: id, tokens: &token, want: Want::Last }, &mut phases[1])?;
    }
    let stats = device.runner().stats().clone();
    let per_pass = |time: std::time::Duration| time.as_secs_f64() * 1e6 / stats.passes.max(1) as f64;
    if args.json {
        let phase = |phase: &Phase| {
            let counts: serde_json::Map<String, Value> =
                phase.counts.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
            json!({"phase": phase.name, "passes": phase.passes, "counters": counts})
        };
        let mut object =
            report::head_json(&model, &device.describe(), &format!("{:?}", NumericsArg::Device).to_lowercase());
        object.insert("phases".into(), phases.iter().map(phase).collect());
        object.insert(
            "driver".into(),
            json!({
                "passes": stats.passes,
                "device_us_per_pass": report::rounded(per_pass(stats.device_time), 2),
                "host_us_per_pass": report::rounded(per_pass(stats.host_time), 2),
                "lost_interrupts": stats.lost_interrupts,
                "spurious_interrupts": stats.spurious_interrupts,
                "illegal_accesses": stats.illegal_accesses,
                "faults": stats.faults,
                "retries": stats.retries,
                "uploaded_bytes": stats.uploaded,
                "load_ms": report::ms(stats.load_time),
            }),
        );
        return output::write_json(&Value::Object(object), true);
    }
    let mut text = String::new();
    for phase in &phases {
        text += &table(phase)?;
    }
    text += &format!(
        "driver: {} passes, {:.1} us each on the device, {:.1} us each on the host; {} interrupts lost, {} for nothing; \
         {} with accesses to no register, {} faults, {} retries; {} bytes of the model written in {} ms\n",
        stats.passes,
        per_pass(stats.device_time),
        per_pass(stats.host_time),
        stats.lost_interrupts,
        stats.spurious_interrupts,
        stats.illegal_accesses,
        stats.faults,
        stats.retries,
        stats.uploaded,
        report::ms(stats.load_time)
    );
    output::write(&text)
}

/// One pass; its counters are added to the phase's.
fn pass(device: &mut BoardDevice, step: Step<'_>, phase: &mut Phase) -> Result<(), CliError> {
    device.forward(&[step])?;
    let counts = device.runner_mut().all_counters().map_err(EngineError::from)?;
    phase.passes += 1;
    if phase.counts.is_empty() {
        phase.counts = counts;
    } else {
        phase.counts.iter_mut().zip(counts).for_each(|((_, sum), (_, count))| *sum += count);
    }
    Ok(())
}

fn table(phase: &Phase) -> Result<String, CliError> {
    let contradict = || CliError::new(Exit::Io, "the counters contradict each other: run `host doctor`");
    let shares = engine_shares(&phase.counts).ok_or_else(contradict)?;
    let all: u64 = shares.iter().map(|share| share.cycles).sum();
    let percent = |cycles: u64| 100.0 * cycles as f64 / all.max(1) as f64;
    let mut text = format!("{}: {} passes, {all} cycles; the matrix engine\n", phase.name, phase.passes);
    for share in &shares {
        text += &format!("  {:<40}{:>12}  {:>5.1} %\n", share.what, share.cycles, percent(share.cycles));
    }
    text += &format!("  {:<40}{all:>12}  {:>5.1} %\n", "all", 100.0);
    for (name, count) in &phase.counts {
        text += &format!("  {name:<40}{count:>12}\n");
    }
    Ok(text)
}
