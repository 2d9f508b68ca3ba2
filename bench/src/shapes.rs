//! Models with the shapes of published ones and random weights, compiled for a machine.

use anyhow::{Context, Result};
use host::compile::{DeviceImage, Options, compile};
use host::cpu::bench::{bitnet_2b4t, bitnet_large, random_weights};
use hw::preset::Machine;
use spec::format::matrix::Encoding;
use spec::model::{Activation, ModelConfig, ModelWeights};

/// Positions that every benchmark model has room for.
pub const CONTEXT: usize = 2304;

/// The shape of `tiiuae/Falcon3-1B-Instruct-1.58bit`.
fn falcon3_1b() -> ModelConfig {
    ModelConfig {
        name: "Falcon3-1B shape".into(),
        vocab: 131_072,
        hidden: 2048,
        ffn: 8192,
        layers: 18,
        heads: 8,
        kv_heads: 4,
        head_dim: 256,
        max_context: 4096,
        rms_eps: 1e-6,
        rope_theta: 1_000_042.0,
        activation: Activation::Silu,
        ..bitnet_large()
    }
}

/// The shape with this name.
pub fn shape(name: &str) -> Option<ModelConfig> {
    let mut config = match name {
        "0.73b" | "0.73b-4p" => bitnet_large(),
        "2b4t" | "2b4t-4p" => bitnet_2b4t(),
        "falcon3-1b" => falcon3_1b(),
        _ => return None,
    };
    config.max_context = CONTEXT;
    Some(config)
}

/// Random weights of a shape, always the same; of so many layers only, if a number is given.
pub fn weights(name: &str, sherry: bool, layers: Option<usize>) -> Result<ModelWeights> {
    let mut config = shape(name).with_context(|| format!("{name}: an unknown shape"))?;
    config.layers = layers.unwrap_or(config.layers);
    let mut weights = random_weights(&config, if sherry { Encoding::Sherry } else { Encoding::Trit5 }, 1);
    if name.ends_with("-4p") {
        // as `host pack --head-planes 4`
        weights.narrow_head(4);
    }
    Ok(weights)
}

/// The model compiled for a machine, with a shortlist of its head if the machine has room for one.
pub fn image(machine: &Machine, name: &str, sherry: bool, layers: Option<usize>) -> Result<DeviceImage> {
    let weights = weights(name, sherry, layers)?;
    let with = |shortlist| compile(&weights, &machine.shape(), Options { context: Some(CONTEXT), shortlist });
    with(Some(0))
        .or_else(|error| {
            eprintln!("{name}: no shortlist: {error}");
            with(None)
        })
        .with_context(|| format!("{name} on preset {}", machine.name))
}
