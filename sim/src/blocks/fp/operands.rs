//! Operands that hit the corners of float units.

use crate::rng::Rng;

/// Which operands a unit takes, and so where its corners lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Two floats to be added.
    Sum,
    /// Two floats to be multiplied.
    Product,
    /// Two floats to be divided.
    Quotient,
    /// A float to take the root of.
    Root,
    /// A float to be made an integer.
    Whole,
    /// A signed integer of so many bits.
    Int(u32),
}

fn word(sign: u64, exp: u64, fraction: u64) -> u64 {
    // exponent field 0 means zero: there are no subnormal operands
    let fraction = if exp == 0 { 0 } else { fraction & 0x7f_ffff };
    (sign & 1) << 31 | exp << 23 | fraction
}

/// Floats at the borders of their format, in both signs.
pub fn edges() -> Vec<u64> {
    let mut all = vec![0, word(0, 255, 0), word(0, 255, 1 << 22), word(0, 255, 1), word(0, 255, 0x7f_ffff)];
    for exp in [1, 2, 24, 25, 63, 102, 103, 104, 126, 127, 128, 149, 150, 151, 157, 158, 190, 191, 230, 253, 254] {
        all.extend([0, 1, 0x3f_ffff, 0x40_0000, 0x7f_fffe, 0x7f_ffff].map(|f| word(0, exp, f)));
    }
    let negative: Vec<u64> = all.iter().map(|a| a | 1 << 31).collect();
    all.extend(negative);
    all
}

/// A fraction that is often nearly all zeros or all ones, or short.
fn fraction(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => rng.below(4),
        1 => 0x7f_ffff - rng.below(4),
        2 => (rng.bits() & 0xfff) << 11,
        3 => 1 << rng.below(23),
        4 => 0x40_0000 ^ rng.below(4),
        _ => rng.bits() & 0x7f_ffff,
    }
}

/// A float near one whose exponent field is `exp`, if there is one.
fn around(rng: &mut Rng, exp: i64) -> u64 {
    let fraction = fraction(rng);
    word(rng.bits(), exp.clamp(1, 254) as u64, fraction)
}

fn any(rng: &mut Rng) -> u64 {
    match rng.below(16) {
        0 => rng.pick(&edges()),
        _ => word(rng.bits(), rng.below(256), rng.bits()),
    }
}

fn signed(rng: &mut Rng, below: i64) -> i64 {
    rng.below(2 * below as u64 + 1) as i64 - below
}

impl Operands {
    /// Whether there is a second operand.
    pub fn two(self) -> bool {
        matches!(self, Operands::Sum | Operands::Product | Operands::Quotient)
    }

    /// Whether the operand is an integer.
    pub fn is_int(self) -> bool {
        matches!(self, Operands::Int(_))
    }

    /// Bits of the first operand.
    pub fn width(self) -> u32 {
        if let Operands::Int(width) = self { width } else { 32 }
    }

