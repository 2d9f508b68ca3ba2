//! The way of a read: multiplexers of sixteen words, a register, then one of them.

use super::axil::WORD_BITS;
use crate::ir::{Expr, Module, lit, uint};
use std::collections::BTreeMap;

/// Words that share a multiplexer, as bits of their number.
const GROUP: u32 = 4;

/// One of `entries` by the bits of `select`, zero where there is none.
pub(super) fn pick(entries: &[Option<Expr>], select: &Expr, width: u32) -> Option<Expr> {
    match entries {
        [] => None,
        [one] => one.clone(),
        _ => {
            let half = entries.len().next_power_of_two() / 2;
            let (low, high) = (pick(&entries[..half], select, width), pick(&entries[half..], select, width));
            let bit = select.bit(half.ilog2());
            match (low, high) {
                (None, None) => None,
                (low, high) => {
                    let or_zero = |e: Option<Expr>| e.unwrap_or_else(|| lit(0, width));
                    Some(bit.mux(&or_zero(high), &or_zero(low)))
                }
            }
        }
    }
}

/// Values by their words' numbers.
#[derive(Default)]
pub(super) struct Words(BTreeMap<u32, Expr>);

impl Words {
    /// A word of up to 32 bits at a byte offset.
    pub(super) fn put(&mut self, offset: u32, value: &Expr) {
        self.0.insert(offset / 4, value.extend(32));
    }

    /// Groups that are zero unless `word` lies in them, one cycle after `enable`.
    pub(super) fn groups(&self, m: &mut Module, enable: &Expr, word: &Expr) -> Vec<Expr> {
        let mut groups: BTreeMap<u32, Vec<Option<Expr>>> = BTreeMap::new();
        for (at, value) in &self.0 {
            let group = groups.entry(at >> GROUP).or_insert_with(|| vec![None; 1 << GROUP]);
            group[(at & ((1 << GROUP) - 1)) as usize] = Some(value.clone());
        }
        let one = |(number, entries): (u32, Vec<Option<Expr>>)| {
            let value = pick(&entries, &word.low(GROUP), 32).unwrap_or_else(|| lit(0, 32));
            let bits = WORD_BITS - GROUP;
            let hit = m.wire(&format!("hit{number:x}"), &word.slice(GROUP, bits).eq(&lit(number.into(), bits)));
            let q = m.reg(&format!("group{number:x}_q"), uint(32));
            m.next_when(&q, enable, &hit.mux(&value, &lit(0, 32)));
            q
        };
        groups.into_iter().map(one).collect()
    }
}
