//! Every Hugging Face family, with trits compared exactly.

use crate::load;
use host::load::{
    LoadOptions, Progress, load_model,
    testkit::{
        Matrix, Random, Tiny,
        hf::{Family, config, scale_shards, tensors, write, write_parts, write_sharded},
        safetensors::RawTensor,
        shape,
    },
};
use serde_json::json;
use spec::{
    format::scale::Scale,
    model::{ActQuant, Activation, RopeScaling},
};
use std::sync::Mutex;
use tempfile::tempdir;

#[test]
fn packed_families_keep_trits_and_turn_the_scale() {
    let dir = tempdir().unwrap();
    for (family, tied) in [(Family::BitnetPacked, true), (Family::BitnetUnpacked, true), (Family::LlamaPacked, false)] {
        let mut tiny = Tiny::new(1, tied);
        if family == Family::LlamaPacked {
            // 1/0.75 is no bf16 number: keep scales whose inverse is exact
            tiny.blocks.iter_mut().flatten().for_each(|matrix| matrix.scale = 0.5);
        }
        write(dir.path(), &tiny, family);
        let model = load(dir.path()).unwrap();
        tiny.compare_with_scales(&model.weights).unwrap_or_else(|error| panic!("{family:?}: {error}"));
        let config = &model.weights.config;
        let relu = family != Family::LlamaPacked;
        assert_eq!(config.activation == Activation::Relu2, relu);
        assert_eq!(config.act_quant, ActQuant::Int8PerToken);
        assert_eq!(model.weights.layers[0].ffn_sub_norm.is_some(), relu);
        assert_eq!((config.bos, config.eos.as_slice()), (Some(1), [2, 3].as_slice()));
        assert!(model.source.warnings.is_empty());
    }
}

#[test]
fn masters_quantise_with_the_mean_of_the_matrix() {
    let dir = tempdir().unwrap();
    for family in [Family::BitnetOnline, Family::BitnetLarge] {
        let tiny = Tiny::new(2, true);
        write(dir.path(), &tiny, family);
        let model = load(dir.path()).unwrap();
        tiny.compare(&model.weights).unwrap_or_else(|error| panic!("{family:?}: {error}"));
        let masters = tiny.blocks[0][0].masters(&mut Random(99));
        let mean = masters.iter().map(|v| f64::from(v.abs())).sum::<f64>() / masters.len() as f64;
        let expected = 1.0 / (1.0 / mean as f32);
        assert_eq!(model.weights.layers[0].q.planes[0].scale, Scale::Tensor(expected));
        assert!(model.weights.layers[0].attn_sub_norm.is_some());
    }
}

#[test]
fn trilm_scales_are_found_by_looking() {
    let dir = tempdir().unwrap();
    for shards in [1, 2, 4] {
        let tiny = Tiny::new(3, false);
        write(dir.path(), &tiny, Family::TrilmValues(shards));
        let model = load(dir.path()).unwrap();
        tiny.compare(&model.weights).unwrap_or_else(|error| panic!("{shards} shards: {error}"));
        assert_eq!(model.weights.config.act_quant, ActQuant::None);
        let layer = &model.weights.layers[1];
        let expected = |matrix: &Matrix, by_columns| {
            let values: Vec<f32> = (0..shards).map(|k| matrix.scale * 8f32.powi(k as i32)).collect();
            let (row_blocks, col_blocks) = if by_columns { (1, shards) } else { (shards, 1) };
            if shards == 1 { Scale::Tensor(matrix.scale) } else { Scale::Shard { row_blocks, col_blocks, values } }
        };
        assert_eq!(layer.gate.planes[0].scale, expected(&tiny.blocks[1][4], false));
        assert_eq!(layer.down.planes[0].scale, expected(&tiny.blocks[1][6], true));
    }
}

#[test]
fn trilm_masters_quantise_by_shard() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(4, false);
    write(dir.path(), &tiny, Family::TrilmMasters(2));
    let model = load(dir.path()).unwrap();
    tiny.compare(&model.weights).unwrap();
    assert!(model.source.warnings[0].contains("2 shards"), "{:?}", model.source.warnings);
    let matrix = &tiny.blocks[0][0];
    let masters = scale_shards(matrix, &matrix.masters(&mut Random(99)), 2, false);
    let half = masters.len() / 2;
    let mean = |part: &[f32]| (1e-5 + part.iter().map(|v| f64::from(v.abs())).sum::<f64>() / half as f64) as f32;
    let values = vec![mean(&masters[..half]), mean(&masters[half..])];
    assert_eq!(model.weights.layers[0].q.planes[0].scale, Scale::Shard { row_blocks: 2, col_blocks: 1, values });
}

#[test]
fn rows_and_groups_may_have_scales_of_their_own() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(5, false);
    let mut all = tensors(&tiny, Family::TrilmValues(1));
    let matrix = &tiny.blocks[0][1];
    let by = |scale: &dyn Fn(usize, usize) -> f32| {
        let value = |(index, trit): (usize, &i8)| f32::from(*trit) * scale(index / matrix.cols, index % matrix.cols);
        matrix.trits.iter().enumerate().map(value).collect::<Vec<f32>>()
    };
    let power = |k: usize| 2f32.powi((k * 7 % 11) as i32 - 5);
    let row_scale = |row: usize, _: usize| power(row);
    let group_scale = |row: usize, col: usize| power(row * 3 + col / 64);
    for (scales, rows_only) in [(&row_scale as &dyn Fn(usize, usize) -> f32, true), (&group_scale, false)] {
        let name = "model.layers.0.self_attn.k_proj.weight";
        all.retain(|tensor| tensor.name != name);
        all.push(RawTensor::floats(name, "F16", &[matrix.rows, matrix.cols], &by(scales)));
        write_parts(dir.path(), &config(&tiny, Family::TrilmValues(1)), &[("model.safetensors", all.clone())]);
        let model = load(dir.path()).unwrap();
        tiny.compare(&model.weights).unwrap();
        let expected = if rows_only {
            Scale::Row((0..matrix.rows).map(power).collect())
        } else {
            let values = (0..matrix.rows).flat_map(|row| (0..4).map(move |group| power(row * 3 + group))).collect();
            Scale::Group { size: 64, values }
        };
        assert_eq!(model.weights.layers[0].k.planes[0].scale, expected);
    }
}

