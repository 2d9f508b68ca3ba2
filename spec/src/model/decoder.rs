//! The reference decoder: forward passes over one or many sequences, in both numerics.

use super::attention::{self, DeviceCache, FloatCache};
use super::config::ModelConfig;
use super::linear::{self, DeviceLinear};
use super::weights::{Layer, ModelWeights, WeightsError};
use super::{ffn, head, norm};
use crate::format::table::CodedMatrix;
use crate::numerics::quant::{self, Quantized};
use crate::numerics::{exp2::Exp2Table, f32ops, rope::RopeTable, sigmoid::SigmoidTable};
use thiserror::Error;

/// Which arithmetic a decoder computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numerics {
    /// What the published model computes; the yardstick for quality.
    Float,
    /// The accelerator's contract; the same bits on CPU, RTL and board.
    Device,
}

/// A request that a decoder cannot serve.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ForwardError {
    /// A token id is not in the vocabulary.
    #[error("token id {token}: expected less than the vocabulary's {vocab}")]
    Token {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The sequence would not fit the context.
    #[error("{tokens} tokens after {past} do not fit the context of {max}; shorten the prompt or the answer")]
    Context {
        /// Tokens that were to be added.
        tokens: usize,
        /// Tokens that are there.
        past: usize,
        /// Longest sequence.
        max: usize,
    },
}

/// The keys and values of one sequence.
#[derive(Clone, Debug)]
pub struct Sequence {
    len: usize,
    float: Vec<FloatCache>,
    device: Vec<DeviceCache>,
    tie_margins: Vec<f32>,
}

impl Sequence {
    /// Tokens that have been processed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been processed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In `float` numerics, the smallest [`linear::tie_margin`] of each token: tells the tokens
    /// whose logits two correct implementations must agree on from those that hang on a rounding tie.
    pub fn tie_margins(&self) -> &[f32] {
        &self.tie_margins
    }

    fn note_tie_margins(&mut self, first: usize, inputs: &[Vec<f32>]) {
        self.tie_margins.resize(first + inputs.len(), 0.5);
        for (margin, x) in self.tie_margins[first..].iter_mut().zip(inputs) {
            *margin = margin.min(linear::tie_margin(x));
        }
    }

    /// Forgets the tokens from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.tie_margins.truncate(len);
        for cache in &mut self.float {
            cache.keys.truncate(len);
            cache.values.truncate(len);
        }
        for cache in &mut self.device {
            cache.truncate(len);
        }
    }
}

struct DeviceLayer {
    q: DeviceLinear,
    k: DeviceLinear,
    v: DeviceLinear,
    o: DeviceLinear,
    gate: DeviceLinear,
    up: DeviceLinear,
    down: DeviceLinear,
}

/// A model that is ready to run, one plain loop after another.
pub struct Decoder {
    weights: ModelWeights,
    numerics: Numerics,
    rope: RopeTable,
    exp2: Exp2Table,
    sigmoid: SigmoidTable,
    device_layers: Vec<DeviceLayer>,
    coded_embed: Option<CodedMatrix>,
    coded_head: Option<CodedMatrix>,
}

