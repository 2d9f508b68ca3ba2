//! Registers that software writes.

use super::axil::WORD_BITS;
use crate::ir::{Expr, Module, cat, lit};
use spec::regs::{Field, Reg, Repeat};

/// A write of software, as `tern_axil` gives it.
pub(super) struct Write {
    pub(super) enable: Expr,
    pub(super) word: Expr,
    pub(super) data: Expr,
    pub(super) strobes: Expr,
    /// A pass runs: writes to locked registers are ignored.
    pub(super) locked: Expr,
}

impl Write {
    /// A write to number `index` of a register.
    pub(super) fn hit(&self, m: &mut Module, reg: &Reg, index: u32) -> Expr {
        let word = lit(u128::from(reg.at(index) / 4), WORD_BITS);
        let hit = &self.enable & self.word.eq(&word);
        let hit = if reg.locked { hit & !&self.locked } else { hit };
        m.wire(&format!("{}_hit", name(reg, index)), &hit)
    }

    /// Bit `bit` of the data where its byte is written, else zero.
    pub(super) fn bit(&self, bit: u32) -> Expr {
        self.data.bit(bit) & self.strobes.bit(bit / 8)
    }

    /// Adds an `rw` register; bits that no field has are zero. Each byte is a register of its own, so that
    /// strobes are clock enables.
    pub(super) fn store(&self, m: &mut Module, reg: &Reg, index: u32) -> Stored {
        let hit = self.hit(m, reg, index);
        let mask = reg.mask();
        let mut bytes = Vec::new();
        for byte in 0..4 {
            let here = mask >> (8 * byte) & 0xff;
            let width = 32 - here.leading_zeros();
            if width == 0 {
                bytes.push(None);
                continue;
            }
            let reset = u128::from(reg.reset >> (8 * byte) & 0xff);
            let q = m.reg_reset(&format!("{}_b{byte}_q", name(reg, index)), &lit(reset, width));
            let written = self.data.slice(8 * byte, width);
            let written = if here + 1 == 1 << width { written } else { written & lit(here.into(), width) };
            m.next_when(&q, &(&hit & self.strobes.bit(byte)), &written);
            bytes.push(Some(q));
        }
        Stored(bytes)
    }
}

/// A register's bytes, lowest first, each as wide as it must be.
pub(super) struct Stored(Vec<Option<Expr>>);

impl Stored {
    /// The whole word.
    pub(super) fn word(&self) -> Expr {
        let byte = |b: &Option<Expr>| b.as_ref().map_or_else(|| lit(0, 8), |q| q.extend(8));
        cat(self.0.iter().rev().map(byte).collect::<Vec<_>>())
    }

    /// A field; it lies in one byte.
    pub(super) fn field(&self, field: &Field) -> Expr {
        let byte = self.0.get((field.low / 8) as usize).cloned().flatten().unwrap_or_else(|| lit(0, 0));
        byte.slice(field.low % 8, field.width)
    }
}

/// Name of number `index` of a register in the RTL.
fn name(reg: &Reg, index: u32) -> String {
    let name = reg.name.to_lowercase();
    if reg.repeat == Repeat::One { name } else { format!("{name}{index}") }
}
