//! The matrix engine's way through a tile.

use super::psum::{MULT_BITS, Psum};
use crate::ir::{Expr, Module, Sink, lit, uint};
use crate::width::index_width;

/// What a beat of weights must wait for; all of these are functions of registers.
pub(crate) struct Gates<'a> {
    /// The tables of the segment are built.
    pub(crate) tables: &'a Expr,
    /// There is a place for its sums.
    pub(crate) room: &'a Expr,
    /// Beats are on their way to the accumulator.
    pub(crate) in_flight: &'a Expr,
    /// Multipliers are there.
    pub(crate) mul: &'a Expr,
}

/// Progress through a tile and what may happen next.
pub(crate) struct Control {
    pub(crate) active: Expr,
    pub(crate) admit: Expr,
    pub(crate) word: Expr,
    pub(crate) first: Expr,
    pub(crate) last: Expr,
    pub(crate) grouped: Expr,
    /// Tokens whose sums are wanted.
    pub(crate) tokens: Expr,
    pub(crate) mult: Expr,
    pub(crate) end_of_segment: Expr,
    pub(crate) end_of_tile: Expr,
}

/// `value - 1` in `width` bits.
fn minus_one(value: &Expr, width: u32) -> Expr {
    let value = if width < value.width() { value.low(width) } else { value.extend(width) };
    value.sub_wrap(&lit(1, width))
}

impl Control {
    /// Counts words, segments and planes and decides whether a beat of weights may enter.
    pub(crate) fn build(m: &mut Module, cmd: &Sink, wgt: &Sink, gates: &Gates, words: u64) -> Control {
        let index = index_width(words);
        let (segs, planes) = (cmd.field("segs").width(), cmd.field("planes").width());
        m.comment("Progress through the tile.");
        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let word_q = m.reg_reset("word_q", &lit(0, index));
        let first_q = m.reg("first_q", uint(1));
        let word_last_q = m.reg("word_last_q", uint(index));
        let seg_last_q = m.reg("seg_last_q", uint(segs));
        let segs_left_q = m.reg("segs_left_q", uint(segs));
        let planes_left_q = m.reg("planes_left_q", uint(planes));
        let grouped_q = m.reg("grouped_q", uint(1));
        let tokens_q = m.reg("tokens_q", cmd.field("active").ty());
        let start = m.wire("start", &cmd.fire());
        m.drive(&cmd.ready, &!&active_q);
        let words_field = cmd.field("words");
        if words_field.width() > index {
            m.unused("words", &[words_field.slice(index, words_field.width() - index)]);
        }
        let seg_last = m.wire("seg_last", &minus_one(&cmd.field("segs"), segs));
        m.next_when(&word_last_q, &start, &minus_one(&words_field, index));
        m.next_when(&seg_last_q, &start, &seg_last);
        m.next_when(&grouped_q, &start, &cmd.field("grouped"));
        m.next_when(&tokens_q, &start, &cmd.field("active"));
        let no_segs = m.wire("no_segs_left", &segs_left_q.eq(&lit(0, segs)));
        let last = m.wire("last_seg", &(&no_segs & planes_left_q.eq(&lit(0, planes))));
        let last_word = m.wire("last_word", &word_q.eq(&word_last_q));

        m.comment("A plane weighs three times the next one.");
        let powers: Vec<u128> = (0..1u32 << planes).map_while(|n| 3u128.checked_pow(n)).collect();
        let fitting: Vec<u128> = powers.into_iter().filter(|p| p >> MULT_BITS == 0).collect();
        let mult = m.rom("plane_mult", &planes_left_q, uint(MULT_BITS), &fitting);

        m.comment("A segment too short for the accumulator's loop waits until the one before has left.");
        let short = match u64::from(Psum::REVISIT) - 1 {
            limit if limit >> index != 0 => lit(1, 1),
            limit => word_last_q.lt(&lit(u128::from(limit), index)),
        };
        let wait = m.wire("wait_loop", &(word_q.eq(&lit(0, index)) & short & gates.in_flight));
        let no_room = m.wire("no_room", &(&last & !gates.room));
        let could = m.wire("could", &(&active_q & gates.tables & !&no_room & !wait));
        let ready = m.wire("ready", &(&could & (!&grouped_q | gates.mul)));
        m.drive(&wgt.ready, &ready);
        let admit = m.wire("admit", &wgt.fire());
        let end_of_segment = m.wire("end_of_segment", &(&admit & &last_word));
        let end_of_tile = m.wire("end_of_tile", &(&end_of_segment & &last));
        m.next(&active_q, &(&start | (&active_q & !&end_of_tile)));
        m.next_when(&word_q, &admit, &last_word.mux(&lit(0, index), &word_q.add_wrap(&lit(1, index))));
        m.next_when(&first_q, &(&start | &end_of_segment), &start);
        let fewer_segs = no_segs.mux(&seg_last_q, &segs_left_q.sub_wrap(&lit(1, segs)));
        m.next_when(&segs_left_q, &(&start | &end_of_segment), &start.mux(&seg_last, &fewer_segs));
        let planes_from = start.mux(&cmd.field("planes"), &planes_left_q);
        m.next_when(&planes_left_q, &(&start | (&end_of_segment & &no_segs)), &planes_from.sub_wrap(&lit(1, planes)));
        for (name, value) in [
            ("beat", admit.clone()),
            ("starved", &could & !&admit),
            ("tables", &active_q & !gates.tables),
            ("sums", &active_q & gates.tables & &no_room),
        ] {
            let port = m.output(&format!("ev_{name}_o"), uint(1));
            let q = m.reg_reset(&format!("ev_{name}_q"), &lit(0, 1));
            m.next(&q, &value);
            m.drive(&port, &q);
        }
        Control {
            active: active_q,
            admit,
            word: word_q,
            first: first_q,
            last,
            grouped: grouped_q,
            tokens: tokens_q,
            mult,
            end_of_segment,
            end_of_tile,
        }
    }
}
