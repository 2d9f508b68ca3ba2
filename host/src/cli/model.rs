//! Finds and opens the model and makes the engine that runs it.

use super::args::{Backend, HeadArg, ModelArgs, NumericsArg};
use super::exit::{CliError, Exit};
use super::output::{Progress, note};
use host::cpu::{CpuEngine, Isa};
#[cfg(feature = "sim")]
use host::device::SimulatedDevice;
use host::engine::{Engine, ReferenceEngine};
use host::image::{is_image, open_image};
use host::load::{LoadOptions, LoadedModel, SourceInfo, Tokenizer, TokenizerSource, load_model};
use host::mmap::MappedFile;
use sha2::{Digest as _, Sha256};
use spec::format::image::Digest;
use spec::model::{ModelConfig, ModelWeights};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The model in `models/` that is used when none is named.
pub const SHIPPED: &str = "tercet-stories-5m";

/// Names the model instead of `--model`.
pub const VARIABLE: &str = "TERCET_MODEL";

/// A loaded model.
pub struct Model {
    /// Where it is.
    pub path: PathBuf,
    /// Whether nobody named one, so that it is the shipped one.
    pub shipped: bool,
    /// Its shape; `-c` may have shortened the context.
    pub config: ModelConfig,
    /// Its weights, until an engine has made its own form of them.
    weights: Option<ModelWeights>,
    /// Number of parameters in matrices: trits and table entries.
    pub parameters: u64,
    /// Kind of file and weights, for people.
    pub format: String,
    /// Files that hold the weights, with their sizes.
    pub files: Vec<(PathBuf, u64)>,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
    /// Its tokenizer as loaded, with the chat templates.
    pub tokenizer: Option<TokenizerSource>,
    /// Time to load it.
    pub load: Duration,
}

impl Model {
    /// Finds and loads the model, and sets the context length.
    pub fn open(args: &ModelArgs, quiet: bool) -> Result<Self, CliError> {
        let (path, shipped) = find(args.model.as_deref())?;
        let mut model = Model { shipped, ..Model::load(&path, quiet)? };
        if !quiet {
            model.warnings.iter().for_each(|warning| note(&format!("note: {}: {warning}", path.display())));
        }
        let longest = model.config.max_context;
        if let Some(wanted) = args.ctx_size.filter(|&wanted| wanted > 0) {
            if wanted > longest {
                let text = format!("--ctx-size = {wanted}: expected at most {longest}, the model's longest sequence");
                return Err(CliError::usage(text));
            }
            model.config.max_context = wanted;
            model.weights.iter_mut().for_each(|weights| weights.config.max_context = wanted);
        }
        Ok(model)
    }

    /// Loads a model of any kind.
    pub fn load(path: &Path, quiet: bool) -> Result<Self, CliError> {
        let begin = Instant::now();
        if let Some(weights) = super::random::weights(path)? {
            return Ok(Model::new(path, weights, "random weights".into(), Vec::new(), Vec::new(), None, begin));
        }
        if is_image(path) {
            let image = open_image(path)?;
            let format = format!("packed image {}", image.summary.hash);
            let files = vec![(path.into(), image.summary.bytes)];
            let (weights, tokenizer) = (image.weights, image.extras.tokenizer);
            return Ok(Model::new(path, weights, format, files, Vec::new(), tokenizer, begin));
        }
        let progress = Progress::bytes("loading", quiet);
        let LoadedModel { weights, tokenizer, source } = load_model(path, &LoadOptions::default(), &progress)?;
        let SourceInfo { format, files, warnings, .. } = source;
        Ok(Model::new(path, weights, format, files, warnings, tokenizer, begin))
    }

    fn new(
        path: &Path,
        weights: ModelWeights,
        format: String,
        files: Vec<(PathBuf, u64)>,
        warnings: Vec<String>,
        tokenizer: Option<TokenizerSource>,
        begin: Instant,
    ) -> Self {
        let config = weights.config.clone();
        let parameters = parameters(&weights);
        let load = begin.elapsed();
        let (path, weights) = (path.into(), Some(weights));
        Model { path, shipped: false, config, weights, parameters, format, files, warnings, tokenizer, load }
    }

