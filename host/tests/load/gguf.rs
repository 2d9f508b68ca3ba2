//! GGUF models of every architecture and ternary format, with trits compared exactly.

use host::load::{
    LoadError, LoadOptions, LoadedModel, NoProgress,
    gguf::load_bytes,
    testkit::{
        Tiny,
        gguf::{Builder, Ternary, encode, interleave, model},
    },
};
use spec::{
    format::scale::Scale,
    model::{ActQuant, Activation, RopeScaling},
};
use std::path::Path;

fn load(file: &Builder) -> Result<LoadedModel, LoadError> {
    load_bytes(Path::new("m.gguf"), file.build().into(), &LoadOptions::default(), &NoProgress)
}

#[test]
fn every_architecture_and_format_loads() {
    for format in [Ternary::Tq1_0, Ternary::Tq2_0, Ternary::I2S, Ternary::F16] {
        for arch in ["llama", "bitnet", "bitnet-25", "bitnet-b1.58"] {
            let tiny = Tiny::new(11, arch.starts_with("bitnet"));
            let loaded = load(&model(&tiny, arch, format)).unwrap();
            tiny.compare_with_scales(&loaded.weights).unwrap_or_else(|error| panic!("{arch} {format:?}: {error}"));
            let relu = arch.contains("b1.58") || arch.contains("25");
            assert_eq!(loaded.weights.config.activation == Activation::Relu2, relu, "{arch}");
            assert_eq!(loaded.weights.layers[0].attn_sub_norm.is_some(), arch != "llama");
            assert!(loaded.tokenizer.is_none());
        }
    }
}

#[test]
fn a_file_on_disk_is_known_by_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no-extension");
    let tiny = Tiny::new(12, true);
    std::fs::write(&path, model(&tiny, "bitnet-b1.58", Ternary::I2S).build()).unwrap();
    let loaded = crate::load(&path).unwrap();
    tiny.compare_with_scales(&loaded.weights).unwrap();
    assert_eq!(loaded.source.format, "bitnet-b1.58, I2_S weights");
}

/// Replaces the weights of layer 0's gate by blocks with these scales, one for each block of 256.
fn with_gate_scales(scales: impl Fn(usize) -> f32) -> Scale {
    let tiny = Tiny::new(13, true);
    let gate = &tiny.blocks[0][4];
    let (kind, mut bytes) = encode(Ternary::Tq2_0, gate);
    for (block, bytes) in bytes.chunks_mut(66).enumerate() {
        bytes[64..].copy_from_slice(&half::f16::from_f32(scales(block)).to_le_bytes());
    }
    let mut file = Builder::default();
    let mut config = tiny.config.clone();
    config.layers = 1;
    let mut one = Tiny { config, ..tiny.clone() };
    one.blocks.truncate(1);
    one.norms.truncate(1);
    file.clone_from(&model(&one, "bitnet", Ternary::Tq2_0));
    file.replace("blk.0.ffn_gate.weight", kind, bytes);
    load(&file).unwrap().weights.layers[0].gate.planes[0].scale.clone()
}

#[test]
fn block_scales_take_their_simplest_form() {
    assert_eq!(with_gate_scales(|_| 0.25), Scale::Tensor(0.25));
    let by_row = Scale::Row((0..512).map(|row| 1.0 + (row % 3) as f32).collect());
    assert_eq!(with_gate_scales(|block| 1.0 + (block % 3) as f32), by_row); // one block a row
}

#[test]
fn long_rows_have_groups() {
    let mut tiny = Tiny::new(14, true);
    tiny.config.layers = 1;
    tiny.blocks.truncate(1);
    tiny.norms.truncate(1);
    let mut file = model(&tiny, "bitnet", Ternary::Tq1_0);
    let (kind, mut bytes) = encode(Ternary::Tq1_0, &tiny.blocks[0][6]); // 256 x 512: two blocks a row
    for (block, bytes) in bytes.chunks_mut(54).enumerate() {
        bytes[52..].copy_from_slice(&half::f16::from_f32(0.5 + (block % 5) as f32).to_le_bytes());
    }
    file.replace("blk.0.ffn_down.weight", kind, bytes);
    let loaded = load(&file).unwrap();
    tiny.compare(&loaded.weights).unwrap();
    let values = (0..512).map(|block| 0.5 + (block % 5) as f32).collect();
    assert_eq!(loaded.weights.layers[0].down.planes[0].scale, Scale::Group { size: 256, values });
}

#[test]
fn scale_and_bias_tensors_are_applied() {
    let tiny = Tiny::new(15, false);
    let mut file = model(&tiny, "llama", Ternary::I2S);
    file.floats("blk.0.attn_q.scale", &[1], &[2.0]);
    // biases of q are stored in the order of its rows
    let bias: Vec<f32> = (0..256).map(|row| row as f32).collect();
    let column =
        host::load::testkit::Matrix { rows: 256, cols: 1, trits: (0..=255u8).map(|r| r as i8).collect(), scale: 1.0 };
    let stored: Vec<f32> = interleave(&column, 4).trits.iter().map(|&row| f32::from(row as u8)).collect();
    file.floats("blk.0.attn_q.bias", &[256], &stored);
    let loaded = load(&file).unwrap();
    tiny.compare(&loaded.weights).unwrap();
    let q = &loaded.weights.layers[0].q;
    assert_eq!(q.planes[0].scale, Scale::Tensor(2.0 * tiny.blocks[0][0].scale));
    assert_eq!(q.bias.as_deref(), Some(bias.as_slice()));
}

#[test]
fn keys_decide_activations_and_rope() {
    let tiny = Tiny::new(16, false);
    let mut file = model(&tiny, "llama", Ternary::Tq2_0);
    file.text("general.name", "TriLM_99M").text("llama.rope.scaling.type", "linear");
    file.float("llama.rope.scaling.factor", 4.0);
    let config = load(&file).unwrap().weights.config;
    assert_eq!(config.act_quant, ActQuant::None);
    assert_eq!(config.rope_scaling, RopeScaling::Linear { factor: 4.0 });
    let plain = load(&model(&tiny, "llama", Ternary::Tq2_0)).unwrap();
    assert_eq!(plain.weights.config.act_quant, ActQuant::Int8PerToken);
    assert!(plain.source.warnings[0].contains("assuming int8 activations"));
}

#[test]
fn quantised_tables_dequantise() {
    let tiny = Tiny::new(17, true);
    let mut file = model(&tiny, "bitnet", Ternary::I2S);
    // d = 1/16 and small integers: the embedding's values exactly
    let block = |values: &[f32]| {
        let codes = values.iter().map(|v| (v * 16.0) as i8 as u8);
        half::f16::from_f32(0.0625).to_le_bytes().into_iter().chain(codes).collect::<Vec<u8>>()
    };
    file.replace("token_embd.weight", 8, tiny.embed.chunks(32).flat_map(block).collect());
    tiny.compare_with_scales(&load(&file).unwrap().weights).unwrap();
}
