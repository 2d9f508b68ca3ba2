//! Elementary functions in binary64, made of IEEE operations only, so that the tables computed from
//! them are the same on every machine (no libm). Relative error below 1e-14.

const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000); // upper 32 bits of ln 2
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
const PIO2_HI: f64 = f64::from_bits(0x3ff9_21fb_5440_0000); // upper 33 bits of pi / 2
const PIO2_MID: f64 = f64::from_bits(0x3dd0_b461_1a60_0000); // next 33 bits
const PIO2_LO: f64 = 2.022_266_248_795_950_6e-21;

/// `e^x` for |x| < 700.
pub fn exp(x: f64) -> f64 {
    let k = (x * std::f64::consts::LOG2_E).round_ties_even();
    let r = (x - k * LN2_HI) - k * LN2_LO;
    let series = (1..=18).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * power_of_two(k as i32)
}

/// The natural logarithm of a positive normal number.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..=20).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    let exponent = f64::from(exponent);
    exponent * LN2_HI + (2.0 * s * series + exponent * LN2_LO)
}

/// `base^exponent` for a positive base.
pub fn pow(base: f64, exponent: f64) -> f64 {
    exp(exponent * ln(base))
}

/// `(sin x, cos x)` for 0 <= x < 2^20.
pub fn sin_cos(x: f64) -> (f64, f64) {
    let k = (x * std::f64::consts::FRAC_2_PI).round_ties_even();
    let r = ((x - k * PIO2_HI) - k * PIO2_MID) - k * PIO2_LO;
    let square = r * r;
    let term = |sum: f64, n: i32| 1.0 - sum * square / f64::from(n * (n + 1));
    let sin = r * (1..=10).rev().fold(1.0, |sum, i| term(sum, 2 * i));
    let cos = (1..=10).rev().fold(1.0, |sum, i| term(sum, 2 * i - 1));
    match k as i64 & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1e-3), "{a} {b}");
    }

    #[test]
    fn agrees_with_the_platform() {
        for i in -7000..7000 {
            let x = f64::from(i) * 0.0991;
            close(exp(x), x.exp(), 1e-14);
        }
        for i in 1..5000 {
            let x = f64::from(i) * f64::from(i) * 0.013;
            close(ln(x), x.ln(), 1e-14);
            close(pow(x, 0.37), x.powf(0.37), 1e-14);
        }
        for i in 0..200_000 {
            let x = f64::from(i) * 0.71;
            let (sin, cos) = sin_cos(x);
            assert!((sin - x.sin()).abs() < 1e-14 && (cos - x.cos()).abs() < 1e-14, "{x}");
        }
    }
}
