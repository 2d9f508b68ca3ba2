//! int8 activations with one absmax scale, fused with the norm that comes before.
//!
//! RMSNorm multiplies a vector by one factor and a weight per element. The factor does not change
//! the int8 codes, only their scale, so one pass finds the maximum and the sum of squares.

use super::f32ops::{add, div, mul, round_to_i32, sqrt, sum_of_squares};

/// Largest code.
pub const MAX_CODE: f32 = 127.0;
/// Maxima below this count as this: guards the division. (The published models use 1e-5 here;
/// vectors that small quantise to noise there and keep their precision here.)
pub const FLOOR: f32 = 1.0 / 18_446_744_073_709_551_616.0; // 2^-64

/// A vector of int8 codes and what one unit is worth: `x[j] ~ codes[j] * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Codes in [-127, 127].
    pub codes: Vec<i8>,
    /// Value of one unit.
    pub scale: f32,
}

/// RMSNorm's factor `1 / sqrt(mean(x^2) + eps)`.
pub fn rms_factor(x: &[f32], eps: f32) -> f32 {
    let mean = div(sum_of_squares(x), x.len() as f32);
    div(1.0, sqrt(add(mean, eps)))
}

/// RMSNorm, not quantised: `(x[j] * weight[j]) * factor`.
pub fn norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let factor = rms_factor(x, eps);
    x.iter().zip(weight).map(|(&x, &w)| mul(mul(x, w), factor)).collect()
}

/// RMSNorm and quantisation: codes of `x[j] * weight[j]`, with the norm's factor in the scale.
pub fn norm_quantize(x: &[f32], weight: &[f32], eps: f32) -> Quantized {
    let weighted: Vec<f32> = x.iter().zip(weight).map(|(&x, &w)| mul(x, w)).collect();
    let max = abs_max(&weighted);
    Quantized { codes: codes(&weighted, max), scale: div(mul(max, rms_factor(x, eps)), MAX_CODE) }
}

/// Quantisation: `codes[j] = round_half_even(x[j] * (127 / max))`, `scale = max / 127`.
pub fn quantize(x: &[f32]) -> Quantized {
    let max = abs_max(x);
    Quantized { codes: codes(x, max), scale: div(max, MAX_CODE) }
}

/// The largest magnitude, at least [`FLOOR`].
pub fn abs_max(x: &[f32]) -> f32 {
    x.iter().fold(FLOOR, |max, x| max.max(x.abs()))
}

fn codes(x: &[f32], max: f32) -> Vec<i8> {
    let inverse = div(MAX_CODE, max);
    x.iter().map(|&x| round_to_i32(mul(x, inverse)).clamp(-127, 127) as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_and_ties() {
        let q = quantize(&[127.0, -127.0, 0.5, 1.5, -2.5, 0.0]);
        assert_eq!(q.codes, [127, -127, 0, 2, -2, 0]);
        assert_eq!(q.scale, 1.0);
    }

    #[test]
    fn zeros_have_zero_codes() {
        let q = quantize(&[0.0, -0.0]);
        assert_eq!(q.codes, [0, 0]);
        assert!(q.scale > 0.0);
        let q = norm_quantize(&[0.0; 5], &[1.0; 5], 1e-5);
        assert_eq!(q.codes, [0; 5]);
    }

    #[test]
    fn the_factor_only_enters_the_scale() {
        let x = [0.3f32, -1.7, 0.02, 2.2];
        let weight = [1.0f32, 0.5, -2.0, 0.9];
        let fused = norm_quantize(&x, &weight, 1e-5);
        for (code, value) in fused.codes.iter().zip(norm(&x, &weight, 1e-5)) {
            assert!((f32::from(*code) * fused.scale - value).abs() <= fused.scale * 0.5001);
        }
    }
}
