//! GGUF files: ternary models of llama.cpp, bitnet.cpp and ik_llama.cpp.

pub mod blocks;
pub mod config;
mod cursor;
pub mod metadata;
pub mod reader;
mod tensors;
mod tokenizer;
pub mod types;

use super::{
    LoadOptions, LoadedModel, ModelKind, Progress, SourceInfo, error::LoadError, meter::Meter,
    tokenizer::TokenizerSource,
};
use crate::mmap::MappedFile;
use config::GgufConfig;
use metadata::Metadata;
use spec::{
    Bytes,
    model::{Layer, ModelWeights},
};
use std::{collections::BTreeSet, path::Path};
use tensors::Tensors;

/// Loads the GGUF file `path`.
pub fn load(path: &Path, options: &LoadOptions, progress: &dyn Progress) -> Result<LoadedModel, LoadError> {
    let file = MappedFile::open(path)?;
    let bytes = file.bytes();
    let length = bytes.len() as u64;
    let mut model = load_bytes(path, bytes, options, progress)?;
    file.check_unchanged()?;
    model.source.files = vec![(path.into(), length)];
    Ok(model)
}

/// Loads a GGUF file that is in memory already; `path` is for messages.
pub fn load_bytes(
    path: &Path,
    bytes: Bytes,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadedModel, LoadError> {
    let header = reader::parse(path, &bytes)?;
    let metadata = Metadata { path, map: &header.metadata };
    let config = config::parse(&metadata, &header.tensors)?;
    let tensors = Tensors { path, bytes: &bytes, entries: &header.tensors };
    let names = Names::new(&config, &tensors)?;
    let meter = Meter::new(progress, header.tensors.values().map(|entry| entry.range.len() as u64).sum());
    let weights = assemble(&config, &tensors, &names, &meter)?;
    weights.validate().map_err(|source| LoadError::Weights { path: path.into(), source })?;
    let tokenizer: Option<TokenizerSource> = match options.skip_tokenizer {
        true => None,
        false => tokenizer::source(&metadata, &weights.config)?,
    };
    let kind = header.tensors.get("blk.0.ffn_down.weight").map_or("no", |entry| entry.kind.name());
    let source = SourceInfo {
        kind: ModelKind::Gguf,
        format: format!("{}, {kind} weights", config.model.name),
        files: Vec::new(),
        warnings: config.warnings,
    };
    Ok(LoadedModel { weights, tokenizer, source })
}

const NORMS: [&str; 2] = ["attn_norm", "ffn_norm"];
const SUB_NORMS: [&str; 2] = ["attn_sub_norm", "ffn_sub_norm"];
const LINEARS: [&str; 7] = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
/// How many missing or unknown tensors a message names.
const SHOWN: usize = 5;

/// Which of the optional norms a model has.
struct Names {
    sub_norms: [bool; 2],
}

impl Names {
    /// Fails if tensors are missing, or are there that nothing would read. Sub-norms exist if any
    /// layer has one; then every layer must.
    fn new(config: &GgufConfig, tensors: &Tensors) -> Result<Self, LoadError> {
        let any = |norm: &str| {
            let tail = format!(".{norm}.weight");
            tensors.entries.keys().any(|name| name.ends_with(&tail))
        };
        let sub_norms = SUB_NORMS.map(any);
        let mut needed = BTreeSet::from(["token_embd.weight".to_string(), "output_norm.weight".to_string()]);
        let mut allowed = BTreeSet::from(["output.weight".to_string()]);
        let present = SUB_NORMS.into_iter().zip(sub_norms).filter_map(|(norm, there)| there.then_some(norm));
        let norms: Vec<&str> = NORMS.into_iter().chain(present).collect();
        for layer in 0..config.model.layers {
            needed.extend(norms.iter().chain(&LINEARS).map(|part| format!("blk.{layer}.{part}.weight")));
            allowed.extend(
                LINEARS.iter().flat_map(|part| ["scale", "bias"].map(|end| format!("blk.{layer}.{part}.{end}"))),
            );
        }
        let missing: Vec<&String> = needed.iter().filter(|name| !tensors.entries.contains_key(*name)).collect();
        let shown = |names: &[&String]| names.iter().take(SHOWN).map(|name| name.to_string()).collect();
        let path = tensors.path.into();
        if !missing.is_empty() {
            return Err(LoadError::MissingTensors { path, count: missing.len(), first: shown(&missing) });
        }
        let known = |name: &&String| needed.contains(*name) || allowed.contains(*name);
        let unknown: Vec<&String> = tensors.entries.keys().filter(|name| !known(name)).collect();
        if !unknown.is_empty() {
            let family = config.model.name.clone();
            return Err(LoadError::UnknownTensors { path, family, count: unknown.len(), first: shown(&unknown) });
        }
        Ok(Names { sub_norms })
    }
}

fn assemble(config: &GgufConfig, tensors: &Tensors, names: &Names, meter: &Meter) -> Result<ModelWeights, LoadError> {
    let c = &config.model;
    let count = |name: &str| meter.add(tensors.entries.get(name).map_or(0, |entry| entry.range.len()));
    let vector = |name: String, length| {
        count(&name);
        tensors.vector(&name, length)
    };
    let table = |name: &str| {
        count(name);
        tensors.table(name, c.vocab, c.hidden)
    };
    let embed = table("token_embd.weight")?;
    let head = tensors.entries.contains_key("output.weight").then(|| table("output.weight")).transpose()?;
    let mut layers = Vec::with_capacity(c.layers);
    for index in 0..c.layers {
        let norm = |part: &str, length| vector(format!("blk.{index}.{part}.weight"), length);
        let sub_norm =
            |which: usize, length| names.sub_norms[which].then(|| norm(SUB_NORMS[which], length)).transpose();
        let linear = |part: &str, rows, cols, heads: Option<usize>| {
            let name = format!("blk.{index}.{part}");
            count(&format!("{name}.weight"));
            tensors.linear(&name, rows, cols, heads.filter(|_| config.interleaved))
        };
        layers.push(Layer {
            attn_norm: norm(NORMS[0], c.hidden)?,
            q: linear("attn_q", c.q_dim(), c.hidden, Some(c.heads))?,
            k: linear("attn_k", c.kv_dim(), c.hidden, Some(c.kv_heads))?,
            v: linear("attn_v", c.kv_dim(), c.hidden, None)?,
            attn_sub_norm: sub_norm(0, c.q_dim())?,
            o: linear("attn_output", c.hidden, c.q_dim(), None)?,
            ffn_norm: norm(NORMS[1], c.hidden)?,
            gate: linear("ffn_gate", c.ffn, c.hidden, None)?,
            up: linear("ffn_up", c.ffn, c.hidden, None)?,
            ffn_sub_norm: sub_norm(1, c.ffn)?,
            down: linear("ffn_down", c.hidden, c.ffn, None)?,
        });
    }
    let final_norm = vector("output_norm.weight".into(), c.hidden)?;
    meter.finish();
    Ok(ModelWeights { config: c.clone(), embed, layers, final_norm, head })
}
