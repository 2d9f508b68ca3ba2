//! The common end of the units: rounding, overflow, underflow, packing.

use crate::ir::{Expr, Module, cat, lit, slit};

/// A quiet NaN.
const NAN: u128 = 0x7fc0_0000;

/// A result before rounding: `sig * 2^(exp - 127 - 23)` and what follows below.
pub(super) struct Unrounded {
    pub(super) sign: Expr,
    /// Biased exponent, i10.
    pub(super) exp: Expr,
    /// u24 with its leading one.
    pub(super) sig: Expr,
    /// The bit below `sig`.
    pub(super) round: Expr,
    /// Whether a one is below that.
    pub(super) sticky: Expr,
    pub(super) nan: Expr,
    pub(super) inf: Expr,
    pub(super) zero: Expr,
}

/// The decision of rounding, in registers: [`pack`] turns it into the result.
pub(super) struct Decided {
    sign: Expr,
    exp: Expr,
    fraction: Expr,
    up: Expr,
    nan: Expr,
    inf: Expr,
    zero: Expr,
}

/// Decides on rounding and range; one cycle.
///
/// Below 2^-126 IEEE rounds to multiples of 2^-149, and only values of at least 2^-126 - 2^-150 reach
/// 2^-126 (the half way goes to it, as it is even). These are the ones with exponent field 0 whose 24 bits
/// are all one *before* rounding; all others become zero. Adding one to field 0 with all ones is 2^-126.
pub(super) fn decide(m: &mut Module, u: &Unrounded) -> Decided {
    decide_when(m, u, None)
}

/// [`decide`], with registers that change only with `enable`.
pub(super) fn decide_when(m: &mut Module, u: &Unrounded, enable: Option<&Expr>) -> Decided {
    m.comment("Rounding: the carry of the fraction goes into the exponent; 254 becomes infinity that way.");
    let exp_zero = m.wire("exp_zero", &u.exp.eq(&slit(0, 10)));
    let reaches_min = m.wire("reaches_min", &(&exp_zero & u.sig.all()));
    let up = &(&u.round & (&u.sticky | &u.sig.bit(0))) | &reaches_min;
    let under = m.wire("under", &((&u.exp.bit(9) | &exp_zero) & !&reaches_min));
    let over = m.wire("over", &(!u.exp.bit(9) & (&u.exp.bit(8) | u.exp.low(8).all())));
    let mut hold = |name: &str, value: &Expr| match enable {
        None => m.delay(name, value),
        Some(enable) => {
            let q = m.reg(name, value.ty());
            m.next_when(&q, enable, value);
            q
        }
    };
    Decided {
        sign: hold("round_sign_q", &u.sign),
        exp: hold("round_exp_q", &u.exp.low(8)),
        fraction: hold("round_fraction_q", &u.sig.low(23)),
        up: hold("round_up_q", &up),
        nan: hold("round_nan_q", &u.nan),
        inf: hold("round_inf_q", &(&u.inf | &over)),
        zero: hold("round_zero_q", &(&u.zero | &under)),
    }
}

/// The result as a binary32 word; no register.
pub(super) fn pack(m: &mut Module, d: &Decided) -> Expr {
    let magnitude = m.wire("magnitude", &cat([&d.exp, &d.fraction]).add_wrap(&d.up.extend(31)));
    let infinity = cat([&lit(255, 8), &lit(0, 23)]);
    let number = d.zero.mux(&lit(0, 31), &d.inf.mux(&infinity, &magnitude));
    d.nan.mux(&lit(NAN, 32), &cat([&d.sign, &number]))
}
