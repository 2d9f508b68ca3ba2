//! The columns that the packer of the activation buffer sees.

use super::act_buffer::ActBuffer;
use super::table_build::GROUP;
use crate::ir::{Expr, Module, Outputs, cat, lit, uint};
use crate::width::index_width;

/// Columns that the packer sees at once, and whether the vector ends with them.
pub(crate) struct Window {
    /// Columns of two tables from the cursor on, `[2 GROUP][V]` bytes.
    pub(crate) columns: Vec<Expr>,
    /// The columns that are taken are there.
    pub(crate) ready: Expr,
    /// The first word of the window is there and is the vector's last.
    pub(crate) at_last: Expr,
    /// To be driven: `take` columns are taken.
    pub(crate) taken: Expr,
    /// To be driven: the first word is thrown away and the cursor goes back to a word's start.
    pub(crate) drop: Expr,
}

impl ActBuffer {
    /// Collects beats to words of `span` columns and looks at two of them.
    ///
    /// `takes`: the columns of one table and of two; `pair` says which are taken. It comes late, so that both are looked
    /// at.
    pub(crate) fn window(
        &self,
        m: &mut Module,
        queued: &Outputs,
        code_take: &Expr,
        takes: [&Expr; 2],
        pair: &Expr,
    ) -> Window {
        let (span, v) = (self.span(), self.slots);
        let (data, last) = {
            let beat = queued.get("out_data_o");
            (beat.low(beat.width() - 1), beat.bit(beat.width() - 1))
        };
        let per_word = span / self.columns;
        let part = 8 * v;
        m.comment("Beats by columns, filled up to words of at least two tables.");
        let column = |c: u32| cat((0..v).rev().map(|s| data.lane(s * self.columns + c, 8)));
        let near_valid_q = m.reg_reset("near_valid_q", &lit(0, 1));
        let far_valid_q = m.reg_reset("far_valid_q", &lit(0, 1));
        let near_last_q = m.reg("near_last_q", uint(1));
        let far_last_q = m.reg("far_last_q", uint(1));
        let shift = m.net("shift", uint(1));
        let cursor_bits = index_width(span.into());
        let cursor_q = m.reg_reset("cursor_q", &lit(0, cursor_bits));
        let mut far = Vec::new();
        let fire = m.net("code_fire", uint(1));
        let complete = if per_word == 1 {
            fire.clone()
        } else {
            let bits = index_width(per_word.into());
            let at_q = m.reg_reset("beat_q", &lit(0, bits));
            let full = m.wire("word_full", &(at_q.eq(&lit(u128::from(per_word) - 1, bits)) | &last));
            m.next_when(&at_q, &fire, &full.mux(&lit(0, bits), &at_q.add_wrap(&lit(1, bits))));
            for b in 0..per_word {
                let own = &fire & at_q.eq(&lit(b.into(), bits));
                for c in 0..self.columns {
                    let q = m.reg(&format!("far{}_q", b * self.columns + c), uint(part));
                    m.next_when(&q, &own, &column(c));
                    far.push(q);
                }
            }
            m.wire("word_complete", &(&fire & full))
        };
        if per_word == 1 {
            for c in 0..span {
                let q = m.reg(&format!("far{c}_q"), uint(part));
                m.next_when(&q, &fire, &column(c));
                far.push(q);
            }
        }
        m.next_when(&far_last_q, &fire, &last);

        m.comment("Two words: what is taken may begin in the near one and end in the far one.");
        let free = m.wire("near_free", &(&shift | !&near_valid_q));
        let move_on = m.wire("move_on", &(&free & &far_valid_q));
        m.drive(code_take, &(!&far_valid_q | &move_on));
        m.drive(&fire, &(&queued.get("out_valid_o") & code_take));
        m.next(&far_valid_q, &(&complete | (&far_valid_q & !&move_on)));
        m.next_when(&near_valid_q, &free, &far_valid_q);
        m.next_when(&near_last_q, &move_on, &far_last_q);
        let near: Vec<Expr> = far
            .iter()
            .enumerate()
            .map(|(c, f)| {
                let q = m.reg(&format!("near{c}_q"), uint(part));
                m.next_when(&q, &move_on, f);
                q
            })
            .collect();
        let at = |c: u32| if c < span { near[c as usize].clone() } else { far[(c - span) as usize].clone() };
        let columns = (0..2 * GROUP)
            .map(|k| {
                let choices: Vec<Expr> = (0..span).map(|c| at(c + k)).collect();
                let picked = select(&cursor_q, &choices);
                m.wire(&format!("column{k}"), &picked)
            })
            .collect();

        let taken = m.net("window_taken", uint(1));
        let drop = m.net("drop_word", uint(1));
        let wide = cursor_bits + 2;
        let span = lit(span.into(), wide);
        let ends = takes.map(|take| cursor_q.extend(wide).add_wrap(&take.extend(wide)));
        let [one, two] = [("one_end", &ends[0]), ("pair_end", &ends[1])].map(|(name, end)| m.wire(name, end));
        let end = m.wire("table_end", &pair.mux(&two.low(cursor_bits), &one.low(cursor_bits)));
        let beyond = m.wire("beyond", &pair.mux(&two.gt(&span), &one.gt(&span)));
        let reaches = m.wire("reaches", &pair.mux(&two.ge(&span), &one.ge(&span)));
        let ready = m.wire("table_there", &(&near_valid_q & (&far_valid_q | !beyond)));
        m.drive(&shift, &((&taken & &reaches & !&near_last_q) | (&drop & &near_valid_q)));
        m.next_when(&cursor_q, &(&taken | &drop), &drop.mux(&lit(0, cursor_bits), &end));
        Window { columns, ready, at_last: &near_valid_q & &near_last_q, taken, drop }
    }
}

/// The choice with this number, by a tree of multiplexers; as many choices as the index has values.
pub(crate) fn select(index: &Expr, choices: &[Expr]) -> Expr {
    let mut level = choices.to_vec();
    let mut bit = 0;
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [low, high] => index.bit(bit).mux(high, low),
                _ => pair[0].clone(),
            })
            .collect();
        bit += 1;
    }
    level.pop().unwrap_or_else(|| lit(0, 1))
}