impl Decoder {
    /// Checks the weights and brings them into the form of the arithmetic.
    pub fn new(weights: ModelWeights, numerics: Numerics) -> Result<Self, WeightsError> {
        weights.validate()?;
        let device = numerics == Numerics::Device;
        let device_layer = |layer: &Layer| DeviceLayer {
            q: DeviceLinear::new(&layer.q),
            k: DeviceLinear::new(&layer.k),
            v: DeviceLinear::new(&layer.v),
            o: DeviceLinear::new(&layer.o),
            gate: DeviceLinear::new(&layer.gate),
            up: DeviceLinear::new(&layer.up),
            down: DeviceLinear::new(&layer.down),
        };
        let coded_embed = device.then(|| weights.embed.to_coded());
        let coded_head = weights.head.as_ref().filter(|_| device).map(|head| head.to_coded());
        Ok(Decoder {
            rope: RopeTable::new(&weights.config, weights.config.max_context),
            exp2: Exp2Table::default(),
            sigmoid: SigmoidTable::default(),
            device_layers: if device { weights.layers.iter().map(device_layer).collect() } else { Vec::new() },
            coded_embed,
            coded_head,
            weights,
            numerics,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.weights.config
    }

    /// An empty sequence.
    pub fn new_sequence(&self) -> Sequence {
        let layers = self.weights.layers.len();
        Sequence {
            len: 0,
            float: vec![FloatCache::default(); layers],
            device: vec![DeviceCache::default(); layers],
            tie_margins: Vec::new(),
        }
    }

    /// Appends tokens to a sequence and returns the logits after each: `[tokens][vocab]`. Many
    /// tokens are a prefill, one is a decode step; the results do not depend on how they are cut.
    /// An error leaves the sequence as it was.
    pub fn forward(&self, sequence: &mut Sequence, tokens: &[u32]) -> Result<Vec<Vec<f32>>, ForwardError> {
        self.check(sequence, tokens)?;
        let positions = sequence.len..sequence.len + tokens.len();
        let mut x: Vec<Vec<f32>> = tokens.iter().map(|&token| self.embed(token)).collect();
        for layer in 0..self.weights.layers.len() {
            let attended = match self.numerics {
                Numerics::Float => self.float_attention(layer, &x, sequence, positions.start),
                Numerics::Device => self.device_attention(layer, &x, sequence, positions.start),
            };
            self.add(&mut x, &attended);
            let fed = match self.numerics {
                Numerics::Float => self.float_ffn(layer, &x, sequence, positions.start),
                Numerics::Device => self.device_ffn(layer, &x),
            };
            self.add(&mut x, &fed);
        }
        sequence.len = positions.end;
        Ok(x.iter().map(|x| self.logits(x)).collect())
    }

    /// One forward pass of several independent sequences; the same as one [`Decoder::forward`] each.
    pub fn forward_batch(&self, batch: &mut [(&mut Sequence, &[u32])]) -> Result<Vec<Vec<Vec<f32>>>, ForwardError> {
        for (sequence, tokens) in batch.iter() {
            self.check(sequence, tokens)?;
        }
        batch.iter_mut().map(|(sequence, tokens)| self.forward(sequence, tokens)).collect()
    }

    fn check(&self, sequence: &Sequence, tokens: &[u32]) -> Result<(), ForwardError> {
        let c = self.config();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= c.vocab) {
            return Err(ForwardError::Token { token, vocab: c.vocab });
        }
        if tokens.len() > c.max_context - sequence.len {
            return Err(ForwardError::Context { tokens: tokens.len(), past: sequence.len, max: c.max_context });
        }
        Ok(())
    }

    fn embed(&self, token: u32) -> Vec<f32> {
        let mut x = vec![0.0; self.config().hidden];
        match &self.coded_embed {
            Some(table) => table.read_row(token as usize, &mut x),
            None => self.weights.embed.read_row(token as usize, &mut x),
        }
        x
    }

    fn add(&self, x: &mut [Vec<f32>], y: &[Vec<f32>]) {
        for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
            *x = match self.numerics {
                Numerics::Float => *x + y,
                Numerics::Device => f32ops::add(*x, *y),
            };
        }
    }

    fn logits(&self, x: &[f32]) -> Vec<f32> {
        let (weight, eps) = (&self.weights.final_norm, self.config().rms_eps);
        match (&self.coded_head, &self.coded_embed) {
            (Some(table), _) | (None, Some(table)) => head::device(table, &quant::norm_quantize(x, weight, eps)),
            (None, None) => head::float(self.weights.head(), &norm::float(x, weight, eps)),
        }
    }

    fn rotate(&self, heads: &mut [f32], position: usize) {
        for head in heads.chunks_mut(self.config().head_dim) {
            self.rope.rotate(head, position);
        }
    }

