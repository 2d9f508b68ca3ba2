//! Accumulation over the inputs of a layer.

use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, sint, uint, zero};
use crate::width::index_width;
use std::rc::Rc;

/// Partial sums of `words * lanes` outputs.
pub struct Psum {
    /// Sums that arrive together.
    pub lanes: u32,
    /// Lanes that share a pending one.
    pub lanes_per_pend: u32,
    /// Bits of an arriving sum.
    pub input: u32,
    /// Bits of an accumulated sum.
    pub acc: u32,
    /// Words of `lanes` sums.
    pub words: u64,
}

impl Psum {
    /// Cycles from `rd_valid_i` to the sums that belong to it.
    pub const READ_LEAD: u32 = 2;
    /// Cycles from the sums to the accumulated sums.
    pub const LATENCY: u32 = 1;
    /// Least distance in cycles between two visits of a word: read, register, add, write.
    pub const REVISIT: u32 = Self::READ_LEAD + Self::LATENCY + 1;

    fn style(&self) -> RamStyle {
        if self.words <= 64 { RamStyle::Distributed } else { RamStyle::Block }
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, words, acc) = (self.lanes, self.words, self.acc);
        let (index, word) = (index_width(words), lanes * acc);
        let mut m = Module::new(format!("tern_psum_l{lanes}_i{}_a{acc}_d{words}", self.input));
        m.header(&format!(
            "Partial sums: acc[w] = (first ? 0 : acc[w]) + sum + pend.\n\n\
             Shapes   sum [{lanes}] i{} | pend [{}] u1, one for {} lanes | acc [{lanes}] i{acc}\n\
             \x20        memory [{words}] u{word} in {} RAM\n\
             Timing   word w is named {} cycles before its sums come; acc_o follows {} cycle behind them\n\
             Rate     one word a cycle; the same word again after {} cycles at the earliest\n\
             Stalls   none: the engine lets only as many rows in as it can take out\n\
             Oracle   sim::blocks::tlmm",
            self.input,
            lanes / self.lanes_per_pend,
            self.lanes_per_pend,
            self.style().name(),
            Self::READ_LEAD,
            Self::LATENCY,
            Self::REVISIT
        ));
        let rd_valid = m.input("rd_valid_i", uint(1));
        let rd_word = m.input("rd_word_i", uint(index));
        let first = m.input("rd_first_i", uint(1));
        let sum = m.input("sum_i", uint(lanes * self.input));
        let pend = m.input("pend_i", uint(lanes / self.lanes_per_pend));
        let acc_out = m.output("acc_o", uint(word));
        let busy = m.output("busy_o", uint(1));

        m.comment("The stored word, two cycles behind its name.");
        let memory = m.memory("mem", word, words, self.style());
        let read = m.read(&memory, &rd_word);
        let word_q = m.reg("word_q", uint(word));
        m.next_when(&word_q, &rd_valid, &read);
        let word_q2 = m.delay("word_q2", &word_q);
        let stages = |m: &mut Module, name: &str, value: &Expr| -> [Expr; 3] {
            let one = m.delay(&format!("{name}_q"), value);
            let two = m.delay(&format!("{name}_q2"), &one);
            let three = m.delay(&format!("{name}_q3"), &two);
            [one, two, three]
        };
        let valid: Vec<Expr> = ["valid_q", "valid_q2", "valid_q3"].map(|n| m.reg_reset(n, &lit(0, 1))).to_vec();
        m.next(&valid[0], &rd_valid);
        m.next(&valid[1], &valid[0]);
        m.next(&valid[2], &valid[1]);
        let index_at = stages(&mut m, "index", &rd_word);
        let first_q = m.delay("first_q", &first);
        let first_q2 = m.delay("first_q2", &first_q);

        m.comment("Add; the pending one of the adder tree is the carry in.");
        let mut sums = Vec::new();
        for lane in 0..lanes {
            let old = first_q2.mux(&zero(sint(acc)), &word_q2.lane(lane, acc).as_signed());
            let new = sum.lane(lane, self.input).as_signed().extend(acc);
            let carry = pend.bit(lane / self.lanes_per_pend).extend(acc).as_signed();
            sums.push(m.delay(&format!("acc{lane}_q"), &old.add_wrap(&new).add_wrap(&carry)));
        }
        let all = m.wire("acc", &cat(sums.iter().rev()));
        m.write(&memory, &valid[2], &index_at[2], &all);
        m.drive(&acc_out, &all);
        m.drive(&busy, &cat(&valid).any());
        design.add(m)
    }
}
