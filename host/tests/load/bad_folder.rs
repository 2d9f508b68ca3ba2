//! Wrong folders: each kind of fault gives its own kind of error.

use crate::load;
use host::{
    load::{
        LoadError,
        testkit::{
            Tiny,
            hf::{Family, config, tensors, write, write_parts, write_sharded},
            safetensors::RawTensor,
        },
    },
    mmap::FileError,
};
use serde_json::{Value, json};
use std::fs;
use tempfile::{TempDir, tempdir};

fn folder() -> (TempDir, Tiny) {
    let (dir, tiny) = (tempdir().unwrap(), Tiny::new(30, true));
    write(dir.path(), &tiny, Family::BitnetPacked);
    (dir, tiny)
}

/// The error of a packed BitNet model after its config was changed.
fn with_config(change: impl Fn(&mut Value)) -> LoadError {
    let (dir, tiny) = folder();
    let mut json = config(&tiny, Family::BitnetPacked);
    change(&mut json);
    fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    load(dir.path()).unwrap_err()
}

/// The error of a model of `family` after its tensors were changed.
fn with_tensors(family: Family, change: impl Fn(&mut Vec<RawTensor>)) -> LoadError {
    let (dir, tiny) = (tempdir().unwrap(), Tiny::new(31, true));
    let mut all = tensors(&tiny, family);
    change(&mut all);
    write_parts(dir.path(), &config(&tiny, family), &[("model.safetensors", all)]);
    load(dir.path()).unwrap_err()
}

#[test]
fn odd_but_not_wrong_folders_are_told() {
    let (dir, tiny) = (tempdir().unwrap(), Tiny::new(32, true));
    let family = Family::TrilmValues(1);
    write(dir.path(), &tiny, family);
    let mut json = config(&tiny, family);
    json.as_object_mut().unwrap().remove("rope_theta");
    fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    fs::write(dir.path().join("model.safetensors.index.json"), "{}").unwrap();
    let model = load(dir.path()).unwrap();
    assert_eq!(model.weights.config.rope_theta, 10_000.0);
    let warnings = model.source.warnings.join("; ");
    assert!(warnings.contains("rope_theta is missing") && warnings.contains("index.json is ignored"), "{warnings}");
}

const Q: &str = "model.layers.1.self_attn.q_proj.weight";

fn find<'a>(tensors: &'a mut [RawTensor], name: &str) -> &'a mut RawTensor {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn unsupported_kinds_name_key_value_and_choices() {
    let key = |error: LoadError| match error {
        LoadError::Unsupported { key, found, supported, .. } => format!("{key} = {found}: {supported}"),
        other => panic!("{other}"),
    };
    let quant = |name: &'static str, value: Value| key(with_config(|c| c["quantization_config"][name] = value.clone()));
    assert_eq!(key(with_config(|c| c["model_type"] = "qwen3".into())), "model_type = qwen3: bitnet, llama");
    assert!(key(with_config(|c| c["architectures"] = json!(["OPTForCausalLM"]))).starts_with("architectures = "));
    assert_eq!(quant("quant_method", "gptq".into()), "quantization_config.quant_method = gptq: bitnet");
    assert!(quant("linear_class", "other".into()).contains("bitlinear, autobitlinear"));
    assert!(quant("quantization_mode", "later".into()).contains("offline, online"));
    assert!(quant("modules_to_not_convert", json!(["x"])).contains("a ternary head"));
    assert!(quant("modules_to_not_convert", json!(["lm_head", "model.layers.0"])).contains("dense layers"));
    assert!(key(with_config(|c| c["hidden_act"] = "gelu".into())).contains("silu, relu2"));
    let yarn = json!({ "rope_type": "yarn", "factor": 2.0 });
    assert_eq!(
        key(with_config(|c| c["rope_scaling"] = yarn.clone())),
        "rope_scaling.rope_type = yarn: default, linear, llama3"
    );
    assert!(key(with_config(|c| c["partial_rotary_factor"] = 0.5.into())).contains("1.0"));
    assert!(key(with_config(|c| c["sliding_window"] = 64.into())).contains("null"));
}

#[test]
fn missing_keys_are_named() {
    for name in [
        "model_type",
        "hidden_size",
        "num_attention_heads",
        "vocab_size",
        "intermediate_size",
        "num_hidden_layers",
        "rms_norm_eps",
        "rope_theta",
        "hidden_act",
        "max_position_embeddings",
        "quantization_config",
    ] {
        let error = with_config(|c| {
            c.as_object_mut().unwrap().remove(name);
        });
        assert!(matches!(&error, LoadError::MissingKey { key, .. } if key == name), "{name}: {error}");
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    for (name, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(1u64 << 40)),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(256.5)),
        ("hidden_size", json!("256")),
        ("num_hidden_layers", json!(5000)),
        ("vocab_size", json!(u64::MAX)),
        ("num_attention_heads", json!([4])),
        ("head_dim", json!(100_000)),
        ("num_key_value_heads", json!(5)),
        ("rms_norm_eps", json!(0.0)),
        ("rms_norm_eps", json!(1e300)),
        ("rope_theta", json!(0.5)),
        ("eos_token_id", json!(-1)),
        ("bos_token_id", json!([1, 2])),
        ("tie_word_embeddings", json!("yes")),
        ("quantization_config", json!("bitnet")),
    ] {
        let error = with_config(|c| c[name] = value.clone());
        assert!(matches!(&error, LoadError::KeyValue { key, .. } if key == name), "{name} = {value}: {error}");
        assert_eq!(error.exit_code(), 65);
    }
    // each in range, together impossible
    assert!(matches!(with_config(|c| c["num_key_value_heads"] = 3.into()), LoadError::Config { .. }));
    assert!(matches!(with_config(|c| c["head_dim"] = 33.into()), LoadError::Config { .. }));
    assert!(matches!(with_config(|c| c["bos_token_id"] = 5000.into()), LoadError::Config { .. }));
}

