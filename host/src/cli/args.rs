//! Options that several commands share.

use super::exit::CliError;
use clap::{Args, ValueEnum};
use host::generate::SamplerSettings;
use spec::model::Numerics;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::time::Duration;

/// What computes the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Fast code for this processor, the same bits as the accelerator
    Cpu,
    /// The plain specification: slow, for checks
    Reference,
    /// The accelerator's RTL in Verilator (needs Verilator 5 and a C++ compiler): the bits of a board, slowly
    Sim,
    /// An FPGA in a Zynq, through UIO and u-dma-buf
    Axi,
    /// An FPGA on PCI Express, through AMD's XDMA driver
    Xdma,
}

/// How an accelerator finds the most probable token when it decodes one sequence greedily.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HeadArg {
    /// All rows of the output head, exactly
    #[default]
    Exact,
    /// Rank all rows by a plane of one trit a weight, then compute only the best ones exactly: faster, and now and
    /// then another token
    Shortlist,
}

/// Arithmetic, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NumericsArg {
    /// What the published model computes
    Float,
    /// The accelerator's arithmetic, bit for bit
    Device,
}

impl NumericsArg {
    /// The arithmetic meant.
    pub fn numerics(self) -> Numerics {
        match self {
            NumericsArg::Float => Numerics::Float,
            NumericsArg::Device => Numerics::Device,
        }
    }
}

/// The model and what runs it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Hugging Face folder, GGUF file or packed image, or random:bitnet-0.73b or random:bitnet-2b4t for random
    /// weights of that shape [default: $TERCET_MODEL, else the shipped story model]
    #[arg(short, long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Longest sequence in tokens; 0 is the model's own limit [default: 0]
    #[arg(short, long, value_name = "N")]
    pub ctx_size: Option<usize>,
    /// Threads [default: all available cores]
    #[arg(short, long, value_name = "N")]
    pub threads: Option<usize>,
    /// What computes [default: cpu; reference for float numerics]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// Instruction set of the CPU backend, for measurements [default: the best one here]
    #[arg(long, value_name = "NAME")]
    pub isa: Option<String>,
    /// Machine of --backend sim, axi or xdma: a built-in preset (see `cargo run -p hw -- --list`) or a path ending in
    /// .toml [default: sim-tiny; for boards the one that the board says it is]
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Memory behind the ports of --backend sim: ideal, measured, ddr or harsh [default: ideal]
    #[arg(long, value_name = "MODEL")]
    pub memory: Option<String>,
    /// Output head of an accelerator where only the most probable token is wanted
    #[arg(long, value_enum, value_name = "MODE", default_value = "exact")]
    pub head: HeadArg,
    /// Node of --backend axi or xdma, or a folder with nodes [default: /dev/xdma0 or the UIO device called tercet*]
    #[arg(long, value_name = "PATH")]
    pub device: Option<PathBuf>,
    /// Memory of a card behind --backend xdma, as its design says [default: 0:8589934592]
    #[arg(long, value_name = "ADDRESS:BYTES", value_parser = memory_range)]
    pub device_memory: Option<(u64, u64)>,
    /// Write the model to the board even if it is there already
    #[arg(long)]
    pub upload: bool,
}

/// How tokens are chosen.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling (in this order: penalty, top-k, top-p, min-p, temperature, draw)")]
pub struct SamplingArgs {
    /// Temperature; 0 or less always takes the most probable token
    #[arg(long, default_value_t = SamplerSettings::default().temperature, value_name = "T", allow_negative_numbers = true)]
    pub temp: f32,
    /// The same as --temp 0
    #[arg(long, conflicts_with = "temp")]
    pub greedy: bool,
    /// Keep the K most probable tokens; 0 or less keeps all
    #[arg(long, default_value_t = SamplerSettings::default().top_k as i64, value_name = "K", allow_negative_numbers = true)]
    pub top_k: i64,
    /// Keep the fewest tokens that reach probability P together; 1 keeps all
    #[arg(long, default_value_t = SamplerSettings::default().top_p, value_name = "P", allow_negative_numbers = true)]
    pub top_p: f32,
    /// Drop tokens less probable than P times the best; 0 keeps all
    #[arg(long, default_value_t = SamplerSettings::default().min_p, value_name = "P", allow_negative_numbers = true)]
    pub min_p: f32,
    /// Weaken tokens that occurred lately; 1 is off
    #[arg(long, default_value_t = SamplerSettings::default().repeat_penalty, value_name = "R", allow_negative_numbers = true)]
    pub repeat_penalty: f32,
    /// How many tokens count as lately; -1 is all
    #[arg(long, default_value_t = 64, value_name = "N", allow_negative_numbers = true)]
    pub repeat_last_n: i64,
    /// Seed: the same seed gives the same text on every machine; -1 draws one and shows it
    #[arg(short, long, default_value_t = 1, value_name = "N", allow_negative_numbers = true)]
    pub seed: i64,
}

