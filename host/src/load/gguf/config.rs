//! Shape and constants out of GGUF metadata.

use super::{metadata::Metadata, reader::Entry};
use crate::load::error::LoadError;
use spec::model::{
    ActQuant, Activation, ModelConfig, RopeScaling,
    config::{MAX_CONTEXT, MAX_DIM, MAX_HEAD_DIM, MAX_LAYERS, MAX_VOCAB},
};
use std::collections::BTreeMap;

/// What the metadata says about the model.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufConfig {
    /// Shape and constants.
    pub model: ModelConfig,
    /// Whether rows of q and k are stored in pairs for interleaved rotation (`llama`).
    pub interleaved: bool,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
}

const ARCHITECTURES: &str = "bitnet, bitnet-25, bitnet-b1.58, llama";

/// Reads the configuration.
pub fn parse(metadata: &Metadata, tensors: &BTreeMap<String, Entry>) -> Result<GgufConfig, LoadError> {
    let key = "general.architecture";
    let arch = metadata.text(key)?.ok_or_else(|| metadata.missing(key, ARCHITECTURES))?;
    let mut warnings = Vec::new();
    let (activation, act_quant, interleaved) = match arch {
        "bitnet" => (Activation::Silu, ActQuant::Int8PerToken, false),
        "bitnet-25" | "bitnet-b1.58" => (Activation::Relu2, ActQuant::Int8PerToken, false),
        "llama" => (Activation::Silu, llama_act_quant(metadata, &mut warnings)?, true),
        other => return Err(metadata.unsupported(key, other, ARCHITECTURES)),
    };
    let key = |name: &str| format!("{arch}.{name}");
    let need = |name: &str, most: usize| metadata.need_integer(&key(name), 1..=most);

    let hidden = need("embedding_length", MAX_DIM)?;
    let heads = need("attention.head_count", MAX_DIM)?;
    let kv_heads = metadata.integer(&key("attention.head_count_kv"), 1..=heads)?.unwrap_or(heads);
    let widths = ["attention.key_length", "attention.value_length"];
    let [key_length, value_length] = widths.map(|name| metadata.integer(&key(name), 2..=MAX_HEAD_DIM));
    let head_dim = match key_length? {
        Some(width) => width,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(metadata.missing(&key(widths[0]), "it, or an embedding_length that head_count divides")),
    };
    for (name, width) in [
        (widths[1], value_length?),
        ("rope.dimension_count", metadata.integer(&key("rope.dimension_count"), 1..=MAX_HEAD_DIM)?),
    ] {
        if let Some(width) = width.filter(|width| *width != head_dim) {
            return Err(LoadError::KeyValue {
                path: metadata.path.into(),
                key: key(name),
                found: width.to_string(),
                expected: format!("the head width, {head_dim}"),
            });
        }
    }

    let positions = need("context_length", 1 << 30)?;
    if positions > MAX_CONTEXT {
        warnings.push(format!("context limited to {MAX_CONTEXT} of the model's {positions} tokens"));
    }
    let eps_key = key("attention.layer_norm_rms_epsilon");
    let eps = metadata.number(&eps_key, 1e-30..=1.0)?;
    let eps = eps.ok_or_else(|| metadata.missing(&eps_key, "a number from 1e-30 to 1"))?;
    let model = ModelConfig {
        name: arch.into(),
        vocab: vocab(metadata, arch, tensors)?,
        hidden,
        ffn: need("feed_forward_length", MAX_DIM)?,
        layers: need("block_count", MAX_LAYERS)?,
        heads,
        kv_heads,
        head_dim,
        max_context: positions.min(MAX_CONTEXT),
        rms_eps: eps as f32,
        rope_theta: metadata.number(&key("rope.freq_base"), 1.0..=1e12)?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(metadata, arch)?,
        activation,
        act_quant,
        bos: metadata.token("tokenizer.ggml.bos_token_id")?,
        eos: eos(metadata)?,
    };
    model.validate().map_err(|source| LoadError::Config { path: metadata.path.into(), source })?;
    Ok(GgufConfig { model, interleaved, warnings })
}

/// The `llama` architecture serves models trained with int8 activations (Falcon3) and without
/// (TriLM), and no key tells which: the name has to.
fn llama_act_quant(metadata: &Metadata, warnings: &mut Vec<String>) -> Result<ActQuant, LoadError> {
    let mut is_trilm = false;
    for key in ["general.name", "general.basename"] {
        is_trilm |= metadata.text(key)?.is_some_and(|name| name.to_ascii_lowercase().contains("trilm"));
    }
    if is_trilm {
        return Ok(ActQuant::None);
    }
    warnings.push("architecture llama: assuming int8 activations, as all ternary models but TriLM have".into());
    Ok(ActQuant::Int8PerToken)
}

fn vocab(metadata: &Metadata, arch: &str, tensors: &BTreeMap<String, Entry>) -> Result<usize, LoadError> {
    let key = format!("{arch}.vocab_size");
    if let Some(vocab) = metadata.integer(&key, 1..=MAX_VOCAB)? {
        return Ok(vocab);
    }
    let rows = tensors.get("token_embd.weight").and_then(|entry| entry.shape.first());
    rows.copied().ok_or_else(|| metadata.missing(&key, "the size of the vocabulary"))
}

fn rope_scaling(metadata: &Metadata, arch: &str) -> Result<RopeScaling, LoadError> {
    let key = format!("{arch}.rope.scaling.type");
    match metadata.text(&key)?.unwrap_or("none") {
        "none" => Ok(RopeScaling::None),
        "linear" => {
            let factor_key = format!("{arch}.rope.scaling.factor");
            let factor = metadata.number(&factor_key, 1.0..=1e6)?;
            let factor = factor.ok_or_else(|| metadata.missing(&factor_key, "a number from 1 to 1000000"))?;
            Ok(RopeScaling::Linear { factor: factor as f32 })
        }
        other => Err(metadata.unsupported(&key, other, "none, linear")),
    }
}

/// Texts of control tokens that end a turn or a text wherever they occur.
const END_TEXTS: [&str; 5] = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end_of_text|>", "<|endoftext|>"];
/// Number of control tokens in `tokenizer.ggml.token_type`.
pub const CONTROL: f64 = 3.0;

/// Ends of a generation: the keys, and known control tokens, since most files name only one.
fn eos(metadata: &Metadata) -> Result<Vec<u32>, LoadError> {
    let mut ids = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        ids.extend(metadata.token(&format!("tokenizer.ggml.{key}"))?);
    }
    if let Some(tokens) = metadata.texts("tokenizer.ggml.tokens")? {
        let kinds = metadata.numbers("tokenizer.ggml.token_type", tokens.len())?.unwrap_or_default();
        for (id, (token, kind)) in tokens.iter().zip(kinds).enumerate() {
            if *kind == CONTROL && END_TEXTS.contains(&token.as_str()) {
                ids.push(id as u32);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