    /// The shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weights. An error after [`Model::release`].
    pub fn weights(&self) -> Result<&ModelWeights, CliError> {
        self.weights
            .as_ref()
            .ok_or_else(|| CliError::new(Exit::Internal, "the model's weights were released too early"))
    }

    /// Gives back the memory of the weights; an engine has its own.
    pub fn release(&mut self) {
        self.weights = None;
    }

    /// The tokenizer, or an error that says what is missing.
    pub fn tokenizer(&self) -> Result<Tokenizer, CliError> {
        match &self.tokenizer {
            Some(source) => Ok(Tokenizer::new(source, self.config().vocab)?),
            None => {
                let path = self.path.display();
                let text = format!("{path}: has no tokenizer; add its tokenizer.json, or give token ids with --ids");
                Err(CliError::new(Exit::Input, text))
            }
        }
    }

    /// What identifies the model: a hash of its files, which are read for it, and of its tokenizer.
    pub fn identity(&self) -> Result<String, CliError> {
        let mut hash = Sha256::new().chain_update(self.format.as_bytes());
        for (path, _) in &self.files {
            hash.update(Sha256::digest(&*MappedFile::open(path)?.bytes()));
        }
        if let Some(tokenizer) = &self.tokenizer {
            hash.update(Sha256::digest(&tokenizer.json));
        }
        Ok(Digest(hash.finalize().into()).to_string())
    }

    /// Whether the plain, single-threaded model would run.
    pub fn is_reference(args: &ModelArgs, numerics: NumericsArg) -> bool {
        backend(args, numerics) == Backend::Reference
    }

    /// Whether a device would run, which can be lost and come back.
    pub fn is_board(args: &ModelArgs) -> bool {
        matches!(args.backend, Some(Backend::Axi | Backend::Xdma))
    }

    /// An engine for this model; which one follows from backend and numerics, never silently.
    pub fn engine(&self, args: &ModelArgs, numerics: NumericsArg, quiet: bool) -> Result<Box<dyn Engine>, CliError> {
        let threads = threads(args.threads)?;
        let backend = backend(args, numerics);
        if let (Backend::Cpu | Backend::Reference, Some(device)) = (backend, &args.device) {
            let text =
                format!("--device {}: only for FPGA backends; drop it or choose one with --backend", device.display());
            return Err(CliError::usage(text));
        }
        if matches!(backend, Backend::Cpu | Backend::Reference) && args.head == HeadArg::Shortlist {
            return Err(CliError::usage(
                "--head shortlist is for accelerators; drop it or use --backend sim, axi or xdma",
            ));
        }
        if backend != Backend::Sim && args.memory.is_some() {
            return Err(CliError::usage("--memory is for --backend sim; drop it or choose it"));
        }
        if matches!(backend, Backend::Cpu | Backend::Reference) && args.preset.is_some() {
            return Err(CliError::usage("--preset is for --backend sim, axi and xdma; drop it or choose one"));
        }
        match (backend, numerics) {
            (Backend::Sim | Backend::Axi | Backend::Xdma, NumericsArg::Float) => Err(CliError::usage(
                "the accelerator computes --numerics device only; use --backend reference for float",
            )),
            (Backend::Reference, _) => {
                Ok(Box::new(ReferenceEngine::new(self.weights()?.clone(), numerics.numerics())?))
            }
            (Backend::Cpu, NumericsArg::Device) => {
                let isa = isa(args.isa.as_deref())?;
                Ok(Box::new(CpuEngine::with_isa(self.weights()?, threads, isa)?))
            }
            (Backend::Cpu, NumericsArg::Float) => {
                Err(CliError::usage("--backend cpu computes --numerics device only; use --backend reference for float"))
            }
            (Backend::Sim, NumericsArg::Device) => simulated(self.weights()?, args),
            (Backend::Axi | Backend::Xdma, NumericsArg::Device) => {
                Ok(Box::new(super::board::engine(self.weights()?, args, quiet)?))
            }
        }
    }
}

