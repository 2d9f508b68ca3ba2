//! Activations to table entries.

use super::fifo::wrapping_next;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, repeat, uint};
use crate::width::{index_width, signed_width};
use spec::format::{code3, sherry};
use std::rc::Rc;

/// Entries of a stored half table: codes `c` and `26 - c` (dense), or codes that differ in all three
/// signs (Sherry), stand for opposite sums, so only one of the two is kept.
pub const DENSE_ENTRIES: u32 = 14;
/// Entries of a stored half table for Sherry codes.
pub const SHERRY_ENTRIES: u32 = 16;
/// Bits of an entry number.
pub const ENTRY_BITS: u32 = 4;

/// Bits of a table sum: at most three activations count in either format, `3 * 128 = 384`.
pub fn sum_width() -> u32 {
    signed_width(3 * 128)
}

/// Activations that a table sums over, dense and Sherry codes served by one table.
pub const GROUP: u32 = 4;

/// The four weights of stored entry `entry`.
pub fn entry_weights(sherry_mode: bool, entry: u32) -> [i8; 4] {
    if sherry_mode {
        return sherry::decode4(((entry >> 2) << 3 | (entry & 3)) as u8);
    }
    let [a, b, c] = code3::decode3(code3::ZERO + entry as u8);
    [a, b, c, 0]
}

/// Where the sum of a code is stored and whether it must be negated: `(entry, negate)`.
///
/// Illegal dense codes read entry 0, which is zero.
pub fn fold_code(sherry_mode: bool, code: u8) -> (u32, bool) {
    match (sherry_mode, code) {
        (true, _) => {
            let negate = code & 4 != 0;
            let signs = if negate { !code } else { code } & 3;
            (u32::from(code >> 3) << 2 | u32::from(signs), negate)
        }
        (false, code3::CODES..) => (0, false),
        (false, code3::ZERO..) => (u32::from(code - code3::ZERO), false),
        (false, _) => (u32::from(code3::ZERO - code), true),
    }
}

/// Builds the half tables of `groups` tables at a time, for all tokens at once.
pub struct TableBuild {
    /// Tables that one beat of activations fills.
    pub groups: u32,
    /// Tokens.
    pub tokens: u32,
    /// Beats that fill all tables once.
    pub passes: u32,
}

impl TableBuild {
    /// Cycles from taking a beat to its first entry.
    pub const LATENCY: u32 = 3;
    /// Idle cycles between the last entry of a set and the first of the next.
    pub const SET_GAP: u32 = 3;

    /// Bits of a beat of activations.
    pub fn beat_width(&self) -> u32 {
        8 * GROUP * self.tokens * self.groups
    }

