//! The command in work.

use super::Quantize;
use super::parts::Extent;
use crate::ir::{Expr, Module, Sink, lit, uint};
use crate::width::count_width;
use spec::program::quant;

/// A command, held while it is in work.
pub(super) struct Command {
    /// One cycle: counters begin anew.
    pub(super) clear: Expr,
    pub(super) mode: Expr,
    pub(super) norm: Expr,
    /// The sum of squares is needed.
    pub(super) rms: Expr,
    /// Mode NORM.
    pub(super) raw: Expr,
    pub(super) words: Expr,
    pub(super) src: Expr,
    pub(super) dst: Expr,
    pub(super) count: Expr,
    pub(super) eps: Expr,
    pub(super) factor: Expr,
    pub(super) bank: Expr,
    /// Head of the first vector.
    pub(super) first: Expr,
    pub(super) extent: Extent,
}

impl Quantize {
    /// Address of column word `word` of group 0.
    pub(super) fn base(&self, m: &mut Module, name: &str, word: &Expr) -> Expr {
        let width = self.addr_width();
        let groups = u128::from(self.groups);
        let product = m.wire(&format!("{name}_wide"), &(word * &lit(groups, count_width(self.groups.into()))));
        match width < product.width() {
            true => {
                m.unused(name, &[product.slice(width, product.width() - width)]);
                product.low(width)
            }
            false => product.extend(width),
        }
    }

    /// Takes a command and keeps it until it is finished.
    pub(super) fn command(&self, m: &mut Module, finished: &Expr) -> Command {
        let counts = count_width(self.groups.into());
        let fields = [
            ("mode", 3),
            ("norm", 1),
            ("src", 16),
            ("words", 16),
            ("vectors", 16),
            ("dst", 16),
            ("count", 32),
            ("eps", 32),
            ("factor", 32),
            ("bank", 1),
            ("first", 12),
            ("groups", counts),
        ];
        let cmd: Sink = m.sink("cmd", &fields.map(|(name, width)| (name, uint(width))));
        let idle = m.output("idle_o", uint(1));
        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let clear_q = m.reg_reset("clear_q", &lit(0, 1));
        let take = m.wire("take", &cmd.fire());
        let some = m.wire(
            "some_work",
            &["words", "vectors", "groups"]
                .map(|f| cmd.field(f).any())
                .into_iter()
                .fold(take.clone(), |all, f| all & f),
        );
        m.drive(&cmd.ready, &!&active_q);
        m.drive(&idle, &!&active_q);
        m.next(&clear_q, &some);
        let packed = m.input("packed_i", uint(1));
        let mode_q = m.reg("mode_q", uint(3));
        m.next_when(&mode_q, &take, &cmd.field("mode"));
        let is_act = mode_q.eq(&lit(quant::ACT.into(), 3));
        let packed_q = m.reg_reset("packed_q", &lit(0, 1));
        let given_q = m.reg_reset("given_q", &lit(0, 1));
        m.next(&packed_q, &(!&take & (&packed | &packed_q)));
        m.next(&given_q, &(!&take & (finished | &given_q)));
        let over = m.wire("command_over", &((finished | &given_q) & (&packed | &packed_q | !is_act)));
        m.next(&active_q, &(&some | &(&active_q & !over)));
        let mut keep = |name: &str, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, &take, value);
            q
        };
        let before = |value: Expr| value.sub_wrap(&lit(1, value.width()));
        let raw = cmd.field("mode").eq(&lit(quant::NORM.into(), 3));
        let extent = Extent {
            group_last: keep("group_last", &before(cmd.field("groups").low(self.group_width()))),
            vector_last: keep("vector_last", &before(cmd.field("vectors"))),
            word_last: keep("word_last", &before(cmd.field("words"))),
        };
        Command {
            clear: clear_q,
            mode: mode_q,
            norm: keep("norm", &cmd.field("norm")),
            rms: keep("rms", &(cmd.field("norm") | &raw)),
            raw: keep("raw", &raw),
            words: keep("words", &cmd.field("words")),
            src: keep("src", &cmd.field("src")),
            dst: keep("dst", &cmd.field("dst")),
            count: keep("count", &cmd.field("count")),
            eps: keep("eps", &cmd.field("eps")),
            factor: keep("factor", &cmd.field("factor")),
            bank: keep("bank", &cmd.field("bank")),
            first: keep("first", &cmd.field("first")),
            extent,
        }
    }
}
