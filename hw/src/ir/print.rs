//! Expressions as Verilog-2001 text.
//!
//! Every operand of a context-determined operator has the operator's own width and sign (widening is
//! an explicit [`Op::Extend`]), and every place that takes an expression is either self-determined or
//! exactly as wide: so Verilog's rules never widen or re-sign a part behind our back.
//! Parentheses are printed where precedence needs them and, for the reader, between different
//! operators of the bitwise and comparison levels.

use super::expr::{BinOp, Expr, Op, Reduce};
use std::collections::HashMap;
use std::rc::Rc;

/// How tightly a printed text binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Mux,
    Bin(u8),
    Unary,
    Primary,
}

fn symbol(op: BinOp, signed: bool) -> (&'static str, u8) {
    match op {
        BinOp::Or => ("|", 1),
        BinOp::Xor => ("^", 2),
        BinOp::And => ("&", 3),
        BinOp::Eq => ("==", 4),
        BinOp::Ne => ("!=", 4),
        BinOp::Lt => ("<", 5),
        BinOp::Le => ("<=", 5),
        BinOp::Gt => (">", 5),
        BinOp::Ge => (">=", 5),
        BinOp::Shl => ("<<", 6),
        BinOp::Shr if signed => (">>>", 6),
        BinOp::Shr => (">>", 6),
        BinOp::Add => ("+", 7),
        BinOp::Sub => ("-", 7),
        BinOp::Mul => ("*", 8),
    }
}

/// `[msb:0] ` or nothing for one bit.
pub(crate) fn range(width: u32) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

/// `signed ` or nothing.
pub(crate) fn sign(signed: bool) -> &'static str {
    if signed { "signed " } else { "" }
}

/// A part of an expression that got a name: its type as printed, the name, the text of its value.
pub(crate) struct Hoisted {
    pub(crate) ty: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Hoisted {
    /// As a wire of the module.
    pub(crate) fn wire(&self) -> String {
        format!("wire {}{} = {};", self.ty, self.name, self.text)
    }
}

/// Prints expressions; parts that Verilog cannot select from in place become wires of their own.
#[derive(Default)]
pub(crate) struct Printer {
    /// Wires made on the way, to be written before the text that uses them.
    pub(crate) hoisted: Vec<Hoisted>,
    names: HashMap<*const super::expr::Node, String>,
    /// Keeps hoisted nodes alive, so that an address in `names` stays theirs.
    kept: Vec<Expr>,
    stem: String,
    count: u32,
}

impl Printer {
    /// Names of hoisted wires start with `stem` from here on.
    pub(crate) fn set_stem(&mut self, stem: &str) {
        if self.stem != stem {
            self.stem = stem.to_string();
            self.count = 0;
        }
    }

    /// Prints a part of the text in a scope of its own: the wires made in it are known only there, and returned.
    pub(crate) fn scoped<T>(&mut self, print: impl FnOnce(&mut Printer) -> T) -> (T, Vec<Hoisted>) {
        let (names, outside) = (self.names.clone(), std::mem::take(&mut self.hoisted));
        let printed = print(self);
        self.names = names;
        (printed, std::mem::replace(&mut self.hoisted, outside))
    }

    /// The whole right-hand side of an assignment of the same width.
    pub(crate) fn top(&mut self, e: &Expr) -> String {
        match e.op() {
            Op::Cast(inner) => self.text(inner).0, // assignment copies bits
            _ => self.text(e).0,
        }
    }

    /// Text of an operand that must bind at least as tightly as `level`.
    fn at_least(&mut self, e: &Expr, level: Level) -> String {
        let (text, own) = self.text(e);
        if own >= level { text } else { format!("({text})") }
    }

    /// A name that can be indexed.
    fn name(&mut self, e: &Expr) -> String {
        if let Op::Name(name) = e.op() {
            return name.clone();
        }
        if let Some(name) = self.names.get(&Rc::as_ptr(&e.0)) {
            return name.clone();
        }
        let text = self.top(e);
        let name = format!("{}_t{}", self.stem, self.count);
        self.count += 1;
        let ty = format!("{}{}", sign(e.signed()), range(e.width()));
        self.hoisted.push(Hoisted { ty, name: name.clone(), text });
        self.names.insert(Rc::as_ptr(&e.0), name.clone());
        self.kept.push(e.clone());
        name
    }

    /// Text of a bit that can be repeated: the sign of `e`, and `e` itself.
    fn sign_and_value(&mut self, e: &Expr) -> (String, String) {
        let value = match e.op() {
            Op::Cast(inner) => inner,
            _ => e,
        };
        match value.op() {
            Op::Slice(base, lo) => {
                let base = self.name(base);
                (format!("{base}[{}]", lo + e.width() - 1), self.text(value).0)
            }
            _ => {
                let name = self.name(value);
                let bit = if e.width() == 1 { name.clone() } else { format!("{name}[{}]", e.width() - 1) };
                (bit, name)
            }
        }
    }

