//! Element-wise arithmetic of `spec::numerics`, laid out so that the compiler can use vectors.
//!
//! The operations are `spec`'s own, in its order, nothing is fused: what is written here in plain Rust
//! is compiled once for each instruction set (`versions`), so every version gives the same bits.

use super::acts::Line;
use spec::{
    model::Activation,
    numerics::{
        exp2::{self, Exp2Table},
        f32ops::{SUM_LANES, add, div, from_i32, from_i64, mul, sqrt, sub},
        quant::{FLOOR, MAX_CODE},
        sigmoid::{self, SigmoidTable},
    },
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
fn round_small(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

/// [`spec::numerics::f32ops::round_to_i32`] without the branches that keep loops from using vectors.
#[inline(always)]
fn round_wide(x: f32) -> i32 {
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
    sigmoid: SigmoidTable,
    #[cfg(target_arch = "x86_64")]
    packed: super::avx512::gate::PackedSigmoid,
    /// Softmax: an entry of the table times 512 plus its distance to the next, so that one look-up
    /// fetches both (17 and 9 bits).
    exp2: [i32; 128],
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
    /// The same in plain Rust, of any length.
    gate_versions = gate_plain(activation: Activation, tables: &Tables, gate: &[f32], up: &[f32], out: &mut [f32])
);

/// [`spec::model::ffn::device`]: `act(gate) * up`, tile by tile.
pub fn gate(
    isa: super::Isa,
    activation: Activation,
    tables: &Tables,
    gate: &[[f32; 16]],
    up: &[[f32; 16]],
    out: &mut [[f32; 16]],
) {
    #[cfg(target_arch = "x86_64")]
    if activation == Activation::Silu && matches!(isa, super::Isa::Avx512 | super::Isa::Amx) {
        // SAFETY: these sets are only offered where the processor has their features.
        return unsafe { super::avx512::gate::silu(&tables.packed, gate, up, out) };
    }
    gate_versions(isa, activation, tables, gate.as_flattened(), up.as_flattened(), out.as_flattened_mut());
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

/// Codes of the head that begins at row `row` of a token, turned by `angles` (cosines and sines) if there
/// are any; returns the scale. `buffer` is for heads that have to be copied.
pub fn head_codes(
    isa: super::Isa,
    tiles: &super::tiles::Tiles,
    (token, row): (usize, usize),
    angles: Option<(&[f32], &[f32])>,
    buffer: &mut Vec<f32>,
    codes: &mut [i8],
) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, super::Isa::Avx512 | super::Isa::Amx)
        && super::avx512::heads::serves(codes.len())
        && row.is_multiple_of(super::layout::ROWS)
    {
        let x = &tiles.data()[row / super::layout::ROWS * tiles.stride() + token..];
        // SAFETY: these sets are only offered where the processor has their features.
        return unsafe { super::avx512::heads::quantize(x, tiles.stride(), angles, codes) };
    }
    buffer.resize(codes.len(), 0.0);
    tiles.copy_rows(token, row, buffer);
    if let Some((cos, sin)) = angles {
        rotate(isa, buffer, cos, sin);
    }
    quantize(isa, buffer, codes)
}

/// Scores of a run of positions in place of their dot products; returns the largest.
#[inline(always)]
fn scores_plain(dots: &mut [i32], key_scales: &[f32], query_scale: f32) -> i32 {
    let mut top = i32::MIN;
    for (dot, &ks) in dots.iter_mut().zip(key_scales) {
        let score = mul(from_i32(*dot), mul(ks, query_scale));
        *dot = round_wide(mul(score, (1 << exp2::FRACTION_BITS) as f32)); // `softmax::fixed16`
        top = top.max(*dot);
    }
    top
}

versions!(
    /// Replaces dot products by scores ([`spec::numerics::softmax::fixed16`]) and returns the largest.
    scores = scores_plain(dots: &mut [i32], key_scales: &[f32], query_scale: f32) -> i32
);

/// [`Exp2Table::weight`] without branches.
#[inline(always)]
fn weight(table: &[i32; 128], distance: u32) -> i32 {
    const STEP_BITS: u32 = exp2::FRACTION_BITS - exp2::INDEX_BITS;
    let whole = distance >> exp2::FRACTION_BITS;
    let index = (distance >> STEP_BITS) as usize & 127;
    let along = (distance & ((1 << STEP_BITS) - 1)) as i32;
    let (entry, drop) = (table[index] >> 9, table[index] & 511);
    let mantissa = entry - ((drop * along + (1 << (STEP_BITS - 1))) >> STEP_BITS);
    let shift = whole.min(15);
    let rounded = (mantissa + (1 << shift)) >> (shift + 1);
    if whole > 15 { 0 } else { rounded.min(exp2::MAX_WEIGHT) }
}

/// Weights of a run of positions in place of their scores; returns the sum before V's scales.
#[inline(always)]
fn weights_plain(tables: &Tables, scores: &mut [i32], value_scales: &[f32], top: i32, inverse: f32) -> i64 {
    let table = &tables.exp2;
    let mut sum = 0i64;
    for (scores, value_scales) in scores.chunks_mut(1 << 15).zip(value_scales.chunks(1 << 15)) {
        let mut part = 0i32; // at most 2^15 weights of 15 bits
        for (score, &vs) in scores.iter_mut().zip(value_scales) {
            let p = weight(table, top.abs_diff(*score));
            part += p;
            *score = round_small(mul(from_i32(p), mul(vs, inverse)));
        }
        sum += i64::from(part);
    }
    sum
}

versions!(
    /// Replaces scores by attention weights with V's scales folded in; returns the sum without them.
    weights = weights_plain(
        tables: &Tables, scores: &mut [i32], value_scales: &[f32], top: i32, inverse: f32,
    ) -> i64
);

#[inline(always)]
fn largest_plain(x: &[f32]) -> f32 {
    // numbers that are not negative are ordered as their bits are
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() as i32)) as u32)
}

