//! What an expression means: the oracle of the Verilog printer.

use super::expr::{BinOp, Expr, Op, Reduce, Ty};

/// The bits of `value` that a type of `width` holds.
fn cut(value: u128, width: u32) -> u128 {
    if width >= 128 { value } else { value & ((1 << width) - 1) }
}

/// The number that `bits` of type `ty` stand for.
fn number(bits: u128, ty: Ty) -> i128 {
    let shift = 128 - ty.width.min(128);
    if ty.signed { (bits << shift) as i128 >> shift } else { bits as i128 }
}

/// Bits of `expr` given the bits of names, for values of up to 128 bits.
///
/// Returns `None` for wider values, memory words and expressions that do not type-check.
pub fn evaluate(expr: &Expr, names: &dyn Fn(&str) -> Option<u128>) -> Option<u128> {
    if expr.width() > 128 {
        return None;
    }
    let bits = |e: &Expr| evaluate(e, names);
    let num = |e: &Expr| Some(number(evaluate(e, names)?, e.ty()));
    let value = match expr.op() {
        Op::Lit(value) => *value,
        Op::Name(name) => names(name)?,
        Op::Not(a) => !bits(a)?,
        Op::Neg(a) => num(a)?.wrapping_neg() as u128,
        Op::Reduce(Reduce::Or, a) => u128::from(bits(a)? != 0),
        Op::Reduce(Reduce::And, a) => u128::from(bits(a)? == cut(u128::MAX, a.width())),
        Op::Reduce(Reduce::Xor, a) => u128::from(bits(a)?.count_ones() % 2),
        Op::Bin(op, a, b) => binary(*op, a.ty(), bits(a)?, bits(b)?, num(a)?, num(b)?),
        Op::Mux(c, t, f) => {
            if bits(c)? != 0 {
                bits(t)?
            } else {
                bits(f)?
            }
        }
        Op::Slice(a, lo) => bits(a)? >> lo,
        Op::Cat(parts) => {
            let mut word = 0;
            for part in parts {
                word = word << part.width() | bits(part)?;
            }
            word
        }
        Op::Repeat(count, a) => {
            let part = bits(a)?;
            (0..*count).fold(0, |word, _| word << a.width() | part)
        }
        Op::Extend(a) => num(a)? as u128,
        Op::Cast(a) => bits(a)?,
        Op::Word(..) | Op::Bad(_) => return None,
    };
    Some(cut(value, expr.width()))
}

fn binary(op: BinOp, ty: Ty, a: u128, b: u128, x: i128, y: i128) -> u128 {
    let amount = u32::try_from(b).unwrap_or(u32::MAX);
    let less = if ty.signed { x < y } else { a < b };
    match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => x.wrapping_mul(y) as u128,
        BinOp::Shl => a.checked_shl(amount).unwrap_or(0),
        BinOp::Shr if ty.signed => (x >> amount.min(127)) as u128,
        BinOp::Shr => a.checked_shr(amount).unwrap_or(0),
        BinOp::Lt => u128::from(less),
        BinOp::Le => u128::from(less || a == b),
        BinOp::Gt => u128::from(!less && a != b),
        BinOp::Ge => u128::from(!less),
        BinOp::Eq => u128::from(a == b),
        BinOp::Ne => u128::from(a != b),
        BinOp::And => a & b,
        BinOp::Xor => a ^ b,
        BinOp::Or => a | b,
    }
}
