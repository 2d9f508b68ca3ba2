//! Products of a block's queries with one key after the other.

use super::Attend;
use super::util::{Line, lanes};
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, uint};
use std::rc::Rc;

impl Attend {
    /// Levels of the adder tree over a beat.
    fn tree_levels(&self) -> u32 {
        self.beat_bytes.ilog2()
    }

    pub(super) fn build_dots(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (queries, bytes, width) = (self.queries, self.beat_bytes, self.dot_bits());
        let mut m = Module::new(format!("tern_attend_dots_d{bytes}_r{queries}_h{}", self.max_head_dim));
        m.header(&format!(
            "Dot products: dot[r] = sum over a row's beats of sum_i q[r][beat][i] * k[i], i8 each.\n\n\
             Shapes   q [{} beats][{queries}][{bytes}] i8 in LUT RAM | k [{bytes}] i8 | dot [{queries}] i{width}\n\
             Width    |dot| <= 2^14 * {} codes, so i{width}\n\
             Latency  {} cycles from a row's last beat to valid_o; one beat a cycle, no stall\n\
             Holds    dot_o stays until the next row ends; queries that are not active are not computed",
            self.row_beats(),
            self.row_beats() * u64::from(bytes),
            4 + self.tree_levels(),
        ));
        let active = m.input("active_i", uint(queries));
        let write = m.input("wr_en_i", uint(queries));
        let wr_at = m.input("wr_beat_i", uint(self.beat_bits()));
        let wr_data = m.input("wr_data_i", uint(8 * bytes));
        let valid = m.input("valid_i", uint(1));
        let beat = m.input("beat_i", uint(self.beat_bits()));
        let first = m.input("first_i", uint(1));
        let last = m.input("last_i", uint(1));
        let key = m.input("key_i", uint(8 * bytes));
        let done = m.output("valid_o", uint(1));
        let dots = m.output("dot_o", uint(queries * width));

        let levels = self.tree_levels();
        let valid = Line::new("valid", &valid, true);
        let first = Line::new("first", &first, false);
        let last = Line::new("last", &last, false);
        let valids: Vec<Expr> = (0..=3 + levels).map(|l| valid.at(&mut m, l)).collect();
        let first_in = first.at(&mut m, 2 + levels);
        let row_end = &valids[3 + levels as usize] & last.at(&mut m, 3 + levels);
        let row_end = m.wire("row_end", &row_end);
        let key_q = m.held("key_q", &valids[0], &key);
        let keys = lanes(&key_q, 8);
        let mut sums = Vec::new();
        for r in 0..queries {
            m.comment(&format!("Query {r}: its beat, products, adder tree, sum over beats."));
            let memory = m.memory(
                &format!("query{r}"),
                8 * bytes,
                self.row_beats().next_power_of_two().max(2),
                RamStyle::Distributed,
            );
            m.write(&memory, &write.bit(r), &wr_at, &wr_data);
            let word = m.read(&memory, &beat);
            let on = active.bit(r);
            let query_q = m.held(&format!("query{r}_q"), &(&valids[0] & &on), &word);
            let enable = m.wire(&format!("on{r}"), &(&valids[1] & &on));
            let mut level: Vec<Expr> = lanes(&query_q, 8)
                .iter()
                .zip(&keys)
                .enumerate()
                .map(|(i, (q, k))| m.held(&format!("p{r}_{i}_q"), &enable, &(q.as_signed() * k.as_signed())))
                .collect();
            for l in 0..levels {
                let enable = m.wire(&format!("on{r}_{l}"), &(&valids[2 + l as usize] & &on));
                let next = |(i, pair): (usize, &[Expr])| (i, &pair[0] + &pair[1]);
                let pairs: Vec<_> = level.chunks(2).enumerate().map(next).collect();
                level = pairs.iter().map(|(i, s)| m.held(&format!("s{r}_{l}_{i}_q"), &enable, s)).collect();
            }
            let acc = m.reg(&format!("acc{r}_q"), crate::ir::sint(width));
            let tree = level[0].extend(width);
            let enable = m.wire(&format!("acc_on{r}"), &(&valids[2 + levels as usize] & &on));
            m.next_when(&acc, &enable, &first_in.mux(&tree, &acc.add_wrap(&tree)));
            let whole = m.wire(&format!("whole{r}"), &(&row_end & &on));
            sums.push(m.held(&format!("dot{r}_q"), &whole, &acc));
        }
        let end = m.reg_reset("end_q", &lit(0, 1));
        m.next(&end, &row_end);
        m.drive(&done, &end);
        m.drive(&dots, &cat(sums.iter().rev()));
        design.add(m)
    }
}