versions!(
    /// The largest of numbers that are not negative.
    largest = largest_plain(x: &[f32]) -> f32
);

#[inline(always)]
fn key_products_plain(keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32]) {
    let queries = minus.len();
    for (b, block) in keys.chunks_exact(words.len() / queries * 64).enumerate() {
        for (q, &minus) in minus.iter().enumerate() {
            let mut sums = [minus; 16];
            for (i, four) in block.chunks_exact(64).enumerate() {
                let codes = words[i * queries + q].to_le_bytes().map(|c| i32::from(c as i8));
                for (t, sum) in sums.iter_mut().enumerate() {
                    for (d, &code) in codes.iter().enumerate() {
                        *sum += i32::from(four[4 * t + d]) * code;
                    }
                }
            }
            dots[q * stride + 16 * b..][..16].copy_from_slice(&sums);
        }
    }
}

versions!(
    /// Dot products of `keys` (see [`super::kv`]) and interleaved queries, `dots[q * stride + t]`,
    /// starting from `minus[q]`.
    key_products = key_products_plain(
        keys: &[u8], words: &[i32], minus: &[i32], stride: usize, dots: &mut [i32],
    )
);

#[inline(always)]
fn widen_plain(low: &[i32], high: &[i32], sums: &mut [i64]) {
    for ((sum, &low), &high) in sums.iter_mut().zip(low).zip(high) {
        *sum += i64::from(low) + 256 * i64::from(high);
    }
}

versions!(
    /// `sums += low + 256 high`
    widen = widen_plain(low: &[i32], high: &[i32], sums: &mut [i64])
);

#[inline(always)]
fn scale_sums_plain(sums: &[i64], scale: f32, out: &mut [f32]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = mul(from_i64(sum), scale);
    }
}

versions!(
    /// `out = sums * scale`, as in [`softmax::combine`](spec::numerics::softmax::combine).
    scale_sums = scale_sums_plain(sums: &[i64], scale: f32, out: &mut [f32])
);

/// Low and high bytes of attention weights, and how far the weights of two queries are apart.
pub type Halves<'a> = (&'a [u8], &'a [u8], usize);

#[inline(always)]
fn halves_plain(weights: &[i32], low: &mut [u8], high: &mut [u8]) {
    for ((&w, low), high) in weights.iter().zip(low).zip(high) {
        *low = w as u8;
        *high = (w >> 8) as u8;
    }
}

versions!(
    /// The low and high bytes of weights of 15 bits.
    halves = halves_plain(weights: &[i32], low: &mut [u8], high: &mut [u8])
);

#[inline(always)]
fn value_sums_plain(values: &[u8], (low, high, stride): Halves<'_>, queries: usize, padded: usize, sums: &mut [i32]) {
    for (b, block) in values.chunks_exact(4 * padded).enumerate() {
        for q in 0..queries {
            for (half, weights) in [low, high].into_iter().enumerate() {
                let at = q * stride + b * 4;
                let w: [i32; 4] = std::array::from_fn(|t| i32::from(weights[at + t]));
                let sums = &mut sums[(2 * q + half) * padded..][..padded];
                for (sum, four) in sums.iter_mut().zip(block.chunks_exact(4)) {
                    *sum += (0..4).map(|t| w[t] * i32::from(four[t] as i8)).sum::<i32>();
                }
            }
        }
    }
}

versions!(
    /// Adds weighted values (see [`super::kv`]) to `sums[q][low, high][padded]`.
    value_sums = value_sums_plain(
        values: &[u8], weights: Halves<'_>, queries: usize, padded: usize, sums: &mut [i32],
    )
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
    use crate::cpu::{Isa, testing::Random};
    use spec::numerics::{f32ops::round_to_i32, quant, rope::RopeTable, softmax};

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

    #[test]
    fn every_version_has_the_softmax_of_the_specification() {
        let tables = Tables::default();
        let exp2 = Exp2Table::default();
        for distance in (0..18 << 16).chain([u32::MAX]) {
            assert_eq!(weight(&tables.exp2, distance), exp2.weight(distance));
        }
        for isa in Isa::available() {
            for seed in 0..200 {
                let mut random = Random::new(seed);
                let n = 1 + random.below(400);
                let range = [10, 3000, 2_000_000][random.below(3)];
                let dots: Vec<i32> = (0..n).map(|_| random.below(2 * range) as i32 - range as i32).collect();
                let scale = |random: &mut Random| (random.unit().abs() * 0.1).max(1e-6);
                let ks: Vec<f32> = (0..n).map(|_| scale(&mut random)).collect();
                let vs: Vec<f32> = (0..n).map(|_| scale(&mut random)).collect();
                let query = 10f32.powi(-(random.below(4) as i32));
                let want = softmax::weights(&exp2, &dots, &ks, &vs, query);
                let mut got = dots.clone();
                let top = scores(isa, &mut got, &ks, query);
                let value_scale = vs.iter().copied().fold(0.0, f32::max);
                let sum = weights(isa, &tables, &mut got, &vs, top, div(1.0, value_scale));
                assert_eq!(got, want.w, "{} seed {seed}", isa.name());
                let scale = div(value_scale, spec::numerics::f32ops::from_i64(sum));
                assert_eq!(scale.to_bits(), want.scale.to_bits());
            }
        }
    }
}
