//! Typed expressions: every node knows its width and sign, and refuses operands that do not fit.

use super::error::ExprError;
use std::borrow::Borrow;
use std::rc::Rc;

/// Width and sign of a value. Signed values are two's complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ty {
    /// Bits, at least one.
    pub width: u32,
    /// Whether the top bit weighs `-2^(width-1)`.
    pub signed: bool,
}

/// An unsigned type.
pub const fn uint(width: u32) -> Ty {
    Ty { width, signed: false }
}

/// A signed type.
pub const fn sint(width: u32) -> Ty {
    Ty { width, signed: true }
}

impl std::fmt::Display for Ty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.signed { 'i' } else { 'u' }, self.width)
    }
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinOp {
    Add,
    Sub,
    Mul,
    Shl,
    Shr,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    And,
    Xor,
    Or,
}

/// Operators that make one bit of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduce {
    And,
    Or,
    Xor,
}

#[derive(Debug)]
pub(crate) enum Op {
    /// Bits of the value, cut to the width; wider literals are zero- or sign-extended.
    Lit(u128),
    /// A port, wire or register.
    Name(String),
    Not(Expr),
    Neg(Expr),
    Reduce(Reduce, Expr),
    Bin(BinOp, Expr, Expr),
    Mux(Expr, Expr, Expr),
    /// Bits from `lo` up, as many as the node is wide.
    Slice(Expr, u32),
    /// Highest first.
    Cat(Vec<Expr>),
    Repeat(u32, Expr),
    /// To the node's width, keeping the value.
    Extend(Expr),
    /// The same bits with the other sign.
    Cast(Expr),
    /// A word of a memory.
    Word(String, Expr),
    /// Did not type-check.
    Bad(ExprError),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) ty: Ty,
}

/// A typed expression. Cloning is cheap. The operators `+ - *` grow so that they never overflow,
/// `& | ^ !` work bit by bit on equal types.
#[derive(Clone, Debug)]
pub struct Expr(pub(crate) Rc<Node>);

/// An unsigned literal.
pub fn lit(value: u128, width: u32) -> Expr {
    if width == 0 || (width < 128 && value >> width != 0) {
        return bad(format!("literal {value}"), format!("a value of u{width}"), format!("{value}"));
    }
    Expr::make(Op::Lit(value), uint(width))
}

/// A signed literal.
pub fn slit(value: i128, width: u32) -> Expr {
    let fits = width >= 128 || (width > 0 && value >> (width - 1) == value >> 127);
    if !fits {
        return bad(format!("literal {value}"), format!("a value of i{width}"), format!("{value}"));
    }
    Expr::make(Op::Lit(value as u128), sint(width))
}

/// The zero of a type.
pub fn zero(ty: Ty) -> Expr {
    if ty.signed { slit(0, ty.width) } else { lit(0, ty.width) }
}

/// All parts in one unsigned word; the first part holds the highest bits, as in Verilog.
pub fn cat<E: Borrow<Expr>>(parts: impl IntoIterator<Item = E>) -> Expr {
    let parts: Vec<Expr> = parts.into_iter().map(|part| part.borrow().clone()).collect();
    if let Some(first_bad) = parts.iter().find(|p| p.error().is_some()) {
        return first_bad.clone();
    }
    let width = parts.iter().map(Expr::width).sum();
    match parts.as_slice() {
        [] => bad("cat()".into(), "at least one part".into(), "none".into()),
        [one] => one.as_unsigned(),
        _ => Expr::make(Op::Cat(parts), uint(width)),
    }
}

/// `count` copies of `part` side by side, unsigned.
pub fn repeat(count: u32, part: &Expr) -> Expr {
    match count {
        0 => bad(format!("repeat 0 x {}", part.describe()), "at least one copy".into(), "none".into()),
        1 => part.as_unsigned(),
        _ => part.then(|p| Expr::make(Op::Repeat(count, p.clone()), uint(count * p.width()))),
    }
}

pub(crate) fn bad(expr: String, expected: String, found: String) -> Expr {
    Expr::make(Op::Bad(ExprError { expr, expected, found }), uint(1))
}

impl Expr {
    pub(crate) fn make(op: Op, ty: Ty) -> Expr {
        Expr(Rc::new(Node { op, ty }))
    }

    pub(crate) fn name(name: &str, ty: Ty) -> Expr {
        if ty.width == 0 {
            return bad(name.to_string(), "at least one bit".into(), ty.to_string());
        }
        Expr::make(Op::Name(name.to_string()), ty)
    }