    fn float_attention(&self, index: usize, x: &[Vec<f32>], sequence: &mut Sequence, first: usize) -> Vec<Vec<f32>> {
        let (layer, c) = (&self.weights.layers[index], self.config());
        let normed: Vec<_> = x.iter().map(|x| norm::float(x, &layer.attn_norm, c.rms_eps)).collect();
        sequence.note_tie_margins(first, &normed);
        let mut q = linear::float(&layer.q, c.act_quant, &normed);
        let mut k = linear::float(&layer.k, c.act_quant, &normed);
        let v = linear::float(&layer.v, c.act_quant, &normed);
        let mut mixed = Vec::with_capacity(x.len());
        for (t, ((q, k), v)) in q.iter_mut().zip(&mut k).zip(v).enumerate() {
            self.rotate(q, first + t);
            self.rotate(k, first + t);
            let cache = &mut sequence.float[index];
            cache.keys.push(k.clone());
            cache.values.push(v);
            let out = attention::float(c, q, cache);
            mixed.push(match &layer.attn_sub_norm {
                Some(weight) => norm::float(&out, weight, c.rms_eps),
                None => out,
            });
        }
        sequence.note_tie_margins(first, &mixed);
        linear::float(&layer.o, c.act_quant, &mixed)
    }

    fn float_ffn(&self, index: usize, x: &[Vec<f32>], sequence: &mut Sequence, first: usize) -> Vec<Vec<f32>> {
        let (layer, c) = (&self.weights.layers[index], self.config());
        let normed: Vec<_> = x.iter().map(|x| norm::float(x, &layer.ffn_norm, c.rms_eps)).collect();
        sequence.note_tie_margins(first, &normed);
        let gate = linear::float(&layer.gate, c.act_quant, &normed);
        let up = linear::float(&layer.up, c.act_quant, &normed);
        let gated: Vec<_> = gate.iter().zip(&up).map(|(gate, up)| ffn::float(c.activation, gate, up)).collect();
        let gated = match &layer.ffn_sub_norm {
            Some(weight) => gated.iter().map(|x| norm::float(x, weight, c.rms_eps)).collect(),
            None => gated,
        };
        sequence.note_tie_margins(first, &gated);
        linear::float(&layer.down, c.act_quant, &gated)
    }

    fn device_attention(&self, index: usize, x: &[Vec<f32>], sequence: &mut Sequence, first: usize) -> Vec<Vec<f32>> {
        let (layer, ready, c) = (&self.weights.layers[index], &self.device_layers[index], self.config());
        let mut q = self.project(&ready.q, x, Some(&layer.attn_norm));
        let mut k = self.project(&ready.k, x, Some(&layer.attn_norm));
        let v = self.project(&ready.v, x, Some(&layer.attn_norm));
        let mut mixed = Vec::with_capacity(x.len());
        for (t, ((q, k), v)) in q.iter_mut().zip(&mut k).zip(v).enumerate() {
            self.rotate(q, first + t);
            self.rotate(k, first + t);
            let cache = &mut sequence.device[index];
            cache.push(k, &v, c.head_dim);
            mixed.push(attention::device(c, &self.exp2, q, cache));
        }
        self.project(&ready.o, &mixed, layer.attn_sub_norm.as_deref())
    }

    fn device_ffn(&self, index: usize, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let (layer, ready, c) = (&self.weights.layers[index], &self.device_layers[index], self.config());
        let gate = self.project(&ready.gate, x, Some(&layer.ffn_norm));
        let up = self.project(&ready.up, x, Some(&layer.ffn_norm));
        let gated: Vec<_> =
            gate.iter().zip(&up).map(|(gate, up)| ffn::device(c.activation, &self.sigmoid, gate, up)).collect();
        self.project(&ready.down, &gated, layer.ffn_sub_norm.as_deref())
    }

