//! `config.json`: shape, arithmetic, and how the ternary weights are stored.

use crate::load::{
    error::LoadError,
    json::{Object, parse_object},
};
use spec::model::{
    ActQuant, Activation, ModelConfig, RopeScaling,
    config::{MAX_CONTEXT, MAX_DIM, MAX_HEAD_DIM, MAX_LAYERS, MAX_VOCAB},
};
use std::path::Path;

/// How ternary weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Two bits each, with a `weight_scale`.
    Packed {
        /// `bitlinear` divides by the scale, `autobitlinear` multiplies: both call it
        /// `weight_scale`, and nothing else tells them apart.
        divides: bool,
    },
    /// Master weights, to be quantised as BitNet does.
    Masters,
    /// Dense numbers that are ternary already, or TriLM's master weights.
    Values {
        /// Shards of model-parallel training, if the configuration says.
        shards: Option<usize>,
    },
}

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct HfConfig {
    /// Shape and constants.
    pub model: ModelConfig,
    /// Storage of the ternary weights.
    pub scheme: Scheme,
    /// Whether the head may be the embedding.
    pub tied: bool,
    /// Epsilon of the norm in front of each quantised linear layer, if they have one.
    pub input_norm_eps: Option<f32>,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
}

impl HfConfig {
    /// Family and format, for people.
    pub fn format(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Packed { divides: false } => "packed two-bit weights, scale multiplies",
            Scheme::Packed { divides: true } => "packed two-bit weights, scale divides",
            Scheme::Masters => "master weights, quantised while loading",
            Scheme::Values { .. } => "dense ternary values",
        };
        format!("{}, {scheme}", self.model.name)
    }
}

/// Reads `config.json` and, where it exists, `generation_config.json`.
pub fn parse(path: &Path, text: &[u8], generation: Option<(&Path, &[u8])>) -> Result<HfConfig, LoadError> {
    let map = parse_object(path, text)?;
    let config = Object { path, prefix: "", map: &map };
    let model_type = config.text("model_type")?.ok_or_else(|| config.missing("model_type", MODEL_TYPES))?;
    if !["bitnet", "llama"].contains(&model_type) {
        return Err(config.unsupported("model_type", model_type, MODEL_TYPES));
    }
    check_architectures(&config)?;
    refuse_features(&config)?;
    let (scheme, input_norm_eps) = scheme(&config, model_type)?;
    let (model, warnings) = shape(&config, model_type, scheme, generation)?;
    let tied = config.boolean("tie_word_embeddings")?.unwrap_or(false);
    Ok(HfConfig { model, scheme, tied, input_norm_eps, warnings })
}

const MODEL_TYPES: &str = "bitnet, llama";

fn check_architectures(config: &Object) -> Result<(), LoadError> {
    let Some(value) = config.get("architectures") else { return Ok(()) };
    const SUPPORTED: [&str; 3] = ["BitNetForCausalLM", "BitnetForCausalLM", "LlamaForCausalLM"];
    let names = value.as_array().ok_or_else(|| config.wrong("architectures", value, "a list of names"))?;
    if names.iter().any(|name| name.as_str().is_some_and(|name| SUPPORTED.contains(&name))) {
        return Ok(());
    }
    Err(config.unsupported("architectures", value, "BitNetForCausalLM, BitnetForCausalLM, LlamaForCausalLM"))
}

/// Refuses what would change the result and is not implemented.
fn refuse_features(config: &Object) -> Result<(), LoadError> {
    for key in ["rotary_pct", "partial_rotary_factor"] {
        if let Some(share) = config.number(key, 0.0..=1.0)?.filter(|share| *share != 1.0) {
            return Err(config.unsupported(key, share, "1.0"));
        }
    }
    let sliding = config.boolean("use_sliding_window")?.unwrap_or(true);
    if let Some(window) = config.get("sliding_window").filter(|_| sliding) {
        return Err(config.unsupported("sliding_window", window, "null"));
    }
    Ok(())
}

