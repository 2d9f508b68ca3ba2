//! Attention over the cached keys and values of each slot's sequence.
//!
//! | part | does |
//! |---|---|
//! | `dispatch` | walks runs and heads, hands each pair to the first free unit |
//! | `queries` | codes and scales of all queries |
//! | `unit` | one run and head after the other, in blocks of queries |
//! | `dots` | products of a block's queries with a key |
//! | `exp2` | `2^-d` as a 15-bit integer |
//! | `mac` | sums of a query's weights times values |

mod back;
mod dispatch;
mod divide;
mod dots;
mod exp2;
mod finish;
mod front;
mod load;
mod mac;
mod queries;
mod score;
mod top;
mod unit;
mod util;
mod weigh;

use crate::blocks::banks;
use crate::ir::{ExprError, IrError, RamStyle};
use crate::width::{count_width, index_width, signed_width};

/// Attention: K pass, softmax and V pass in `units` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attend {
    /// Token slots of a bank (P).
    pub tokens: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Slots of a vector word (V); divides `tokens`.
    pub vtokens: u32,
    /// Columns of a vector word (L), a power of two.
    pub lanes: u32,
    /// Bytes of a port beat (D), a power of two from 4 up.
    pub beat_bytes: u32,
    /// Queries of a block (R).
    pub queries: u32,
    /// Units (U).
    pub units: u32,
    /// Most positions of a sequence.
    pub max_context: u64,
    /// Positions up to which blocks have R queries; beyond them they have R / 2, for the memory of scores is full.
    pub full_blocks: u64,
    /// Most codes of a head.
    pub max_head_dim: u32,
    /// Most query heads.
    pub heads: u32,
    /// Words of L codes that all query heads take.
    pub query_words: u64,
    /// Column words of the vector memory.
    pub vm_words: u64,
}

/// Bits of a weight.
pub(crate) const WEIGHT_BITS: u32 = 15;

/// Positions up to which blocks may be full where they are halved beyond; `None` if so many queries cannot be halved.
pub fn halving_at(queries: u32, max_context: u64) -> Option<u64> {
    let half = max_context.next_power_of_two() / 2;
    (half >= 2 && queries >= 4 && queries.is_power_of_two()).then_some(half)
}

impl Attend {
    /// Bits of a weight.
    pub(crate) const WEIGHT_BITS: u32 = WEIGHT_BITS;

    /// Token groups.
    pub fn groups(&self) -> u32 {
        self.tokens / self.vtokens.max(1)
    }

    /// Whether blocks are halved beyond `full_blocks`.
    pub fn halves(&self) -> bool {
        self.full_blocks < self.max_context
    }

    /// Most queries of a block whose first query sees `position` last: all slots behind it must have room, too.
    pub fn block_at(&self, position: u64) -> u32 {
        let room = self.full_blocks.saturating_sub(u64::from(self.tokens) - 1);
        if self.halves() && position >= room { self.queries / 2 } else { self.queries }
    }

    /// Bits of an address of the vector memory.
    pub fn vm_bits(&self) -> u32 {
        index_width(self.vm_words * u64::from(self.groups()))
    }

    /// Most beats of a row.
    pub(crate) fn row_beats(&self) -> u64 {
        u64::from(self.max_head_dim.div_ceil(self.beat_bytes))
    }

    /// Bits of a sum of products of two codes.
    pub(crate) fn dot_bits(&self) -> u32 {
        signed_width(16_384 * self.row_beats() * u64::from(self.beat_bytes))
    }

    /// Bits of a sum of weights times values.
    pub(crate) fn acc_bits(&self) -> u32 {
        signed_width((128 << WEIGHT_BITS) * self.max_context)
    }

    /// Bits of a sum of weights.
    pub(crate) fn sum_bits(&self) -> u32 {
        count_width(self.max_context << WEIGHT_BITS)
    }

    /// Codes that move at once between words of L and beats of D.
    pub(crate) fn chunk(&self) -> u32 {
        self.lanes.min(self.beat_bytes)
    }

