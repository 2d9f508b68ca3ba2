//! For tests: tiny models, and writers for every kind of model file.
//!
//! Writers do not check anything, so that tests can write wrong files too. They panic where a test
//! should stop, for example if a folder cannot be written.

pub mod gguf;
pub mod hf;
pub mod safetensors;
pub mod text;

use spec::{
    format::scale::Scale,
    model::{ActQuant, Activation, ModelConfig, ModelWeights, RopeScaling},
};

/// A small generator of numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..below`.
    pub fn below(&mut self, below: usize) -> usize {
        (self.bits() % below as u64) as usize
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// A trit; about three in eight are zero.
    pub fn trit(&mut self) -> i8 {
        [-1, -1, -1, 0, 0, 1, 1, 0][self.below(8)]
    }
}

/// A ternary matrix with one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// `[rows, cols]` trits.
    pub trits: Vec<i8>,
    /// Scale: a power of two and a half, exact in every format.
    pub scale: f32,
}

impl Matrix {
    fn random(random: &mut Random, rows: usize, cols: usize) -> Self {
        let trits = (0..rows * cols).map(|_| random.trit()).collect();
        Matrix { rows, cols, trits, scale: [0.5, 0.75, 1.0, 1.5][random.below(4)] }
    }

    /// The values, `trit * scale`.
    pub fn values(&self) -> Vec<f32> {
        self.trits.iter().map(|&trit| f32::from(trit) * self.scale).collect()
    }

    /// Master weights that quantise to these trits: far from the threshold on both sides, and exact
    /// in bf16 and f16.
    pub fn masters(&self, random: &mut Random) -> Vec<f32> {
        let weight = |trit: i8, random: &mut Random| match trit {
            0 => (random.below(9) as f32 - 4.0) / 64.0,
            _ => f32::from(trit) * (1.0 + (random.below(17) as f32 - 8.0) / 64.0),
        };
        self.trits.iter().map(|&trit| weight(trit, random)).collect()
    }
}

/// Names of the linear layers of a block as Hugging Face has them, in the order of [`Tiny::blocks`].
pub const LINEARS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// A tiny model, in plain form.
#[derive(Clone, Debug)]
pub struct Tiny {
    /// Its shape.
    pub config: ModelConfig,
    /// `[vocab, hidden]`.
    pub embed: Vec<f32>,
    /// Linear layers of every block: q, k, v, o, gate, up, down.
    pub blocks: Vec<[Matrix; 7]>,
    /// Norm weights of every block: attention, feed-forward, attention sub-norm, feed-forward sub-norm.
    pub norms: Vec<[Vec<f32>; 4]>,
    /// `[hidden]`.
    pub final_norm: Vec<f32>,
    /// A head of its own.
    pub head: Option<Vec<f32>>,
}

/// The shape that all tiny models share: rows of whole blocks of 256 for GGUF.
pub fn shape() -> ModelConfig {
    ModelConfig {
        name: "tiny".into(),
        vocab: 320,
        hidden: 256,
        ffn: 512,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        max_context: 128,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        activation: Activation::Relu2,
        act_quant: ActQuant::Int8PerToken,
        bos: Some(1),
        eos: vec![2],
    }
}

impl Tiny {
    /// A model of [`shape`] with numbers from `seed`.
    pub fn new(seed: u64, tied: bool) -> Self {
        Self::with(shape(), seed, tied)
    }

    /// A model of any shape.
    pub fn with(config: ModelConfig, seed: u64, tied: bool) -> Self {
        let mut random = Random(seed);
        let exact = |random: &mut Random| (random.below(33) as f32 - 16.0) / 16.0;
        let mut vector = |length: usize| (0..length).map(|_| exact(&mut random)).collect::<Vec<f32>>();
        let embed = vector(config.vocab * config.hidden);
        let head = (!tied).then(|| vector(config.vocab * config.hidden));
        let widths = [config.hidden, config.hidden, config.q_dim(), config.ffn];
        let norms = (0..config.layers).map(|_| widths.map(&mut vector)).collect();
        let final_norm = vector(config.hidden);
        let c = &config;
        let shapes = [
            (c.q_dim(), c.hidden),
            (c.kv_dim(), c.hidden),
            (c.kv_dim(), c.hidden),
            (c.hidden, c.q_dim()),
            (c.ffn, c.hidden),
            (c.ffn, c.hidden),
            (c.hidden, c.ffn),
        ];
        let blocks =
            (0..c.layers).map(|_| shapes.map(|(rows, cols)| Matrix::random(&mut random, rows, cols))).collect();
        Tiny { config, embed, blocks, norms, final_norm, head }
    }

    /// Compares tables, norms and trits with loaded weights, exactly, and tells the first difference.
    pub fn compare(&self, weights: &ModelWeights) -> Result<(), String> {
        let check = |what: String, same: bool| if same { Ok(()) } else { Err(format!("{what} differs")) };
        let table = |table: &spec::format::table::Table| {
            let mut values = vec![0.0; table.rows() * table.cols()];
            values.chunks_mut(table.cols()).enumerate().for_each(|(row, out)| table.read_row(row, out));
            values
        };
        check("embed".into(), table(&weights.embed) == self.embed)?;
        check("head".into(), weights.head.as_ref().map(table) == self.head)?;
        check("final norm".into(), weights.final_norm == self.final_norm)?;
        check("number of layers".into(), weights.layers.len() == self.blocks.len())?;
        for (index, layer) in weights.layers.iter().enumerate() {
            let norms = &self.norms[index];
            check(format!("layer {index} attn_norm"), layer.attn_norm == norms[0])?;
            check(format!("layer {index} ffn_norm"), layer.ffn_norm == norms[1])?;
            for (norm, expected) in [(&layer.attn_sub_norm, &norms[2]), (&layer.ffn_sub_norm, &norms[3])] {
                check(format!("layer {index} sub-norm"), norm.as_ref().is_none_or(|norm| norm == expected))?;
            }
            let linears = [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down];
            for ((linear, matrix), name) in linears.into_iter().zip(&self.blocks[index]).zip(LINEARS) {
                let mut trits = vec![0; matrix.cols];
                for (row, expected) in matrix.trits.chunks(matrix.cols).enumerate() {
                    linear.planes[0].trits.unpack_row(row, &mut trits);
                    check(format!("layer {index} {name} row {row}"), trits == expected)?;
                }
            }
        }
        Ok(())
    }

    /// As [`Tiny::compare`], and every linear layer has exactly its one scale.
    pub fn compare_with_scales(&self, weights: &ModelWeights) -> Result<(), String> {
        self.compare(weights)?;
        for (index, layer) in weights.layers.iter().enumerate() {
            let linears = [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down];
            for ((linear, matrix), name) in linears.into_iter().zip(&self.blocks[index]).zip(LINEARS) {
                let scale = &linear.planes[0].scale;
                if *scale != Scale::Tensor(matrix.scale) {
                    return Err(format!("layer {index} {name}: scale {scale:?}, expected {}", matrix.scale));
                }
            }
        }
        Ok(())
    }
}