    /// Bits of the entries that are written in one cycle.
    pub fn data_width(&self) -> u32 {
        self.groups * self.tokens * sum_width()
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (groups, tokens, passes) = (self.groups, self.tokens, u64::from(self.passes));
        let (width, pass_bits) = (sum_width(), index_width(passes));
        let mut m = Module::new(format!("tern_table_build_g{groups}_p{tokens}_n{passes}"));
        m.header(&format!(
            "Builds tables of activation sums: entry[e] = sum_k w[e][k] * a[k], w the weights of code e.\n\
             Opposite codes share an entry, so {DENSE_ENTRIES} (dense) or {SHERRY_ENTRIES} (Sherry) entries\n\
             stand for 27 or 32 codes.\n\n\
             Shapes   act [{groups} tables, {tokens} tokens, {GROUP}] i8, lowest index in the low bits;\n\
             \x20        dense tables ignore the fourth activation\n\
             \x20        wr_data [{groups} tables, {tokens} tokens] i{width}\n\
             Width    three activations count: |entry| <= 3 * 128 = 384, so i{width}\n\
             Latency  {} cycles to the first entry, then one entry of every table a cycle\n\
             Order    {passes} beats fill all tables; wr_last_o marks the last entry of the last beat\n\
             Stalls   act_ready_o is low while a beat is walked through, and until bank_free_i is high\n\
             \x20        before the first beat of a set; writes are never stalled\n\
             Source   table look-up matrix multiplication, TeLLMe (arXiv 2504.16266)\n\
             Oracle   spec::format::{{code3::decode3, sherry::decode4}}",
            Self::LATENCY
        ));
        let act = m.sink("act", &[("data", uint(self.beat_width())), ("sherry", uint(1))]);
        let bank_free = m.input("bank_free_i", uint(1));
        let wr_valid = m.output("wr_valid_o", uint(1));
        let wr_entry = m.output("wr_entry_o", uint(ENTRY_BITS));
        let wr_pass = m.output("wr_pass_o", uint(pass_bits));
        let wr_last = m.output("wr_last_o", uint(1));
        let wr_sherry = m.output("wr_sherry_o", uint(1));
        let wr_data = m.output("wr_data_o", uint(self.data_width()));

        let busy_q = m.reg_reset("busy_q", &lit(0, 1));
        let entry_q = m.reg_reset("entry_q", &lit(0, ENTRY_BITS));
        let pass_q = m.reg_reset("pass_q", &lit(0, pass_bits));
        let sherry_q = m.reg("sherry_q", uint(1));
        let data_q = m.reg("data_q", uint(self.beat_width()));

        m.comment("Walk through the entries of one beat; the next beat may follow without a gap.");
        let last_of = |n: u32| lit(u128::from(n) - 1, ENTRY_BITS);
        let last_entry =
            m.wire("last_entry", &entry_q.eq(&sherry_q.mux(&last_of(SHERRY_ENTRIES), &last_of(DENSE_ENTRIES))));
        let first_pass = pass_q.eq(&lit(0, pass_bits));
        let last_pass = m.wire("last_pass", &pass_q.eq(&lit(u128::from(passes) - 1, pass_bits)));
        let done = m.wire("done", &(&busy_q & &last_entry));
        m.comment("A set may start only when its bank is free, which is known when the last set is written.");
        let valid_s1_q = m.reg_reset("valid_s1_q", &lit(0, 1));
        let valid_q = m.reg_reset("wr_valid_q", &lit(0, 1));
        let written = !&valid_s1_q & !&valid_q;
        let may_start =
            m.wire("may_start", &busy_q.mux(&(&last_entry & !&last_pass), &(!first_pass | (&bank_free & written))));
        m.drive(&act.ready, &may_start);
        let take = m.wire("take", &act.fire());
        m.next(&busy_q, &(&take | (&busy_q & !&last_entry)));
        m.next_when(&entry_q, &busy_q, &last_entry.mux(&lit(0, ENTRY_BITS), &entry_q.add_wrap(&lit(1, ENTRY_BITS))));
        m.next_when(&pass_q, &done, &wrapping_next(&pass_q, passes));
        m.next_when(&sherry_q, &take, &act.field("sherry"));
        m.next_when(&data_q, &take, &act.field("data"));

        m.comment("Weights of this entry: [1:0] each, a counts bit and a sign; [9:8] how many are negative.");
        let word = |sherry: bool, e: u32| {
            let bits = |w: &i8| u128::from(*w != 0) | u128::from(*w < 0) << 1;
            let weights = entry_weights(sherry, e);
            let negative = weights.iter().filter(|w| **w < 0).count() as u128;
            weights.iter().rev().fold(negative, |all, w| all << 2 | bits(w))
        };
        let dense = (0..SHERRY_ENTRIES).map(|e| if e < DENSE_ENTRIES { word(false, e) } else { 0 });
        let values: Vec<u128> = dense.chain((0..SHERRY_ENTRIES).map(|e| word(true, e))).collect();
        let weights = m.rom("weights", &cat([&sherry_q, &entry_q]), uint(2 * GROUP + 2), &values);
        let ones_q = m.held("ones_q", &busy_q, &weights.slice(2 * GROUP, 2));
        let ones = m.wire("ones", &ones_q.extend(width).as_signed());

        m.comment("One sum for each table and token. A negative term is inverted; the ones that this lacks are\nthe same for all sums.");
        let mut sums: Vec<Expr> = Vec::new();
        for lane in 0..groups * tokens {
            let term = |k: u32| {
                let weight = weights.lane(k, 2);
                let bits = data_q.lane(lane * GROUP + k, 8) ^ repeat(8, &weight.bit(1));
                (bits & repeat(8, &weight.bit(0))).as_signed()
            };
            let pair = |m: &mut Module, name: &str, k: u32| {
                let (a, b) = (term(k), term(k + 1));
                m.held(&format!("{name}{lane}_q"), &busy_q, &(a + b)).extend(width)
            };
            let (low, high) = (pair(&mut m, "low", 0), pair(&mut m, "high", 2));
            let sum = low.add_wrap(&high).add_wrap(&ones);
            sums.push(m.held(&format!("sum{lane}_q"), &valid_s1_q, &sum));
        }
        m.next(&valid_s1_q, &busy_q);
        m.next(&valid_q, &valid_s1_q);
        let twice = |m: &mut Module, name: &str, value: &Expr| {
            let one = m.delay(&format!("{name}_s1_q"), value);
            m.delay(&format!("wr_{name}_q"), &one)
        };
        for (name, value, port) in
            [("entry", &entry_q, &wr_entry), ("pass", &pass_q, &wr_pass), ("sherry", &sherry_q, &wr_sherry)]
        {
            let q = twice(&mut m, name, value);
            m.drive(port, &q);
        }
        let last_q = twice(&mut m, "last", &(&done & &last_pass));
        m.drive(&wr_last, &(&valid_q & &last_q));
        m.drive(&wr_valid, &valid_q);
        m.drive(&wr_data, &cat(sums.iter().rev()));
        design.add(m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every legal code finds its own weights, or their negation, in the half table.
    #[test]
    fn folded_codes_name_their_weights() {
        let signed = |weights: [i8; 4], negate: bool| weights.map(|w| if negate { -w } else { w });
        for code in 0..code3::CODES {
            let (entry, negate) = fold_code(false, code);
            assert!(entry < DENSE_ENTRIES);
            let [a, b, c] = code3::decode3(code);
            assert_eq!(signed(entry_weights(false, entry), negate), [a, b, c, 0]);
        }
        for code in 0..32 {
            let (entry, negate) = fold_code(true, code);
            assert!(entry < SHERRY_ENTRIES);
            assert_eq!(signed(entry_weights(true, entry), negate), sherry::decode4(code));
        }
    }
}
