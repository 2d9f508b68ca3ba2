//! Operators on expressions and their typing rules.
//!
//! | operator | operands | result |
//! |---|---|---|
//! | `+` | equal signs | one bit wider than the wider, same sign |
//! | `-` | equal signs | one bit wider, signed |
//! | `*` | equal signs | sum of the widths, same sign |
//! | `add_wrap`, `sub_wrap` | equal signs | the wider width, modulo `2^width` |
//! | `& \| ^ !`, mux arms | equal signs (and widths, but for a mux) | that type |
//! | comparisons | equal signs | `u1` |
//! | `shl`, `shr` | any, unsigned amount | type of the left operand; `shr` keeps the sign |

use super::expr::{BinOp, Expr, Op, Reduce, Ty, bad, sint, uint};
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Not, Sub};

/// Both operands in the wider of their widths plus `grow` bits.
fn matched(a: &Expr, b: &Expr, what: &str, grow: u32, f: impl FnOnce(Expr, Expr) -> Expr) -> Expr {
    a.with(b, |a, b| {
        if a.signed() != b.signed() {
            let expr = format!("{what}({}, {})", a.describe(), b.describe());
            let sign = if a.signed() { "signed" } else { "unsigned" };
            return bad(expr, format!("a second operand that is {sign}"), b.ty().to_string());
        }
        let width = a.width().max(b.width()) + grow;
        f(a.extend(width), b.extend(width))
    })
}

fn binary(op: BinOp, a: Expr, b: Expr, ty: Ty) -> Expr {
    Expr::make(Op::Bin(op, a, b), ty)
}

fn bitwise(op: BinOp, a: &Expr, b: &Expr) -> Expr {
    a.with(b, |a, b| {
        if a.ty() != b.ty() {
            let expr = format!("{op:?}({}, {})", a.describe(), b.describe());
            return bad(expr, a.ty().to_string(), b.ty().to_string());
        }
        binary(op, a.clone(), b.clone(), a.ty())
    })
}

impl Expr {
    /// Sum modulo `2^width` of the wider operand.
    pub fn add_wrap(&self, other: &Expr) -> Expr {
        matched(self, other, "add_wrap", 0, |a, b| {
            let ty = a.ty();
            binary(BinOp::Add, a, b, ty)
        })
    }

    /// Difference modulo `2^width` of the wider operand.
    pub fn sub_wrap(&self, other: &Expr) -> Expr {
        matched(self, other, "sub_wrap", 0, |a, b| {
            let ty = a.ty();
            binary(BinOp::Sub, a, b, ty)
        })
    }

    /// `-self`, one bit wider and signed.
    pub fn neg(&self) -> Expr {
        self.then(|e| {
            let wide = e.extend(e.width() + 1).as_signed();
            let ty = wide.ty();
            Expr::make(Op::Neg(wide), ty)
        })
    }

    fn compare(&self, other: &Expr, op: BinOp) -> Expr {
        matched(self, other, &format!("{op:?}"), 0, |a, b| binary(op, a, b, uint(1)))
    }

    /// `self == other`
    pub fn eq(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Eq)
    }

    /// `self != other`
    pub fn ne(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Ne)
    }

    /// `self < other`
    pub fn lt(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Lt)
    }

    /// `self <= other`
    pub fn le(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Le)
    }

    /// `self > other`
    pub fn gt(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Gt)
    }

    /// `self >= other`
    pub fn ge(&self, other: &Expr) -> Expr {
        self.compare(other, BinOp::Ge)
    }

    /// `self << amount`, bits shifted out are lost.
    pub fn shl(&self, amount: &Expr) -> Expr {
        self.shift(amount, BinOp::Shl)
    }

    /// `self >> amount`, copies of the sign (or zeros) come in.
    pub fn shr(&self, amount: &Expr) -> Expr {
        self.shift(amount, BinOp::Shr)
    }

    fn shift(&self, amount: &Expr, op: BinOp) -> Expr {
        self.with(amount, |a, n| {
            if n.signed() {
                let expr = format!("{op:?}({}, {})", a.describe(), n.describe());
                return bad(expr, "an unsigned amount".into(), n.ty().to_string());
            }
            binary(op, a.clone(), n.clone(), a.ty())
        })
    }

    /// `self ? then : otherwise`; the arms are brought to one width.
    pub fn mux(&self, then: &Expr, otherwise: &Expr) -> Expr {
        self.then(|c| {
            if c.ty() != uint(1) {
                return bad(format!("condition {}", c.describe()), "u1".into(), c.ty().to_string());
            }
            matched(then, otherwise, "mux", 0, |t, f| {
                let ty = t.ty();
                Expr::make(Op::Mux(c.clone(), t, f), ty)
            })
        })
    }

    /// Whether any bit is set.
    pub fn any(&self) -> Expr {
        self.reduce(Reduce::Or)
    }

    /// Whether all bits are set.
    pub fn all(&self) -> Expr {
        self.reduce(Reduce::And)
    }

    /// Whether an odd number of bits is set.
    pub fn parity(&self) -> Expr {
        self.reduce(Reduce::Xor)
    }

    fn reduce(&self, op: Reduce) -> Expr {
        self.then(|e| match e.width() {
            1 => e.as_unsigned(),
            _ => Expr::make(Op::Reduce(op, e.clone()), uint(1)),
        })
    }
}

fn add(a: &Expr, b: &Expr) -> Expr {
    matched(a, b, "add", 1, |a, b| {
        let ty = a.ty();
        binary(BinOp::Add, a, b, ty)
    })
}

fn sub(a: &Expr, b: &Expr) -> Expr {
    matched(a, b, "sub", 1, |a, b| {
        let width = a.width();
        binary(BinOp::Sub, a.as_signed(), b.as_signed(), sint(width))
    })
}

fn mul(a: &Expr, b: &Expr) -> Expr {
    a.with(b, |x, y| {
        let width = x.width() + y.width();
        matched(&x.extend(width), &y.extend(width), "mul", 0, |x, y| {
            let ty = x.ty();
            binary(BinOp::Mul, x, y, ty)
        })
    })
}

fn and(a: &Expr, b: &Expr) -> Expr {
    bitwise(BinOp::And, a, b)
}

fn or(a: &Expr, b: &Expr) -> Expr {
    bitwise(BinOp::Or, a, b)
}

fn xor(a: &Expr, b: &Expr) -> Expr {
    bitwise(BinOp::Xor, a, b)
}

macro_rules! operator {
    ($($trait:ident $method:ident $function:ident),*) => {$(
        impl $trait<&Expr> for &Expr {
            type Output = Expr;
            fn $method(self, other: &Expr) -> Expr {
                $function(self, other)
            }
        }
        impl $trait<Expr> for &Expr {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                $function(self, &other)
            }
        }
        impl $trait<&Expr> for Expr {
            type Output = Expr;
            fn $method(self, other: &Expr) -> Expr {
                $function(&self, other)
            }
        }
        impl $trait<Expr> for Expr {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                $function(&self, &other)
            }
        }
    )*};
}

operator!(Add add add, Sub sub sub, Mul mul mul, BitAnd bitand and, BitOr bitor or, BitXor bitxor xor);

impl Not for &Expr {
    type Output = Expr;
    fn not(self) -> Expr {
        self.then(|e| Expr::make(Op::Not(e.clone()), e.ty()))
    }
}

impl Not for Expr {
    type Output = Expr;
    fn not(self) -> Expr {
        !&self
    }
}
