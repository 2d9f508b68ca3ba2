//! The gate between the two halves of a feed-forward layer.

use super::{
    isa::Isa,
    layout::ROWS,
    vector::{Tables, round_small, versions},
};
use spec::{
    model::Activation,
    numerics::{
        f32ops::{from_i32, mul},
        sigmoid,
    },
};

/// [`SigmoidTable::silu`] without branches.
#[inline(always)]
fn silu(table: &[i32; 513], x: f32) -> f32 {
    const ONE: i32 = 1 << sigmoid::RESULT_BITS;
    const STEP_BITS: u32 = sigmoid::ARGUMENT_BITS + 4 - sigmoid::INDEX_BITS;
    const LIMIT: i32 = sigmoid::LIMIT << sigmoid::ARGUMENT_BITS;
    let y = mul(x.abs(), (1 << sigmoid::ARGUMENT_BITS) as f32);
    let magnitude = round_small(if y < LIMIT as f32 { y } else { LIMIT as f32 });
    let inside = magnitude.min(LIMIT - 1);
    let index = (inside >> STEP_BITS) as usize & 511;
    let along = inside & ((1 << STEP_BITS) - 1);
    let rise = table[index + 1] - table[index];
    let inner = table[index] + ((rise * along + (1 << (STEP_BITS - 1))) >> STEP_BITS);
    let positive = if magnitude >= LIMIT { ONE } else { inner };
    let fixed = if x.is_sign_negative() { ONE - positive } else { positive };
    mul(x, mul(from_i32(fixed), 1.0 / ONE as f32))
}

#[inline(always)]
fn gate_plain(activation: Activation, tables: &Tables, gate: &[f32], up: &[f32], out: &mut [f32]) {
    let table = tables.sigmoid.entries();
    match activation {
        Activation::Silu => {
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = mul(silu(table, gate), up);
            }
        }
        Activation::Relu2 => {
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = mul(mul(gate.max(0.0), gate.max(0.0)), up);
            }
        }
    }
}

versions!(
    /// [`gate`] in plain Rust, of any length.
    gate_versions = gate_plain(activation: Activation, tables: &Tables, gate: &[f32], up: &[f32], out: &mut [f32])
);

/// [`spec::model::ffn::device`]: `act(gate) * up`, tile by tile.
pub fn gate(
    isa: Isa,
    activation: Activation,
    tables: &Tables,
    gate: &[[f32; ROWS]],
    up: &[[f32; ROWS]],
    out: &mut [[f32; ROWS]],
) {
    #[cfg(target_arch = "x86_64")]
    if activation == Activation::Silu && matches!(isa, Isa::Avx512 | Isa::Amx) {
        // SAFETY: these sets are only offered where the processor has their features.
        return unsafe { super::avx512::gate::silu(&tables.packed, gate, up, out) };
    }
    gate_versions(isa, activation, tables, gate.as_flattened(), up.as_flattened(), out.as_flattened_mut());
}

#[inline(always)]
fn gate_sums_plain(
    activation: Activation,
    tables: &Tables,
    sums: [&[[i32; ROWS]]; 2],
    scales: &[f32],
    rows: [&[f32; ROWS]; 2],
    out: &mut [[f32; ROWS]],
) {
    for (((gate, up), &scale), out) in sums[0].iter().zip(sums[1]).zip(scales).zip(out) {
        let number = |sums: &[i32; ROWS], rows: &[f32; ROWS], i: usize| mul(from_i32(sums[i]), mul(scale, rows[i]));
        let gate: [f32; ROWS] = std::array::from_fn(|i| number(gate, rows[0], i));
        let up: [f32; ROWS] = std::array::from_fn(|i| number(up, rows[1], i));
        gate_plain(activation, tables, &gate, &up, out);
    }
}

versions!(
    /// [`gate_sums`] in plain Rust.
    gate_sums_versions = gate_sums_plain(
        activation: Activation, tables: &Tables, sums: [&[[i32; ROWS]]; 2], scales: &[f32],
        rows: [&[f32; ROWS]; 2], out: &mut [[f32; ROWS]],
    )
);

/// `act(gate) * up` of a row block, straight from the integer sums of both layers, `[token][16 outputs]`:
/// each is worth the token's scale times its row's.
pub fn gate_sums(
    isa: Isa,
    activation: Activation,
    tables: &Tables,
    sums: [&[[i32; ROWS]]; 2],
    scales: &[f32],
    rows: [&[f32; ROWS]; 2],
    out: &mut [[f32; ROWS]],
) {
    #[cfg(target_arch = "x86_64")]
    if activation == Activation::Silu && matches!(isa, Isa::Avx512 | Isa::Amx) {
        // SAFETY: these sets are only offered where the processor has their features.
        return unsafe { super::avx512::gate::silu_sums(&tables.packed, sums, scales, rows, out) };
    }
    gate_sums_versions(isa, activation, tables, sums, scales, rows, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{testing::Random, vector::dequantize};

    #[test]
    fn sums_are_gated_as_their_numbers_are() {
        let tables = Tables::default();
        for isa in Isa::available() {
            for seed in 0..100 {
                let mut random = Random::new(seed);
                let tokens = 1 + random.below(20);
                let size = [1, 100, 100_000, 16_000_000][random.below(4)];
                let scale = [1.0, 1e-5, 1e-18, 1e15][random.below(4)];
                let mut block = || -> Vec<[i32; ROWS]> {
                    let sum = |random: &mut Random| random.below(2 * size + 1) as i32 - size as i32;
                    (0..tokens).map(|_| std::array::from_fn(|_| sum(&mut random))).collect()
                };
                let sums = [block(), block()];
                let scales: Vec<f32> = (0..tokens).map(|_| random.unit().abs() * scale).collect();
                let rows: [[f32; ROWS]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| random.unit() * 1e-3));
                let mut numbers = [vec![[0.0; ROWS]; tokens], vec![[0.0; ROWS]; tokens]];
                for (i, numbers) in numbers.iter_mut().enumerate() {
                    dequantize(Isa::Scalar, &sums[i], &scales, &rows[i], true, numbers);
                }
                for activation in [Activation::Silu, Activation::Relu2] {
                    let (mut want, mut got) = (vec![[0.0; ROWS]; tokens], vec![[0.0; ROWS]; tokens]);
                    gate(Isa::Scalar, activation, &tables, &numbers[0], &numbers[1], &mut want);
                    let both = [sums[0].as_slice(), &sums[1]];
                    gate_sums(isa, activation, &tables, both, &scales, [&rows[0], &rows[1]], &mut got);
                    for (got, want) in got.as_flattened().iter().zip(want.as_flattened()) {
                        assert_eq!(got.to_bits(), want.to_bits(), "{} seed {seed}: {got}, not {want}", isa.name());
                    }
                }
            }
        }
    }
}
