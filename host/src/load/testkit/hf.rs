//! For tests: Hugging Face folders of every supported family.

use super::{LINEARS, Matrix, Random, Tiny, safetensors::RawTensor, safetensors::file, text};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Families and forms of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BitNet 2B-4T: packed, the scale multiplies.
    BitnetPacked,
    /// The same with weights -1, 0, 1 as bf16.
    BitnetUnpacked,
    /// BitNet 2B-4T bf16: master weights.
    BitnetOnline,
    /// Falcon3, Llama3 1.58: packed, the scale divides.
    LlamaPacked,
    /// bitnet_b1_58-large: f32 master weights, old names of the sub-norms.
    BitnetLarge,
    /// TriLM: f16 values, this many shards.
    TrilmValues(usize),
    /// TriLM: f16 master weights, this many shards.
    TrilmMasters(usize),
}

impl Family {
    /// Element type of everything dense.
    pub fn dtype(self) -> &'static str {
        match self {
            Family::BitnetLarge => "F32",
            Family::TrilmValues(_) | Family::TrilmMasters(_) => "F16",
            _ => "BF16",
        }
    }

    /// Part names of the sub-norms, if the family has them.
    pub fn sub_norms(self) -> Option<[&'static str; 2]> {
        match self {
            Family::BitnetPacked | Family::BitnetUnpacked | Family::BitnetOnline => {
                Some(["self_attn.attn_sub_norm.weight", "mlp.ffn_sub_norm.weight"])
            }
            Family::BitnetLarge => Some(["self_attn.inner_attn_ln.weight", "mlp.ffn_layernorm.weight"]),
            _ => None,
        }
    }
}