#[test]
fn shards_with_an_index_load() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(6, true);
    write_sharded(dir.path(), &tiny, Family::BitnetPacked, 3);
    let model = load(dir.path()).unwrap();
    tiny.compare_with_scales(&model.weights).unwrap();
    assert_eq!(model.source.files.len(), 3);
}

#[test]
fn optional_parts_are_read() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(7, true);
    let mut all = tensors(&tiny, Family::BitnetPacked);
    let (q_dim, hidden) = (tiny.config.q_dim(), tiny.config.hidden);
    all.push(RawTensor::floats("model.layers.0.self_attn.q_proj.bias", "BF16", &[q_dim], &vec![0.5; q_dim]));
    for layer in 0..2 {
        for part in host::load::testkit::LINEARS {
            let width = if part == "mlp.down_proj" { tiny.config.ffn } else { hidden };
            let name = format!("model.layers.{layer}.{part}.rms_norm.weight");
            all.push(RawTensor::floats(name, "BF16", &[width], &vec![1.5; width]));
        }
    }
    all.push(RawTensor::floats("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", &[32], &[1.0; 32]));
    all.push(RawTensor::floats("lm_head.weight", "BF16", &[tiny.config.vocab, hidden], &tiny.embed));
    let mut json = config(&tiny, Family::BitnetPacked);
    json["quantization_config"]["use_rms_norm"] = true.into();
    json["quantization_config"]["rms_norm_eps"] = 1e-7.into();
    json.as_object_mut().unwrap().remove("rope_theta");
    json["rope_parameters"] = json!({
        "rope_type": "llama3", "rope_theta": 500000, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    write_parts(dir.path(), &json, &[("model.safetensors", all)]);
    let model = load(dir.path()).unwrap();
    tiny.compare_with_scales(&model.weights).unwrap();
    let layer = &model.weights.layers[0];
    assert_eq!(layer.q.bias.as_deref(), Some(vec![0.5; q_dim].as_slice()));
    assert_eq!(layer.down.input_norm, Some((vec![1.5; tiny.config.ffn], 1e-7)));
    let expected =
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 64 };
    assert_eq!(model.weights.config.rope_scaling, expected);
    assert_eq!(model.weights.config.rope_theta, 500_000.0);
}

#[test]
fn a_head_of_its_own_wins_over_the_embedding() {
    let dir = tempdir().unwrap();
    let tiny = Tiny::new(8, false);
    let mut json = config(&tiny, Family::LlamaPacked);
    json["tie_word_embeddings"] = true.into();
    write_parts(dir.path(), &json, &[("model.safetensors", tensors(&tiny, Family::LlamaPacked))]);
    let model = load(dir.path()).unwrap();
    tiny.compare(&model.weights).unwrap();
    assert!(model.source.warnings[0].contains("lm_head.weight differs"));
}

#[test]
fn older_rope_keys_and_widths_of_heads_are_read() {
    let dir = tempdir().unwrap();
    let mut small = shape();
    (small.heads, small.head_dim) = (2, 32); // not hidden / heads
    let tiny = Tiny::with(small, 9, true);
    let mut json = config(&tiny, Family::BitnetPacked);
    json["head_dim"] = 32.into();
    json["rope_scaling"] = json!({ "type": "linear", "factor": 2.0 });
    json["eos_token_id"] = json!([2, 5]);
    write_parts(dir.path(), &json, &[("model.safetensors", tensors(&tiny, Family::BitnetPacked))]);
    let model = load(dir.path()).unwrap();
    tiny.compare_with_scales(&model.weights).unwrap();
    assert_eq!(model.weights.config.rope_scaling, RopeScaling::Linear { factor: 2.0 });
    assert_eq!(model.weights.config.eos, [2, 3, 5]);
}

#[test]
fn a_scale_that_is_far_off_is_pointed_out() {
    let dir = tempdir().unwrap();
    let mut tiny = Tiny::new(10, true);
    tiny.blocks[0][0].scale = 64.0;
    write(dir.path(), &tiny, Family::BitnetPacked);
    let model = load(dir.path()).unwrap();
    tiny.compare_with_scales(&model.weights).unwrap();
    assert!(model.source.warnings[0].contains("linear_class"), "{:?}", model.source.warnings);
}

#[test]
fn progress_ends_at_the_total() {
    struct Seen(Mutex<Vec<(u64, u64)>>);
    impl Progress for Seen {
        fn tensor(&self, done: u64, total: u64) {
            self.0.lock().unwrap().push((done, total));
        }
    }
    let dir = tempdir().unwrap();
    write(dir.path(), &Tiny::new(10, true), Family::BitnetPacked);
    let seen = Seen(Mutex::new(Vec::new()));
    load_model(dir.path(), &LoadOptions { skip_tokenizer: true }, &seen).unwrap();
    let seen = seen.0.into_inner().unwrap();
    let (done, total) = *seen.last().unwrap();
    assert_eq!(done, total);
    assert!(seen.len() > 10 && seen.is_sorted());
}
