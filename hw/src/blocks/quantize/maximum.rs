//! The largest magnitude of a vector.

use crate::blocks::pipe::valid_n;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// One slot lane: `lanes` numbers a cycle. A power of two.
pub(crate) struct Maximum {
    pub(crate) lanes: u32,
}

/// 2^-64, the least maximum.
const FLOOR: u128 = 63 << 23;

impl Maximum {
    /// Levels of comparisons between the lanes.
    fn levels(&self) -> u32 {
        self.lanes.trailing_zeros()
    }

    /// Cycles from a vector's last word to its maximum.
    pub(crate) fn latency(&self) -> u32 {
        self.levels() + 2
    }

    pub(crate) fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let lanes = self.lanes;
        let mut m = Module::new(format!("tern_quant_max_l{lanes}"));
        m.header(&format!(
            "Maximum of a vector: max(|y|, 2^-64) over its words; NaN does not count.\n\n\
             Shapes   y [{lanes}] binary32 a word, maximum binary32\n\
             Latency  {} cycles from the last word, one word a cycle\n\
             Stalls   none\n\
             Oracle   spec::numerics::quant::abs_max (sim::blocks::quantize)",
            self.latency()
        ));
        let valid = m.input("valid_i", uint(1));
        let last = m.input("last_i", uint(1));
        let y = m.input("y_i", uint(32 * lanes));
        let max = m.output("max_o", uint(32));
        let done = m.output("done_o", uint(1));

        let mut now = valid.clone();
        let mut row: Vec<Expr> = (0..lanes)
            .map(|l| {
                let size = y.lane(l, 32).low(31);
                let nan = &size.slice(23, 8).all() & size.low(23).any();
                let q = m.reg(&format!("size{l}_q"), uint(31));
                m.next_when(&q, &now, &nan.mux(&lit(0, 31), &size));
                q
            })
            .collect();
        m.unused("signs", &(0..lanes).map(|l| y.lane(l, 32).bit(31)).collect::<Vec<_>>());
        now = valid_n(&mut m, "valid_s0", &now, 1);
        for level in 1..=self.levels() {
            row = row
                .chunks(2)
                .enumerate()
                .map(|(at, pair)| {
                    let q = m.reg(&format!("size_l{level}n{at}_q"), uint(31));
                    m.next_when(&q, &now, &pair[0].gt(&pair[1]).mux(&pair[0], &pair[1]));
                    q
                })
                .collect();
            now = valid_n(&mut m, &format!("valid_s{level}"), &now, 1);
        }
        let end = valid_n(&mut m, "last", &(&valid & &last), self.levels() + 1);
        m.comment("Over the words; the floor begins a vector.");
        let floor = lit(FLOOR, 31);
        let most_q = m.reg_reset("most_q", &floor);
        let most = m.wire("most", &row[0].gt(&most_q).mux(&row[0], &most_q));
        m.next_when(&most_q, &now, &end.mux(&floor, &most));
        let max_q = m.reg("max_q", uint(31));
        m.next_when(&max_q, &end, &most);
        let done_q = valid_n(&mut m, "done", &end, 1);
        m.drive(&max, &cat([&lit(0, 1), &max_q]));
        m.drive(&done, &done_q);
        design.add(m)
    }
}
