//! Attention weights of one query head over int8 keys and values with one scale per token.
//!
//! ```text
//! u[t]  = fixed16(dot[t] * (ks[t] * cq))            log2 units, 16 fraction bits
//! p[t]  = exp2.weight(max u - u[t])                 15-bit integers
//! w[t]  = round(p[t] * (vs[t] * (1 / max vs)))      15-bit integers, V's scales folded in
//! out   = sum_t w[t] v[t] * (max vs / sum_t p[t])   integer sums of up to 40 bits
//! ```

use super::exp2::{Exp2Table, FRACTION_BITS};
use super::f32ops::{div, from_i32, from_i64, mul, round_to_i32};

/// Integer attention weights and the factor of their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One weight per visible token, at most 32767.
    pub w: Vec<i32>,
    /// What one unit of `sum w v` is worth.
    pub scale: f32,
}

/// The factor `log2(e) / sqrt(head_dim)` that brings a score into log2 units.
pub fn score_factor(head_dim: usize) -> f32 {
    (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32
}

/// A score in log2 units with 16 fraction bits; saturates.
pub fn fixed16(x: f32) -> i32 {
    round_to_i32(mul(x, (1 << FRACTION_BITS) as f32))
}

/// Weights of one query. `dots` are the integer products with every visible key, `key_scales` and
/// `value_scales` belong to the same tokens, `query_scale` is the query's scale times
/// [`score_factor`].
pub fn weights(table: &Exp2Table, dots: &[i32], key_scales: &[f32], value_scales: &[f32], query_scale: f32) -> Weights {
    let scores: Vec<i32> =
        dots.iter().zip(key_scales).map(|(&dot, &ks)| fixed16(mul(from_i32(dot), mul(ks, query_scale)))).collect();
    let top = scores.iter().copied().max().unwrap_or(0);
    let p: Vec<i32> = scores.iter().map(|&u| table.weight(top.abs_diff(u))).collect();
    let sum: i64 = p.iter().map(|&p| i64::from(p)).sum();
    let value_scale = value_scales.iter().copied().fold(0.0, f32::max);
    let inverse = div(1.0, value_scale);
    let w = p.iter().zip(value_scales).map(|(&p, &vs)| round_to_i32(mul(from_i32(p), mul(vs, inverse)))).collect();
    Weights { w, scale: div(value_scale, from_i64(sum)) }
}

/// `out[i] = (sum_t w[t] * value(t)[i]) * scale` for one head.
pub fn combine<'a>(weights: &Weights, values: impl Iterator<Item = &'a [i8]>, out: &mut [f32]) {
    let mut sums = vec![0i64; out.len()];
    for (&w, value) in weights.w.iter().zip(values) {
        for (sum, &v) in sums.iter_mut().zip(value) {
            *sum += i64::from(w) * i64::from(v);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = mul(from_i64(sum), weights.scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_real_softmax() {
        let table = Exp2Table::default();
        let dots = [9000, -4000, 8800, 0, 8999];
        let (ks, vs) = ([0.01, 0.02, 0.011, 0.01, 0.009], [0.5, 0.1, 0.25, 0.5, 0.4]);
        let query = 0.02 * score_factor(64);
        let got = weights(&table, &dots, &ks, &vs, query);
        let logit = |t: usize| f64::from(dots[t]) * f64::from(ks[t]) * 0.02 / 8.0;
        let top = (0..5).map(logit).fold(f64::MIN, f64::max);
        let exact: Vec<f64> = (0..5).map(|t| (logit(t) - top).exp()).collect();
        let sum: f64 = exact.iter().sum();
        for t in 0..5 {
            let have = f64::from(got.w[t]) * f64::from(got.scale);
            let want = exact[t] / sum * f64::from(vs[t]);
            assert!((have - want).abs() < 1e-4, "{t}: {have} {want}");
        }
    }

    #[test]
    fn extreme_scores_do_not_overflow() {
        let table = Exp2Table::default();
        let got = weights(&table, &[i32::MAX, i32::MIN, 0], &[1e30; 3], &[1.0; 3], 1e5);
        assert_eq!(got.w, [32_767, 0, 0]);
        let one = weights(&table, &[0], &[1.0], &[2.0], 1.0);
        let mut out = [0.0; 2];
        combine(&one, [[127i8, -64].as_slice()].into_iter(), &mut out);
        assert_eq!(out, [254.0, -128.0]);
    }
}
