//! Compiled models on the reference device give the bits of the reference decoder.

use super::*;
use crate::compile::Options;
use crate::engine::{Engine, EngineError, ReferenceEngine, SequenceId, Step, Want};
use spec::model::{
    Activation, ModelConfig, ModelWeights, Numerics,
    random::{self, RandomSpec, WeightKind},
};
use spec::program::Op;

const PLAIN: RandomSpec = RandomSpec::PLAIN;

/// Every kind of weights, shapes that fit no machine evenly.
pub(crate) fn every_kind() -> Vec<(ModelConfig, RandomSpec)> {
    let silu = random::small();
    let relu2 = ModelConfig { activation: Activation::Relu2, heads: 4, kv_heads: 4, ..random::small() };
    let odd = ModelConfig { hidden: 100, ffn: 204, heads: 9, kv_heads: 3, head_dim: 6, vocab: 131, ..random::small() };
    let uneven = ModelConfig { hidden: 50, ffn: 75, heads: 6, kv_heads: 1, head_dim: 20, ..random::small() };
    // as many key and value heads as queries have, more than a tile's
    let many = ModelConfig { heads: 8, kv_heads: 8, ..random::small() };
    vec![
        (relu2.clone(), PLAIN),
        (silu.clone(), RandomSpec { kind: WeightKind::Row, sub_norms: false, tied: false, ..PLAIN }),
        (silu.clone(), RandomSpec { kind: WeightKind::Group(10), coded_tables: false, ..PLAIN }),
        (relu2.clone(), RandomSpec { kind: WeightKind::Shard, ..PLAIN }),
        (silu.clone(), RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
        (ModelConfig { heads: 6, ..odd.clone() }, RandomSpec { kind: WeightKind::Sherry, sub_norms: false, ..PLAIN }),
        (ModelConfig { head_dim: 12, ..odd.clone() }, RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
        (silu, RandomSpec { kind: WeightKind::TwoPlanes, ..PLAIN }),
        (relu2.clone(), RandomSpec { kind: WeightKind::TwoPlanes, input_norms: true, ..PLAIN }),
        (relu2, RandomSpec { kind: WeightKind::Sherry, input_norms: true, sub_norms: false, ..PLAIN }),
        (odd.clone(), PLAIN),
        (odd, RandomSpec { kind: WeightKind::TwoPlanes, tied: false, ..PLAIN }),
        (uneven, RandomSpec { kind: WeightKind::Group(16), input_norms: true, ..PLAIN }),
        (many.clone(), PLAIN),
        (ModelConfig { layers: 1, ..many }, PLAIN),
    ]
}

/// Machines: like sim-tiny, odd everywhere, like kv260.
pub(crate) fn machines() -> [DeviceShape; 3] {
    let tiny = DeviceShape {
        tables: 4,
        rows: 2,
        tokens: 2,
        banks: 2,
        vtokens: 1,
        ports: 1,
        port_bits: 32,
        queries: 4,
        units: 1,
        max_cols: 1024,
        segments: 86,
        tile_rows: 64,
        vm_words: 512,
        query_words: 128,
        max_context: 64,
        max_head_dim: 64,
        buffer_words: 1600,
        shortlist: 8,
    };
    let odd = DeviceShape {
        tables: 7,
        rows: 3,
        tokens: 5,
        banks: 1,
        ports: 3,
        port_bits: 64,
        queries: 3,
        max_cols: 777,
        tile_rows: 99,
        vm_words: 1024,
        query_words: 256,
        ..tiny.clone()
    };
    let kv260 = DeviceShape {
        tables: 32,
        rows: 4,
        tokens: 8,
        banks: 2,
        vtokens: 2,
        ports: 4,
        port_bits: 128,
        queries: 8,
        units: 2,
        max_cols: 8192,
        tile_rows: 4096,
        ..tiny.clone()
    };
    [tiny, odd, kv260]
}

pub(crate) fn step(sequence: SequenceId, tokens: &[u32], want: Want) -> Step<'_> {
    Step { sequence, tokens, want }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn reference(weights: &ModelWeights, tokens: &[u32]) -> Vec<f32> {
    let mut engine = ReferenceEngine::new(weights.clone(), Numerics::Device).unwrap();
    let id = engine.new_sequence().unwrap();
    engine.forward(&[step(id, tokens, Want::All)]).unwrap().remove(0)
}

/// Whether heads of this model lie evenly in vector words of this machine.
pub(crate) fn suits(config: &ModelConfig, shape: &DeviceShape) -> bool {
    config.head_dim.is_multiple_of(shape.lanes())
}

fn tokens(vocab: usize) -> Vec<u32> {
    (0..39u32).map(|i| (i * 37 + 11) % vocab as u32).collect()
}

/// Prompts that end with a whole pass, a part of its last bank, one bank, a part of one.
fn check_prompts(device: &mut ReferenceDevice, id: SequenceId, at: &str, (tokens, want): (&[u32], &[f32])) {
    let (slots, bank, vocab) = (device.image().shape.slots(), device.image().shape.tokens, device.config().vocab);
    for count in [2 * slots, slots + bank + 1, slots + bank, slots + 1, tokens.len()] {
        device.truncate(id, 0);
        let last = device.forward(&[step(id, &tokens[..count], Want::Last)]).unwrap().remove(0);
        assert!(bits(&last) == bits(&want[(count - 1) * vocab..count * vocab]), "{at}: prompt of {count}");
    }
}

/// Runs of weights may begin at any matrix, also behind the keys and values that end a pass.
#[test]
fn formats_may_change_within_a_layer() {
    let [dense, sherry] = [WeightKind::Tensor, WeightKind::Sherry]
        .map(|kind| random::model(&random::small(), RandomSpec { kind, ..PLAIN }));
    for matrix in ["q", "k", "v"] {
        let mut weights = dense.clone();
        for (layer, other) in weights.layers.iter_mut().zip(&sherry.layers) {
            match matrix {
                "q" => layer.q = other.q.clone(),
                "k" => layer.k = other.k.clone(),
                _ => layer.v = other.v.clone(),
            }
        }
        let tokens = tokens(weights.config.vocab);
        let want = reference(&weights, &tokens);
        for (machine, shape) in machines().iter().enumerate().filter(|(_, shape)| suits(&weights.config, shape)) {
            let at = format!("Sherry weights of {matrix} on machine {machine}");
            let mut device = ReferenceDevice::compiled(&weights, shape, Options::default(), 1).unwrap();
            let id = device.new_sequence().unwrap();
            check_prompts(&mut device, id, &at, (&tokens, &want));
        }
    }
}

#[test]
fn every_kind_of_model_on_every_machine() {
    for (index, (config, spec)) in every_kind().into_iter().enumerate() {
        let weights = random::model(&config, spec);
        let tokens = tokens(config.vocab);
        let want = reference(&weights, &tokens);
        for (machine, shape) in machines().iter().enumerate() {
            let at = format!("model {index} ({:?}) on machine {machine}", spec.kind);
            let device = ReferenceDevice::compiled(&weights, shape, Options::default(), 1);
            if !suits(&config, shape) {
                assert!(matches!(device, Err(EngineError::Device(_))), "{at}");
                continue;
            }
            let mut device = device.unwrap_or_else(|e| panic!("{at}: {e}"));
            let id = device.new_sequence().unwrap();
            check_prompts(&mut device, id, &at, (&tokens, &want));
            device.truncate(id, 0);
            let whole = device.forward(&[step(id, &tokens, Want::All)]).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert!(bits(&whole[0]) == bits(&want), "{at}: prefill");
            device.truncate(id, 3);
            assert_eq!(device.forward(&[step(id, &tokens[3..9], Want::Nothing)]).unwrap(), [Vec::<f32>::new()]);
            for position in 9..12 {
                let one = &tokens[position..position + 1];
                let last = device.forward(&[step(id, one, Want::Last)]).unwrap().remove(0);
                device.truncate(id, position);
                let best = device.answer(&[step(id, one, Want::Best)]).unwrap().remove(0);
                assert_eq!((best.best, best.logits.len()), (spec::model::head::best(&last), 0), "{at}");
                let row = position * config.vocab..(position + 1) * config.vocab;
                assert!(bits(&last) == bits(&want[row]), "{at}: token {position}");
            }
        }
    }
}

/// A head whose codes fit fewer planes is read in fewer planes, whole or as a shortlist, and gives the same logits.
#[test]
fn heads_of_fewer_planes() {
    let tokens: Vec<u32> = (0..9u32).map(|i| (i * 13 + 5) % 50).collect();
    for planes in 1..=5 {
        let mut weights = random::model(&random::small(), PLAIN);
        weights.narrow_head(planes);
        let want = reference(&weights, &tokens);
        for shape in machines() {
            let options = Options { shortlist: Some(0), ..Options::default() };
            let mut device = ReferenceDevice::compiled(&weights, &shape, options, 1).unwrap();
            let head = device.image().narrow.full.descriptors.iter().rfind(|d| d.op() == Some(Op::Linear));
            assert_eq!(head.map(|d| d.get("planes") as usize), Some(planes));
            let id = device.new_sequence().unwrap();
            let got = device.forward(&[step(id, &tokens, Want::All)]).unwrap().remove(0);
            assert!(bits(&got) == bits(&want), "{planes} planes");
        }
    }
}

#[test]
fn sequences_share_passes_and_do_not_touch_each_other() {
    let weights = random::model(&random::small(), PLAIN);
    let tokens: Vec<u32> = (0..30u32).map(|i| (i * 13 + 5) % 50).collect();
    let parts = [&tokens[..17], &tokens[5..7], &tokens[9..16], &tokens[20..21]];
    let want: Vec<Vec<f32>> = parts.iter().map(|part| reference(&weights, part)).collect();
    for shape in machines() {
        let mut device = ReferenceDevice::compiled(&weights, &shape, Options::default(), 4).unwrap();
        let ids: Vec<_> = parts.iter().map(|_| device.new_sequence().unwrap()).collect();
        assert!(matches!(device.new_sequence(), Err(EngineError::Memory { .. })));
        let prompts: Vec<_> =
            ids.iter().zip(parts).map(|(&id, p)| step(id, &p[..p.len() - 1], Want::Nothing)).collect();
        device.forward(&prompts).unwrap();
        let last: Vec<_> = ids.iter().zip(parts).map(|(&id, p)| step(id, &p[p.len() - 1..], Want::Last)).collect();
        let got = device.forward(&last).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert!(bits(got) == bits(&want[want.len() - 50..]));
        }
        device.free_sequence(ids[2]);
        let again = device.new_sequence().unwrap();
        let got = device.forward(&[step(again, parts[1], Want::All)]).unwrap().remove(0);
        assert!(bits(&got) == bits(&want[1]));
    }
}

#[test]
fn best_is_the_largest_logit() {
    let weights = random::model(&random::small(), PLAIN);
    let mut device = ReferenceDevice::compiled(&weights, &machines()[1], Options::default(), 1).unwrap();
    let id = device.new_sequence().unwrap();
    let pass = Pass {
        program_line: device.image().narrow.full.line as u32,
        program_words: device.image().narrow.full.descriptors.len() as u32,
        slots: vec![spec::device::Slot {
            valid: true,
            token: 7,
            position: 0,
            cache: device.image().sequence_line(id.0) as u32,
            run: 1,
        }],
        want_logits: 1,
        want_best: 0,
    };
    let result = device.run(&pass).unwrap();
    let (token, logit) = result.best[0].unwrap();
    let first = result.logits[0].iter().position(|&l| l == logit).unwrap();
    assert_eq!(first, token as usize);
    assert!(result.logits[0].iter().all(|&l| l <= logit));
    assert!(result.best[1..].iter().all(Option::is_none) && result.logits[1].is_empty());
}

#[test]
fn bad_requests_change_nothing_and_damage_is_reported() {
    let weights = random::model(&random::small(), PLAIN);
    let options = Options { context: Some(12), ..Options::default() };
    let mut device = ReferenceDevice::compiled(&weights, &machines()[0], options, 2).unwrap();
    let id = device.new_sequence().unwrap();
    device.forward(&[step(id, &[1, 2, 3], Want::Nothing)]).unwrap();
    assert!(matches!(device.forward(&[step(id, &[50], Want::Last)]), Err(EngineError::Request(_))));
    assert!(matches!(device.forward(&[step(id, &[1; 10], Want::Last)]), Err(EngineError::Request(_))));
    let twice = [step(id, &[1], Want::Last), step(id, &[2], Want::Last)];
    assert!(matches!(device.forward(&twice), Err(EngineError::Sequence(0))));
    assert!(matches!(device.forward(&[step(SequenceId(7), &[1], Want::Last)]), Err(EngineError::Sequence(7))));
    assert_eq!((device.len(id), device.config().max_context), (3, 12));
    assert_eq!(device.forward(&[step(id, &[], Want::Last)]).unwrap(), [Vec::<f32>::new()]);
    let weights = device.image().sections.iter().find(|s| s.name.starts_with("weights")).unwrap();
    let addr = weights.line * 64 + 1000;
    let byte = device.runner_mut().read(addr, 1).unwrap()[0];
    device.runner_mut().upload(addr, &[byte ^ 1]).unwrap();
    let error = device.forward(&[step(id, &[4], Want::Last)]).unwrap_err().to_string();
    assert!(error.contains("of layer 0: packet at") && error.contains("checksum"), "{error}");
    assert_eq!(device.len(id), 3);
}

#[test]
fn programs_are_told_from_machines_they_do_not_suit() {
    let [tiny, odd, _] = machines();
    let weights = random::model(&random::small(), PLAIN);
    let image = crate::compile::compile(&weights, &tiny, Options::default()).unwrap();
    let runner = ReferenceRunner::new(odd, 1 << 20).unwrap();
    assert!(matches!(DeviceEngine::new(image.clone(), runner), Err(EngineError::Device(_))));
    let runner = ReferenceRunner::new(tiny, 4096).unwrap();
    assert!(matches!(DeviceEngine::new(image, runner), Err(EngineError::Memory { .. })));
}
