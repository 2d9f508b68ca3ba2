//! `cargo xtask bench cpu`: the CPU backend on random weights of real shapes, beside other engines.
//!
//! Every engine is measured in turn, round after round, so that a disturbance hits all of them; the
//! table shows medians, or the best of all rounds. Other engines are given on the command line as anything
//! that understands llama-bench's options and prints its JSON.

use crate::run::{output, root, run, target};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Options of `bench cpu`.
#[derive(Args)]
pub struct CpuArgs {
    /// Model shapes, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "bitnet-0.73b,bitnet-2b4t")]
    shapes: Vec<String>,
    /// Numbers of threads, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Instruction sets of our engine, comma-separated; `best` is the one it chooses itself
    #[arg(long, value_delimiter = ',', default_value = "best,avx512-vnni")]
    isas: Vec<String>,
    /// Prefill lengths, comma-separated
    #[arg(long, default_value = "64,128,512")]
    prefills: String,
    /// Measured rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Another engine: `NAME@SHAPE=PROGRAM ARGUMENTS`, run with -p, -n, -t, -r and -o json added
    #[arg(long = "peer", value_name = "NAME@SHAPE=COMMAND")]
    peers: Vec<String>,
    /// Measure two threads also while another process keeps one core busy
    #[arg(long)]
    crowded: bool,
    /// Take the best round instead of the median: for a machine that others use at the same time
    #[arg(long)]
    best: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    save: Option<String>,
}

const DECODE: &str = "64";

/// Something to measure.
struct Engine {
    name: String,
    shape: String,
    threads: usize,
    crowded: bool,
    line: Vec<String>,
}