fn scheme(config: &Object, model_type: &str) -> Result<(Scheme, Option<f32>), LoadError> {
    let Some(quant) = config.object("quantization_config", "quantization_config.")? else {
        return Ok((unquantised_scheme(config, model_type)?, None));
    };
    match quant.text("quant_method")?.ok_or_else(|| quant.missing("quant_method", "bitnet"))? {
        "bitnet" => {}
        other => return Err(quant.unsupported("quant_method", other, "bitnet")),
    }
    let scheme = match quant.text("linear_class")?.unwrap_or("bitlinear") {
        "bitlinear" => Scheme::Packed { divides: true },
        "autobitlinear" => match quant.text("quantization_mode")?.unwrap_or("offline") {
            "offline" => Scheme::Packed { divides: false },
            "online" => Scheme::Masters,
            other => return Err(quant.unsupported("quantization_mode", other, "offline, online")),
        },
        other => return Err(quant.unsupported("linear_class", other, "bitlinear, autobitlinear")),
    };
    check_dense_modules(&quant)?;
    let eps = quant.number("rms_norm_eps", 1e-30..=1.0)?.unwrap_or(1e-6) as f32;
    let input_norm = quant.boolean("use_rms_norm")?.unwrap_or(false);
    Ok((scheme, input_norm.then_some(eps)))
}

/// `modules_to_not_convert` names modules that stay dense; absent means the head. A name counts as
/// transformers matches it: as a prefix or a suffix of a module's path.
fn check_dense_modules(quant: &Object) -> Result<(), LoadError> {
    const KEY: &str = "modules_to_not_convert";
    let Some(value) = quant.get(KEY) else { return Ok(()) };
    let names: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(|name| name.as_str()).collect());
    let names = names.ok_or_else(|| quant.wrong(KEY, value, "a list of names"))?;
    if !names.iter().any(|name| name.ends_with("lm_head")) {
        return Err(quant.unsupported(KEY, value, "null, or a list with lm_head: a ternary head is not implemented"));
    }
    const BLOCK: [&str; 9] =
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "self_attn", "mlp"];
    let in_block = |name: &str| {
        let parts = || name.split('.');
        parts().any(|part| BLOCK.contains(&part)) || parts().any(|part| part == "layers")
    };
    match names.iter().find(|name| in_block(name)) {
        Some(name) => {
            Err(quant.unsupported(KEY, name, "modules outside of the blocks: dense layers are not implemented"))
        }
        None => Ok(()),
    }
}

fn unquantised_scheme(config: &Object, model_type: &str) -> Result<Scheme, LoadError> {
    if config.get("weight_bits").is_some() {
        for (key, expected, supported) in [("weight_bits", 1, "1"), ("input_bits", 8, "8")] {
            let bits = config.need_integer(key, 0..=64)?;
            if bits != expected {
                return Err(config.unsupported(key, bits, supported));
            }
        }
        return Ok(Scheme::Masters);
    }
    if model_type == "bitnet" {
        let expected = "an object with quant_method bitnet, linear_class and quantization_mode";
        return Err(config.missing("quantization_config", expected));
    }
    Ok(Scheme::Values { shards: config.integer("pretraining_model_parallel", 1..=1024)? })
}