    pub(crate) fn op(&self) -> &Op {
        &self.0.op
    }

    /// Width and sign.
    pub fn ty(&self) -> Ty {
        self.0.ty
    }

    /// Width in bits.
    pub fn width(&self) -> u32 {
        self.0.ty.width
    }

    /// Whether the value is signed.
    pub fn signed(&self) -> bool {
        self.0.ty.signed
    }

    /// What is wrong with this expression or with a part of it.
    pub fn error(&self) -> Option<&ExprError> {
        match self.op() {
            Op::Bad(error) => Some(error),
            _ => None,
        }
    }

    /// `f(self)`, unless this expression is bad already.
    pub(crate) fn then(&self, f: impl FnOnce(&Expr) -> Expr) -> Expr {
        if self.error().is_some() { self.clone() } else { f(self) }
    }

    /// `f(self, other)`, unless one of the two is bad already.
    pub(crate) fn with(&self, other: &Expr, f: impl FnOnce(&Expr, &Expr) -> Expr) -> Expr {
        self.then(|a| other.then(|b| f(a, b)))
    }

    /// Name or operator with type, for messages.
    pub(crate) fn describe(&self) -> String {
        let what = match self.op() {
            Op::Name(name) => name.clone(),
            Op::Lit(value) => format!("literal {value:#x}"),
            Op::Not(_) => "not".into(),
            Op::Neg(_) => "negation".into(),
            Op::Reduce(op, _) => format!("{op:?} reduction"),
            Op::Bin(op, ..) => format!("{op:?}"),
            Op::Mux(..) => "mux".into(),
            Op::Slice(of, lo) => format!("{}[{}:{lo}]", of.describe_short(), lo + self.width() - 1),
            Op::Cat(_) | Op::Repeat(..) => "concatenation".into(),
            Op::Extend(of) | Op::Cast(of) => of.describe_short(),
            Op::Word(memory, _) => format!("{memory}[..]"),
            Op::Bad(_) => "bad expression".into(),
        };
        format!("{what}: {}", self.ty())
    }

    fn describe_short(&self) -> String {
        match self.op() {
            Op::Name(name) => name.clone(),
            _ => "expression".into(),
        }
    }

    /// `width` bits from bit `lo` up, unsigned.
    pub fn slice(&self, lo: u32, width: u32) -> Expr {
        self.then(|e| {
            if width == 0 || lo.checked_add(width).is_none_or(|hi| hi > e.width()) {
                return bad(
                    format!("{width} bits from bit {lo} of {}", e.describe()),
                    format!("bits inside {}", e.ty()),
                    format!("[{lo}+:{width}]"),
                );
            }
            match e.op() {
                _ if width == e.width() => e.as_unsigned(),
                Op::Slice(inner, base) => inner.slice(base + lo, width),
                Op::Cast(inner) => inner.slice(lo, width),
                _ => Expr::make(Op::Slice(e.clone(), lo), uint(width)),
            }
        })
    }

    /// One bit.
    pub fn bit(&self, index: u32) -> Expr {
        self.slice(index, 1)
    }

    /// The lowest `width` bits, unsigned.
    pub fn low(&self, width: u32) -> Expr {
        self.slice(0, width)
    }

    /// Lane `index` of a word of equal lanes, lane 0 in the low bits; unsigned.
    pub fn lane(&self, index: u32, width: u32) -> Expr {
        self.slice(index.saturating_mul(width), width)
    }

    /// The same bits read as signed.
    pub fn as_signed(&self) -> Expr {
        self.recast(true)
    }

    /// The same bits read as unsigned.
    pub fn as_unsigned(&self) -> Expr {
        self.recast(false)
    }

    fn recast(&self, signed: bool) -> Expr {
        self.then(|e| match e.op() {
            _ if e.signed() == signed => e.clone(),
            Op::Cast(inner) => inner.clone(),
            _ => Expr::make(Op::Cast(e.clone()), Ty { width: e.width(), signed }),
        })
    }

    /// The same value in `width` bits; shrinking is refused.
    pub fn extend(&self, width: u32) -> Expr {
        self.then(|e| match e.op() {
            _ if width < e.width() => {
                bad(format!("extend {}", e.describe()), format!("at least {} bits", e.width()), format!("{width}"))
            }
            _ if width == e.width() => e.clone(),
            Op::Lit(value) => Expr::make(Op::Lit(*value), Ty { width, signed: e.signed() }),
            Op::Extend(inner) => inner.extend(width),
            _ => Expr::make(Op::Extend(e.clone()), Ty { width, signed: e.signed() }),
        })
    }
}
