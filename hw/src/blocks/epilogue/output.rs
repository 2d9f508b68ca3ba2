//! Results and where they go.

use super::control::{Beat, Command, Flow};
use super::{Epilogue, counter};
use crate::blocks::fifo::Fifo;
use crate::blocks::head::{ROW, log_fields};
use crate::blocks::ring::KEEP;
use crate::ir::{Design, Expr, IrError, Module, cat, lit, repeat, uint};
use crate::width::index_width;

impl Epilogue {
    /// Books a place for each result when its beat is issued and gives results away in order. Returns
    /// whether any is not given yet.
    pub(super) fn results(
        &self,
        m: &mut Module,
        design: &mut Design,
        cmd: &Command,
        beat: &Beat,
        flow: &Flow,
        (results, scales): (&Expr, &Expr),
    ) -> Result<Expr, IrError> {
        m.comment("Where a result goes is known when its beat is issued; a rotation writes two words.");
        let (l, v, queue) = (self.lanes, self.vtokens, self.queue());
        let groups = index_width(self.groups().into());
        let pop = m.net("result_pop", uint(1));
        let booked_q = counter(m, "booked_q", queue, &beat.gives, &pop);
        m.drive(&beat.room, &booked_q.lt(&lit(u128::from(queue) - 1, booked_q.width())));
        let name_q = m.reg_reset("name_q", &lit(0, 1));
        let twin_q = m.reg_reset("twin_q", &lit(0, 1));
        m.next(&name_q, &beat.gives.any());
        m.next(&twin_q, &(&name_q & &cmd.rope & !&twin_q));
        let half = lit(self.runs().into(), 16);
        let column = cmd.gate.mux(&beat.gate_column, &cmd.rope.mux(&beat.column.sub_wrap(&half), &beat.column));
        let column = column.add_wrap(&beat.s.extend(16));
        let first = beat.gives.any();
        let column_q = m.reg("result_column_q", uint(16));
        let g_q = m.reg("result_g_q", uint(groups));
        let last_q = m.reg("result_last_q", uint(1));
        m.next_when(&column_q, &(&first | &name_q), &first.mux(&column, &column_q.add_wrap(&half)));
        m.next_when(&g_q, &first, &beat.g);
        m.next_when(&last_q, &first, &beat.last);

        let bits = l.ilog2();
        let start = if bits > 0 { cat([&column_q, &lit(0, bits)]) } else { column_q.clone() };
        let left = m.wire("columns_left", &(cmd.cols.as_unsigned() - &start));
        let (sign, low) = (left.bit(left.width() - 1), left.low(left.width() - 1));
        let in_tile = |lane: u32| &cmd.rope | (!&sign & low.gt(&lit(lane.into(), low.width())));
        let mask = cat((0..l).rev().map(in_tile));
        let word = m.wire("result_word", &cmd.dst.add_wrap(&column_q.low(self.word_width())));
        let at = self.addr.max(ROW);
        let fit = |e: &Expr| if e.width() > ROW { e.low(ROW) } else { e.extend(ROW) };
        let row = cmd.base.add_wrap(&fit(&start)).extend(at);
        let place = cmd.logits.mux(&row, &self.vm_address(&word, &g_q).extend(at));
        let closes = &last_q & (!&cmd.rope | &twin_q);
        let name = cat([
            &closes,
            &cmd.keep,
            scales,
            &cmd.pick,
            &cmd.rank,
            &cmd.logits,
            &cmd.final_tile,
            &last_q,
            &mask,
            &g_q,
            &place,
        ]);
        let names_of = Fifo { width: name.width(), depth: queue }.build(design)?;
        let named = &name_q | &twin_q;
        let inputs = [("in_valid_i", &named), ("in_data_i", &name), ("out_ready_i", &pop)];
        let names = m.instance("names", &names_of, &inputs);
        let data_of = Fifo { width: results.width(), depth: queue }.build(design)?;
        let inputs = [("in_valid_i", &flow.arrive), ("in_data_i", results), ("out_ready_i", &pop)];
        let data = m.instance("results", &data_of, &inputs);
        m.unused("names", &[names.get("in_ready_o"), names.get("out_valid_o"), data.get("in_ready_o")]);

        m.comment("To the vector memory or the output head.");
        let name = names.get("out_data_o");
        let (place, g, mask) = (name.low(at), name.slice(at, groups), name.slice(at + groups, l));
        let flags = at + groups + l;
        let logits = name.bit(flags + 2);
        let row_mask = repeat(v, &cat((0..l).rev().map(|lane| repeat(32, &mask.bit(lane)))));
        let masked = m.wire("masked", &(data.get("out_data_o") & row_mask));
        let there = data.get("out_valid_o");
        let width = uint(masked.width());
        let vm = m.source("vm_wr", &[("addr", uint(self.addr)), ("mask", uint(v)), ("data", width)]);
        m.drive(&vm.valid, &(&there & !&logits));
        m.drive(&vm.field("addr"), &place.low(self.addr));
        m.drive(&vm.field("mask"), &repeat(v, &lit(1, 1)));
        m.drive(&vm.field("data"), &masked);
        let log = m.source("log", &log_fields(l, v, groups));
        m.drive(&log.valid, &(&there & &logits));
        m.drive(&log.field("data"), &masked);
        m.drive(&log.field("group"), &g);
        m.drive(&log.field("row"), &place.low(ROW));
        m.drive(&log.field("mask"), &mask);
        m.drive(&log.field("last"), &name.bit(flags));
        m.drive(&log.field("final"), &name.bit(flags + 1));
        m.drive(&log.field("rank"), &name.bit(flags + 3));
        m.drive(&log.field("pick"), &name.bit(flags + 4));
        m.drive(&log.field("scale"), &name.slice(flags + 5, 32 * l));
        m.drive(&log.field("keep"), &name.slice(flags + 5 + 32 * l, KEEP));
        m.drive(&pop, &(&there & logits.mux(&log.ready, &vm.ready)));
        let done = m.output("done_o", uint(1));
        let done_q = m.reg_reset("done_q", &lit(0, 1));
        m.next(&done_q, &(&pop & name.bit(name.width() - 1)));
        m.drive(&done, &done_q);
        Ok(booked_q.any())
    }
}