    /// All edges against all edges.
    pub fn cross(self) -> Vec<(u64, u64)> {
        if let Operands::Int(width) = self {
            let mask = (1u64 << width) - 1;
            let powers = (0..width).flat_map(|b| [1u64 << b, (1 << b) - 1, (1 << b) + 1]);
            return powers.flat_map(|p| [(p & mask, 0), (p.wrapping_neg() & mask, 0)]).collect();
        }
        let edges = edges();
        if !self.two() {
            return edges.into_iter().map(|a| (a, 0)).collect();
        }
        edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))).collect()
    }

    /// Random operands, often where rounding, underflow, overflow or cancellation is decided.
    pub fn pair(self, rng: &mut Rng) -> (u64, u64) {
        let a = any(rng);
        let exp = (a >> 23 & 255) as i64;
        let near = signed(rng, 3);
        match self {
            Operands::Sum => match rng.below(6) {
                0 => (a, any(rng)),
                1 => (a, around(rng, exp - near)),
                // nearly equal and of the other sign
                2 => (a, (a ^ 1 << 31).wrapping_add(rng.below(9)).wrapping_sub(4)),
                3 => {
                    let distance = signed(rng, 28);
                    (a, around(rng, exp - distance))
                }
                4 => {
                    let low = rng.below(4) as i64;
                    (around(rng, low), around(rng, low + near))
                }
                _ => (around(rng, 254), around(rng, 254 - near.abs() * 8)),
            },
            Operands::Product => match rng.below(5) {
                0 => (a, any(rng)),
                1 => (a, around(rng, 127 - exp + near)),
                2 => (a, around(rng, 127 + 254 - exp + near)),
                // short factors make ties
                3 => (word(rng.bits(), 100, rng.bits() << 11), word(rng.bits(), 120, rng.bits() << 11)),
                // a product close to 2^-126
                _ => Self::close_product(rng),
            },
            Operands::Quotient => match rng.below(5) {
                0 => (a, any(rng)),
                1 => (a, around(rng, exp + 127 + near)),
                2 => (a, around(rng, exp - 127 + near)),
                3 => {
                    // powers of two and all ones: the half way below 2^-126
                    let exp = rng.within(1, 126);
                    let close = 0x7f_ffff - rng.below(3);
                    (word(rng.bits(), exp, close), word(rng.bits(), exp + 127, rng.below(3) / 2))
                }
                _ => {
                    // quotients that are exact, or nearly
                    let b = word(rng.bits(), 100, rng.bits() << 11);
                    let q = f32::from_bits(word(0, 120, rng.bits() << 11) as u32);
                    let a = f32::from_bits(b as u32) * q;
                    ((u64::from(a.to_bits()) + rng.below(3)).saturating_sub(1), b)
                }
            },
            Operands::Root => match rng.below(4) {
                0 => (a, 0),
                1 => {
                    // squares, or nearly
                    let r = f32::from_bits(word(0, rng.within(70, 180), rng.bits() << rng.below(14)) as u32);
                    (u64::from((r * r).to_bits()) + rng.below(3) - 1, 0)
                }
                _ => {
                    let exp = rng.within(1, 254) as i64;
                    (around(rng, exp) & 0x7fff_ffff, 0)
                }
            },
            Operands::Whole => match rng.below(4) {
                0 => (a, 0),
                1 => {
                    // a half more than an integer, or nearly
                    let bits = rng.within(1, 23);
                    let whole = rng.below(1 << bits) as f32 + 0.5;
                    let bits = u64::from(whole.to_bits()) + rng.below(3) - 1;
                    (bits | (rng.bits() & 1) << 31, 0)
                }
                _ => {
                    let exp = rng.within(123, 160) as i64;
                    (around(rng, exp), 0)
                }
            },
            Operands::Int(width) => {
                let bits = rng.within(1, u64::from(width));
                let mut value = rng.bits() >> (64 - bits);
                if bits > 26 && rng.one_in(3) {
                    // half an ulp, or nearly
                    let lost = bits - 24;
                    value = (value >> lost << lost | 1 << (lost - 1)).wrapping_add(rng.below(3)).wrapping_sub(1);
                }
                let value = if rng.one_in(2) { value.wrapping_neg() } else { value };
                (value & ((1 << width) - 1), 0)
            }
        }
    }

    /// Factors whose product is within a few units of 2^-150 of 2^-126.
    fn close_product(rng: &mut Rng) -> (u64, u64) {
        let a = around(rng, 64);
        let x = f32::from_bits(a as u32 & 0x7fff_ffff);
        let goal = 2f64.powi(-126) * (1.0 - rng.below(5) as f64 * 2f64.powi(-25));
        let b = (goal / f64::from(x)) as f32;
        (a, (u64::from(b.to_bits()) + rng.below(3) - 1) | (rng.bits() & 1) << 31)
    }
}
