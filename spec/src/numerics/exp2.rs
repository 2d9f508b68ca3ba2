//! `2^-d` for the softmax: a table of 128 entries with linear interpolation, all in integers.
//!
//! Distances are unsigned fixed-point numbers with 16 fraction bits, results are 15-bit integers:
//! `weight(d) = 32767` for `d = 0`, falling to 0 beyond 16. The error is below 1.13 units of 2^-15
//! over every input (proven by the exhaustive test below).

use super::math;

/// Fraction bits of a distance.
pub const FRACTION_BITS: u32 = 16;
/// Largest result.
pub const MAX_WEIGHT: i32 = 32_767;
/// Log2 of the number of table intervals.
pub const INDEX_BITS: u32 = 7;
const STEP_BITS: u32 = FRACTION_BITS - INDEX_BITS;

/// The table: `round(65536 * 2^(-i/128))` for i in 0..=128.
#[derive(Clone, Debug)]
pub struct Exp2Table([i32; (1 << INDEX_BITS) + 1]);

impl Default for Exp2Table {
    fn default() -> Self {
        Exp2Table(std::array::from_fn(|i| {
            let exact = 65_536.0 * math::exp(-(i as f64) / 128.0 * std::f64::consts::LN_2);
            exact.round_ties_even() as i32
        }))
    }
}

impl Exp2Table {
    /// The entries, for ROMs and fast kernels.
    pub fn entries(&self) -> &[i32; (1 << INDEX_BITS) + 1] {
        &self.0
    }

    /// `round(32768 * 2^-distance)`, at most 32767.
    pub fn weight(&self, distance: u32) -> i32 {
        let whole = distance >> FRACTION_BITS;
        if whole > 15 {
            return 0;
        }
        let index = (distance >> STEP_BITS & ((1 << INDEX_BITS) - 1)) as usize;
        let along = (distance & ((1 << STEP_BITS) - 1)) as i32;
        let drop = self.0[index] - self.0[index + 1];
        let mantissa = self.0[index] - ((drop * along + (1 << (STEP_BITS - 1))) >> STEP_BITS);
        ((mantissa + (1 << whole)) >> (whole + 1)).min(MAX_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_below_the_stated_bound_everywhere() {
        let table = Exp2Table::default();
        let mut worst = 0.0f64;
        for distance in 0..=18u32 << FRACTION_BITS {
            let exact = 32_768.0 * (-f64::from(distance) / 65_536.0).exp2();
            worst = worst.max((f64::from(table.weight(distance)) - exact).abs());
        }
        assert!(worst < 1.13, "{worst}");
        assert_eq!(table.weight(0), MAX_WEIGHT);
        assert_eq!(table.weight(u32::MAX), 0);
    }

    #[test]
    fn never_rises() {
        let table = Exp2Table::default();
        let weights = (0..=17u32 << FRACTION_BITS).map(|d| table.weight(d));
        assert!(weights.is_sorted_by(|a, b| a >= b));
    }
}
