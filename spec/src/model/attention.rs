//! Causal attention of one token over the cached keys and values of its sequence, with grouped
//! query heads: key/value head `h` serves query heads `h * group .. (h + 1) * group`.

use crate::model::config::ModelConfig;
use crate::model::linear::dot;
use crate::numerics::{exp2::Exp2Table, f32ops::mul, math, quant::quantize, softmax};

/// Keys and values of one layer of one sequence as published: `[tokens][kv_dim]`.
#[derive(Clone, Debug, Default)]
pub struct FloatCache {
    /// Keys after RoPE.
    pub keys: Vec<Vec<f32>>,
    /// Values.
    pub values: Vec<Vec<f32>>,
}

/// Keys and values of one layer of one sequence as the accelerator stores them: int8 codes
/// `[tokens][kv_dim]` and one scale per token and head, `[tokens][kv_heads]`.
#[derive(Clone, Debug, Default)]
pub struct DeviceCache {
    /// Codes of the keys after RoPE.
    pub keys: Vec<Vec<i8>>,
    /// Scales of the keys.
    pub key_scales: Vec<Vec<f32>>,
    /// Codes of the values.
    pub values: Vec<Vec<i8>>,
    /// Scales of the values.
    pub value_scales: Vec<Vec<f32>>,
}

impl DeviceCache {
    /// Quantises and appends one token's keys (after RoPE) and values, head by head.
    pub fn push(&mut self, key: &[f32], value: &[f32], head_dim: usize) {
        for (x, codes, scales) in
            [(key, &mut self.keys, &mut self.key_scales), (value, &mut self.values, &mut self.value_scales)]
        {
            let heads: Vec<_> = x.chunks(head_dim).map(quantize).collect();
            codes.push(heads.iter().flat_map(|head| head.codes.clone()).collect());
            scales.push(heads.iter().map(|head| head.scale).collect());
        }
    }

    /// Forgets the tokens from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        self.key_scales.truncate(len);
        self.values.truncate(len);
        self.value_scales.truncate(len);
    }
}

/// As published: `[q_dim]` queries after RoPE to `[q_dim]`, softmax and sums in binary64.
pub fn float(config: &ModelConfig, query: &[f32], cache: &FloatCache) -> Vec<f32> {
    let dim = config.head_dim;
    let mut out = vec![0.0; config.q_dim()];
    for (head, (query, out)) in query.chunks(dim).zip(out.chunks_mut(dim)).enumerate() {
        let kv = head / config.group() * dim..(head / config.group() + 1) * dim;
        let score = |key: &Vec<f32>| -> f64 {
            let products = query.iter().zip(&key[kv.clone()]).map(|(&q, &k)| f64::from(q) * f64::from(k));
            products.sum::<f64>() / (dim as f64).sqrt()
        };
        let scores: Vec<f64> = cache.keys.iter().map(score).collect();
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let p: Vec<f64> = scores.iter().map(|s| math::exp((s - top).max(-600.0))).collect();
        let sum: f64 = p.iter().sum();
        for (i, out) in out.iter_mut().enumerate() {
            let mixed: f64 = p.iter().zip(&cache.values).map(|(p, v)| p * f64::from(v[kv.start + i])).sum();
            *out = (mixed / sum) as f32;
        }
    }
    out
}

/// In the accelerator's arithmetic: int8 queries, see [`softmax`].
pub fn device(config: &ModelConfig, table: &Exp2Table, query: &[f32], cache: &DeviceCache) -> Vec<f32> {
    let dim = config.head_dim;
    let mut out = vec![0.0; config.q_dim()];
    for (head, (query, out)) in query.chunks(dim).zip(out.chunks_mut(dim)).enumerate() {
        let kv_head = head / config.group();
        let kv = kv_head * dim..(kv_head + 1) * dim;
        let query = quantize(query);
        let dots: Vec<i32> = cache.keys.iter().map(|key| dot(&query.codes, &key[kv.clone()])).collect();
        let column = |scales: &[Vec<f32>]| -> Vec<f32> { scales.iter().map(|s| s[kv_head]).collect() };
        let (key_scales, value_scales) = (column(&cache.key_scales), column(&cache.value_scales));
        let query_scale = mul(query.scale, softmax::score_factor(dim));
        let weights = softmax::weights(table, &dots, &key_scales, &value_scales, query_scale);
        softmax::combine(&weights, cache.values.iter().map(|v| &v[kv.clone()]), out);
    }
    out
}
