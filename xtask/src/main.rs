//! `cargo xtask`: everything about the project that is not the product. Each external command is
//! printed before it runs.
#![forbid(unsafe_code)]

mod aarch64;
mod bench;
mod bitstream;
mod check;
mod explore;
mod levels;
mod lookup;
mod run;
mod synth;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks and tools of the Tercet repository")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install the pinned tools that are missing, then run every check: format, clippy, tests,
    /// generated files, documentation. This is what CI runs.
    Test,
    /// Install the pinned tools that are missing (Verilator and what it needs).
    Tools,
    /// Only format and clippy.
    Lint,
    /// The CPU backend's tests on aarch64, with and without the dot product, under QEMU.
    Aarch64,
    /// Plant bugs in the RTL, one at a time; the benches must catch each of them.
    Mutate {
        /// Only bugs whose name contains this.
        #[arg(default_value = "")]
        name: String,
    },
    /// Area of a preset by Yosys, per module and in total, against the board's capacity.
    Synth(synth::SynthArgs),
    /// Verilog, and with Vivado the bitstream of a preset for its board; `--dry-run` without Vivado.
    Bitstream(bitstream::BitstreamArgs),
    /// Machines of other sizes by formula, checked against the benchmark of the RTL: tokens a second against area.
    Explore(explore::ExploreArgs),
    /// Speed of the CPU backend, beside other engines, and of the simulation.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Prefill and decode on random weights of real model shapes.
    Cpu(bench::CpuArgs),
    /// Cycles of whole models on the RTL of the kv260 preset in Verilator; `-- --help` lists the options.
    Kv260 {
        /// Options of the benchmark, for example --quick or --only decode-0.73b
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// What guessing by look-up brings where a text repeats itself, and costs where it does not.
    Lookup(lookup::LookupArgs),
    /// Simulated cycles a second of whole machines, by the processor's time.
    Sim {
        /// Presets; sim-tiny and kv260 if none is named.
        presets: Vec<String>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Test => check::everything(),
        Verb::Tools => tools::install(),
        Verb::Lint => check::lint(),
        Verb::Aarch64 => aarch64::test(),
        Verb::Mutate { name } => run::run("cargo", &["run", "--release", "-p", "sim", "--bin", "mutate", &name]),
        Verb::Synth(args) => synth::synth(&args),
        Verb::Bitstream(args) => bitstream::bitstream(&args),
        Verb::Explore(args) => explore::explore(&args),
        Verb::Bench { what: Bench::Cpu(args) } => bench::cpu(&args),
        Verb::Bench { what: Bench::Lookup(args) } => lookup::lookup(&args),
        Verb::Bench { what: Bench::Kv260 { options } } => {
            let fixed = ["run", "--release", "--locked", "--quiet", "-p", "bench", "--"];
            let options = options.iter().map(String::as_str);
            run::run("cargo", &fixed.into_iter().chain(options).collect::<Vec<_>>())
        }
        Verb::Bench { what: Bench::Sim { presets } } => {
            let mut line = vec!["run", "--release", "-p", "tests", "--bin", "sim_speed", "--"];
            line.extend(presets.iter().map(String::as_str));
            run::run("cargo", &line)
        }
    }
}
