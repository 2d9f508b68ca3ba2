//! Rotary position embedding (arXiv 2104.09864) in the rotate-half form: elements `i` and
//! `i + head_dim/2` of a head are a pair, turned by `position * frequency[i]`.

use super::f32ops::{add, mul, sub};
use super::math;
use crate::model::config::{ModelConfig, RopeScaling};

/// Rotary frequencies, `[head_dim / 2]`, rounded where transformers rounds them.
pub fn frequencies(config: &ModelConfig) -> Vec<f32> {
    (0..config.head_dim / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / config.head_dim as f32;
            let frequency = 1.0 / math::pow(config.rope_theta, f64::from(exponent)) as f32;
            scaled(frequency, config.rope_scaling)
        })
        .collect()
}

fn scaled(frequency: f32, scaling: RopeScaling) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = original_context as f32;
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            if wavelength > context / low_freq_factor {
                frequency / factor
            } else if wavelength < context / high_freq_factor {
                frequency
            } else {
                let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

/// Cosines and sines of every position, the same in both numerics.
#[derive(Clone, Debug)]
pub struct RopeTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// The table of positions `0..positions`: `[positions, head_dim / 2]` each.
    pub fn new(config: &ModelConfig, positions: usize) -> Self {
        let frequencies = frequencies(config);
        let half = frequencies.len();
        let mut table =
            RopeTable { half, cos: Vec::with_capacity(positions * half), sin: Vec::with_capacity(positions * half) };
        for position in 0..positions {
            for &frequency in &frequencies {
                let (sin, cos) = math::sin_cos(f64::from(position as f32 * frequency));
                table.cos.push(super::f32ops::flush(cos as f32));
                table.sin.push(super::f32ops::flush(sin as f32));
            }
        }
        table
    }

    /// Cosines of a position, `[head_dim / 2]`.
    pub fn cos(&self, position: usize) -> &[f32] {
        &self.cos[position * self.half..(position + 1) * self.half]
    }

    /// Sines of a position, `[head_dim / 2]`.
    pub fn sin(&self, position: usize) -> &[f32] {
        &self.sin[position * self.half..(position + 1) * self.half]
    }

    /// Turns one head in place: `a' = a cos - b sin`, `b' = b cos + a sin`, every operation rounded.
    pub fn rotate(&self, head: &mut [f32], position: usize) {
        let (first, second) = head.split_at_mut(self.half);
        let angles = self.cos(position).iter().zip(self.sin(position));
        for ((a, b), (&cos, &sin)) in first.iter_mut().zip(second).zip(angles) {
            let turned = sub(mul(*a, cos), mul(*b, sin));
            *b = add(mul(*b, cos), mul(*a, sin));
            *a = turned;
        }
    }
}