    /// Norm (if any), the layer's own norm (if any), quantisation and product.
    fn project(&self, linear: &DeviceLinear, x: &[Vec<f32>], weight: Option<&[f32]>) -> Vec<Vec<f32>> {
        let eps = self.config().rms_eps;
        let inputs: Vec<Quantized> = x
            .iter()
            .map(|x| match (weight, &linear.linear.input_norm) {
                (Some(weight), None) => quant::norm_quantize(x, weight, eps),
                (None, None) => quant::quantize(x),
                (Some(weight), Some((own, own_eps))) => {
                    quant::norm_quantize(&quant::norm(x, weight, eps), own, *own_eps)
                }
                (None, Some((own, own_eps))) => quant::norm_quantize(x, own, *own_eps),
            })
            .collect();
        linear.device(&inputs.iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Activation;
    use crate::model::random::{self, RandomSpec, WeightKind};

    fn config(activation: Activation, kv_heads: usize) -> ModelConfig {
        ModelConfig { kv_heads, max_context: 12, activation, ..random::small() }
    }

    const PLAIN: RandomSpec = RandomSpec { coded_tables: false, ..RandomSpec::PLAIN };

    fn every_kind() -> Vec<(ModelConfig, RandomSpec)> {
        let (relu2, silu) = (config(Activation::Relu2, 2), config(Activation::Silu, 4));
        vec![
            (relu2.clone(), PLAIN),
            (silu.clone(), RandomSpec { kind: WeightKind::Row, sub_norms: false, tied: false, ..PLAIN }),
            (silu.clone(), RandomSpec { kind: WeightKind::Group(10), ..PLAIN }),
            (relu2.clone(), RandomSpec { kind: WeightKind::Shard, coded_tables: true, ..PLAIN }),
            (silu, RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
            (relu2, RandomSpec { kind: WeightKind::TwoPlanes, input_norms: true, ..PLAIN }),
        ]
    }

    const TOKENS: [u32; 9] = [3, 49, 0, 17, 17, 8, 30, 2, 41];

    #[test]
    fn prefill_decode_truncate_and_batch_agree_exactly() {
        for (config, spec) in every_kind() {
            for numerics in [Numerics::Float, Numerics::Device] {
                let decoder = Decoder::new(random::model(&config, spec), numerics).unwrap();
                let mut whole = decoder.new_sequence();
                let want = decoder.forward(&mut whole, &TOKENS).unwrap();
                let mut parts = decoder.new_sequence();
                let mut got = decoder.forward(&mut parts, &TOKENS[..4]).unwrap();
                decoder.forward(&mut parts, &[1, 2, 3]).unwrap();
                parts.truncate(4);
                for token in &TOKENS[4..] {
                    got.extend(decoder.forward(&mut parts, &[*token]).unwrap());
                }
                assert_eq!(want, got, "{spec:?} {numerics:?}");
                let (mut a, mut b) = (decoder.new_sequence(), decoder.new_sequence());
                decoder.forward(&mut b, &TOKENS[..2]).unwrap();
                let batch = decoder.forward_batch(&mut [(&mut a, &TOKENS[..]), (&mut b, &TOKENS[2..])]).unwrap();
                assert_eq!(batch[0], want);
                assert_eq!(batch[1], want[2..]);
            }
        }
    }

    #[test]
    fn device_numerics_stay_close_to_the_published_ones() {
        for (config, spec) in every_kind() {
            let run = |numerics| {
                let decoder = Decoder::new(random::model(&config, spec), numerics).unwrap();
                decoder.forward(&mut decoder.new_sequence(), &TOKENS).unwrap().concat()
            };
            let (float, device) = (run(Numerics::Float), run(Numerics::Device));
            let power: f32 = float.iter().map(|x| x * x).sum();
            let error: f32 = float.iter().zip(&device).map(|(a, b)| (a - b) * (a - b)).sum();
            assert!(error < 2e-3 * power, "{spec:?}: {}", error / power);
        }
    }

    #[test]
    fn bad_requests_are_refused_and_change_nothing() {
        let decoder = Decoder::new(random::model(&config(Activation::Silu, 2), PLAIN), Numerics::Device).unwrap();
        let mut sequence = decoder.new_sequence();
        decoder.forward(&mut sequence, &TOKENS).unwrap();
        let token = decoder.forward(&mut sequence, &[1, 50]).unwrap_err();
        assert_eq!(token, ForwardError::Token { token: 50, vocab: 50 });
        let context = decoder.forward(&mut sequence, &[1; 4]).unwrap_err();
        assert_eq!(context, ForwardError::Context { tokens: 4, past: 9, max: 12 });
        assert_eq!(sequence.len(), 9);
        assert_eq!(decoder.forward(&mut sequence, &[]), Ok(vec![]));
        let mut wrong = random::model(&config(Activation::Silu, 2), PLAIN);
        wrong.final_norm.pop();
        assert!(Decoder::new(wrong, Numerics::Float).is_err());
    }
}
