//! Vectors through a device, compared with the CPU backend, which computes the reference's bits.

use super::{DeviceEngine, PassRunner, RunError};
use crate::compile::{Options, compile};
use crate::cpu::CpuEngine;
use crate::engine::{Engine, EngineError, Step, Want};
use spec::model::random::{self, RandomSpec, WeightKind};
use spec::model::{Activation, ModelConfig, ModelWeights};
use spec::program::DeviceShape;

/// A model to compare.
pub struct Vector {
    /// What it is.
    pub name: String,
    /// The model.
    pub weights: ModelWeights,
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens after it, one at a time.
    pub decode: usize,
}

/// What came of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All logits equal; how many.
    Equal(usize),
    /// The first that differ.
    Differs {
        /// Position in the sequence.
        position: usize,
        /// Token whose logit differs.
        token: usize,
        /// Its bits on the device.
        found: u32,
        /// And on the processor.
        expected: u32,
    },
    /// This machine cannot run it.
    Unsuitable(String),
}

/// Small models with weights of every kind that all presets run.
pub fn small(shape: &DeviceShape) -> Vec<Vector> {
    let head_dim = 16usize.max(shape.lanes());
    let config = ModelConfig { vocab: 61, head_dim, max_context: 32, ..random::small() };
    let kinds = [
        ("a scale a tensor", WeightKind::Tensor, Activation::Relu2),
        ("a scale a row", WeightKind::Row, Activation::Silu),
        ("a scale a group", WeightKind::Group(16), Activation::Silu),
        ("Sherry codes", WeightKind::Sherry, Activation::Silu),
        ("two planes", WeightKind::TwoPlanes, Activation::Silu),
    ];
    let one = |(seed, (name, kind, activation)): (usize, (&str, WeightKind, Activation))| {
        let plain = matches!(kind, WeightKind::Tensor | WeightKind::Sherry);
        let spec = RandomSpec {
            seed: seed as u64 + 1,
            kind,
            sub_norms: plain,
            tied: plain,
            coded_tables: plain,
            ..RandomSpec::PLAIN
        };
        let prompt = (0..2 * shape.tokens as u32 + 1).map(|i| (i * 37 + 11) % 61).take(20).collect();
        let weights = random::model(&ModelConfig { activation, ..config.clone() }, spec);
        Vector { name: format!("random model, {name}"), weights, prompt, decode: 3 }
    };
    kinds.into_iter().enumerate().map(one).collect()
}

/// Runs a vector. The device's memory holds another model afterwards.
pub fn verify<R: PassRunner>(runner: R, vector: &Vector) -> Result<(R, Outcome), EngineError> {
    let context = Some(vector.weights.config.max_context.min(runner.shape().max_context));
    let image = match compile(&vector.weights, runner.shape(), Options { context, shortlist: None }) {
        Ok(image) => image,
        Err(error) => return Ok((runner, Outcome::Unsuitable(error.to_string()))),
    };
    let mut cpu = CpuEngine::new(&vector.weights, 1)?;
    let mut device = DeviceEngine::new(image, runner)?;
    let ids = (cpu.new_sequence()?, device.new_sequence()?);
    let (mut compared, mut tokens) = (0, vector.prompt.clone());
    for _ in 0..=vector.decode {
        let at = device.len(ids.1);
        let wanted = cpu.forward(&[Step { sequence: ids.0, tokens: &tokens, want: Want::All }])?.remove(0);
        let found = device.forward(&[Step { sequence: ids.1, tokens: &tokens, want: Want::All }])?.remove(0);
        if found.len() != wanted.len() {
            return Err(RunError::Device(format!("{} logits, expected {}", found.len(), wanted.len())).into());
        }
        let vocab = vector.weights.config.vocab;
        if let Some(index) = (0..wanted.len()).find(|&i| wanted[i].to_bits() != found[i].to_bits()) {
            let (found, expected) = (found[index].to_bits(), wanted[index].to_bits());
            let differs = Outcome::Differs { position: at + index / vocab, token: index % vocab, found, expected };
            return Ok((device.into_runner(), differs));
        }
        compared += wanted.len();
        let last = &wanted[wanted.len() - vocab..];
        tokens = vec![(0..vocab).fold(0, |best, i| if last[i] > last[best] { i } else { best }) as u32];
    }
    Ok((device.into_runner(), Outcome::Equal(compared)))
}
