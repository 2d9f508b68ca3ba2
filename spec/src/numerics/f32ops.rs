//! binary32 as the hardware does it: round to nearest even, subnormals flushed to zero, nothing fused.
//!
//! A result is first rounded as IEEE 754 says, on the subnormal grid too, and then replaced by a
//! zero of its sign if its magnitude is below [`f32::MIN_POSITIVE`]. Operands are results, or were
//! flushed when they were loaded, so flushing results is enough. NaN results are not distinguished.

/// Replaces a subnormal by a zero of its sign.
#[inline(always)]
pub fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(value) } else { value }
}

/// `a + b`
#[inline(always)]
pub fn add(a: f32, b: f32) -> f32 {
    flush(a + b)
}

/// `a - b`
#[inline(always)]
pub fn sub(a: f32, b: f32) -> f32 {
    flush(a - b)
}

/// `a * b`
#[inline(always)]
pub fn mul(a: f32, b: f32) -> f32 {
    flush(a * b)
}

/// `a / b`
#[inline(always)]
pub fn div(a: f32, b: f32) -> f32 {
    flush(a / b)
}

/// The square root.
#[inline(always)]
pub fn sqrt(a: f32) -> f32 {
    flush(a.sqrt())
}

/// The nearest `f32`, ties to even.
#[inline(always)]
pub fn from_i32(a: i32) -> f32 {
    a as f32
}

/// The nearest `f32`, ties to even.
#[inline(always)]
pub fn from_i64(a: i64) -> f32 {
    a as f32
}

/// The nearest integer, ties to even; saturates, NaN gives 0.
#[inline(always)]
pub fn round_to_i32(a: f32) -> i32 {
    a.round_ties_even() as i32
}

/// Partial sums of [`sum_of_squares`].
pub const SUM_LANES: usize = 64;

/// Sum of squares in the contract's order: square `j` is added to partial sum `j mod 64`, in order
/// of `j`; then partial sums `i` and `i + 32` are added, then `i` and `i + 16`, and so on.
///
/// 64 partial sums let a pipelined adder of up to 64/W cycles take W values a cycle.
pub fn sum_of_squares(x: &[f32]) -> f32 {
    let mut partial = [0.0f32; SUM_LANES];
    for (j, &value) in x.iter().enumerate() {
        let lane = &mut partial[j % SUM_LANES];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormal_results_become_signed_zeros() {
        let tiny = f32::MIN_POSITIVE;
        assert_eq!(mul(tiny, 0.5).to_bits(), 0);
        assert_eq!(mul(-tiny, 0.5).to_bits(), 0x8000_0000);
        assert_eq!(sub(tiny * 1.5, tiny).to_bits(), 0);
        assert_eq!(mul(tiny, 1.0), tiny);
        // rounds up to the smallest normal number on the subnormal grid, so it stays
        let below_one = f32::from_bits(0x3f7f_ffff);
        assert_eq!(mul(tiny, below_one), tiny);
    }

    #[test]
    fn rounding_is_half_to_even_and_saturates() {
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5].map(round_to_i32), [0, 2, 2, 0, -2]);
        assert_eq!(round_to_i32(f32::NAN), 0);
        assert_eq!(round_to_i32(1e20), i32::MAX);
        assert_eq!(round_to_i32(-1e20), i32::MIN);
        assert_eq!(from_i32(16_777_217), 16_777_216.0);
    }

    #[test]
    fn sums_follow_the_written_order() {
        let x: Vec<f32> = (0..200).map(|i| (i as f32 * 0.37).sin() * 10f32.powi(i % 7 - 3)).collect();
        let exact: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let sum = sum_of_squares(&x);
        assert!((f64::from(sum) - exact).abs() < 1e-5 * exact);
        assert_eq!(sum_of_squares(&[]), 0.0);
        assert_eq!(sum_of_squares(&[3.0]), 9.0);
    }
}
