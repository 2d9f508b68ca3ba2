//! Element-wise arithmetic of `spec::numerics`, laid out so that the compiler can use vectors.
//!
//! The operations are `spec`'s own, in its order, nothing is fused: what is written here in plain Rust
//! is compiled once for each instruction set (`versions`), so every version gives the same bits.

use super::acts::Line;
use spec::numerics::{
    exp2::Exp2Table,
    f32ops::{SUM_LANES, add, div, from_i32, mul, sqrt, sub},
    quant::{FLOOR, MAX_CODE},
    sigmoid::SigmoidTable,
};

/// Makes `pub fn name(isa, args)` of a plain `#[inline(always)] fn` with the same arguments.
macro_rules! versions {
    ($(#[$doc:meta])* $name:ident = $plain:ident ( $($arg:ident : $type:ty),* $(,)? ) $(-> $result:ty)?) => {
        $(#[$doc])*
        pub fn $name(isa: $crate::cpu::Isa, $($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
                fn wide($($arg: $type),*) $(-> $result)? {
                    $plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn half($($arg: $type),*) $(-> $result)? {
                    $plain($($arg),*)
                }
                match isa {
                    // SAFETY: these sets are only offered where the processor has their features.
                    $crate::cpu::Isa::Avx512 | $crate::cpu::Isa::Amx => return unsafe { wide($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::Isa::Avx2 | $crate::cpu::Isa::AvxVnni => return unsafe { half($($arg),*) },
                    _ => {}
                }
            }
            let _ = isa;
            $plain($($arg),*)
        }
    };
}

pub(super) use versions;

/// A norm: weights and what is added to the mean square.
pub type Norm<'a> = (&'a [f32], f32);

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut partial = [0.0f32; SUM_LANES];
    let mut chunks = x.chunks_exact(SUM_LANES);
    for chunk in &mut chunks {
        for (lane, &value) in partial.iter_mut().zip(chunk) {
            *lane = add(*lane, mul(value, value));
        }
    }
    for (lane, &value) in partial.iter_mut().zip(chunks.remainder()) {
        *lane = add(*lane, mul(value, value));
    }
    let mut half = SUM_LANES / 2;
    while half > 0 {
        for i in 0..half {
            partial[i] = add(partial[i], partial[i + half]);
        }
        half /= 2;
    }
    partial[0]
}

#[inline(always)]
fn rms_factor(x: &[f32], eps: f32) -> f32 {
    let mean = div(sum_of_squares(x), x.len() as f32);
    div(1.0, sqrt(add(mean, eps)))
}

#[inline(always)]
fn abs_max(x: &[f32]) -> f32 {
    let mut lanes = [FLOOR; 32];
    let mut chunks = x.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(value.abs());
        }
    }
    for (lane, value) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = lane.max(value.abs());
    }
    top_of(lanes)
}

