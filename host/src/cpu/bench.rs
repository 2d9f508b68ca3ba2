//! Models to measure with, made in memory, and what the machine itself can do.

use super::{CpuEngine, pool::Pool, store::Store};
use spec::{
    format::{
        matrix::{Encoding, Linear, TritMatrix},
        planes::MAX_CODE,
        scale::Scale,
        table::{CodedMatrix, Table},
        trit5,
    },
    model::{ActQuant, Activation, Layer, ModelConfig, ModelWeights, RopeScaling, random::Rng},
};
use std::{hint::black_box, time::Instant};

/// The shape of `1bitLLM/bitnet_b1_58-large`: 0.73 G parameters.
pub fn bitnet_large() -> ModelConfig {
    ModelConfig {
        name: "bitnet_b1_58-large shape".into(),
        vocab: 32_002,
        hidden: 1536,
        ffn: 4096,
        layers: 24,
        heads: 16,
        kv_heads: 16,
        head_dim: 96,
        max_context: 2048,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        activation: Activation::Silu,
        act_quant: ActQuant::Int8PerToken,
        bos: None,
        eos: vec![],
    }
}

/// The shape of `microsoft/bitnet-b1.58-2B-4T`.
pub fn bitnet_2b4t() -> ModelConfig {
    ModelConfig {
        name: "bitnet-b1.58-2B-4T shape".into(),
        vocab: 128_256,
        hidden: 2560,
        ffn: 6912,
        layers: 30,
        heads: 20,
        kv_heads: 5,
        head_dim: 128,
        max_context: 4096,
        rope_theta: 500_000.0,
        activation: Activation::Relu2,
        ..bitnet_large()
    }
}

/// Random weights with one scale per tensor, sub-norms and a tied, coded embedding.
///
/// # Panics
/// If the shape does not suit `encoding` (Sherry: widths are multiples of 4).
pub fn random_weights(config: &ModelConfig, encoding: Encoding, seed: u64) -> ModelWeights {
    let mut rng = Rng::new(seed);
    let c = config;
    let layers = (0..c.layers)
        .map(|_| {
            let mut linear = |rows, cols| random_linear(&mut rng, rows, cols, encoding);
            Layer {
                q: linear(c.q_dim(), c.hidden),
                k: linear(c.kv_dim(), c.hidden),
                v: linear(c.kv_dim(), c.hidden),
                o: linear(c.hidden, c.q_dim()),
                gate: linear(c.ffn, c.hidden),
                up: linear(c.ffn, c.hidden),
                down: linear(c.hidden, c.ffn),
                attn_norm: vec![1.0; c.hidden],
                attn_sub_norm: Some(vec![1.0; c.q_dim()]),
                ffn_norm: vec![1.0; c.hidden],
                ffn_sub_norm: Some(vec![1.0; c.ffn]),
            }
        })
        .collect();
    let codes = random_bytes(&mut rng, c.vocab * c.hidden, 2 * MAX_CODE as u8 + 1);
    let codes: Vec<u8> = codes.into_iter().map(|b| b.wrapping_sub(MAX_CODE as u8)).collect();
    let table = CodedMatrix::new(c.vocab, c.hidden, codes.into(), vec![0.01; c.vocab]).expect("legal codes");
    ModelWeights { config: c.clone(), embed: Table::Coded(table), layers, final_norm: vec![1.0; c.hidden], head: None }
}

/// Bytes below `end`.
fn random_bytes(rng: &mut Rng, count: usize, end: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 3);
    while bytes.len() < count {
        let bits = rng.next_u64();
        bytes.extend((0..4).map(|i| ((((bits >> (16 * i)) & 0xffff) * u64::from(end)) >> 16) as u8));
    }
    bytes.truncate(count);
    bytes
}

fn random_linear(rng: &mut Rng, rows: usize, cols: usize, encoding: Encoding) -> Linear {
    let row_bytes = encoding.row_bytes(cols);
    let mut bytes = match encoding {
        Encoding::Trit5 => random_bytes(rng, rows * row_bytes, trit5::CODES),
        Encoding::Sherry => random_bytes(rng, rows * row_bytes, 255),
    };
    let used = cols % trit5::TRITS_PER_BYTE;
    if encoding == Encoding::Trit5 && used != 0 {
        for last in bytes.iter_mut().skip(row_bytes - 1).step_by(row_bytes) {
            let mut five = trit5::DECODE[*last as usize];
            five[used..].fill(0);
            *last = trit5::pack5(five);
        }
    }
    let trits = TritMatrix::new_unchecked_codes(rows, cols, encoding, bytes.into()).expect("matching length");
    Linear::new(trits, Scale::Tensor((1.0 / cols as f32).sqrt()))
}

/// Bytes per second that `threads` threads read from memory together, best of a few rounds.
pub fn read_bandwidth(threads: usize) -> std::io::Result<f64> {
    const BYTES: usize = 1 << 30; // larger than most caches
    const PIECE: usize = 1 << 20;
    let mut store = Store::new(BYTES)?;
    store.fill(1);
    let mut pool = Pool::new(threads);
    let mut best = 0.0f64;
    for _ in 0..4 {
        let start = Instant::now();
        pool.run(BYTES / PIECE, &|_, unit| {
            let piece = &store[unit * PIECE..(unit + 1) * PIECE];
            let mut sums = [0u64; 16];
            for line in piece.chunks_exact(128) {
                for (sum, word) in sums.iter_mut().zip(line.chunks_exact(8)) {
                    *sum ^= u64::from_le_bytes(word.try_into().unwrap_or([0; 8]));
                }
            }
            black_box(sums);
        });
        best = best.max(BYTES as f64 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Bytes that a decode step after `context` tokens reads: weights, head, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Packed ternary weights.
    pub weights: usize,
    /// Head.
    pub head: usize,
    /// Keys and values with their scales.
    pub cache: usize,
}

impl Traffic {
    /// All of them.
    pub fn total(&self) -> usize {
        self.weights + self.head + self.cache
    }
}

impl CpuEngine {
    /// What a decode step of one sequence reads after `context` tokens.
    pub fn traffic(&self, context: usize) -> Traffic {
        let c = &self.config;
        let position = c.layers * c.kv_heads * 2 * (self.geometry.padded() + size_of::<f32>());
        Traffic { weights: self.weight_bytes, head: c.vocab * (c.hidden + size_of::<f32>()), cache: position * context }
    }
}
