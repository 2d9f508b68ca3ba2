//! Results to where they go.

use super::lanes::Results;
use super::parts::{Items, RING_COUNT, Walk, counter, ring};
use super::{Command, Quantize};
use crate::blocks::fifo::Fifo;
use crate::ir::{Design, Expr, IrError, Module, cat, lit, repeat, uint};
use spec::program::quant;

/// Progress of the results.
pub(super) struct Done {
    /// A word has left the queue.
    pub(super) pop: Expr,
    /// A vector of a group has left.
    pub(super) item: Expr,
    /// The command is finished.
    pub(super) all: Expr,
}

impl Quantize {
    pub(super) fn outputs(
        &self,
        m: &mut Module,
        design: &mut Design,
        command: &Command,
        results: &Results,
    ) -> Result<Done, IrError> {
        let (vtokens, all) = (self.vtokens, self.lanes * self.vtokens);
        let (group, vector, addr) = (uint(self.place_width()), uint(16), self.addr_width());
        let place = |m: &mut Module, name: &str, group: &Expr| match self.banks {
            1 => group.clone(),
            _ => m.wire(name, &cat([&command.bank, group])),
        };
        if self.banks == 1 {
            m.unused("bank", std::slice::from_ref(&command.bank));
        }
        let queue_of = Fifo { width: 32 * all + 1, depth: self.queue() }.build(design)?;
        let written_of = Fifo { width: addr + 32 * all, depth: 2 }.build(design)?;
        let (clear, extent) = (&command.clear, &command.extent);
        let act = m.source("act_code", &[("data", uint(8 * all)), ("last", uint(1))]);
        let act_scale = m.source("act_scale", &[("group", group), ("data", uint(32 * vtokens))]);
        let tagged = |m: &mut Module, name: &str| {
            let mut code = vec![("data", uint(8 * all)), ("group", group), ("vector", vector), ("last", uint(1))];
            if name == "qry" {
                code.push(("base", uint(16)));
            }
            let scale = [("group", group), ("vector", vector), ("data", uint(32 * vtokens))];
            (m.source(&format!("{name}_code"), &code), m.source(&format!("{name}_scale"), &scale))
        };
        let (qry, qry_scale) = tagged(m, "qry");
        let (kv, kv_scale) = tagged(m, "kv");
        let write = m.source("vm_wr", &[("addr", uint(addr)), ("mask", uint(vtokens)), ("data", uint(32 * all))]);

        m.comment("Words of the second pass.");
        let pop = m.net("pop", uint(1));
        let data = cat([&results.last, &results.data]);
        let inputs = [("in_valid_i", &results.valid), ("in_data_i", &data), ("out_ready_i", &pop)];
        let queue = m.instance("queue", &queue_of, &inputs);
        m.unused("queue_ready", &[queue.get("in_ready_o")]);
        let (there, word) = (queue.get("out_valid_o"), queue.get("out_data_o"));
        let (data, last) = (word.low(32 * all), word.bit(32 * all));
        let mode = |of: u32| command.mode.eq(&lit(of.into(), 3));
        let to_act = m.wire("to_act", &mode(quant::ACT));
        let to_qry = m.wire("to_qry", &mode(quant::QUERY));
        let to_kv = m.wire("to_kv", &(mode(quant::KEY) | mode(quant::VALUE)));
        let raw = &command.raw;
        for (on, source) in [(&to_act, &act), (&to_qry, &qry), (&to_kv, &kv)] {
            m.drive(&source.valid, &(&there & on));
            m.drive(&source.field("data"), &data.low(8 * all));
            m.drive(&source.field("last"), &last);
        }
        let write_room = m.net("write_room", uint(1));
        let taken = (&to_act & &act.ready) | (&to_qry & &qry.ready);
        let taken = taken | (&(&to_kv & &kv.ready) | (raw & &write_room));
        m.drive(&pop, &taken);
        let popped = m.wire("popped", &(&there & &taken));
        let code_end = m.wire("vector_coded", &(&popped & &last));
        let items = Items::new(m, "code", extent, clear, &code_end);
        m.drive(&qry.field("base"), &command.dst);
        let code_place = place(m, "code_place", &items.group);
        for source in [&qry, &kv] {
            m.drive(&source.field("group"), &code_place);
            m.drive(&source.field("vector"), &items.vector);
        }
        let base = self.base(m, "dst_base", &command.dst);
        let step = &popped & raw;
        let walk = Walk::new(m, "write", self.groups, extent, clear, &base, &step);
        m.unused("write_walk", &[walk.active]);

        m.comment("The memory's many writers end here: its ready goes no further than this queue.");
        let width = 32 * all;
        let inputs =
            [("in_valid_i", &(&there & raw)), ("in_data_i", &cat([&walk.addr, &data])), ("out_ready_i", &write.ready)];
        let written = m.instance("written", &written_of, &inputs);
        let (writes, entry) = (written.get("out_valid_o"), written.get("out_data_o"));
        m.drive(&write_room, &written.get("in_ready_o"));
        m.drive(&write.valid, &writes);
        m.drive(&write.field("addr"), &entry.slice(width, addr));
        m.drive(&write.field("data"), &entry.low(width));
        m.drive(&write.field("mask"), &repeat(vtokens, &lit(1, 1)));
        let over_q = m.reg_reset("written_over_q", &lit(0, 1));
        m.next(&over_q, &(&walk.over | (&over_q & &writes)));

        m.comment("Scales, each behind its codes.");
        let scale_pop = m.net("scale_pop", uint(1));
        let scales_q = counter(m, "scales_q", clear, &results.scale_done, &scale_pop, RING_COUNT);
        let coded_q = counter(m, "coded_q", clear, &(&code_end & !raw), &scale_pop, RING_COUNT);
        let ready = m.wire("scale_there", &(scales_q.any() & coded_q.any()));
        let at = ring(m, "scale_ring_q", clear, &scale_pop);
        m.drive(&results.scale_ring, &at);
        let scaled = Items::new(m, "scale", extent, clear, &scale_pop);
        let scale_place = place(m, "scale_place", &scaled.group);
        for (on, source) in [(&to_act, &act_scale), (&to_qry, &qry_scale), (&to_kv, &kv_scale)] {
            m.drive(&source.valid, &(&ready & on));
            m.drive(&source.field("group"), &scale_place);
            m.drive(&source.field("data"), &results.scale);
        }
        m.drive(&kv_scale.field("vector"), &scaled.vector);
        m.drive(&qry_scale.field("vector"), &scaled.vector.add_wrap(&command.first.extend(16)));
        let taken = (&to_act & &act_scale.ready) | (&to_qry & &qry_scale.ready);
        let taken = taken | (&to_kv & &kv_scale.ready);
        m.drive(&scale_pop, &(&ready & &taken));
        m.unused("ends", &[items.end, items.group_end, scaled.group_end]);
        let item = m.wire("item_over", &(&scale_pop | &(&code_end & raw)));
        Ok(Done { pop: popped, item, all: (&scale_pop & &scaled.end) | (&over_q & !&writes) })
    }
}
