//! Accumulation over the inputs of a layer.

use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, sint, uint, zero};
use crate::width::index_width;
use std::rc::Rc;

/// Bits of a multiplier.
pub const MULT_BITS: u32 = 8;

/// Partial sums of `words * lanes` outputs.
pub struct Psum {
    /// Sums that arrive together.
    pub lanes: u32,
    /// Lanes that share a pending one and a multiplier.
    pub lanes_per_pend: u32,
    /// Bits of an arriving sum.
    pub input: u32,
    /// Bits of an accumulated sum.
    pub acc: u32,
    /// Words of `lanes` sums.
    pub words: u64,
}

impl Psum {
    /// Cycles from the sums to the accumulated sums: carry, multiply, add.
    pub const LATENCY: u32 = 3;
    /// Least distance in cycles between two visits of a word: that, and the write.
    pub const REVISIT: u32 = Self::LATENCY + 1;

    fn style(&self) -> RamStyle {
        if self.words <= 64 { RamStyle::Distributed } else { RamStyle::Block }
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, words, acc) = (self.lanes, self.words, self.acc);
        let (index, word) = (index_width(words), lanes * acc);
        let mut m = Module::new(format!("tern_psum_l{lanes}_i{}_a{acc}_d{words}", self.input));
        m.header(&format!(
            "Partial sums: acc[w] = (first ? 0 : acc[w]) + mult * (sum + pend).\n\n\
             Shapes   sum [{lanes}] i{} | pend [{rows}] u1, mult [{rows}] u{MULT_BITS}, one for {} lanes\n\
             \x20        acc [{lanes}] i{acc} | memory [{words}] u{word} in {} RAM\n\
             Width    modulo 2^{acc}: only the total must fit\n\
             Timing   rd_* come with the sums; acc_o follows {} cycles behind them\n\
             \x20        carry, multiply, add: the three registers of a DSP slice\n\
             Rate     one word a cycle; the same word again after {} cycles at the earliest\n\
             Stalls   none: the engine lets only as many rows in as it can take out\n\
             Oracle   sim::blocks::tlmm",
            self.input,
            self.lanes_per_pend,
            self.style().name(),
            Self::LATENCY,
            Self::REVISIT,
            rows = lanes / self.lanes_per_pend,
        ));
        let rd_valid = m.input("rd_valid_i", uint(1));
        let rd_word = m.input("rd_word_i", uint(index));
        let first = m.input("rd_first_i", uint(1));
        let sum = m.input("sum_i", uint(lanes * self.input));
        let pend = m.input("pend_i", uint(lanes / self.lanes_per_pend));
        let mult = m.input("mult_i", uint(MULT_BITS * lanes / self.lanes_per_pend));
        let acc_out = m.output("acc_o", uint(word));
        let busy = m.output("busy_o", uint(1));

        let valid: Vec<Expr> = ["valid_q", "valid_q2", "valid_q3"].map(|n| m.reg_reset(n, &lit(0, 1))).to_vec();
        m.next(&valid[0], &rd_valid);
        m.next(&valid[1], &valid[0]);
        m.next(&valid[2], &valid[1]);
        m.comment("The stored word, two cycles behind its name.");
        let memory = m.memory("mem", word, words, self.style());
        let read = m.read(&memory, &rd_word);
        let word_q = m.reg("word_q", uint(word));
        m.next_when(&word_q, &rd_valid, &read);
        let word_q2 = m.reg("word_q2", uint(word));
        m.next_when(&word_q2, &valid[0], &word_q);
        let index_q = m.delay("index_q", &rd_word);
        let index_q2 = m.delay("index_q2", &index_q);
        let index_q3 = m.delay("index_q3", &index_q2);
        let first_q = m.delay("first_q", &first);
        let first_q2 = m.delay("first_q2", &first_q);

        m.comment("Carry in the pending one of the adder tree, multiply, add.");
        let mult_q = m.reg("mult_q", mult.ty());
        m.next_when(&mult_q, &rd_valid, &mult);
        let product = self.input + MULT_BITS + 1;
        let (mut sums, mut cut) = (Vec::new(), Vec::new());
        for lane in 0..lanes {
            let row = lane / self.lanes_per_pend;
            let carry = pend.bit(row).extend(self.input).as_signed();
            let full_q = m.reg(&format!("full{lane}_q"), sint(self.input));
            m.next_when(&full_q, &rd_valid, &sum.lane(lane, self.input).as_signed().add_wrap(&carry));
            let factor = mult_q.lane(row, MULT_BITS).extend(MULT_BITS + 1).as_signed();
            let product_q = m.reg(&format!("product{lane}_q"), sint(product));
            m.next_when(&product_q, &valid[0], &(&full_q * &factor));
            let term = if product > acc { product_q.low(acc).as_signed() } else { product_q.extend(acc) };
            if product > acc {
                cut.push(product_q.slice(acc, product - acc));
            }
            let old = first_q2.mux(&zero(sint(acc)), &word_q2.lane(lane, acc).as_signed());
            let acc_q = m.reg(&format!("acc{lane}_q"), sint(acc));
            m.next_when(&acc_q, &valid[1], &old.add_wrap(&term));
            sums.push(acc_q);
        }
        if !cut.is_empty() {
            m.unused("product", &cut);
        }
        let all = m.wire("acc", &cat(sums.iter().rev()));
        m.write(&memory, &valid[2], &index_q3, &all);
        m.drive(&acc_out, &all);
        m.drive(&busy, &cat(&valid).any());
        design.add(m)
    }
}