#[test]
fn files_that_are_not_there_or_no_files() {
    let (dir, _) = folder();
    let path = |name: &str| dir.path().join(name);
    let error = load(&path("nothing")).unwrap_err();
    assert!(matches!(error, LoadError::File(FileError::Io { .. })));
    assert_eq!(error.exit_code(), 66);
    assert!(matches!(load(&path("tokenizer.json")), Err(LoadError::NotAModel { .. })));
    assert!(load(&path("model.safetensors")).unwrap_err().to_string().contains("give its folder"));
    let pipe = path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(load(&pipe), Err(LoadError::File(FileError::NotRegular { found: "pipe", .. }))));

    fs::remove_file(path("model.safetensors")).unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::MissingFile { .. })));
    fs::create_dir(path("model.safetensors")).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(matches!(error, LoadError::File(FileError::NotRegular { found: "directory", .. })));
    fs::remove_dir(path("model.safetensors")).unwrap();
    fs::write(path("model.safetensors"), "").unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::File(FileError::Empty { .. }))));
    fs::remove_file(path("config.json")).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(matches!(&error, LoadError::MissingFile { name, .. } if name == "config.json"));
    assert_eq!(error.exit_code(), 66);
    rustix::fs::mknodat(rustix::fs::CWD, path("config.json"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::File(FileError::NotRegular { found: "pipe", .. }))));
}

#[test]
fn text_files_that_are_no_json() {
    let (dir, _) = folder();
    for name in ["config.json", "generation_config.json", "tokenizer_config.json"] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, b"{\"a\": \"\xc3\x28\"}").unwrap();
        assert!(matches!(load(dir.path()), Err(LoadError::Utf8 { offset: 7, .. })), "{name}");
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(matches!(load(dir.path()), Err(LoadError::Json { .. })), "{name}");
        fs::write(&path, "[]").unwrap();
        assert!(matches!(load(dir.path()), Err(LoadError::KeyValue { .. })), "{name}");
        fs::write(&path, r#"{"eos_token_id": 2, "eos_token_id": 3}"#).unwrap();
        assert!(matches!(load(dir.path()), Err(LoadError::Duplicate { kind: "key", .. })), "{name}");
        fs::write(&path, &good).unwrap();
    }
    load(dir.path()).unwrap();
}

#[test]
fn tensors_that_are_missing_unknown_or_wrong() {
    let packed = Family::BitnetPacked;
    let error = with_tensors(packed, |all| all.retain(|tensor| !tensor.name.contains("k_proj")));
    assert!(matches!(&error, LoadError::MissingTensors { count: 4, first, .. } if first.len() == 4), "{error}");
    let error = with_tensors(packed, |all| all.push(RawTensor::floats("model.layers.0.adapter", "F32", &[1], &[0.0])));
    assert!(matches!(error, LoadError::UnknownTensors { count: 1, .. }));
    let error = with_tensors(packed, |all| {
        all.push(RawTensor::floats("model.layers.2.input_layernorm.weight", "BF16", &[1], &[0.0]))
    });
    assert!(matches!(error, LoadError::UnknownTensors { count: 1, .. }), "{error}");
    // a sub-norm in one layer only
    let error =
        with_tensors(packed, |all| all.retain(|tensor| tensor.name != "model.layers.1.mlp.ffn_sub_norm.weight"));
    assert!(matches!(error, LoadError::MissingTensors { count: 1, .. }));
    let error = with_tensors(packed, |all| {
        all.push(RawTensor::floats("model.layers.0.mlp.ffn_layernorm.weight", "BF16", &[1], &[0.0]))
    });
    assert!(matches!(error, LoadError::Duplicate { kind: "tensor", .. }));

    let error = with_tensors(packed, |all| find(all, Q).shape = vec![32, 512]);
    assert!(matches!(error, LoadError::Shape { .. }), "{error}");
    let error = with_tensors(packed, |all| find(all, Q).dtype = "I8");
    assert!(matches!(error, LoadError::Dtype { .. }), "{error}");
    let error = with_tensors(packed, |all| {
        let norm = find(all, "model.norm.weight");
        (norm.dtype, norm.shape) = ("U8", vec![512]);
    });
    assert!(matches!(error, LoadError::Dtype { .. }), "{error}");
    let error = with_tensors(Family::BitnetOnline, |all| find(all, Q).dtype = "U8");
    assert!(matches!(error, LoadError::ByteCount { .. }), "{error}");
}

