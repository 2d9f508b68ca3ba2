//! Accumulation over the inputs of a layer.

use super::dsp::MulAdd;
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, uint};
use crate::width::index_width;
use std::rc::Rc;

/// Bits of a multiplier.
pub const MULT_BITS: u32 = 8;

/// Partial sums of `words * lanes` outputs.
pub struct Psum {
    /// Sums that arrive together.
    pub lanes: u32,
    /// Lanes of a row: they share a multiplier and the ones that their sums lack.
    pub lanes_per_row: u32,
    /// Bits of an arriving sum.
    pub input: u32,
    /// Bits of the ones.
    pub ones: u32,
    /// Bits of an accumulated sum.
    pub acc: u32,
    /// Words of `lanes` sums.
    pub words: u64,
}

impl Psum {
    /// Cycles from the sums to the accumulated sums: add the ones, multiply, accumulate.
    pub const LATENCY: u32 = MulAdd::LATENCY;
    /// Least distance in cycles between two visits of a word: that, and the write.
    pub const REVISIT: u32 = Self::LATENCY + 1;

    fn style(&self) -> RamStyle {
        if self.words <= 64 { RamStyle::Distributed } else { RamStyle::Block }
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, words, acc, ones) = (self.lanes, self.words, self.acc, self.ones);
        let slice = MulAdd { sum: self.input, ones, factor: MULT_BITS, acc };
        let slice_of = slice.build(design)?;
        let (index, word) = (index_width(words), lanes * acc);
        let mut m = Module::new(format!("tern_psum_l{lanes}_i{}_a{acc}_d{words}", self.input));
        m.header(&format!(
            "Partial sums: acc[w] = (first ? 0 : acc[w]) + mult * (sum + ones).\n\n\
             Shapes   sum [{lanes}] i{} | ones [{rows}] u{ones}, mult [{rows}] u{MULT_BITS}, one for {} lanes\n\
             \x20        acc [{lanes}] i{acc} | memory [{words}] u{word} in {} RAM\n\
             Width    modulo 2^{acc}: only the total must fit\n\
             Timing   rd_* come with the sums; acc_o follows {} cycles behind them\n\
             \x20        add, multiply, accumulate: the three registers of a DSP slice\n\
             Rate     one word a cycle; the same word again after {} cycles at the earliest\n\
             Stalls   none: the engine lets only as many rows in as it can take out\n\
             Oracle   sim::blocks::tlmm",
            self.input,
            self.lanes_per_row,
            self.style().name(),
            Self::LATENCY,
            Self::REVISIT,
            rows = lanes / self.lanes_per_row,
        ));
        let rd_valid = m.input("rd_valid_i", uint(1));
        let rd_word = m.input("rd_word_i", uint(index));
        let first = m.input("rd_first_i", uint(1));
        let sum = m.input("sum_i", uint(lanes * self.input));
        let ones_in = m.input("ones_i", uint(ones * lanes / self.lanes_per_row));
        let mult = m.input("mult_i", uint(MULT_BITS * lanes / self.lanes_per_row));
        let acc_out = m.output("acc_o", uint(word));
        let busy = m.output("busy_o", uint(1));

        let valid: Vec<Expr> = ["valid_q", "valid_q2", "valid_q3"].map(|n| m.reg_reset(n, &lit(0, 1))).to_vec();
        m.next(&valid[0], &rd_valid);
        m.next(&valid[1], &valid[0]);
        m.next(&valid[2], &valid[1]);
        m.comment("The stored word goes to the slices a cycle behind its name, and their sums back.");
        let memory = m.memory("mem", word, words, self.style());
        let read = m.read(&memory, &rd_word);
        let word_q = m.reg("word_q", uint(word));
        m.next_when(&word_q, &rd_valid, &read);
        let index_q = m.delay("index_q", &rd_word);
        let index_q2 = m.delay("index_q2", &index_q);
        let index_q3 = m.delay("index_q3", &index_q2);
        let keep_q = m.delay("keep_q", &!&first);
        let mut sums = Vec::new();
        for lane in 0..lanes {
            let row = lane / self.lanes_per_row;
            let inputs = [
                ("en_i", &rd_valid),
                ("en_q1_i", &valid[0]),
                ("en_q2_i", &valid[1]),
                ("sum_i", &sum.lane(lane, self.input).as_signed()),
                ("ones_i", &ones_in.lane(row, ones)),
                ("factor_i", &mult.lane(row, MULT_BITS)),
                ("old_i", &word_q.lane(lane, acc).as_signed()),
                ("keep_i", &keep_q),
            ];
            sums.push(m.instance(&format!("lane{lane}"), &slice_of, &inputs).get("acc_o").as_unsigned());
        }
        let all = m.wire("acc", &cat(sums.iter().rev()));
        m.write(&memory, &valid[2], &index_q3, &all);
        m.drive(&acc_out, &all);
        m.drive(&busy, &cat(&valid).any());
        design.add(m)
    }
}