    /// A part of a concatenation: self-determined, and only its bits matter.
    fn part(&mut self, e: &Expr) -> String {
        match e.op() {
            Op::Cast(inner) => self.part(inner),
            Op::Cat(parts) => parts.iter().map(|p| self.part(p)).collect::<Vec<_>>().join(", "),
            _ => self.text(e).0,
        }
    }

    fn text(&mut self, e: &Expr) -> (String, Level) {
        match e.op() {
            Op::Name(name) => (name.clone(), Level::Primary),
            Op::Lit(value) => (literal(*value, e), Level::Primary),
            Op::Not(a) => (format!("~{}", self.at_least(a, Level::Primary)), Level::Unary),
            Op::Neg(a) => (format!("-{}", self.at_least(a, Level::Primary)), Level::Unary),
            Op::Reduce(op, a) => {
                let symbol = match op {
                    Reduce::And => "&",
                    Reduce::Or => "|",
                    Reduce::Xor => "^",
                };
                // in parentheses: `a & &b` and `a && b` are too close
                (format!("(^{})", self.at_least(a, Level::Primary)).replacen('^', symbol, 1), Level::Primary)
            }
            Op::Bin(op, a, b) => self.binary(*op, e, a, b),
            Op::Mux(c, t, f) => {
                let c = self.at_least(c, Level::Bin(4));
                let t = self.at_least(t, Level::Bin(1));
                let f = self.text(f).0; // `a ? b : c ? d : e` reads from left to right
                (format!("{c} ? {t} : {f}"), Level::Mux)
            }
            Op::Slice(of, lo) => {
                let name = self.name(of);
                let hi = lo + e.width() - 1;
                let text = if hi == *lo { format!("{name}[{lo}]") } else { format!("{name}[{hi}:{lo}]") };
                (text, Level::Primary)
            }
            Op::Cat(_) => (format!("{{{}}}", self.part(e)), Level::Primary),
            Op::Repeat(count, a) => (format!("{{{count}{{{}}}}}", self.part(a)), Level::Primary),
            Op::Extend(a) => (self.extension(e, a), Level::Primary),
            Op::Cast(a) => {
                let call = if e.signed() { "$signed" } else { "$unsigned" };
                (format!("{call}({})", self.text(a).0), Level::Primary)
            }
            Op::Word(memory, index) => (format!("{memory}[{}]", self.text(index).0), Level::Primary),
            Op::Bad(error) => (format!("/* {error} */"), Level::Mux), // refused before printing
        }
    }

    fn extension(&mut self, e: &Expr, a: &Expr) -> String {
        let more = e.width() - a.width();
        if !e.signed() {
            let zeros = if more == 1 { "1'b0".to_string() } else { format!("{more}'d0") };
            return format!("{{{zeros}, {}}}", self.part(a));
        }
        let (bit, value) = self.sign_and_value(a);
        match (more, a.width()) {
            (_, 1) => format!("$signed({{{}{{{bit}}}}})", e.width()),
            (1, _) => format!("$signed({{{bit}, {value}}})"),
            _ => format!("$signed({{{{{more}{{{bit}}}}}, {value}}})"),
        }
    }

    fn binary(&mut self, op: BinOp, e: &Expr, a: &Expr, b: &Expr) -> (String, Level) {
        let (text, rank) = symbol(op, e.signed());
        let own = Level::Bin(rank);
        // A chain of one associative operator needs no parentheses on its left; anything else that is
        // not unary or primary gets them, but for sums inside comparisons.
        let associative = matches!(op, BinOp::And | BinOp::Or | BinOp::Xor | BinOp::Add);
        let left_same = associative && matches!(a.op(), Op::Bin(inner, ..) if *inner == op);
        let compares = matches!(op, BinOp::Eq | BinOp::Ne | BinOp::Lt | BinOp::Le | BinOp::Gt | BinOp::Ge);
        let inner = if compares { Level::Bin(7) } else { Level::Unary };
        let left = self.at_least(a, if left_same { own } else { inner });
        let right = if matches!(op, BinOp::Shl | BinOp::Shr) {
            self.at_least(b, Level::Primary)
        } else {
            self.at_least(b, inner)
        };
        (format!("{left} {text} {right}"), own)
    }
}

fn literal(value: u128, e: &Expr) -> String {
    let width = e.width();
    let bits = if width >= 128 { value } else { value & ((1 << width) - 1) };
    match (e.signed(), width) {
        (false, 1) => format!("1'b{bits}"),
        (false, _) if bits < 10_000 => format!("{width}'d{bits}"),
        (false, _) => format!("{width}'h{bits:x}"),
        // a set sign bit beyond the 128 bits that we hold
        (true, 129..) if (value as i128) < 0 => format!("-{width}'sh{:x}", value.wrapping_neg()),
        (true, _) if width > 1 && width <= 128 && bits >> (width - 1) == 0 && bits < 10_000 => {
            format!("{width}'sd{bits}")
        }
        (true, _) => format!("{width}'sh{bits:x}"),
    }
}