/// The largest lane, by halves: a chain of 5 instead of 32.
#[inline(always)]
fn top_of(mut lanes: [f32; 32]) -> f32 {
    let mut half = 16;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i].max(lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// [`spec::numerics::f32ops::round_to_i32`] for magnitudes of at most 2^22: the sum's last bit is one,
/// so the addition rounds half to even. Twice as fast as a conversion that saturates.
#[inline(always)]
pub(super) fn round_small(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

/// [`spec::numerics::f32ops::round_to_i32`] without the branches that keep loops from using vectors.
#[inline(always)]
pub(super) fn round_wide(x: f32) -> i32 {
    const END: f32 = 2_147_483_648.0;
    let rounded = x.round_ties_even();
    let inside = if (-END..END).contains(&rounded) { rounded } else { 0.0 };
    // SAFETY: a number in [-2^31, 2^31), not NaN.
    let value: i32 = unsafe { inside.to_int_unchecked() };
    let value = if rounded >= END { i32::MAX } else { value };
    if rounded < -END { i32::MIN } else { value }
}

#[inline(always)]
fn fill_codes(x: &[f32], max: f32, codes: &mut [i8]) {
    let inverse = div(MAX_CODE, max);
    for (code, &x) in codes.iter_mut().zip(x) {
        let y = mul(x, inverse); // NaN if `max` is infinite
        let y = if y.is_nan() { 0.0 } else { y };
        let y = if y > -MAX_CODE { y } else { -MAX_CODE };
        let y = if y < MAX_CODE { y } else { MAX_CODE };
        *code = round_small(y) as i8;
    }
}

#[inline(always)]
fn quantize_plain(x: &[f32], codes: &mut [i8]) -> f32 {
    let max = abs_max(x);
    fill_codes(x, max, codes);
    div(max, MAX_CODE)
}

#[inline(always)]
fn norm_quantize_plain(x: &[f32], norm: Norm<'_>, work: &mut [f32], codes: &mut [i8]) -> f32 {
    let work = &mut work[..x.len()];
    for ((y, &x), &w) in work.iter_mut().zip(x).zip(norm.0) {
        *y = mul(x, w);
    }
    let max = abs_max(work);
    fill_codes(work, max, codes);
    div(mul(max, rms_factor(x, norm.1)), MAX_CODE)
}

#[inline(always)]
fn norm_plain(x: &[f32], norm: Norm<'_>, out: &mut [f32]) {
    let factor = rms_factor(x, norm.1);
    for ((y, &x), &w) in out.iter_mut().zip(x).zip(norm.0) {
        *y = mul(mul(x, w), factor);
    }
}

versions!(
    /// [`spec::numerics::quant::quantize`] into `codes`; returns the scale.
    quantize = quantize_plain(x: &[f32], codes: &mut [i8]) -> f32
);
versions!(
    /// [`spec::numerics::quant::norm_quantize`] into `codes`; returns the scale. `work` has room for `x`.
    norm_quantize = norm_quantize_plain(x: &[f32], norm: Norm<'_>, work: &mut [f32], codes: &mut [i8]) -> f32
);
versions!(
    /// [`spec::numerics::quant::norm`] into `out`.
    norm = norm_plain(x: &[f32], norm: Norm<'_>, out: &mut [f32])
);

#[inline(always)]
fn dequantize_plain(sums: &[[i32; 16]], scales: &[f32], rows: &[f32; 16], first: bool, out: &mut [[f32; 16]]) {
    for ((sums, &scale), out) in sums.iter().zip(scales).zip(out) {
        for i in 0..16 {
            let y = mul(from_i32(sums[i]), mul(scale, rows[i]));
            out[i] = if first { y } else { add(out[i], y) };
        }
    }
}

versions!(
    /// `sum * (scale of the token * scale of the row)` for a row block, stored if `first`, added if not.
    dequantize = dequantize_plain(
        sums: &[[i32; 16]], scales: &[f32], rows: &[f32; 16], first: bool, out: &mut [[f32; 16]],
    )
);

#[inline(always)]
fn add_plain(x: &mut [f32], y: &[f32]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = add(*x, y);
    }
}

versions!(
    /// `x += y`
    add_to = add_plain(x: &mut [f32], y: &[f32])
);

/// Tables of the element-wise functions.
#[derive(Clone, Debug)]
pub struct Tables {
    /// SiLU.
    pub(super) sigmoid: SigmoidTable,
    #[cfg(target_arch = "x86_64")]
    pub(super) packed: super::avx512::gate::PackedSigmoid,
    /// Softmax: an entry of the table times 512 plus its distance to the next, so that one look-up
    /// fetches both (17 and 9 bits).
    pub(super) exp2: [i32; 128],
}

impl Default for Tables {
    fn default() -> Self {
        let exp2 = Exp2Table::default();
        let entries = exp2.entries();
        let sigmoid = SigmoidTable::default();
        Tables {
            #[cfg(target_arch = "x86_64")]
            packed: super::avx512::gate::PackedSigmoid::new(&sigmoid),
            sigmoid,
            exp2: std::array::from_fn(|i| entries[i] << 9 | (entries[i] - entries[i + 1])),
        }
    }
}

#[inline(always)]
fn rotate_plain(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        let turned = sub(mul(*a, cos), mul(*b, sin));
        *b = add(mul(*b, cos), mul(*a, sin));
        *a = turned;
    }
}

versions!(
    /// [`spec::numerics::rope::RopeTable::rotate`] of one head.
    rotate = rotate_plain(head: &mut [f32], cos: &[f32], sin: &[f32])
);

#[inline(always)]
fn dot_plain(codes: &[u8], acts: &[Line]) -> i32 {
    let mut lanes = [0i32; 16];
    for (codes, line) in codes.chunks(64).zip(acts) {
        for (codes, acts) in codes.chunks(16).zip(line.0.chunks(16)) {
            for ((lane, &code), &act) in lanes.iter_mut().zip(codes).zip(acts) {
                *lane += i32::from(code as i8) * i32::from(act);
            }
        }
    }
    lanes.iter().sum()
}

versions!(
    /// The integer product of a row of signed codes and a token.
    dot = dot_plain(codes: &[u8], acts: &[Line]) -> i32
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Isa, gate::gate, testing::Random};
    use spec::{
        model::Activation,
        numerics::{f32ops::round_to_i32, quant, rope::RopeTable},
    };

    /// Numbers of every size, signed zeros, ties and both ends.
    fn values(random: &mut Random, n: usize) -> Vec<f32> {
        let kind = random.below(5);
        (0..n)
            .map(|_| match (kind, random.below(12)) {
                (0, _) => 0.0,
                (_, 0) => -0.0,
                (_, 1) => f32::MIN_POSITIVE * random.unit().signum(),
                (1, _) => random.unit() * 1e18,
                (2, _) => random.unit() * 1e-20,
                (3, _) => (random.below(600) as f32 - 300.0) * 0.5,
                _ => random.unit() * 10f32.powi(random.below(9) as i32 - 4),
            })
            .map(spec::numerics::f32ops::flush)
            .collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_version_gives_the_bits_of_the_specification() {
        let tables = Tables::default();
        for isa in Isa::available() {
            for seed in 0..300 {
                let mut random = Random::new(seed);
                let n = 1 + random.below(300);
                let (x, y) = (values(&mut random, n), values(&mut random, n));
                let at = format!("{} seed {seed}", isa.name());
                let (mut codes, mut work) = (vec![0; n], vec![0.0; n]);
                let want = quant::quantize(&x);
                let scale = quantize(isa, &x, &mut codes);
                assert_eq!((scale.to_bits(), &codes), (want.scale.to_bits(), &want.codes), "{at}");
                let want = quant::norm_quantize(&x, &y, 1e-5);
                let scale = norm_quantize(isa, &x, (&y, 1e-5), &mut work, &mut codes);
                assert_eq!((scale.to_bits(), &codes), (want.scale.to_bits(), &want.codes), "{at}");
                norm(isa, &x, (&y, 1e-6), &mut work);
                assert_eq!(bits(&work), bits(&quant::norm(&x, &y, 1e-6)), "{at}");
                let whole = n / 16 * 16;
                let ((x, _), (y, _)) = (x.as_chunks::<16>(), y.as_chunks::<16>());
                let mut tiles = vec![[0.0; 16]; x.len()];
                for activation in [Activation::Silu, Activation::Relu2] {
                    gate(isa, activation, &tables, x, y, &mut tiles);
                    let want =
                        spec::model::ffn::device(activation, &tables.sigmoid, x.as_flattened(), y.as_flattened());
                    assert_eq!(want.len(), whole);
                    assert_eq!(bits(tiles.as_flattened()), bits(&want), "{at}");
                }
            }
        }
    }

    #[test]
    fn overflow_and_nan_have_the_codes_of_the_specification() {
        for isa in Isa::available() {
            for (seed, odd) in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN].into_iter().enumerate() {
                let mut random = Random::new(seed as u64);
                let mut x: Vec<f32> = (0..100).map(|_| random.unit()).collect();
                (x[3], x[40], x[99]) = (odd, 0.0, odd);
                let mut codes = vec![0; x.len()];
                let scale = quantize(isa, &x, &mut codes);
                let want = quant::quantize(&x);
                assert_eq!((scale.to_bits(), codes), (want.scale.to_bits(), want.codes), "{} {odd}", isa.name());
            }
        }
    }

    #[test]
    fn both_roundings_agree_with_the_specification() {
        let edges = [0.5f32, 1.5, 2.5, 8_388_607.5, 2_147_483_520.0, 2_147_483_648.0, 3e9, f32::INFINITY];
        for x in edges.iter().flat_map(|&x| [x, -x]).chain([f32::NAN, 0.0, -0.0]) {
            assert_eq!(round_wide(x), round_to_i32(x), "{x}");
        }
        for i in -4_194_304..=4_194_304 {
            for x in [i as f32, i as f32 + 0.5, i as f32 * 0.37] {
                if x.abs() <= 4_194_304.0 {
                    assert_eq!(round_small(x), round_to_i32(x), "{x}");
                }
            }
        }
    }

    #[test]
    fn every_version_rotates_alike() {
        let mut config = crate::cpu::testing::config();
        config.head_dim = 96;
        let table = RopeTable::new(&config, 50);
        for isa in Isa::available() {
            let mut random = Random::new(3);
            for position in 0..50 {
                let mut head = values(&mut random, 96);
                let mut want = head.clone();
                table.rotate(&mut want, position);
                rotate(isa, &mut head, table.cos(position), table.sin(position));
                assert_eq!(bits(&head), bits(&want));
            }
        }
    }
}
