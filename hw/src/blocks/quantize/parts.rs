//! Small pieces that several parts of the quantiser use.

use crate::ir::{Expr, Module, RamStyle, cat, lit, uint};
use crate::width::index_width;

/// Vectors that may be between their first word and their last result.
pub(crate) const RING: u32 = 8;
/// Bits of the number of such vectors.
pub(crate) const RING_COUNT: u32 = 4;
/// Bits of a place among them.
pub(crate) const RING_INDEX: u32 = 3;

/// A number of things: `more` adds one, `fewer` takes one away, `clear` leaves none.
pub(crate) fn counter(m: &mut Module, name: &str, clear: &Expr, more: &Expr, fewer: &Expr, width: u32) -> Expr {
    let q = m.reg_reset(name, &lit(0, width));
    let one = lit(1, width);
    let next = more.mux(&q.add_wrap(&one), &q.sub_wrap(&one));
    m.next_when(&q, &(clear | &(more ^ fewer)), &clear.mux(&lit(0, width), &next));
    q
}

/// A place in the ring, one further with each `step`.
pub(crate) fn ring(m: &mut Module, name: &str, clear: &Expr, step: &Expr) -> Expr {
    let q = m.reg_reset(name, &lit(0, RING_INDEX));
    let next = clear.mux(&lit(0, RING_INDEX), &q.add_wrap(&lit(1, RING_INDEX)));
    m.next_when(&q, &(clear | step), &next);
    q
}

/// A value per slot lane for each vector of the ring.
pub(crate) struct Values(Vec<Expr>);

impl Values {
    pub(crate) fn new(m: &mut Module, name: &str, vtokens: u32) -> Values {
        let one = |v| m.memory(&format!("{name}{v}"), 32, RING.into(), RamStyle::Distributed);
        Values((0..vtokens).map(one).collect())
    }

    /// Writes all lanes.
    pub(crate) fn write_all(&self, m: &mut Module, on: &Expr, ring: &Expr, data: &Expr) {
        for (v, memory) in self.0.iter().enumerate() {
            m.write(memory, on, ring, &data.lane(v as u32, 32));
        }
    }

    /// Writes one lane.
    pub(crate) fn write_one(&self, m: &mut Module, on: &Expr, ring: &Expr, lane: &Expr, data: &Expr) {
        for (v, memory) in self.0.iter().enumerate() {
            m.write(memory, &(on & lane.eq(&lit(v as u128, lane.width()))), ring, data);
        }
    }

    /// All lanes.
    pub(crate) fn all(&self, m: &mut Module, ring: &Expr) -> Expr {
        let words: Vec<Expr> = self.0.iter().map(|memory| m.read(memory, ring)).collect();
        cat(words.iter().rev())
    }

    /// One lane.
    pub(crate) fn one(&self, m: &mut Module, name: &str, ring: &Expr, lane: &Expr) -> Expr {
        let mut words: Vec<Expr> = self.0.iter().map(|memory| m.read(memory, ring)).collect();
        let mut bit = 0;
        while words.len() > 1 {
            let pick = |pair: &[Expr]| match pair {
                [low, high] => lane.bit(bit).mux(high, low),
                _ => pair[0].clone(),
            };
            words = words.chunks(2).map(pick).collect();
            bit += 1;
        }
        m.wire(name, &words[0])
    }
}

/// Slot lanes and vectors one after the other.
pub(crate) struct Tokens {
    pub(crate) ring: Expr,
    pub(crate) lane: Expr,
    /// The lane is the vector's last.
    pub(crate) end: Expr,
}

impl Tokens {
    /// Goes on with `step`; to the next vector at the last lane if `next` is high then.
    pub(crate) fn new(m: &mut Module, name: &str, vtokens: u32, clear: &Expr, step: &Expr, next: &Expr) -> Tokens {
        let width = index_width(vtokens.into());
        let lane = m.reg_reset(&format!("{name}_lane_q"), &lit(0, width));
        let end = m.wire(&format!("{name}_end"), &lane.eq(&lit(u128::from(vtokens) - 1, width)));
        let wrapped = (clear | &end).mux(&lit(0, width), &lane.add_wrap(&lit(1, width)));
        m.next_when(&lane, &(clear | step), &wrapped);
        let over = &(step & &end) & next;
        let ring = ring(m, &format!("{name}_ring_q"), clear, &over);
        Tokens { ring, lane, end }
    }
}