fn shape(
    config: &Object,
    model_type: &str,
    scheme: Scheme,
    generation: Option<(&Path, &[u8])>,
) -> Result<(ModelConfig, Vec<String>), LoadError> {
    let mut warnings = Vec::new();
    let hidden = config.need_integer("hidden_size", 1..=MAX_DIM)?;
    let heads = config.need_integer("num_attention_heads", 1..=MAX_DIM)?;
    let kv_heads = config.integer("num_key_value_heads", 1..=heads)?.unwrap_or(heads);
    let head_dim = match config.integer("head_dim", 2..=MAX_HEAD_DIM)? {
        Some(width) => width,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(config.missing("head_dim", "it, or a hidden_size that num_attention_heads divides")),
    };
    let positions = config.need_integer("max_position_embeddings", 1..=1 << 30)?;
    if positions > MAX_CONTEXT {
        warnings.push(format!("context limited to {MAX_CONTEXT} of the model's {positions} tokens"));
    }
    let activation = match config.text("hidden_act")?.ok_or_else(|| config.missing("hidden_act", "silu or relu2"))? {
        "silu" | "swish" => Activation::Silu,
        "relu2" => Activation::Relu2,
        other => return Err(config.unsupported("hidden_act", other, "silu, relu2")),
    };
    let (rope_theta, rope_scaling) = rope(config, model_type, &mut warnings)?;
    let mut eos = config.token_ids("eos_token_id")?;
    if let Some((path, text)) = generation {
        let map = parse_object(path, text)?;
        eos.extend(Object { path, prefix: "", map: &map }.token_ids("eos_token_id")?);
    }
    eos.sort_unstable();
    eos.dedup();
    let bos = config.token_ids("bos_token_id")?;
    if bos.len() > 1 {
        return Err(config.wrong("bos_token_id", &config.map["bos_token_id"], "one token id"));
    }
    let model = ModelConfig {
        name: model_type.into(),
        vocab: config.need_integer("vocab_size", 1..=MAX_VOCAB)?,
        hidden,
        ffn: config.need_integer("intermediate_size", 1..=MAX_DIM)?,
        layers: config.need_integer("num_hidden_layers", 1..=MAX_LAYERS)?,
        heads,
        kv_heads,
        head_dim,
        max_context: positions.min(MAX_CONTEXT),
        rms_eps: config.need_number("rms_norm_eps", 1e-30..=1.0)? as f32,
        rope_theta,
        rope_scaling,
        activation,
        act_quant: match scheme {
            Scheme::Values { .. } => ActQuant::None,
            _ => ActQuant::Int8PerToken,
        },
        bos: bos.first().copied(),
        eos,
    };
    model.validate().map_err(|source| LoadError::Config { path: config.path.into(), source })?;
    Ok((model, warnings))
}

const THETA: std::ops::RangeInclusive<f64> = 1.0..=1e12;
const FACTOR: std::ops::RangeInclusive<f64> = 1.0..=1e6;

/// `rope_parameters`, or the older `rope_theta` and `rope_scaling`.
fn rope(config: &Object, model_type: &str, warnings: &mut Vec<String>) -> Result<(f64, RopeScaling), LoadError> {
    let parameters = config.object("rope_parameters", "rope_parameters.")?;
    let theta = match parameters.as_ref().map(|p| p.number("rope_theta", THETA)).transpose()?.flatten() {
        Some(theta) => theta,
        None => match config.number("rope_theta", THETA)? {
            // what transformers takes for this type
            None if model_type == "llama" => {
                warnings.push("rope_theta is missing: using 10000".into());
                10_000.0
            }
            None => config.need_number("rope_theta", THETA)?,
            Some(theta) => theta,
        },
    };
    let scaling = match parameters {
        Some(parameters) => Some(parameters),
        None => config.object("rope_scaling", "rope_scaling.")?,
    };
    let Some(scaling) = scaling else { return Ok((theta, RopeScaling::None)) };
    let (key, kind) = match scaling.text("rope_type")? {
        Some(kind) => ("rope_type", kind),
        None => ("type", scaling.text("type")?.unwrap_or("default")),
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: scaling.need_number("factor", FACTOR)? as f32 },
        "llama3" => RopeScaling::Llama3 {
            factor: scaling.need_number("factor", FACTOR)? as f32,
            low_freq_factor: scaling.need_number("low_freq_factor", 1e-3..=1e6)? as f32,
            high_freq_factor: scaling.need_number("high_freq_factor", 1e-3..=1e6)? as f32,
            original_context: scaling.need_integer("original_max_position_embeddings", 1..=1 << 30)? as u32,
        },
        other => return Err(scaling.unsupported(key, other, "default, linear, llama3")),
    };
    Ok((theta, scaling))
}
