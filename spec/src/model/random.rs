//! Random models for tests and benchmarks: any shape, every kind of scale, the same on every machine.

use super::config::{ActQuant, Activation, ModelConfig, RopeScaling};
use super::weights::{Layer, ModelWeights};
use crate::format::matrix::{Encoding, Linear, Plane, TritMatrix};
use crate::format::scale::Scale;
use crate::format::table::{CodedMatrix, DenseMatrix, DenseType, Table};
use crate::format::{planes, sherry, trit5};

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, reproducible.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer below `bound`, which is at least 1 (bias below 2^-32 for small bounds).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Roughly normal, mean 0, deviation 1.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// Kind of ternary weights in a random model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightKind {
    /// One scale per tensor (BitNet).
    Tensor,
    /// One scale per row.
    Row,
    /// One scale per group of this many inputs.
    Group(usize),
    /// 2 x 2 shards (TriLM).
    Shard,
    /// Sherry 3:4 codes with one scale per group of 32 inputs.
    Sherry,
    /// Two planes with a scale per row each, and a bias (PTQTP, Tequila).
    TwoPlanes,
}

/// What a random model is made of.
#[derive(Clone, Copy, Debug)]
pub struct RandomSpec {
    /// Seed of all numbers.
    pub seed: u64,
    /// Kind of the linear layers.
    pub kind: WeightKind,
    /// Norms before `o` and `down`.
    pub sub_norms: bool,
    /// The head is the embedding.
    pub tied: bool,
    /// A norm of its own in every linear layer.
    pub input_norms: bool,
    /// Tables as [`Table::Coded`] instead of binary32.
    pub coded_tables: bool,
}

impl RandomSpec {
    /// One scale a tensor, norms before `o` and `down`, a tied head, tables as the accelerator wants them.
    pub const PLAIN: RandomSpec = RandomSpec {
        seed: 1,
        kind: WeightKind::Tensor,
        sub_norms: true,
        tied: true,
        input_norms: false,
        coded_tables: true,
    };
}

/// A small shape: two layers of four heads, two of keys and values, SiLU.
pub fn small() -> ModelConfig {
    ModelConfig {
        name: "random".into(),
        vocab: 50,
        hidden: 48,
        ffn: 72,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        max_context: 40,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        activation: Activation::Silu,
        act_quant: ActQuant::Int8PerToken,
        bos: None,
        eos: vec![],
    }
}

/// A model of the given shape with activations of a sensible size.
///
/// # Panics
/// If the shape does not suit the kind of weights (Sherry: multiples of 4; shards: even).
pub fn model(config: &ModelConfig, spec: RandomSpec) -> ModelWeights {
    let mut rng = Rng::new(spec.seed);
    let c = config;
    let layers = (0..c.layers)
        .map(|_| Layer {
            attn_norm: norm(&mut rng, c.hidden),
            q: linear(&mut rng, c.q_dim(), c.hidden, spec),
            k: linear(&mut rng, c.kv_dim(), c.hidden, spec),
            v: linear(&mut rng, c.kv_dim(), c.hidden, spec),
            attn_sub_norm: spec.sub_norms.then(|| norm(&mut rng, c.q_dim())),
            o: linear(&mut rng, c.hidden, c.q_dim(), spec),
            ffn_norm: norm(&mut rng, c.hidden),
            gate: linear(&mut rng, c.ffn, c.hidden, spec),
            up: linear(&mut rng, c.ffn, c.hidden, spec),
            ffn_sub_norm: spec.sub_norms.then(|| norm(&mut rng, c.ffn)),
            down: linear(&mut rng, c.hidden, c.ffn, spec),
        })
        .collect();
    let embed = table(&mut rng, c, spec.coded_tables);
    let head = (!spec.tied).then(|| table(&mut rng, c, spec.coded_tables));
    ModelWeights { config: c.clone(), embed, layers, final_norm: norm(&mut rng, c.hidden), head }
}

fn norm(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| 0.5 + rng.unit()).collect()
}

