//! Accesses that no register has.

use super::Regs;
use super::axil::WORD_BITS;
use crate::ir::{Expr, Module, Outputs, lit};
use spec::regs::{Access, REGS, Reg};
use std::collections::BTreeSet;

/// Whether `word` is one of `words`: a comparison for each run of neighbours.
fn among(word: &Expr, words: &BTreeSet<u32>) -> Expr {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for at in words {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *at => *last = *at,
            _ => runs.push((*at, *at)),
        }
    }
    let num = |value: u32| lit(value.into(), WORD_BITS);
    let one = |(first, last): &(u32, u32)| match first == last {
        true => word.eq(&num(*first)),
        false if *first == 0 => word.le(&num(*last)),
        false => word.ge(&num(*first)) & word.le(&num(*last)),
    };
    runs.iter().map(one).fold(lit(0, 1), |any, hit| any | hit)
}

impl Regs {
    /// Numbers of the words that this machine has registers at.
    fn words(&self, wanted: impl Fn(&Reg) -> bool) -> BTreeSet<u32> {
        let all = |reg: &'static Reg| (0..reg.count(&self.identity.caps)).map(|i| reg.at(i) / 4);
        REGS.iter().filter(|reg| wanted(reg)).flat_map(all).collect()
    }

    /// The bit that an access to no register sets and `reset` clears.
    pub(super) fn illegal(&self, m: &mut Module, axil: &Outputs, reset: &Expr) -> Expr {
        m.comment("Accesses that no register has.");
        let written = self.words(|reg| matches!(reg.access, Access::Rw | Access::W1c | Access::W1s));
        let writes = among(&axil.get("wr_word_o"), &written) & !axil.get("wr_odd_o");
        let reads = among(&axil.get("rd_word_o"), &self.words(|_| true)) & !axil.get("rd_odd_o");
        let illegal = axil.get("wr_en_o") & !writes | axil.get("rd_en_o") & !reads;
        let q = m.reg_reset("illegal_q", &lit(0, 1));
        m.next(&q, &(illegal | (&q & !reset)));
        q
    }
}
