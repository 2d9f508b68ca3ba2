//! `float` numerics against Hugging Face transformers on the shipped model.
//!
//! The fixture is made by `training/hf_reference.py` (binary32 on a CPU, eager attention). Where an
//! activation lies on a rounding tie of its int8 code within binary32 noise, two correct
//! implementations may differ (docs/architecture/numerics.md); everywhere else they may not.

use safetensors::SafeTensors;
use spec::model::{Decoder, Numerics};
use tests::{argmax, shipped_weights};

/// Distance from a tie, in int8 codes, that binary32 noise does not bridge.
const TIE: f32 = 5e-5;
/// Largest difference of a logit without a tie.
const TOLERANCE: f32 = 2e-3;
/// Largest gap between the best two logits that a flipped code may close.
const FLIP: f32 = 0.7;

struct Prompt {
    ids: Vec<u32>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
    margin: Vec<f32>,
}

fn prompts() -> Vec<Prompt> {
    let folder = std::env::var("TERCET_HF_REFERENCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/hf").into());
    let bytes = std::fs::read(format!("{folder}/reference.safetensors")).expect("the fixture is there");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let names: Vec<_> = file.names().into_iter().filter_map(|name| name.strip_prefix("ids.")).collect();
    let ids = |name: String| -> Vec<u32> {
        let tensor = file.tensor(&name).unwrap();
        tensor.data().chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap()) as u32).collect()
    };
    let floats = |name: String| -> Vec<f32> {
        let tensor = file.tensor(&name).unwrap();
        tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    names
        .iter()
        .map(|n| Prompt {
            ids: ids(format!("ids.{n}")),
            logits: floats(format!("logits.{n}")),
            greedy: ids(format!("greedy.{n}")),
            margin: floats(format!("margin.{n}")),
        })
        .collect()
}

#[test]
fn float_numerics_are_those_of_transformers() {
    let decoder = Decoder::new(shipped_weights(), Numerics::Float).unwrap();
    let (mut all, mut strict, mut flipped, mut worst_strict, mut worst) = (0, 0, 0, 0.0f32, 0.0f32);
    for prompt in prompts() {
        let mut sequence = decoder.new_sequence();
        let logits = decoder.forward(&mut sequence, &prompt.ids).unwrap();
        let mut margin = f32::MAX;
        for ((row, want), tie) in logits.iter().zip(prompt.logits.chunks(row_len(&logits))).zip(sequence.tie_margins())
        {
            margin = margin.min(*tie);
            let off = row.iter().zip(want).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
            worst = worst.max(off);
            all += 1;
            if margin > TIE {
                strict += 1;
                worst_strict = worst_strict.max(off);
                assert!(off <= TOLERANCE, "a logit is off by {off} where no tie is near: {:?}", prompt.ids);
            } else if off > TOLERANCE {
                flipped += 1;
            }
        }
    }
    println!(
        "{all} positions, {strict} free of ties, worst difference {worst_strict}; {flipped} flipped, worst {worst}"
    );
    assert!(strict >= 20, "only {strict} positions were free of ties");
    assert!(flipped * 3 < all, "{flipped} of {all} positions differ: more than ties explain");
    assert!(worst < FLIP, "a logit is off by {worst}, more than a flipped code explains");
}

#[test]
fn greedy_tokens_are_those_of_transformers_up_to_ties() {
    let decoder = Decoder::new(shipped_weights(), Numerics::Float).unwrap();
    let (mut same, mut parted) = (0, 0);
    for prompt in prompts() {
        let mut sequence = decoder.new_sequence();
        let mut logits = decoder.forward(&mut sequence, &prompt.ids).unwrap();
        for (&want, &gap) in prompt.greedy.iter().zip(&prompt.margin) {
            if argmax(&logits[logits.len() - 1]) == want as usize {
                same += 1;
            } else {
                let tie = sequence.tie_margins().iter().copied().fold(f32::MAX, f32::min);
                assert!(tie < TIE && gap < FLIP, "token {want} expected; tie {tie}, gap {gap}: {:?}", prompt.ids);
                parted += 1;
            }
            logits = decoder.forward(&mut sequence, &[want]).unwrap();
        }
    }
    println!("{same} greedy tokens equal, {parted} parted at ties");
    assert!(parted * 50 < same, "{parted} of {same} greedy tokens differ");
}

fn row_len(logits: &[Vec<f32>]) -> usize {
    logits[0].len()
}
