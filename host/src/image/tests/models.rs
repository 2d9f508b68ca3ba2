//! Small models with everything an image can hold.

use super::super::*;
use crate::load::TokenizerSource;
use spec::model::config::{ActQuant, Activation, ModelConfig, RopeScaling};
use spec::model::random::{self, RandomSpec, WeightKind};
use spec::model::{Decoder, ModelWeights, Numerics};

/// Every kind of weights that images hold.
pub const KINDS: [WeightKind; 7] = [
    WeightKind::Tensor,
    WeightKind::Row,
    WeightKind::Group(8),
    WeightKind::Group(64), // more than a row: one group
    WeightKind::Shard,
    WeightKind::Sherry,
    WeightKind::TwoPlanes,
];

pub fn config() -> ModelConfig {
    ModelConfig {
        name: "tiny \"test\" model".into(),
        vocab: 11,
        hidden: 16,
        ffn: 28,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        max_context: 64,
        rms_eps: 1e-5,
        rope_theta: 500_000.1,
        rope_scaling: RopeScaling::None,
        activation: Activation::Relu2,
        act_quant: ActQuant::Int8PerToken,
        bos: Some(1),
        eos: vec![2, 10],
    }
}

pub fn spec_of(kind: WeightKind) -> RandomSpec {
    RandomSpec { seed: 7, kind, sub_norms: true, tied: false, input_norms: false, coded_tables: false }
}

pub fn model(kind: WeightKind) -> ModelWeights {
    random::model(&config(), spec_of(kind))
}

pub fn extras() -> ImageExtras {
    let json = br#"{"model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2}}}"#.to_vec();
    let tokenizer = TokenizerSource {
        templates: vec![("default".into(), "{{ messages }}\n\"".into()), ("tools".into(), "é".into())],
        bos: Some(1),
        bos_token: Some("<s>".into()),
        eos_token: None,
        stop: vec![2, 10],
        add_bos: Some(true),
        ..TokenizerSource::new("".into(), json)
    };
    let file = OriginFile { name: "model.safetensors".into(), bytes: 12, sha256: "0a".repeat(32) };
    let origin = Origin { format: "random".into(), files: vec![file] };
    ImageExtras { tokenizer: Some(tokenizer), origin: Some(origin) }
}

/// The same with token ids below `vocab`.
pub fn extras_within(vocab: u32) -> ImageExtras {
    let mut extras = extras();
    if let Some(tokenizer) = &mut extras.tokenizer {
        tokenizer.stop.retain(|&id| id < vocab);
    }
    extras
}

/// The bytes of an image.
pub fn packed(weights: &ModelWeights, extras: &ImageExtras) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.tercet");
    let summary = write_image(weights, extras, &path, &mut super::on).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left");
    bytes
}

pub fn decode(bytes: &[u8]) -> Result<LoadedImage, ContentError> {
    decode_image(bytes.to_vec().into(), "test.tercet".as_ref())
}

/// The bits of the logits after a few tokens.
pub fn logits(weights: ModelWeights) -> Vec<u32> {
    let decoder = Decoder::new(weights, Numerics::Device).unwrap();
    let mut sequence = decoder.new_sequence();
    let rows = decoder.forward(&mut sequence, &[1, 5, 10, 3]).unwrap();
    rows.iter().flatten().map(|logit| logit.to_bits()).collect()
}
