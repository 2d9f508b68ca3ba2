//! binary32 arithmetic as `spec::numerics::f32ops` defines it: round to nearest even, results below
//! 2^-126 become zeros, operands are zero, normal, infinite or NaN but never subnormal.
//!
//! | unit | module | cycles | rate |
//! |---|---|---|---|
//! | [`Add`] | `tern_fadd` | 6 | every cycle |
//! | [`Mul`] | `tern_fmul` | 5 | every cycle |
//! | [`FromInt`] | `tern_i2f_w<width>` | 4 | every cycle |
//! | [`ToInt`] | `tern_f2i` | 3 | every cycle |
//! | [`Div`] | `tern_fdiv` | 29 | every cycle |
//! | [`DivIter`] | `tern_fdiv_iter` | 29 | every 30 cycles, with streams |
//! | [`Sqrt`] | `tern_fsqrt` | 28 | every 29 cycles, with streams |
//!
//! The pipelines have no reset and no stall: `y_o` belongs to the operands of `LATENCY` cycles earlier if
//! `valid_i` came with them, and stays until the next operands' result. [`super::pipe::Credit`] makes ready/valid streams of them.

mod add;
mod div;
mod from_int;
mod iterate;
mod mul;
mod round;
mod sqrt;
mod to_int;

pub use add::Add;
pub use div::{Div, DivIter};
pub use from_int::FromInt;
pub use mul::Mul;
pub use sqrt::Sqrt;
pub use to_int::ToInt;

use crate::ir::{Expr, Module, cat, lit};

/// Bits of a stored significand.
const FRACTION: u32 = 23;
/// Exponent field of 1.0.
const BIAS: i128 = 127;
/// Exponent field of infinities and NaN.
const SPECIAL: u32 = 255;

/// `|a|` of a binary32 word.
pub fn abs(a: &Expr) -> Expr {
    cat([&lit(0, 1), &a.low(31)])
}

/// `-a` of a binary32 word.
pub fn neg(a: &Expr) -> Expr {
    cat([&!a.bit(31), &a.low(31)])
}

/// `|a| > |b|` of binary32 words, compared as integers: right for all values but NaN.
pub fn gt_abs(a: &Expr, b: &Expr) -> Expr {
    a.low(31).gt(&b.low(31))
}

/// An operand taken apart.
struct Fields {
    sign: Expr,
    /// The exponent field, u8.
    exp: Expr,
    /// The significand with its leading one, u24; zero has none.
    sig: Expr,
    zero: Expr,
    inf: Expr,
    nan: Expr,
}

impl Fields {
    /// Takes `a` apart; `name` is the stem of the wires.
    fn of(m: &mut Module, name: &str, a: &Expr) -> Fields {
        let (exp, fraction) = (a.slice(FRACTION, 8), a.low(FRACTION));
        let zero = m.wire(&format!("{name}_zero"), &!exp.any());
        let special = m.wire(&format!("{name}_special"), &exp.eq(&lit(SPECIAL.into(), 8)));
        let odd = m.wire(&format!("{name}_odd"), &fraction.any());
        Fields {
            sign: a.bit(31),
            sig: cat([&!&zero, &fraction]),
            inf: &special & !&odd,
            nan: &special & &odd,
            exp,
            zero,
        }
    }
}

/// Leading zeros of `value`; a value of zero gives the number of its bits or more. Adds wires `<name>..`.
pub(crate) fn leading_zeros(m: &mut Module, name: &str, value: &Expr) -> Expr {
    let bits = value.width().next_power_of_two();
    // ones below the value stop the count at its width
    let padded = match bits - value.width() {
        0 => value.clone(),
        missing => cat([value, &lit((1 << missing) - 1, missing)]),
    };
    let mut groups: Vec<(Expr, Option<Expr>)> = (0..bits).rev().map(|b| (padded.bit(b), None)).collect();
    let mut level = 0;
    while groups.len() > 1 {
        level += 1;
        let pair = |(at, pair): (usize, &[(Expr, Option<Expr>)])| {
            let [(high, high_count), (low, low_count)] = pair else { return pair[0].clone() };
            let any = m.wire(&format!("{name}_any{level}_{at}"), &(high | low));
            let below = match (high_count, low_count) {
                (Some(h), Some(l)) => cat([&!high, &high.mux(h, l)]),
                _ => !high,
            };
            (any, Some(m.wire(&format!("{name}_count{level}_{at}"), &below)))
        };
        groups = groups.chunks(2).enumerate().map(pair).collect();
    }
    let (any, count) = groups.swap_remove(0);
    m.unused(&format!("{name}_any"), &[any]);
    count.unwrap_or_else(|| lit(0, 1))
}

/// `value >> amount` and whether a one was lost. Adds wires `<name>..`.
pub(crate) fn shift_right(m: &mut Module, name: &str, value: &Expr, amount: &Expr) -> (Expr, Expr) {
    let width = value.width();
    let lost_bit = |bit: u32| match (u128::from(bit) + 1) >> amount.width() {
        0 => amount.gt(&lit(bit.into(), amount.width())),
        _ => lit(0, 1),
    };
    let mask = m.wire(&format!("{name}_lost"), &cat((0..width).rev().map(lost_bit)));
    (value.shr(amount), (value & &mask).any())
}
