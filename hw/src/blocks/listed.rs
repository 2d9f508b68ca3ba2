//! Runs of listed groups: a packet of each, wherever it lies.

use super::ring::KEEP;
use crate::ir::{Expr, Module, Sink, cat, lit, uint};
use spec::program::{LINE, PACKET};

/// Bits of a group's number.
pub const GROUP: u32 = 20;

/// What the weight stream does next.
pub(super) struct Next {
    /// A run is begun, from the line `line`, of `packets` packets of each port and `words` words.
    pub(super) start: Expr,
    pub(super) line: Expr,
    pub(super) packets: Expr,
    pub(super) words: Expr,
    /// Its format; whether its words are turned; whether it is the last group.
    pub(super) tag: Expr,
    /// The ring is set to its beginning.
    pub(super) rewind: Expr,
    /// Groups that are listed.
    pub(super) keep: Expr,
    /// A run of listed groups is not begun with all of them.
    pub(super) busy: Expr,
}

/// Makes of each listed group a run of one packet; other runs are as they are. `ready`: a run can begin; `rests`:
/// no word of an earlier run is left anywhere.
pub(super) fn build(m: &mut Module, cmd: &Sink, ready: &Expr, rests: &Expr) -> Next {
    m.comment("Listed groups: a run for each, after all earlier words have left the ring.");
    let list = m.sink("list", &[("group", uint(GROUP))]);
    let listing_q = m.reg_reset("listing_q", &lit(0, 1));
    let rewound_q = m.reg_reset("rewound_q", &lit(0, 1));
    m.drive(&cmd.ready, &(ready & !&listing_q));
    let taken = m.wire("taken", &(cmd.fire() & cmd.field("packets").any()));
    let begin = m.wire("begins", &(&taken & cmd.field("listed")));
    let mut hold = |name: &str, value: &Expr| {
        let q = m.reg(name, value.ty());
        m.next_when(&q, &begin, value);
        q
    };
    let base_q = hold("base_q", &cmd.field("addr"));
    let each_q = hold("each_q", &cmd.field("each"));
    let sherry_q = hold("sherry_q", &cmd.field("sherry"));
    let rewind = m.wire("rewind", &(&listing_q & !&rewound_q & rests));
    m.next(&rewound_q, &(&listing_q & (&rewound_q | &rewind)));
    m.drive(&list.ready, &(&listing_q & &rewound_q & ready));
    let give = m.wire("give", &list.fire());
    let left_q = m.reg("groups_left_q", uint(KEEP));
    let fewer = left_q.sub_wrap(&lit(1, KEEP));
    m.next_when(&left_q, &(&begin | &give), &begin.mux(&cmd.field("packets").low(KEEP), &fewer));
    // groups of the run before may still be on their way to the ring until it is rewound
    let keep_q = m.reg("keep_q", left_q.ty());
    m.next_when(&keep_q, &rewind, &left_q);
    let last = m.wire("last_group", &left_q.eq(&lit(1, KEEP)));
    m.next(&listing_q, &(&begin | (&listing_q & !(&give & &last))));

    let lines = (PACKET / LINE).ilog2();
    let offset = cat([&list.field("group"), &lit(0, lines)]).extend(32);
    let plain = &taken & !cmd.field("listed");
    Next {
        start: m.wire("start", &(plain | &give)),
        line: give.mux(&base_q.add_wrap(&offset), &cmd.field("addr")),
        packets: give.mux(&lit(1, 32), &cmd.field("packets")),
        words: give.mux(&each_q.extend(32), &cmd.field("words")),
        tag: give.mux(&cat([&last, &lit(1, 1), &sherry_q]), &cat([&lit(0, 2), &cmd.field("sherry")])),
        rewind,
        keep: keep_q,
        busy: listing_q,
    }
}
