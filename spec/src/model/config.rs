//! What a model is, apart from its weights.

use thiserror::Error;

/// Gate activation of the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`: Llama, Falcon3, TriLM, bitnet_b1_58.
    Silu,
    /// `max(x, 0)^2`: BitNet b1.58 2B-4T.
    Relu2,
}

/// What the published model does to the input of a ternary linear layer. The `device` numerics
/// always use [`ActQuant::Int8PerToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActQuant {
    /// int8 with one absmax scale per token (BitNet b1.58, equation 4).
    Int8PerToken,
    /// Not quantised (TriLM).
    None,
}

/// Change of the rotary frequencies for long contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Divisor, at least 1.
        factor: f32,
    },
    /// Llama 3.1's piecewise rule (transformers, `_compute_llama3_parameters`).
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` are divided by `factor`.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` stay.
        high_freq_factor: f32,
        /// Context length of the original training.
        original_context: u32,
    },
}

/// Shape and constants of a decoder-only ternary language model (pre-norm Llama block).
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Family or model name for people, for example `bitnet`.
    pub name: String,
    /// Vocabulary size `V`.
    pub vocab: usize,
    /// Width of the residual stream `H`.
    pub hidden: usize,
    /// Width of the feed-forward network `I`.
    pub ffn: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; even, not necessarily `hidden / heads`.
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub max_context: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Activation of the gate.
    pub activation: Activation,
    /// Activation quantisation of the published model.
    pub act_quant: ActQuant,
    /// Token put in front of every text, if any.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// A configuration that no decoder can run.
#[derive(Debug, Error, PartialEq)]
#[error("model configuration: {key} = {found}: expected {expected}")]
pub struct ConfigError {
    /// Field of [`ModelConfig`].
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// The rule it breaks.
    pub expected: String,
}

/// Largest value of each dimension. Keeps every product of two dimensions far inside `usize` and
/// every accumulator inside its width (docs/architecture/numerics.md).
pub const MAX_DIM: usize = 1 << 17;
/// Largest vocabulary.
pub const MAX_VOCAB: usize = 1 << 20;
/// Largest number of blocks.
pub const MAX_LAYERS: usize = 1 << 10;
/// Longest context: sums of 15-bit probabilities stay below 2^32.
pub const MAX_CONTEXT: usize = 1 << 17;
/// Widest head.
pub const MAX_HEAD_DIM: usize = 512;

impl ModelConfig {
    /// Width of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Query heads that share one key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Checks every rule that the reference model and the engines rely on.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let range = |key, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(ConfigError { key, found: value.to_string(), expected: format!("1 to {max}") })
        };
        range("vocab", self.vocab, MAX_VOCAB)?;
        range("hidden", self.hidden, MAX_DIM)?;
        range("ffn", self.ffn, MAX_DIM)?;
        range("layers", self.layers, MAX_LAYERS)?;
        range("heads", self.heads, MAX_DIM)?;
        range("kv_heads", self.kv_heads, self.heads)?;
        range("head_dim", self.head_dim, MAX_HEAD_DIM)?;
        range("max_context", self.max_context, MAX_CONTEXT)?;
        let rule = |key, ok: bool, found: String, expected: &str| {
            if ok {
                return Ok(());
            }
            Err(ConfigError { key, found, expected: expected.into() })
        };
        rule(
            "kv_heads",
            self.heads.is_multiple_of(self.kv_heads),
            self.kv_heads.to_string(),
            &format!("a divisor of heads = {}", self.heads),
        )?;
        rule("head_dim", self.head_dim.is_multiple_of(2), self.head_dim.to_string(), "an even number")?;
        rule(
            "heads",
            self.q_dim() <= MAX_DIM,
            format!("{} x head_dim {}", self.heads, self.head_dim),
            &format!("heads x head_dim of at most {MAX_DIM}"),
        )?;
        rule("rms_eps", self.rms_eps.is_finite() && self.rms_eps > 0.0, self.rms_eps.to_string(), "a positive number")?;
        rule(
            "rope_theta",
            self.rope_theta.is_finite() && self.rope_theta >= 1.0,
            self.rope_theta.to_string(),
            "a number of at least 1",
        )?;
        match self.rope_scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                rule("rope_scaling.factor", factor.is_finite() && factor >= 1.0, factor.to_string(), "at least 1")?;
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                rule("rope_scaling.factor", factor.is_finite() && factor >= 1.0, factor.to_string(), "at least 1")?;
                rule(
                    "rope_scaling.high_freq_factor",
                    low_freq_factor.is_finite()
                        && high_freq_factor.is_finite()
                        && low_freq_factor > 0.0
                        && high_freq_factor > low_freq_factor,
                    format!("{high_freq_factor}"),
                    "more than low_freq_factor, which is positive",
                )?;
                rule(
                    "rope_scaling.original_context",
                    original_context > 0,
                    original_context.to_string(),
                    "at least 1",
                )?;
            }
        }
        for &token in self.eos.iter().chain(&self.bos) {
            rule(
                "bos/eos",
                (token as usize) < self.vocab,
                token.to_string(),
                &format!("a token id below vocab = {}", self.vocab),
            )?;
        }
        Ok(())
    }
}