impl SamplingArgs {
    /// The sampler's settings, checked.
    pub fn settings(&self) -> Result<SamplerSettings, CliError> {
        let seed = match self.seed {
            -1 => std::hash::RandomState::new().build_hasher().finish() >> 32,
            seed => u64::try_from(seed)
                .map_err(|_| CliError::usage(format!("--seed = {seed}: expected 0 or more, or -1 for a random one")))?,
        };
        let repeat_last_n = match self.repeat_last_n {
            -1 => None,
            n => Some(usize::try_from(n).map_err(|_| {
                CliError::usage(format!("--repeat-last-n = {n}: expected 0 (off) or more, or -1 for all tokens"))
            })?),
        };
        let settings = SamplerSettings {
            temperature: if self.greedy || self.temp < 0.0 { 0.0 } else { self.temp },
            top_k: usize::try_from(self.top_k).unwrap_or(0),
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n,
            seed,
        };
        settings.validate()?;
        Ok(settings)
    }
}

/// When a generation ends.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "End")]
pub struct EndArgs {
    /// Most new tokens; -1 goes on until the model ends or the context is full
    #[arg(short, long, default_value_t = 256, value_name = "N", allow_negative_numbers = true)]
    pub n_predict: i64,
    /// End at this text, which is not shown (repeatable)
    #[arg(short = 'r', long = "stop", visible_alias = "reverse-prompt", value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Never choose the token that ends a text
    #[arg(long)]
    pub ignore_eos: bool,
    /// End after this many seconds, with exit code 74
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
}

impl EndArgs {
    /// Most new tokens.
    pub fn limit(&self) -> Result<usize, CliError> {
        match self.n_predict {
            -1 => Ok(usize::MAX),
            n => usize::try_from(n)
                .map_err(|_| CliError::usage(format!("--n-predict = {n}: expected 0 or more, or -1 for no limit"))),
        }
    }
}

/// What makes a generation faster without changing its text.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Speed")]
pub struct SpeedArgs {
    /// Guess up to N tokens ahead by what followed the same words before, and check them in one pass; 0 is off
    #[arg(long, visible_alias = "draft-max", value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=64))]
    pub lookup: u16,
}

/// A duration in seconds, at most a year.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number of seconds".to_string())?;
    if (0.0..=3.2e7).contains(&value) { Ok(Duration::from_secs_f64(value)) } else { Err("expected 0 to 3.2e7".into()) }
}

/// A bus address and a number of bytes.
pub fn memory_range(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let parts = text.split_once(':').and_then(|(address, bytes)| Some((number(address)?, number(bytes)?)));
    match parts {
        Some((address, bytes)) if address % 4096 == 0 && bytes >= 8192 && address.checked_add(bytes).is_some() => {
            Ok((address, bytes))
        }
        _ => Err("expected ADDRESS:BYTES, for example 0x100000000:0x80000000, at a multiple of 4096".into()),
    }
}

/// Token ids from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIds(pub Vec<u32>);

/// Token ids separated by commas or spaces.
pub fn token_ids(text: &str) -> Result<TokenIds, String> {
    let ids = text.split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty());
    let id = |part: &str| part.parse().map_err(|_| format!("{part:?} is no token id; expected numbers like 1,2,3"));
    ids.map(id).collect::<Result<_, _>>().map(TokenIds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_are_numbers() {
        assert_eq!(token_ids("1, 2 3,"), Ok(TokenIds(vec![1, 2, 3])));
        assert!(token_ids("1,x").unwrap_err().contains("\"x\""));
        assert!(token_ids("-1").is_err());
        assert!(token_ids("4294967296").is_err());
    }

    #[test]
    fn seconds_are_finite() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["-1", "nan", "inf", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