/// The backend that was asked for, or the one that suits the numerics.
fn backend(args: &ModelArgs, numerics: NumericsArg) -> Backend {
    args.backend.unwrap_or(match numerics {
        NumericsArg::Float => Backend::Reference,
        NumericsArg::Device => Backend::Cpu,
    })
}

fn parameters(weights: &ModelWeights) -> u64 {
    let c = &weights.config;
    let block = 2 * c.hidden * c.q_dim() + 2 * c.hidden * c.kv_dim() + 3 * c.hidden * c.ffn;
    let tables = 1 + usize::from(weights.head.is_some());
    (c.layers * block + tables * c.vocab * c.hidden) as u64
}

/// Sequences that a simulated machine has room for.
#[cfg(feature = "sim")]
const SEQUENCES: usize = 8;

/// The RTL of a preset in Verilator.
#[cfg(feature = "sim")]
fn simulated(weights: &ModelWeights, args: &ModelArgs) -> Result<Box<dyn Engine>, CliError> {
    let machine = hw::preset::load(args.preset.as_deref().unwrap_or("sim-tiny"))
        .map_err(|error| CliError::usage(format!("--preset: {error}")))?;
    let name = args.memory.as_deref().unwrap_or("ideal");
    let timing = sim::axi::Timing::named(name)
        .ok_or_else(|| CliError::usage(format!("--memory = {name}: expected ideal, measured, ddr or harsh")))?;
    let context = Some(weights.config.max_context.min(machine.max_context as usize));
    let shortlist = (args.head == HeadArg::Shortlist).then_some(0);
    let options = host::compile::Options { context, shortlist };
    Ok(Box::new(SimulatedDevice::simulated(weights, &machine, options, SEQUENCES, timing)?))
}

#[cfg(not(feature = "sim"))]
fn simulated(_: &ModelWeights, _: &ModelArgs) -> Result<Box<dyn Engine>, CliError> {
    Err(not_built(Backend::Sim))
}

#[cfg(not(feature = "sim"))]
fn not_built(backend: Backend) -> CliError {
    let name = format!("{backend:?}").to_lowercase();
    CliError::new(
        Exit::Unavailable,
        format!("--backend {name}: not built into this program; use --backend cpu or reference"),
    )
}

/// The instruction set that was asked for, or the best one.
fn isa(wanted: Option<&str>) -> Result<Isa, CliError> {
    let Some(wanted) = wanted else { return Ok(Isa::detect()) };
    let available = Isa::available();
    available.iter().copied().find(|isa| isa.name() == wanted).ok_or_else(|| {
        let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
        CliError::usage(format!("--isa = {wanted}: this processor has {}", names.join(", ")))
    })
}

/// Number of threads to use.
pub fn threads(wanted: Option<usize>) -> Result<usize, CliError> {
    match wanted {
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        Some(n @ 1..=1024) => Ok(n),
        Some(n) => Err(CliError::usage(format!("--threads = {n}: expected 1 to 1024"))),
    }
}

/// The model's path: named, from the environment, or the shipped one.
pub fn find(named: Option<&Path>) -> Result<(PathBuf, bool), CliError> {
    if let Some(path) = named {
        return Ok((path.into(), false));
    }
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok((path.into(), false));
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let near = exe.ancestors().skip(1).flat_map(|dir| [dir.join("models"), dir.join("share/tercet/models")]);
    let built = [Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")];
    let mut places = near.chain(built).map(|dir| dir.join(SHIPPED));
    let place = places.find(|place| place.join("config.json").is_file()).ok_or_else(|| {
        let text =
            format!("no model: no --model, no {VARIABLE} and no models/{SHIPPED} near the program; use --model PATH");
        CliError::new(Exit::Input, text)
    })?;
    Ok((place.canonicalize().unwrap_or(place), true))
}
