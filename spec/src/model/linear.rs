//! Linear layers with ternary weights.

use crate::format::{matrix::Linear, scale::DeviceScale};
use crate::model::config::ActQuant;
use crate::numerics::f32ops::{add, from_i64, mul};
use crate::numerics::quant::Quantized;

/// A layer with its scales in the accelerator's form.
#[derive(Clone, Debug)]
pub struct DeviceLinear {
    /// The layer.
    pub linear: Linear,
    /// One per plane.
    pub scales: Vec<DeviceScale>,
}

impl DeviceLinear {
    /// Brings the scales of a layer into the accelerator's form.
    pub fn new(linear: &Linear) -> Self {
        let (rows, cols) = (linear.rows(), linear.cols());
        let scales = linear.planes.iter().map(|plane| plane.scale.to_device(rows, cols)).collect();
        DeviceLinear { linear: linear.clone(), scales }
    }

    /// `[tokens][cols]` codes to `[tokens][rows]`:
    /// `y[r] = sum_p acc_p[r] * (x.scale * row_scale_p[r]) + bias[r]`, planes in order, each
    /// operation rounded; `acc` is the exact integer sum of codes times trits times multipliers.
    pub fn device(&self, inputs: &[&Quantized]) -> Vec<Vec<f32>> {
        let (rows, cols) = (self.linear.rows(), self.linear.cols());
        let mut outputs = vec![vec![0.0; rows]; inputs.len()];
        let mut trits = vec![0i8; cols];
        for row in 0..rows {
            for (p, (plane, scale)) in self.linear.planes.iter().zip(&self.scales).enumerate() {
                plane.trits.unpack_row(row, &mut trits);
                for (input, output) in inputs.iter().zip(&mut outputs) {
                    let groups = input.codes.chunks(scale.group).zip(trits.chunks(scale.group)).enumerate();
                    let sums = groups.map(|(g, (codes, trits))| {
                        i64::from(scale.multiplier(row, g, cols)) * i64::from(dot(codes, trits))
                    });
                    let y = mul(from_i64(sums.sum()), mul(input.scale, scale.row[row]));
                    output[row] = if p == 0 { y } else { add(output[row], y) };
                }
            }
            if let Some(bias) = &self.linear.bias {
                for output in &mut outputs {
                    output[row] = add(output[row], bias[row]);
                }
            }
        }
        outputs
    }
}

/// Exact integer product; at most 127 * 131072.
pub fn dot(codes: &[i8], trits: &[i8]) -> i32 {
    codes.iter().zip(trits).map(|(&q, &t)| i32::from(q) * i32::from(t)).sum()
}

/// The published arithmetic, `[tokens][cols]` to `[tokens][rows]`: int8 activations per token (or
/// none), exact or binary64 sums, scales as in the file, one rounding at the end.
pub fn float(linear: &Linear, act_quant: ActQuant, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let (rows, cols) = (linear.rows(), linear.cols());
    let normed: Vec<Vec<f32>> = match &linear.input_norm {
        Some((weight, eps)) => inputs.iter().map(|x| super::norm::float(x, weight, *eps)).collect(),
        None => inputs.to_vec(),
    };
    let quantized: Vec<(Vec<i8>, f64)> = match act_quant {
        ActQuant::Int8PerToken => normed.iter().map(|x| float_codes(x)).collect(),
        ActQuant::None => Vec::new(),
    };
    let mut outputs = vec![vec![0.0; rows]; inputs.len()];
    let mut trits = vec![0i8; cols];
    let mut sums = vec![0.0f64; inputs.len()];
    for row in 0..rows {
        sums.fill(0.0);
        for plane in &linear.planes {
            plane.trits.unpack_row(row, &mut trits);
            let size = plane.scale.group(cols);
            for (g, trits) in trits.chunks(size).enumerate() {
                let scale = f64::from(plane.scale.at(row, g, rows, cols));
                let columns = g * size..g * size + trits.len();
                for (token, sum) in sums.iter_mut().enumerate() {
                    let product = match quantized.get(token) {
                        Some((codes, unit)) => f64::from(dot(&codes[columns.clone()], trits)) * unit,
                        None => {
                            let x = &normed[token][columns.clone()];
                            x.iter().zip(trits).map(|(&x, &t)| f64::from(x) * f64::from(t)).sum()
                        }
                    };
                    *sum += product * scale;
                }
            }
        }
        let bias = linear.bias.as_ref().map_or(0.0, |bias| bias[row]);
        for (output, &sum) in outputs.iter_mut().zip(&sums) {
            output[row] = sum as f32 + bias;
        }
    }
    outputs
}

/// How far the nearest element of `x` is from a rounding tie of its int8 code, in units of a code.
/// Two correct implementations in binary32 may differ by a whole code below about 1e-4.
pub fn tie_margin(x: &[f32]) -> f32 {
    let scale = 127.0 / x.iter().fold(1e-5f32, |max, x| max.max(x.abs()));
    x.iter().map(|x| ((x * scale).abs().fract() - 0.5).abs()).fold(0.5, f32::min)
}

/// BitNet's activation quantisation: `scale = 127 / max(|x|, 1e-5)`; codes and `1 / scale`.
fn float_codes(x: &[f32]) -> (Vec<i8>, f64) {
    let scale = 127.0 / x.iter().fold(1e-5f32, |max, x| max.max(x.abs()));
    let code = |&x: &f32| (x * scale).round_ties_even().clamp(-128.0, 127.0) as i8;
    (x.iter().map(code).collect(), 1.0 / f64::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::matrix::{Plane, TritMatrix};
    use crate::format::scale::Scale;

    fn layer(scale: Scale) -> Linear {
        let trits = [1, -1, 0, 1, 0, 0, 1, 1, -1, -1, 0, 1];
        Linear::new(TritMatrix::pack(2, 6, &trits).unwrap(), scale)
    }

    #[test]
    fn scales_planes_and_bias_add_up_in_both_numerics() {
        let x = vec![127.0, 2.0, -3.0, 4.0, 50.0, -60.0];
        let quantized = Quantized { codes: x.iter().map(|&v| v as i8).collect(), scale: 1.0 };
        let shard = Scale::Shard { row_blocks: 1, col_blocks: 2, values: vec![2.0, 4.0] };
        let mut linear = layer(shard);
        linear.planes.push(Plane { scale: Scale::Row(vec![1.0, 0.5]), ..layer(Scale::Tensor(1.0)).planes[0].clone() });
        linear.bias = Some(vec![0.25, -1.0]);
        // row 0: [1 -1 0 | 1 0 0] -> 125 | 4; row 1: [1 1 -1 | -1 0 1] -> 132 | -64
        let want = [125.0 * 2.0 + 4.0 * 4.0 + 129.0 + 0.25, 132.0 * 2.0 - 64.0 * 4.0 + 0.5 * 68.0 - 1.0];
        let float = float(&linear, ActQuant::Int8PerToken, std::slice::from_ref(&x));
        let exact = super::float(&linear, ActQuant::None, std::slice::from_ref(&x));
        let device = DeviceLinear::new(&linear).device(&[&quantized]);
        for row in 0..2 {
            assert_eq!(float[0][row], want[row]);
            assert_eq!(exact[0][row], want[row]);
            // group multipliers are off by at most 1/510 of the largest scale, sums by at most 132 * 4 / 510
            assert!((device[0][row] - want[row]).abs() < 1.1, "{} {}", device[0][row], want[row]);
        }
    }
}
