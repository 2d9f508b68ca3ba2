//! From the activation buffer to the engine's tables.

use super::act_buffer::ActBuffer;
use super::table_build::GROUP;
use super::tlmm::linear_field;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// Reads a tile's activations, once for each plane.
pub struct Feeder {
    /// Where they lie.
    pub buffer: ActBuffer,
}

impl Feeder {
    /// Cycles from the command, or from the beat before, to a beat: that many and one for each group.
    pub const LATENCY: u32 = 1 + ActBuffer::READ_LATENCY;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let b = &self.buffer;
        let (v, ng, tables) = (b.slots, b.token_groups, b.groups);
        let mut m = Module::new(format!("tern_feeder_g{tables}_v{v}_n{ng}_w{}", b.depth()));
        m.header(&format!(
            "Feeder: for each plane `segs` segments of the activation buffer from `act` on, in order.\n\n\
             Shapes   rd_data [{tables} tables, {v} slots, {GROUP}] i8 | act [{tables} tables, {p} slots, {GROUP}] i8,\n\
             \x20        slot g * {v} + v; those of groups that are not used keep old bytes\n\
             Order    plane, segment, {} passes; the words of a pass are {ng} addresses, one for each group\n\
             Latency  {} cycles and one for each group from beat to beat, less than a table takes\n\
             Stalls   a beat is held until it is taken; the next one is read after that\n\
             Oracle   sim::blocks::matrix",
            b.passes(),
            Self::LATENCY,
            p = v * ng,
        ));
        let groups_ty = uint(count_width(ng.into()));
        let [act, segs_field, planes_field, sherry_field] = ["act", "segs", "planes", "sherry"].map(linear_field);
        let cmd = m.sink("cmd", &[act, segs_field, planes_field, sherry_field, ("groups", groups_ty)]);
        let rd_data = m.input("rd_data_i", uint(b.word()));
        let address = index_width(b.depth());
        let rd_en = m.output("rd_en_o", uint(1));
        let rd_addr = m.output("rd_addr_o", uint(address));
        let act = m.source("act", &[("data", uint(ng * b.word())), ("sherry", uint(1))]);
        let idle = m.output("idle_o", uint(1));

        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let issue_q = m.reg_reset("issue_q", &lit(0, 1));
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        let final_q = m.reg("final_q", uint(1));
        let start = m.wire("start", &cmd.fire());
        let given = m.wire("given", &act.fire());
        m.drive(&cmd.ready, &!&active_q);
        m.drive(&idle, &!&active_q);
        let (segs, planes) = (segs_field.1.width, planes_field.1.width);
        let sherry_q = m.reg("sherry_q", uint(1));
        let groups_q = m.reg("groups_q", groups_ty);
        let seg_last_q = m.reg("seg_last_q", uint(segs));
        let seg_last = m.wire("seg_last", &cmd.field("segs").sub_wrap(&lit(1, segs)));
        m.next_when(&sherry_q, &start, &cmd.field("sherry"));
        m.next_when(&groups_q, &start, &cmd.field("groups").sub_wrap(&lit(1, groups_ty.width)));
        m.next_when(&seg_last_q, &start, &seg_last);

        m.comment("Addresses: groups, passes, segments, planes.");
        let group_q = m.reg_reset("group_q", &lit(0, groups_ty.width));
        let pass_bits = index_width(b.passes().into());
        let pass_q = m.reg_reset("pass_q", &lit(0, pass_bits));
        let segs_left_q = m.reg("segs_left_q", uint(segs));
        let planes_left_q = m.reg("planes_left_q", uint(planes));
        let base_q = m.reg("base_q", uint(address));
        let last_group = m.wire("last_group", &group_q.eq(&groups_q));
        let pass_ends = m.wire("pass_ends", &(&issue_q & &last_group));
        let last_pass = pass_q.eq(&lit(u128::from(b.passes()) - 1, pass_bits));
        let seg_ends = m.wire("seg_ends", &(&pass_ends & last_pass));
        let no_segs = segs_left_q.eq(&lit(0, segs));
        let plane_ends = m.wire("plane_ends", &(&seg_ends & no_segs));
        let next_group = last_group.mux(&lit(0, groups_ty.width), &group_q.add_wrap(&lit(1, groups_ty.width)));
        m.next_when(&group_q, &issue_q, &next_group);
        let next_pass = seg_ends.mux(&lit(0, pass_bits), &pass_q.add_wrap(&lit(1, pass_bits)));
        m.next_when(&pass_q, &pass_ends, &next_pass);
        let fewer = plane_ends.mux(&seg_last_q, &segs_left_q.sub_wrap(&lit(1, segs)));
        m.next_when(&segs_left_q, &(&start | &seg_ends), &start.mux(&seg_last, &fewer));
        let planes_from = start.mux(&cmd.field("planes"), &planes_left_q);
        m.next_when(&planes_left_q, &(&start | &plane_ends), &planes_from.sub_wrap(&lit(1, planes)));
        let done = m.wire("done", &(&plane_ends & planes_left_q.eq(&lit(0, planes))));
        m.next_when(&final_q, &(&start | &pass_ends), &done);
        let step = if u64::from(ng) >> address == 0 { lit(ng.into(), address) } else { lit(0, address) };
        let first = b.segment_address(&mut m, &cmd.field("act"));
        let first_q = m.reg("first_q", uint(address));
        m.next_when(&first_q, &start, &first);
        let restart = start.mux(&first, &first_q);
        let next_base = (&start | &plane_ends).mux(&restart, &base_q.add_wrap(&step));
        m.next_when(&base_q, &(&start | &pass_ends), &next_base);
        let offset = if groups_ty.width > address { group_q.low(address) } else { group_q.extend(address) };
        m.drive(&rd_en, &issue_q);
        m.drive(&rd_addr, &base_q.add_wrap(&offset));
        m.next(&issue_q, &(&start | (&given & !&final_q) | (&issue_q & !&last_group)));
        m.next(&active_q, &(&start | (&active_q & !(&given & &final_q))));

        m.comment("A word of the buffer is a group's part of a beat.");
        let (mut there, mut last, mut group) = (issue_q.clone(), last_group.clone(), group_q.clone());
        for stage in 0..ActBuffer::READ_LATENCY {
            let q = m.reg_reset(&format!("there_s{stage}_q"), &lit(0, 1));
            m.next(&q, &there);
            there = q;
            last = m.delay(&format!("last_s{stage}_q"), &last);
            group = m.delay(&format!("group_s{stage}_q"), &group);
        }
        let parts: Vec<Expr> = (0..ng)
            .map(|g| {
                let q = m.reg(&format!("part{g}_q"), uint(b.word()));
                m.next_when(&q, &(&there & group.eq(&lit(g.into(), groups_ty.width))), &rd_data);
                q
            })
            .collect();
        m.next(&valid_q, &((&there & last) | (&valid_q & !&given)));
        let lane = 8 * GROUP * v;
        let order = (0..tables).flat_map(|t| (0..ng as usize).map(move |g| (t, g))).rev();
        m.drive(&act.valid, &valid_q);
        m.drive(&act.field("data"), &cat(order.map(|(t, g)| parts[g].lane(t, lane))));
        m.drive(&act.field("sherry"), &sherry_q);
        design.add(m)
    }
}