/// `config.json` of a family.
pub fn config(tiny: &Tiny, family: Family) -> Value {
    let c = &tiny.config;
    let mut config = json!({
        "vocab_size": c.vocab,
        "hidden_size": c.hidden,
        "intermediate_size": c.ffn,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "max_position_embeddings": c.max_context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": tiny.head.is_none(),
        "hidden_act": "silu",
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
    });
    let mut set = |key: &str, value: Value| config[key] = value;
    let bitnet =
        |class: &str, mode: &str| json!({"quant_method": "bitnet", "linear_class": class, "quantization_mode": mode});
    match family {
        Family::BitnetPacked | Family::BitnetUnpacked | Family::BitnetOnline => {
            set("model_type", "bitnet".into());
            set("architectures", json!(["BitNetForCausalLM"]));
            set("hidden_act", "relu2".into());
            let mode = if family == Family::BitnetOnline { "online" } else { "offline" };
            set("quantization_config", bitnet("autobitlinear", mode));
        }
        Family::LlamaPacked => {
            set("quantization_config", json!({"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}));
        }
        Family::BitnetLarge => {
            set("architectures", json!(["BitnetForCausalLM"]));
            set("weight_bits", 1.into());
            set("input_bits", 8.into());
        }
        Family::TrilmValues(shards) | Family::TrilmMasters(shards) => {
            set("pretraining_model_parallel", shards.into());
        }
    }
    config
}

/// All tensors of a family.
pub fn tensors(tiny: &Tiny, family: Family) -> Vec<RawTensor> {
    let c = &tiny.config;
    let dtype = family.dtype();
    let table = [c.vocab, c.hidden];
    let mut tensors = vec![
        RawTensor::floats("model.embed_tokens.weight", dtype, &table, &tiny.embed),
        RawTensor::floats("model.norm.weight", dtype, &[c.hidden], &tiny.final_norm),
    ];
    if let Some(head) = &tiny.head {
        tensors.push(RawTensor::floats("lm_head.weight", dtype, &table, head));
    }
    let mut random = Random(99);
    for (layer, (block, norms)) in tiny.blocks.iter().zip(&tiny.norms).enumerate() {
        let prefix = format!("model.layers.{layer}.");
        let sub_norms = family.sub_norms().into_iter().flatten();
        let names = ["input_layernorm.weight", "post_attention_layernorm.weight"].into_iter().chain(sub_norms);
        for (name, norm) in names.zip(norms) {
            tensors.push(RawTensor::floats(format!("{prefix}{name}"), dtype, &[norm.len()], norm));
        }
        for (name, matrix) in LINEARS.iter().zip(block) {
            linear(&mut tensors, &format!("{prefix}{name}"), matrix, family, &mut random);
        }
    }
    tensors
}

fn linear(tensors: &mut Vec<RawTensor>, name: &str, matrix: &Matrix, family: Family, random: &mut Random) {
    let shape = [matrix.rows, matrix.cols];
    let weight = format!("{name}.weight");
    let scale = |value: f32| RawTensor::floats(format!("{name}.weight_scale"), "BF16", &[1], &[value]);
    let by_columns = name.ends_with("o_proj") || name.ends_with("down_proj");
    match family {
        Family::BitnetPacked | Family::LlamaPacked => {
            let packed = pack_strided(matrix);
            tensors.push(RawTensor::new(weight, "U8", &[matrix.rows / 4, matrix.cols], packed));
            let divides = family == Family::LlamaPacked;
            tensors.push(scale(if divides { 1.0 / matrix.scale } else { matrix.scale }));
        }
        Family::BitnetUnpacked => {
            let units: Vec<f32> = matrix.trits.iter().map(|&trit| f32::from(trit)).collect();
            tensors.push(RawTensor::floats(weight, "BF16", &shape, &units));
            tensors.push(scale(matrix.scale));
        }
        Family::BitnetOnline | Family::BitnetLarge => {
            tensors.push(RawTensor::floats(weight, family.dtype(), &shape, &matrix.masters(random)));
        }
        Family::TrilmValues(shards) => {
            let values = scale_shards(matrix, &matrix.values(), shards, by_columns);
            tensors.push(RawTensor::floats(weight, "F16", &shape, &values));
        }
        Family::TrilmMasters(shards) => {
            let values = scale_shards(matrix, &matrix.masters(random), shards, by_columns);
            tensors.push(RawTensor::floats(weight, "F16", &shape, &values));
        }
    }
}

/// Multiplies shard `k` of a matrix by `8^k`: far enough apart that a scale of the wrong shard shows.
pub fn scale_shards(matrix: &Matrix, values: &[f32], shards: usize, by_columns: bool) -> Vec<f32> {
    let shard = |index: usize| match by_columns {
        true => index % matrix.cols / (matrix.cols / shards),
        false => index / matrix.cols / (matrix.rows / shards),
    };
    values.iter().enumerate().map(|(index, value)| value * 8f32.powi(shard(index) as i32)).collect()
}

/// The layout of transformers' `pack_weights`.
pub fn pack_strided(matrix: &Matrix) -> Vec<u8> {
    let stride = matrix.rows / 4;
    let mut packed = vec![0u8; stride * matrix.cols];
    for (index, &trit) in matrix.trits.iter().enumerate() {
        let (row, col) = (index / matrix.cols, index % matrix.cols);
        packed[row % stride * matrix.cols + col] |= ((trit + 1) as u8) << (2 * (row / stride));
    }
    packed
}

/// Writes a whole folder in one safetensors file, with a tokenizer.
pub fn write(dir: &Path, tiny: &Tiny, family: Family) {
    write_parts(dir, &config(tiny, family), &[("model.safetensors", tensors(tiny, family))]);
}

/// Writes a folder in several safetensors files with an index.
pub fn write_sharded(dir: &Path, tiny: &Tiny, family: Family, files: usize) {
    let tensors = tensors(tiny, family);
    let name = |part: usize| format!("model-{:05}-of-{files:05}.safetensors", part + 1);
    let mut map = serde_json::Map::new();
    let mut parts: Vec<Vec<RawTensor>> = vec![Vec::new(); files];
    for (index, tensor) in tensors.into_iter().enumerate() {
        map.insert(tensor.name.clone(), name(index % files).into());
        parts[index % files].push(tensor);
    }
    write_parts(dir, &config(tiny, family), &[]);
    for (index, part) in parts.iter().enumerate() {
        fs::write(dir.join(name(index)), file(part)).expect("write a shard");
    }
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("write the index");
}

/// Writes `config.json`, tokenizer files and these safetensors files.
pub fn write_parts(dir: &Path, config: &Value, files: &[(&str, Vec<RawTensor>)]) {
    let put = |name: &str, bytes: Vec<u8>| fs::write(dir.join(name), bytes).expect("write a model file");
    put("config.json", config.to_string().into());
    put("tokenizer.json", text::tokenizer_json().into());
    put("tokenizer_config.json", text::tokenizer_config().to_string().into());
    put("generation_config.json", json!({ "eos_token_id": [2, 3] }).to_string().into());
    for (name, tensors) in files {
        put(name, file(tensors));
    }
}
