//! [`ModelConfig`] as JSON. Numbers that are not whole are decimal strings, the shortest that read
//! back as the same bits, so that no JSON reader rounds them on the way.

use super::ContentError;
use super::extras::{from_json, to_json};
use serde::{Deserialize, Serialize};
use spec::format::image::layout::CONFIG;
use spec::model::config::{ActQuant, Activation, ModelConfig, RopeScaling};
use std::{fmt::Display, str::FromStr};

/// The fields of [`ModelConfig`] in the order of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigJson {
    name: String,
    vocab: usize,
    hidden: usize,
    ffn: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    max_context: usize,
    rms_eps: String,
    rope_theta: String,
    rope_scaling: RopeScalingJson,
    activation: ActivationJson,
    act_quant: ActQuantJson,
    bos: Option<u32>,
    eos: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActivationJson {
    Silu,
    Relu2,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActQuantJson {
    Int8PerToken,
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RopeScalingJson {
    None,
    Linear { factor: String },
    Llama3 { factor: String, low_freq_factor: String, high_freq_factor: String, original_context: u32 },
}

/// The canonical JSON of a configuration.
pub(super) fn config_to_json(config: &ModelConfig) -> Result<Vec<u8>, ContentError> {
    to_json(CONFIG, &ConfigJson::from(config))
}

/// The same as a JSON value, for reports.
pub(super) fn config_to_value(config: &ModelConfig) -> serde_json::Value {
    serde_json::to_value(ConfigJson::from(config)).unwrap_or_default()
}

/// Reads and validates a configuration. Unknown, missing and repeated keys are errors.
pub(super) fn config_from_json(bytes: &[u8]) -> Result<ModelConfig, ContentError> {
    let ConfigJson {
        name,
        vocab,
        hidden,
        ffn,
        layers,
        heads,
        kv_heads,
        head_dim,
        max_context,
        rms_eps,
        rope_theta,
        rope_scaling,
        activation,
        act_quant,
        bos,
        eos,
    } = from_json(CONFIG, bytes)?;
    let config = ModelConfig {
        name,
        vocab,
        hidden,
        ffn,
        layers,
        heads,
        kv_heads,
        head_dim,
        max_context,
        rms_eps: number("rms_eps", &rms_eps)?,
        rope_theta: number("rope_theta", &rope_theta)?,
        rope_scaling: match rope_scaling {
            RopeScalingJson::None => RopeScaling::None,
            RopeScalingJson::Linear { factor } => RopeScaling::Linear { factor: number("factor", &factor)? },
            RopeScalingJson::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                RopeScaling::Llama3 {
                    factor: number("factor", &factor)?,
                    low_freq_factor: number("low_freq_factor", &low_freq_factor)?,
                    high_freq_factor: number("high_freq_factor", &high_freq_factor)?,
                    original_context,
                }
            }
        },
        activation: match activation {
            ActivationJson::Silu => Activation::Silu,
            ActivationJson::Relu2 => Activation::Relu2,
        },
        act_quant: match act_quant {
            ActQuantJson::Int8PerToken => ActQuant::Int8PerToken,
            ActQuantJson::None => ActQuant::None,
        },
        bos,
        eos,
    };
    config.validate().map_err(|error| ContentError::Weights(error.into()))?;
    Ok(config)
}

/// A number that was written with `Display`, in that spelling only.
fn number<T: FromStr + Display>(key: &str, text: &str) -> Result<T, ContentError> {
    let value = text.parse::<T>().ok().filter(|value| value.to_string() == text);
    value.ok_or_else(|| ContentError::Text {
        section: CONFIG,
        problem: format!("{key} is {text:?}, expected a number in its shortest form"),
    })
}

impl From<&ModelConfig> for ConfigJson {
    fn from(config: &ModelConfig) -> Self {
        // Named in full, so that a new field cannot be forgotten here.
        let ModelConfig {
            name,
            vocab,
            hidden,
            ffn,
            layers,
            heads,
            kv_heads,
            head_dim,
            max_context,
            rms_eps,
            rope_theta,
            rope_scaling,
            activation,
            act_quant,
            bos,
            eos,
        } = config.clone();
        ConfigJson {
            name,
            vocab,
            hidden,
            ffn,
            layers,
            heads,
            kv_heads,
            head_dim,
            max_context,
            rms_eps: rms_eps.to_string(),
            rope_theta: rope_theta.to_string(),
            rope_scaling: match rope_scaling {
                RopeScaling::None => RopeScalingJson::None,
                RopeScaling::Linear { factor } => RopeScalingJson::Linear { factor: factor.to_string() },
                RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                    RopeScalingJson::Llama3 {
                        factor: factor.to_string(),
                        low_freq_factor: low_freq_factor.to_string(),
                        high_freq_factor: high_freq_factor.to_string(),
                        original_context,
                    }
                }
            },
            activation: match activation {
                Activation::Silu => ActivationJson::Silu,
                Activation::Relu2 => ActivationJson::Relu2,
            },
            act_quant: match act_quant {
                ActQuant::Int8PerToken => ActQuantJson::Int8PerToken,
                ActQuant::None => ActQuantJson::None,
            },
            bos,
            eos,
        }
    }
}
