//! Which tensors a model must have and may have.

use super::{
    config::{HfConfig, Scheme},
    files::Checkpoint,
};
use crate::load::error::LoadError;
use std::collections::BTreeSet;

/// How many missing or unknown tensors a message names.
const SHOWN: usize = 5;

/// Parts of a block that are linear layers.
const LINEARS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];
const ATTN_SUB_NORMS: [&str; 2] = ["self_attn.attn_sub_norm.weight", "self_attn.inner_attn_ln.weight"];
const FFN_SUB_NORMS: [&str; 2] = ["mlp.ffn_sub_norm.weight", "mlp.ffn_layernorm.weight"];

/// Names of the tensors of one model.
pub struct Names {
    /// Part name of the norm before `o_proj`, if the model has one.
    pub attn_sub_norm: Option<&'static str>,
    /// Part name of the norm before `down_proj`, if the model has one.
    pub ffn_sub_norm: Option<&'static str>,
    needed: BTreeSet<String>,
    allowed: BTreeSet<String>,
}

impl Names {
    /// Sub-norms exist if any layer has one; then every layer must.
    pub fn new(config: &HfConfig, checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let mut names = Names {
            attn_sub_norm: sub_norm(checkpoint, &ATTN_SUB_NORMS)?,
            ffn_sub_norm: sub_norm(checkpoint, &FFN_SUB_NORMS)?,
            needed: BTreeSet::new(),
            allowed: BTreeSet::new(),
        };
        names.needed.extend(["model.embed_tokens.weight", "model.norm.weight"].map(String::from));
        let head = if config.tied { &mut names.allowed } else { &mut names.needed };
        head.insert("lm_head.weight".into());
        let norms = ["input_layernorm.weight", "post_attention_layernorm.weight"];
        let sub_norms = [names.attn_sub_norm, names.ffn_sub_norm].into_iter().flatten();
        let norms: Vec<&str> = norms.into_iter().chain(sub_norms).collect();
        for layer in 0..config.model.layers {
            let prefix = format!("model.layers.{layer}.");
            names.needed.extend(norms.iter().map(|norm| format!("{prefix}{norm}")));
            for part in LINEARS {
                names.needed.insert(format!("{prefix}{part}.weight"));
                names.allowed.insert(format!("{prefix}{part}.bias"));
                if let Scheme::Packed { .. } = config.scheme {
                    names.needed.insert(format!("{prefix}{part}.weight_scale"));
                }
                if config.input_norm_eps.is_some() {
                    names.needed.insert(format!("{prefix}{part}.rms_norm.weight"));
                }
            }
        }
        Ok(names)
    }

    /// Fails if tensors are missing, or are there that nothing would read.
    pub fn check(&self, config: &HfConfig, checkpoint: &Checkpoint) -> Result<(), LoadError> {
        let missing: Vec<&String> = self.needed.iter().filter(|name| checkpoint.get(name).is_none()).collect();
        if !missing.is_empty() {
            let first = missing.iter().take(SHOWN).map(|name| name.to_string()).collect();
            return Err(LoadError::MissingTensors { path: checkpoint.dir().into(), count: missing.len(), first });
        }
        let known = |name: &str| self.needed.contains(name) || self.allowed.contains(name) || ignorable(name);
        let unknown: Vec<&str> = checkpoint.names().filter(|name| !known(name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(LoadError::UnknownTensors {
            path: checkpoint.dir().into(),
            family: config.model.name.clone(),
            count: unknown.len(),
            first: unknown.iter().take(SHOWN).map(|name| name.to_string()).collect(),
        })
    }
}

/// Rotary frequencies follow from the configuration; old files store them.
fn ignorable(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

fn sub_norm(checkpoint: &Checkpoint, parts: &[&'static str; 2]) -> Result<Option<&'static str>, LoadError> {
    let exists = |part: &str| {
        let tail = format!(".{part}");
        checkpoint.names().any(|name| name.ends_with(&tail))
    };
    match parts.map(exists) {
        [false, false] => Ok(None),
        [true, false] => Ok(Some(parts[0])),
        [false, true] => Ok(Some(parts[1])),
        [true, true] => {
            let name = format!("{} and {}, the same norm", parts[0], parts[1]);
            Err(LoadError::Duplicate { path: checkpoint.dir().into(), kind: "tensor", name })
        }
    }
}