fn table(rng: &mut Rng, c: &ModelConfig, coded: bool) -> Table {
    if coded {
        let code = |rng: &mut Rng| (rng.below(2 * planes::MAX_CODE as usize + 1) as i32 - 121) as i8 as u8;
        let codes: Vec<u8> = (0..c.vocab * c.hidden).map(|_| code(rng)).collect();
        let scales = (0..c.vocab).map(|_| 0.01 + 0.01 * rng.unit()).collect();
        return Table::Coded(CodedMatrix::new(c.vocab, c.hidden, codes.into(), scales).expect("legal codes"));
    }
    let bytes: Vec<u8> = (0..c.vocab * c.hidden).flat_map(|_| rng.normal().to_le_bytes()).collect();
    Table::Dense(DenseMatrix::new(c.vocab, c.hidden, DenseType::F32, bytes.into()).expect("matching length"))
}

fn linear(rng: &mut Rng, rows: usize, cols: usize, spec: RandomSpec) -> Linear {
    let unit = (1.0 / cols as f32).sqrt();
    let scale = |rng: &mut Rng| unit * (0.5 + rng.unit());
    let mut linear = match spec.kind {
        WeightKind::Tensor => Linear::new(trits(rng, rows, cols), Scale::Tensor(scale(rng))),
        WeightKind::Row => Linear::new(trits(rng, rows, cols), Scale::Row((0..rows).map(|_| scale(rng)).collect())),
        WeightKind::Group(size) => {
            let values = (0..rows * cols.div_ceil(size)).map(|_| scale(rng)).collect();
            Linear::new(trits(rng, rows, cols), Scale::Group { size, values })
        }
        WeightKind::Shard => {
            let values = (0..4).map(|_| scale(rng)).collect();
            Linear::new(trits(rng, rows, cols), Scale::Shard { row_blocks: 2, col_blocks: 2, values })
        }
        WeightKind::Sherry => {
            let mut bytes = vec![0; rows * sherry::row_bytes(cols)];
            for row in bytes.chunks_mut(sherry::row_bytes(cols)) {
                let weights: Vec<i8> = (0..cols / 4).flat_map(|_| sherry::decode4(rng.below(32) as u8)).collect();
                sherry::pack_row(&weights, row).expect("3:4 sparse");
            }
            let trits = TritMatrix::new(rows, cols, Encoding::Sherry, bytes.into()).expect("columns in fours");
            let values = (0..rows * cols.div_ceil(32)).map(|_| scale(rng)).collect();
            Linear::new(trits, Scale::Group { size: 32, values })
        }
        WeightKind::TwoPlanes => {
            let plane = |rng: &mut Rng, part: f32| Plane {
                trits: trits(rng, rows, cols),
                scale: Scale::Row((0..rows).map(|_| part * scale(rng)).collect()),
            };
            let planes = vec![plane(rng, 1.0), plane(rng, 0.4)];
            Linear { planes, bias: Some((0..rows).map(|_| 0.1 * rng.normal()).collect()), input_norm: None }
        }
    };
    if spec.input_norms {
        linear.input_norm = Some((norm(rng, cols), 1e-6));
    }
    linear
}

/// Uniform trits, packed five to a byte.
fn trits(rng: &mut Rng, rows: usize, cols: usize) -> TritMatrix {
    let row_bytes = trit5::row_bytes(cols);
    let mut bytes: Vec<u8> = (0..rows * row_bytes).map(|_| rng.below(trit5::CODES as usize) as u8).collect();
    let used = cols % trit5::TRITS_PER_BYTE;
    if used != 0 {
        for last in bytes.iter_mut().skip(row_bytes - 1).step_by(row_bytes) {
            let mut five = trit5::DECODE[*last as usize];
            five[used..].fill(0);
            *last = trit5::pack5(five);
        }
    }
    TritMatrix::new_unchecked_codes(rows, cols, Encoding::Trit5, bytes.into()).expect("matching length")
}
