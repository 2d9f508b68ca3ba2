//! RMSNorm as published; the accelerator's is in [`crate::numerics::quant`].

/// `x / sqrt(mean(x^2) + eps)`, rounded, times the weight. The mean is formed in binary64.
pub fn float(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mean = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / x.len() as f64;
    let factor = (1.0 / (mean + f64::from(eps)).sqrt()) as f32;
    x.iter().zip(weight).map(|(&x, &w)| x * factor * w).collect()
}
