//! Hugging Face folders: `config.json`, safetensors files, tokenizer and chat template.

pub mod config;
pub mod files;
pub mod linear;
mod names;
mod text;
pub mod values;

use super::{
    LoadOptions, LoadedModel, ModelKind, Progress, SourceInfo,
    dense::{self},
    error::LoadError,
    meter::Meter,
};
use crate::mmap::read_file;
use config::{HfConfig, Scheme};
use files::{Checkpoint, MAX_TEXT_BYTES, Tensor, exists, read_optional};
use linear::{Split, linear, need};
use names::Names;
use spec::{
    format::{scale::Scale, table::Table},
    model::{Layer, ModelWeights},
};
use std::path::Path;
use values::Mode;

/// Loads the model in folder `dir`.
pub fn load(dir: &Path, options: &LoadOptions, progress: &dyn Progress) -> Result<LoadedModel, LoadError> {
    let path = dir.join("config.json");
    if !exists(&path)? {
        let help = "give the folder of a Hugging Face model, or a GGUF file";
        return Err(LoadError::MissingFile { path: dir.into(), name: "config.json".into(), help });
    }
    let generation_path = dir.join("generation_config.json");
    let generation = read_optional(&generation_path, MAX_TEXT_BYTES)?;
    let generation = generation.as_deref().map(|text| (generation_path.as_path(), text));
    let config = config::parse(&path, &read_file(&path, MAX_TEXT_BYTES)?, generation)?;

    let checkpoint = Checkpoint::open(dir)?;
    let names = Names::new(&config, &checkpoint)?;
    names.check(&config, &checkpoint)?;
    let mut warnings = config.warnings.clone();
    warnings.extend_from_slice(&checkpoint.warnings);
    let meter = Meter::new(progress, checkpoint.bytes());
    let weights = assemble(&config, &checkpoint, &names, &meter, &mut warnings)?;
    weights.validate().map_err(|source| LoadError::Weights { path: dir.into(), source })?;
    checkpoint.check_unchanged()?;

    let tokenizer = match options.skip_tokenizer {
        true => None,
        false => text::tokenizer(dir, &weights.config)?,
    };
    let format = config.format();
    let source = SourceInfo { kind: ModelKind::HuggingFace, format, files: checkpoint.files(), warnings };
    Ok(LoadedModel { weights, tokenizer, source })
}

fn assemble(
    config: &HfConfig,
    checkpoint: &Checkpoint,
    names: &Names,
    meter: &Meter,
    warnings: &mut Vec<String>,
) -> Result<ModelWeights, LoadError> {
    let c = &config.model;
    let table = |name: &str| -> Result<Table, LoadError> {
        let tensor = need(checkpoint, name.into())?;
        let matrix = tensor.matrix(c.vocab, c.hidden)?;
        dense::check_finite(tensor.origin(), &matrix)?;
        meter.add(tensor.bytes.len());
        Ok(Table::Dense(matrix))
    };
    let vector = |name: String, length| -> Result<Vec<f32>, LoadError> {
        let tensor = need(checkpoint, name)?;
        meter.add(tensor.bytes.len());
        tensor.vector(length)
    };
    let embed = table("model.embed_tokens.weight")?;
    let head = match (checkpoint.get("lm_head.weight"), checkpoint.get("model.embed_tokens.weight")) {
        (Some(head), Some(embed)) if config.tied && same(head, embed) => None,
        (Some(_), _) => {
            if config.tied {
                warnings.push("tie_word_embeddings is true but lm_head.weight differs: using lm_head.weight".into());
            }
            Some(table("lm_head.weight")?)
        }
        (None, _) => None,
    };
    let mode = match config.scheme {
        Scheme::Values { shards } => {
            let tensor = need(checkpoint, "model.layers.0.self_attn.q_proj.weight".into())?;
            Some(Mode::detect(tensor.origin(), &tensor.matrix(c.q_dim(), c.hidden)?, shards)?)
        }
        _ => None,
    };
    if let Some(Mode::Masters { shards }) = mode {
        warnings.push(format!("weights are not ternary: quantised as TriLM masters with {shards} shards"));
    }

    let mut layers = Vec::with_capacity(c.layers);
    for index in 0..c.layers {
        let prefix = format!("model.layers.{index}.");
        let make = |part: &str, rows, cols, split| {
            let name = format!("{prefix}{part}");
            let shape = (rows, cols);
            let linear = linear(checkpoint, &name, shape, config.scheme, (split, mode), config.input_norm_eps)?;
            meter.add(need(checkpoint, format!("{name}.weight"))?.bytes.len());
            Ok::<_, LoadError>(linear)
        };
        let sub_norm =
            |part: Option<&str>, length| part.map(|part| vector(format!("{prefix}{part}"), length)).transpose();
        layers.push(Layer {
            attn_norm: vector(format!("{prefix}input_layernorm.weight"), c.hidden)?,
            q: make("self_attn.q_proj", c.q_dim(), c.hidden, Split::Rows)?,
            k: make("self_attn.k_proj", c.kv_dim(), c.hidden, Split::Rows)?,
            v: make("self_attn.v_proj", c.kv_dim(), c.hidden, Split::Rows)?,
            attn_sub_norm: sub_norm(names.attn_sub_norm, c.q_dim())?,
            o: make("self_attn.o_proj", c.hidden, c.q_dim(), Split::Cols)?,
            ffn_norm: vector(format!("{prefix}post_attention_layernorm.weight"), c.hidden)?,
            gate: make("mlp.gate_proj", c.ffn, c.hidden, Split::Rows)?,
            up: make("mlp.up_proj", c.ffn, c.hidden, Split::Rows)?,
            ffn_sub_norm: sub_norm(names.ffn_sub_norm, c.ffn)?,
            down: make("mlp.down_proj", c.hidden, c.ffn, Split::Cols)?,
        });
    }
    let final_norm = vector("model.norm.weight".into(), c.hidden)?;
    warnings.extend(odd_scale(&layers));
    meter.finish();
    Ok(ModelWeights { config: c.clone(), embed, layers, final_norm, head })
}

/// Scales are about the mean magnitude of a weight. One far from that hints at a scale that was
/// meant the other way round, which nothing else shows.
fn odd_scale(layers: &[Layer]) -> Option<String> {
    let Scale::Tensor(scale) = layers.first()?.q.planes.first()?.scale else { return None };
    let usual = 1e-4..=20.0;
    (!usual.contains(&scale))
        .then(|| format!("scale {scale} of layer 0 q_proj is unusual: check linear_class in config.json"))
}

/// Whether two tensors are the same bytes.
fn same(a: &Tensor, b: &Tensor) -> bool {
    a.dtype == b.dtype && a.shape == b.shape && *a.bytes == *b.bytes
}