    /// Chunks of a word of L.
    pub(crate) fn word_chunks(&self) -> u32 {
        self.lanes / self.chunk()
    }

    /// Chunks of a beat.
    pub(crate) fn beat_chunks(&self) -> u32 {
        self.beat_bytes / self.chunk()
    }

    /// Positions whose scales come in one beat (or in two, if a beat has four bytes).
    pub(crate) fn scale_lanes(&self) -> u32 {
        (self.beat_bytes / 8).max(1)
    }

    pub(crate) fn position_bits(&self) -> u32 {
        index_width(self.max_context)
    }

    pub(crate) fn query_bits(&self) -> u32 {
        index_width(self.queries.into())
    }

    pub(crate) fn slot_bits(&self) -> u32 {
        index_width(self.tokens.into())
    }

    pub(crate) fn group_bits(&self) -> u32 {
        index_width(self.groups().into())
    }

    /// Bits of `{bank, group}`.
    pub(crate) fn place_bits(&self) -> u32 {
        banks::place_width(self.banks, self.groups())
    }

    pub(crate) fn lane_bits(&self) -> u32 {
        index_width(self.vtokens.into())
    }

    pub(crate) fn head_bits(&self) -> u32 {
        index_width(self.heads.into())
    }

    pub(crate) fn word_bits(&self) -> u32 {
        index_width(self.query_words)
    }

    pub(crate) fn beat_bits(&self) -> u32 {
        index_width(self.row_beats())
    }

    /// What a memory of this depth is made of.
    pub(crate) fn style(depth: u64) -> RamStyle {
        match depth {
            0..=64 => RamStyle::Distributed,
            65..=4095 => RamStyle::Block,
            _ => RamStyle::Ultra,
        }
    }

    /// Memories of a unit that grow with the context: width, depth and what they are made of.
    pub fn deep_memories(&self) -> [(u32, u64, RamStyle); 3] {
        [self.scales(), self.value_scales(), self.scores()].map(|(_, width, depth)| (width, depth, Self::style(depth)))
    }

    fn suffix(&self) -> String {
        let Attend { tokens, banks, vtokens, lanes, beat_bytes, queries, max_context, max_head_dim, .. } = self;
        let full = if self.halves() { format!("f{}", self.full_blocks) } else { String::new() };
        format!("p{tokens}_b{banks}_v{vtokens}_l{lanes}_d{beat_bytes}_r{queries}_c{max_context}{full}_h{max_head_dim}")
    }

    fn check(&self) -> Result<(), IrError> {
        let fail = |what: &str, expected: &str, found: u64| {
            let error = ExprError { expr: what.into(), expected: expected.into(), found: found.to_string() };
            Err(IrError::Expr { module: "tern_attend".into(), error })
        };
        let power = |n: u32, least: u32| n.is_power_of_two() && n >= least;
        if self.vtokens == 0 || self.tokens == 0 || !self.tokens.is_multiple_of(self.vtokens) {
            return fail("slots", "a multiple of the slots of a word", self.tokens.into());
        }
        if !power(self.lanes, 1) {
            return fail("columns of a vector word", "a power of two", self.lanes.into());
        }
        if !power(self.beat_bytes, 4) {
            return fail("bytes of a beat", "a power of two from 4 up", self.beat_bytes.into());
        }
        if self.queries == 0 || self.units == 0 || self.heads == 0 || self.max_head_dim == 0 {
            return fail("queries, units, heads, head size", "at least one of each", 0);
        }
        if self.query_words == 0 || self.vm_words == 0 || self.max_context == 0 {
            return fail("query words, vector words, positions", "at least one of each", 0);
        }
        let half = halving_at(self.queries, self.max_context);
        if self.halves() && half != Some(self.full_blocks) {
            let or = half.map_or(String::new(), |half| format!(" or {half}"));
            return fail("positions of full blocks", &format!("{}{or}", self.max_context), self.full_blocks);
        }
        match self.acc_bits() <= 48 {
            true => Ok(()),
            false => fail("bits of a sum of weights times values", "at most 48", self.acc_bits().into()),
        }
    }
}