/// Groups and vectors in order: `group`, `vector` and whether they are the last.
pub(crate) struct Items {
    pub(crate) group: Expr,
    pub(crate) vector: Expr,
    pub(crate) group_end: Expr,
    pub(crate) end: Expr,
}

/// What a command asks for, as registers.
pub(crate) struct Extent {
    pub(crate) group_last: Expr,
    pub(crate) vector_last: Expr,
    pub(crate) word_last: Expr,
}

impl Items {
    pub(crate) fn new(m: &mut Module, name: &str, extent: &Extent, clear: &Expr, step: &Expr) -> Items {
        let (gw, vw) = (extent.group_last.width(), extent.vector_last.width());
        let group = m.reg_reset(&format!("{name}_group_q"), &lit(0, gw));
        let vector = m.reg_reset(&format!("{name}_vector_q"), &lit(0, vw));
        let group_end = m.wire(&format!("{name}_group_end"), &group.eq(&extent.group_last));
        let end = m.wire(&format!("{name}_end"), &(&group_end & vector.eq(&extent.vector_last)));
        let next = (clear | &group_end).mux(&lit(0, gw), &group.add_wrap(&lit(1, gw)));
        m.next_when(&group, &(clear | step), &next);
        let turn = m.wire(&format!("{name}_turn"), &(step & &group_end));
        let next = clear.mux(&lit(0, vw), &vector.add_wrap(&lit(1, vw)));
        m.next_when(&vector, &(clear | &turn), &next);
        Items { group, vector, group_end, end }
    }
}

/// Addresses of all words: vectors outer, groups inner.
pub(crate) struct Walk {
    pub(crate) addr: Expr,
    pub(crate) word: Expr,
    pub(crate) word_end: Expr,
    pub(crate) active: Expr,
    /// The last word of all passes.
    pub(crate) over: Expr,
}

impl Walk {
    /// Begins at `base` with `clear`, goes on with `step`; word `w` of a group lies `groups` addresses behind `w - 1`.
    pub(crate) fn new(
        m: &mut Module,
        name: &str,
        groups: u32,
        extent: &Extent,
        clear: &Expr,
        base: &Expr,
        step: &Expr,
    ) -> Walk {
        let (width, words) = (base.width(), extent.word_last.width());
        let word = m.reg_reset(&format!("{name}_word_q"), &lit(0, words));
        let word_end = m.wire(&format!("{name}_word_end"), &word.eq(&extent.word_last));
        let next = (clear | &word_end).mux(&lit(0, words), &word.add_wrap(&lit(1, words)));
        m.next_when(&word, &(clear | step), &next);
        let turn = m.wire(&format!("{name}_item"), &(step & &word_end));
        let items = Items::new(m, name, extent, clear, &turn);

        let addr = m.reg(&format!("{name}_addr_q"), uint(width));
        let item = m.reg(&format!("{name}_base_q"), uint(width));
        let row = m.reg(&format!("{name}_row_q"), uint(width));
        // the modulus is that of the address, as for everything behind the vector memory's end
        let stride = lit(u128::from(groups) & ((1 << width) - 1), width);
        let behind = m.wire(&format!("{name}_behind"), &addr.add_wrap(&stride));
        let first_group = m.wire(&format!("{name}_first_group"), &!items.group.any());
        m.next_when(&row, &(&turn & &first_group), &behind);
        let next_row = first_group.mux(&behind, &row);
        let sibling = item.add_wrap(&lit(1, width));
        let start = items.group_end.mux(&next_row, &sibling);
        let start = m.wire(&format!("{name}_start"), &clear.mux(base, &start));
        m.next_when(&item, &(clear | &turn), &start);
        m.next_when(&addr, &(clear | step), &(clear | &word_end).mux(&start, &behind));
        let active = m.reg_reset(&format!("{name}_active_q"), &lit(0, 1));
        let over = m.wire(&format!("{name}_over"), &(&turn & &items.end));
        m.next_when(&active, &(clear | &over), clear);
        m.unused(&format!("{name}_vector"), &[items.vector]);
        Walk { addr, word, word_end, active, over }
    }
}
