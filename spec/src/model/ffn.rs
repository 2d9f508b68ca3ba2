//! The gated activation of the feed-forward network: `act(gate) * up`.

use crate::model::config::Activation;
use crate::numerics::{f32ops::mul, math, sigmoid::SigmoidTable};

/// As published.
pub fn float(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let act = |x: f32| match activation {
        Activation::Relu2 => x.max(0.0) * x.max(0.0),
        Activation::Silu => (f64::from(x) / (1.0 + math::exp(-f64::from(x.clamp(-600.0, 600.0))))) as f32,
    };
    gate.iter().zip(up).map(|(&gate, &up)| act(gate) * up).collect()
}

/// In the accelerator's arithmetic: every product rounded, sigmoid from the table.
pub fn device(activation: Activation, table: &SigmoidTable, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let act = |x: f32| match activation {
        Activation::Relu2 => mul(x.max(0.0), x.max(0.0)),
        Activation::Silu => table.silu(x),
    };
    gate.iter().zip(up).map(|(&gate, &up)| mul(act(gate), up)).collect()
}