/// Runs the benchmark and prints the table.
pub fn cpu(args: &CpuArgs) -> Result<()> {
    run("cargo", &["build", "--release", "--locked", "-p", "host"])?;
    for shape in &args.shapes {
        pack(shape)?;
    }
    let engines = engines(args)?;
    let mut samples: Vec<BTreeMap<String, Vec<f64>>> = engines.iter().map(|_| BTreeMap::new()).collect();
    let mut notes: Vec<Map<String, Value>> = vec![Map::new(); engines.len()];
    for round in 0..args.rounds {
        for (index, engine) in engines.iter().enumerate() {
            eprintln!("round {} of {}: {} {}", round + 1, args.rounds, engine.name, engine.shape);
            let (rates, note) = measure(engine, &args.prefills)?;
            for (test, rate) in rates {
                samples[index].entry(test).or_default().push(rate);
            }
            notes[index] = note;
        }
    }
    let rows: Vec<Value> = engines
        .iter()
        .zip(samples)
        .zip(notes)
        .map(|((engine, samples), note)| {
            let pick = if args.best { best } else { median };
            let rates: BTreeMap<String, f64> = samples.into_iter().map(|(test, s)| (test, pick(s))).collect();
            json!({
                "engine": engine.name, "shape": engine.shape, "threads": engine.threads,
                "crowded": engine.crowded, "tok_s": rates, "notes": note,
            })
        })
        .collect();
    print_table(&rows);
    if let Some(file) = &args.save {
        let commit = output("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
        let all = json!({
            "evidence": "measured", "commit": commit.trim(), "machine": machine(), "rounds": args.rounds,
            "statistic": if args.best { "best" } else { "median" }, "rows": rows,
        });
        let temporary = format!("{file}.tmp");
        std::fs::write(&temporary, serde_json::to_string_pretty(&all)? + "\n").context("writing the results")?;
        std::fs::rename(&temporary, file).context("writing the results")?;
    }
    Ok(())
}

fn engines(args: &CpuArgs) -> Result<Vec<Engine>> {
    let host = host().display().to_string();
    let mut engines = Vec::new();
    for shape in &args.shapes {
        for &threads in &args.threads {
            for crowded in [false, true] {
                if crowded && !(args.crowded && threads > 1) {
                    continue;
                }
                for isa in &args.isas {
                    let model = image(shape).display().to_string();
                    let mut line: Vec<String> = [host.as_str(), "bench", "-q", "-m", &model].map(Into::into).into();
                    if isa == "best" && !crowded {
                        line.push("--bandwidth".into());
                    }
                    if isa != "best" {
                        line.extend(["--isa".into(), isa.clone()]);
                    }
                    let name = if isa == "best" { "Tercet".into() } else { format!("Tercet, {isa} only") };
                    engines.push(Engine { name, shape: shape.clone(), threads, crowded, line });
                }
                for peer in &args.peers {
                    let (name, rest) = peer.split_once('@').context("--peer: expected NAME@SHAPE=COMMAND")?;
                    let (of, command) = rest.split_once('=').context("--peer: expected NAME@SHAPE=COMMAND")?;
                    if of == shape {
                        let line = command.split_whitespace().map(Into::into).collect();
                        engines.push(Engine { name: name.into(), shape: shape.clone(), threads, crowded, line });
                    }
                }
            }
        }
    }
    Ok(engines)
}

/// Tokens a second by test name, and what else is known of the run.
type Measured = (Vec<(String, f64)>, Map<String, Value>);

/// Runs every test of one engine once.
fn measure(engine: &Engine, prefills: &str) -> Result<Measured> {
    let _neighbour = engine.crowded.then(Neighbour::start).transpose()?;
    let threads = engine.threads.to_string();
    let mut child = Command::new(&engine.line[0])
        .args(&engine.line[1..])
        .args(["-p", prefills, "-n", DECODE, "-t", &threads, "-r", "1", "-o", "json"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{}: could not be started", engine.line[0]))?;
    let mut resident = 0;
    while child.try_wait()?.is_none() {
        resident = resident.max(resident_mb(child.id()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}: `{}` failed: {}", engine.name, engine.line.join(" "), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(text.trim()).with_context(|| format!("{}: no JSON", engine.name))?;
    let rows = answer.as_array().or_else(|| answer["results"].as_array());
    let rows = rows.with_context(|| format!("{}: no list of results", engine.name))?;
    let mut rates = Vec::new();
    for row in rows {
        let (prompt, decode) = (row["n_prompt"].as_u64().unwrap_or(0), row["n_gen"].as_u64().unwrap_or(0));
        let name = if prompt > 0 { format!("pp{prompt}") } else { format!("tg{decode}") };
        let rate = row["tok_s"].as_f64().or_else(|| row["avg_ts"].as_f64());
        let rate = rate.with_context(|| format!("{}: a row without its rate", engine.name))?;
        rates.push((name, rate));
    }
    let mut notes = Map::from_iter([("peak_resident_mb".to_string(), json!(resident))]);
    for key in ["backend", "ready_ms", "bytes_per_token", "gb_s", "read_gb_s", "resident_bytes", "peak_resident_bytes"]
    {
        let last = rows.last().map(|row| &row[key]).filter(|value| !value.is_null());
        notes.extend(last.map(|value| (key.to_string(), value.clone())));
    }
    if notes.contains_key("peak_resident_bytes") {
        notes.remove("peak_resident_mb"); // has the bandwidth measurement in it
    }
    Ok((rates, notes))
}

/// The most memory that a process has had so far, in MB; 0 if it is gone.
fn resident_mb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024 / 1_000_000
}

/// Our program.
pub fn host() -> PathBuf {
    target().join("release/host")
}

/// The packed image of random weights of a shape.
pub fn image(shape: &str) -> PathBuf {
    target().join(format!("bench/{shape}.tercet"))
}

/// Makes the packed image of a shape if there is none.
pub fn pack(shape: &str) -> Result<()> {
    let image = image(shape);
    if image.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(image.parent().context("a folder for images")?)?;
    let host = host().display().to_string();
    run(&host, &["-q", "pack", &format!("random:{shape}"), "-o", &image.display().to_string()])
}

/// A process that keeps one core busy until it is dropped.
struct Neighbour(Child);

impl Neighbour {
    fn start() -> Result<Self> {
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Ok(Neighbour(child.context("starting a busy neighbour")?))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn best(samples: Vec<f64>) -> f64 {
    samples.into_iter().fold(f64::NAN, f64::max)
}

fn print_table(rows: &[Value]) {
    println!(
        "| shape | threads | engine | pp64 | pp128 | pp512 | tg64 | MB/token | GB/s | of read speed | ready ms | MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let rate = |test: &str| row["tok_s"][test].as_f64().map_or("-".into(), |rate| format!("{rate:.1}"));
        let crowded = if row["crowded"] == true { ", one core taken" } else { "" };
        let note = |key: &str| row["notes"][key].as_f64();
        let shown = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let rate_of_reads = note("bytes_per_token").zip(row["tok_s"]["tg64"].as_f64()).map(|(b, r)| b * r / 1e9);
        let share = rate_of_reads.zip(note("read_gb_s")).map(|(ours, all)| 100.0 * ours / all);
        // after loading for us, the most at any time for others, who map their file
        let memory = note("resident_bytes").map(|bytes| bytes / 1e6).or(note("peak_resident_mb"));
        println!(
            "| {} | {}{crowded} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row["shape"].as_str().unwrap_or(""),
            row["threads"],
            row["engine"].as_str().unwrap_or(""),
            rate("pp64"),
            rate("pp128"),
            rate("pp512"),
            rate("tg64"),
            shown(note("bytes_per_token").map(|bytes| bytes / 1e6), 1),
            shown(rate_of_reads, 1),
            share.map_or("-".into(), |share| format!("{share:.0} %")),
            shown(note("ready_ms"), 0),
            shown(memory, 0),
        );
    }
}

/// The processor's name and number of cores.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", name.trim_start_matches([' ', '\t', ':']))
}
