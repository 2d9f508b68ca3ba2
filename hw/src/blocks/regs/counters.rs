//! The counters of a pass and how they are read.

use super::read::pick;
use crate::ir::{Expr, Module, cat, lit, uint, zero};
use crate::width::index_width;
use spec::regs::COUNTER_BITS;

/// A row of counters whose low and high words take turns from `offset` on.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) offset: u32,
    /// Entries that the row has room for: a power of two, and `offset` a multiple of their bytes.
    pub(super) room: u32,
    /// One bit each: count.
    pub(super) events: &'a [Expr],
    /// The entry that only a reset clears, if there is one.
    pub(super) kept: Option<usize>,
}

/// What a read of a row finds, one cycle after `enable`.
pub(super) struct Found {
    /// The low word of a counter, or zero.
    pub(super) low: Expr,
    /// The high word of the same counter.
    pub(super) high: Expr,
    /// It was a low word.
    pub(super) is_low: Expr,
    /// It was a high word.
    pub(super) is_high: Expr,
}

impl Row<'_> {
    /// Adds the counters.
    pub(super) fn build(&self, m: &mut Module, clear: &Expr, enable: &Expr, word: &Expr) -> Found {
        let name = self.name;
        let ty = uint(COUNTER_BITS);
        let counter = |(at, event): (usize, &Expr)| {
            if self.kept == Some(at) {
                let q = m.reg_reset(&format!("{name}{at}_q"), &lit(0, COUNTER_BITS));
                m.next_when(&q, event, &q.add_wrap(&lit(1, COUNTER_BITS)));
                return Some(q);
            }
            let q = m.reg(&format!("{name}{at}_q"), ty);
            let up = q.add_wrap(&lit(1, COUNTER_BITS));
            m.next_when(&q, &(clear | event), &clear.mux(&zero(ty), &up));
            Some(q)
        };
        let mut values: Vec<Option<Expr>> = self.events.iter().enumerate().map(counter).collect();
        let count = values.len() as u32;
        values.resize(self.room as usize, None);
        let index = word.slice(1, index_width(self.room.into()));
        let value = pick(&values, &index, COUNTER_BITS).unwrap_or_else(|| zero(ty));

        let low_bits = 1 + self.room.ilog2();
        let high_bits = word.width() - low_bits;
        let row = word.slice(low_bits, high_bits).eq(&lit(u128::from((self.offset / 4) >> low_bits), high_bits));
        let exists = index.extend(index.width() + 1).lt(&lit(count.into(), index.width() + 1));
        let hit = m.wire(&format!("{name}_hit"), &(row & exists));
        let low_hit = m.wire(&format!("{name}_low_hit"), &(&hit & !&word.bit(0)));
        let value_q = m.reg(&format!("{name}_value_q"), ty);
        m.next_when(&value_q, enable, &low_hit.mux(&value, &zero(ty)));
        let kinds_q = m.reg(&format!("{name}_kinds_q"), uint(2));
        m.next_when(&kinds_q, enable, &cat([&(&hit & &word.bit(0)), &low_hit]));
        Found {
            low: value_q.low(32),
            high: value_q.slice(32, COUNTER_BITS - 32).extend(32),
            is_low: kinds_q.bit(0),
            is_high: kinds_q.bit(1),
        }
    }
}