#[test]
fn values_that_must_not_be() {
    let packed = Family::BitnetPacked;
    let error = with_tensors(packed, |all| find(all, Q).bytes[3 * 256 + 17] |= 0x30);
    let place = matches!(&error, LoadError::TritCode { tensor, row: 131, col: 17, code: 3, .. } if tensor == Q);
    assert!(place, "{error}");
    for wrong in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
        let error = with_tensors(packed, |all| {
            let scale = find(all, "model.layers.0.mlp.up_proj.weight_scale");
            scale.bytes = half::bf16::from_f32(wrong).to_le_bytes().into();
        });
        assert!(matches!(error, LoadError::Value { index: 0, .. }), "{wrong}: {error}");
    }
    let nan = half::bf16::NAN.to_le_bytes();
    for name in ["model.embed_tokens.weight", "model.norm.weight", "model.layers.0.mlp.ffn_sub_norm.weight"] {
        let error = with_tensors(packed, |all| find(all, name).bytes[20..22].copy_from_slice(&nan));
        assert!(matches!(error, LoadError::Value { index: 10, .. }), "{name}: {error}");
    }
    let error = with_tensors(Family::BitnetOnline, |all| find(all, Q).bytes[514..516].copy_from_slice(&nan));
    assert!(matches!(error, LoadError::Value { index: 257, .. }), "{error}");
    let two = half::bf16::from_f32(2.0).to_le_bytes();
    let error = with_tensors(Family::BitnetUnpacked, |all| find(all, Q).bytes[514..516].copy_from_slice(&two));
    assert!(matches!(error, LoadError::Value { index: 257, .. }), "{error}");
    let error = with_tensors(Family::TrilmValues(1), |all| find(all, Q).bytes[514..516].copy_from_slice(&[0x00, 0x7e]));
    assert!(matches!(error, LoadError::Value { index: 257, .. }), "{error}");
}

#[test]
fn dense_models_are_not_taken_for_ternary_ones() {
    let (dir, tiny) = (tempdir().unwrap(), Tiny::new(32, true));
    let family = Family::TrilmMasters(1);
    let mut json = config(&tiny, family);
    json.as_object_mut().unwrap().remove("pretraining_model_parallel");
    write_parts(dir.path(), &json, &[("model.safetensors", tensors(&tiny, family))]);
    assert!(matches!(load(dir.path()), Err(LoadError::NotTernary { .. })));
    // ternary in the first layer, masters in the second
    let mut all = tensors(&tiny, Family::TrilmValues(1));
    let masters = tensors(&tiny, family).into_iter().find(|tensor| tensor.name == Q).unwrap();
    *find(&mut all, Q) = masters;
    write_parts(dir.path(), &config(&tiny, family), &[("model.safetensors", all)]);
    let error = load(dir.path()).unwrap_err();
    assert!(matches!(&error, LoadError::NotTernary { tensor, .. } if tensor == Q), "{error}");
}

#[test]
fn an_index_that_does_not_fit_its_files() {
    let (dir, tiny) = (tempdir().unwrap(), Tiny::new(33, true));
    write_sharded(dir.path(), &tiny, Family::BitnetPacked, 2);
    let path = dir.path().join("model.safetensors.index.json");
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut index = good.clone();
        change(&mut index);
        fs::write(&path, index.to_string()).unwrap();
        load(dir.path()).unwrap_err()
    };
    let norm = "model.norm.weight";
    let error = with(&|index| index["weight_map"][norm] = "model-00009-of-00002.safetensors".into());
    assert!(matches!(error, LoadError::MissingFile { .. }), "{error}");
    for name in ["../escape.safetensors", "/etc/passwd", "", ".hidden"] {
        assert!(matches!(with(&|index| index["weight_map"][norm] = name.into()), LoadError::KeyValue { .. }));
    }
    let other = good["weight_map"]["model.embed_tokens.weight"].clone();
    assert_ne!(other, good["weight_map"][norm]);
    assert!(matches!(with(&|index| index["weight_map"][norm] = other.clone()), LoadError::ShardIndex { .. }));
    assert!(matches!(with(&|index| index["weight_map"]["extra"] = other.clone()), LoadError::ShardIndex { .. }));
    let unlisted = with(&|index| {
        index["weight_map"].as_object_mut().unwrap().remove(norm);
    });
    assert!(matches!(unlisted, LoadError::ShardIndex { .. }));
    assert!(matches!(with(&|index| index["weight_map"] = json!([])), LoadError::MissingKey { .. }));
    assert!(matches!(with(&|index| index["weight_map"] = json!({})), LoadError::KeyValue { .. }));
    // the same tensor in both files
    fs::write(&path, good.to_string()).unwrap();
    let first = dir.path().join("model-00001-of-00002.safetensors");
    fs::copy(&first, dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::Duplicate { kind: "tensor", .. })));
}
