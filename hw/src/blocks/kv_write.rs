//! Keys and values to the cache.

use super::act_buffer::quant_field;
use super::act_window::select;
use super::banks::{of_bank, place_width};
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, repeat, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// Bits of a byte address.
pub const ADDRESS_BITS: u32 = 40;
/// Byte address of a line, as a shift.
pub(crate) const LINE_SHIFT: u32 = spec::program::LINE.trailing_zeros();
/// Bits of a number of a vector (head).
pub(crate) const VECTOR_BITS: u32 = 16;

/// The cache writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvWrite {
    /// Token slots `V` of a beat of codes.
    pub slots: u32,
    /// Groups of token slots of a bank.
    pub token_groups: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Columns `L` of a beat of codes, a power of two.
    pub columns: u32,
    /// Bytes `D` of a beat of the port, a power of two from 4 to 64.
    pub bytes: u32,
    /// Most codes of a vector.
    pub row_codes: u32,
}

/// The low `width` bits of a value of which no more are needed.
pub(crate) fn cut(m: &mut Module, name: &str, value: &Expr, width: u32) -> Expr {
    if value.width() <= width {
        return value.extend(width);
    }
    let whole = m.wire(name, value);
    m.unused(name, &[whole.slice(width, value.width() - width)]);
    whole.low(width)
}

impl KvWrite {
    /// Codes of a slot in a word of the row memory.
    fn span(&self) -> u32 {
        self.columns.max(self.bytes)
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (v, ng, l, d) = (self.slots, self.token_groups, self.columns, self.bytes);
        let (span, depth) = (self.span(), u64::from(self.row_codes.div_ceil(self.span())));
        let mut m = Module::new(format!("tern_kv_write_v{v}_n{ng}_h{}_l{l}_d{d}_c{}", self.banks, self.row_codes));
        m.header(&format!(
            "Cache writer: each vector of codes becomes a row of each valid slot, each scale four bytes.\n\n\
             Shapes   kv_code [{v} slots, {l} columns] i8 a beat | kv_scale [{v}] u32 | wr_data [{d}] u8\n\
             \x20        row memory 2 x [{depth}] of [{v} slots, {span}] i8 in LUT RAM\n\
             Address  row 64 * (cache + kv_off + vector * kv_stride) + position * row_beats * {d};\n\
             \x20        scale 64 * (cache + scale_off + vector * kv_stride) + 8 * position + 4 * value, in\n\
             \x20        one beat with four strobes. wr_cmd_addr_o is that of the beat\n\
             Group    {{bank, group of the bank}}\n\
             Order    cmd_vectors_i vectors, each for cmd_groups_i groups: codes, then scale\n\
             Rate     a beat of codes a cycle in; beside it a beat a cycle out, 5 cycles more for each write\n\
             Stalls   kv_code_ready_o is low while two vectors wait; bytes behind `last` are zero\n\
             Idle     nothing is kept here; the port knows when memory has it\n\
             Oracle   sim::blocks::kv_write",
        ));
        let groups_ty = uint(count_width(ng.into()));
        let (banks, index_bits) = (self.banks, index_width(ng.into()));
        let group_bits = place_width(banks, ng);
        let [kv_off, kv_stride, row_beats, scale_off, vectors] =
            ["kv_off", "kv_stride", "row_beats", "scale_off", "vectors"].map(quant_field);
        let value = ("value", uint(1));
        let cmd = m.sink("cmd", &[value, kv_off, kv_stride, row_beats, scale_off, vectors, ("groups", groups_ty)]);
        let place = [("group", uint(group_bits)), ("vector", uint(VECTOR_BITS))];
        let code = m.sink("kv_code", &[("data", uint(8 * v * l)), place[0], place[1], ("last", uint(1))]);
        let scale = m.sink("kv_scale", &[place[0], place[1], ("data", uint(32 * v))]);
        let slots = v * ng * banks;
        let valids = m.input("slot_valid_i", uint(slots));
        let positions = m.input("slot_position_i", uint(32 * slots));
        let caches = m.input("slot_cache_i", uint(32 * slots));
        let wr_cmd = m.source("wr_cmd", &[("addr", uint(ADDRESS_BITS)), ("beats", uint(8))]);
        let wr_data = m.source("wr_data", &[("data", uint(8 * d)), ("strb", uint(d))]);
        let idle = m.output("idle_o", uint(1));

        m.comment("Wait for a vector's codes, write its rows, take its scale, write the scales.");
        let state = |m: &mut Module, name: &str| m.reg_reset(&format!("{name}_q"), &lit(0, 1));
        let (expect_q, await_q) = (state(&mut m, "expect"), state(&mut m, "await"));
        let steps = ["pick", "weigh", "add", "place", "ask", "give"];
        let [pick_q, weigh_q, add_q, place_q, ask_q, give_q] = steps.map(|n| state(&mut m, n));
        let busy = cat([&expect_q, &await_q, &pick_q, &weigh_q, &add_q, &place_q, &ask_q, &give_q]).any();
        let busy = m.wire("busy", &busy);
        let given_q = state(&mut m, "given");
        m.drive(&cmd.ready, &!&busy);
        let start = m.wire("start", &cmd.fire());
        let mut kept = |name: &str| {
            let q = m.reg(&format!("{name}_q"), cmd.field(name).ty());
            m.next_when(&q, &start, &cmd.field(name));
            q
        };
        let [value_q, kv_off_q, kv_stride_q, row_beats_q, scale_off_q, groups_q] =
            ["value", "kv_off", "kv_stride", "row_beats", "scale_off", "groups"].map(&mut kept);

        m.comment("Codes to words of whole beats; what a word lacks is zero. Two vectors have room.");
        let vector_ends = m.net("vector_ends", uint(1));
        let rows_q = m.reg_reset("rows_q", &lit(0, 2));
        m.drive(&code.ready, &!rows_q.bit(1));
        m.drive(&idle, &!(&(&busy | &given_q) | &rows_q.any()));
        let fire = m.wire("code_fire", &code.fire());
        let part_count = span / l;
        let part_bits = index_width(part_count.into());
        let part_q = m.reg_reset("part_q", &lit(0, part_bits));
        let full = part_q.eq(&lit(u128::from(part_count) - 1, part_bits));
        let code_ends = m.wire("code_ends", &(&fire & code.field("last")));
        let word_ends = m.wire("word_ends", &(&fire & (full | code.field("last"))));
        m.next_when(&part_q, &fire, &word_ends.mux(&lit(0, part_bits), &part_q.add_wrap(&lit(1, part_bits))));
        let first = m.wire("first_part", &part_q.eq(&lit(0, part_bits)));
        let data = code.field("data");
        let parts: Vec<Expr> = (0..part_count)
            .map(|at| {
                let own = m.wire(&format!("own{at}"), &part_q.eq(&lit(at.into(), part_bits)));
                let q = m.reg(&format!("part{at}_q"), data.ty());
                m.next_when(&q, &(&fire & (&own | &first)), &(&data & repeat(data.width(), &own)));
                q
            })
            .collect();
        let word = cat((0..v).rev().flat_map(|s| parts.iter().rev().map(move |p| p.lane(s, 8 * l))));
        let (index, count) = (index_width(depth), count_width(depth));
        let (put_q, get_q) = (state(&mut m, "put"), state(&mut m, "get"));
        m.next_when(&put_q, &code_ends, &!&put_q);
        m.next_when(&get_q, &vector_ends, &!&get_q);
        let one = lit(1, 2);
        let rows = code_ends.mux(&rows_q.add_wrap(&one), &rows_q.sub_wrap(&one).as_unsigned());
        m.next_when(&rows_q, &(&code_ends ^ &vector_ends), &rows);
        let word_q = m.reg_reset("word_q", &lit(0, count));
        let words = m.wire("words", &word_q.add_wrap(&lit(1, count)));
        m.next_when(&word_q, &word_ends, &code_ends.mux(&lit(0, count), &words));
        let store_q = state(&mut m, "store");
        m.next(&store_q, &word_ends);
        let store_at = m.delay("store_at_q", &cat([&put_q, &word_q.extend(count.max(index)).low(index)]));
        let memory = m.memory("mem", word.width(), 2 << index, RamStyle::Distributed);
        m.write(&memory, &store_q, &store_at, &word);
        let names = m.memory("names", group_bits + VECTOR_BITS + count, 2, RamStyle::Distributed);
        m.write(&names, &code_ends, &put_q, &cat([&words, &code.field("vector"), &code.field("group")]));
        let name = m.read(&names, &get_q);
        let name = m.wire("name", &name);
        let group = name.low(group_bits);
        let vector = name.slice(group_bits, VECTOR_BITS);
        let filled = name.slice(group_bits + VECTOR_BITS, count);
        if ng == 1 {
            m.unused("group", &[group.bit(0)]);
        }

        m.comment("The scale of the same vector and group comes behind its rows.");
        let begin = m.wire("row_there", &(&expect_q & rows_q.any()));
        m.drive(&scale.ready, &await_q);
        let scaled = m.wire("scaled", &scale.fire());
        m.unused("scale_place", &[scale.field("group"), scale.field("vector")]);
        let scale_q = m.reg("scale_q", uint(32 * v));
        m.next_when(&scale_q, &scaled, &scale.field("data"));
        let scales_q = state(&mut m, "scales");
        m.next_when(&scales_q, &(&begin | &scaled), &scaled);

        m.comment("One slot after the other: its numbers, products, sums, address.");
        let slot_bits = index_width(v.into());
        let slot_q = m.reg_reset("slot_q", &lit(0, slot_bits));
        let picked = |all: &Expr, width: u32| {
            let bank = group.bit(group_bits - 1);
            let of_lane = |s: u32| {
                let of_groups = |values: &[Expr]| {
                    let lanes: Vec<Expr> = values.iter().skip(s as usize).step_by(v as usize).cloned().collect();
                    select(&group.low(index_bits), &lanes)
                };
                of_bank(&bank, all, width, v * ng, of_groups)
            };
            let lanes: Vec<Expr> = (0..v).map(of_lane).collect();
            select(&slot_q, &lanes)
        };
        let head = cut(&mut m, "head", &(&vector * &kv_stride_q), 32);
        let mut at_step = |name: &str, step: &Expr, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, step, value);
            q
        };
        let valid_q = at_step("valid", &pick_q, &picked(&valids, 1));
        let position_q = at_step("position", &pick_q, &picked(&positions, 32));
        let cache_q = at_step("cache", &pick_q, &picked(&caches, 32));
        let head_q = at_step("head", &pick_q, &head);
        let shift = d.trailing_zeros();
        let product = cut(&mut m, "product", &(&position_q * &row_beats_q), ADDRESS_BITS - shift);
        let mut at_step = |name: &str, step: &Expr, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, step, value);
            q
        };
        let product_q = at_step("product", &weigh_q, &product);
        let line_q = at_step("line", &weigh_q, &cache_q.add_wrap(&scales_q.mux(&scale_off_q, &kv_off_q)));
        let offset_q = at_step("offset", &add_q, &product_q);
        let base_q = at_step("base", &add_q, &line_q.add_wrap(&head_q));
        let bytes = |value: &Expr, low: u32| cat([value, &lit(0, low)]).extend(ADDRESS_BITS);
        let of_scale = cat([&position_q, &value_q, &lit(0, 2)]).extend(ADDRESS_BITS);
        let offset = scales_q.mux(&of_scale, &bytes(&offset_q, shift));
        let addr_q = at_step("addr", &place_q, &bytes(&base_q, LINE_SHIFT).add_wrap(&offset));
        m.unused("addr", &[addr_q.low(2)]);
        let skip = m.wire("skip", &(&weigh_q & !&valid_q));
        m.drive(&wr_cmd.valid, &ask_q);
        m.drive(&wr_cmd.field("addr"), &cat([&addr_q.slice(shift, ADDRESS_BITS - shift), &lit(0, shift)]));
        m.drive(&wr_cmd.field("beats"), &scales_q.mux(&lit(1, 8), &row_beats_q.low(8)));

        m.comment("Beats of a row, or the one of a scale.");
        let beats = row_beats_q.width();
        let beat_q = m.reg_reset("beat_q", &lit(0, beats));
        let free = !&given_q | &wr_data.ready;
        let load = m.wire("load", &(&give_q & free));
        let next_beat = m.wire("next_beat", &beat_q.add_wrap(&lit(1, beats)));
        let last_beat = m.wire("last_beat", &(&scales_q | next_beat.eq(&row_beats_q)));
        let write_ends = m.wire("write_ends", &(&load & &last_beat));
        m.next_when(&beat_q, &load, &last_beat.mux(&lit(0, beats), &next_beat));
        m.next(&given_q, &(&load | (&given_q & !&wr_data.ready)));
        let sub_bits = (span / d).trailing_zeros();
        let at_word = m.wire("at_word", &beat_q.slice(sub_bits, beats - sub_bits));
        let row_index = if at_word.width() < index { at_word.extend(index) } else { at_word.low(index) };
        let stored = m.read(&memory, &cat([&get_q, &row_index]));
        let stored = m.wire("stored", &stored);
        let row = select(&slot_q, &(0..v).map(|s| stored.lane(s, 8 * span)).collect::<Vec<_>>());
        let row = m.wire("row", &row);
        let pieces: Vec<Expr> = (0..span / d).map(|at| row.lane(at, 8 * d)).collect();
        let piece = if sub_bits == 0 { row } else { select(&beat_q.low(sub_bits), &pieces) };
        let inside = at_word.lt(&filled);
        let one_scale = select(&slot_q, &(0..v).map(|s| scale_q.lane(s, 32)).collect::<Vec<_>>());
        let data_q = m.reg("data_q", uint(8 * d));
        let strb_q = m.reg("strb_q", uint(d));
        let row_data = piece & repeat(8 * d, &inside);
        m.next_when(&data_q, &load, &scales_q.mux(&repeat(d / 4, &one_scale), &row_data));
        let strobe = |at: u32| match d {
            4 => lit(15, 4),
            _ => repeat(4, &addr_q.slice(2, shift - 2).eq(&lit(at.into(), shift - 2))),
        };
        let strobes = cat((0..d / 4).rev().map(strobe).collect::<Vec<_>>());
        m.next_when(&strb_q, &load, &scales_q.mux(&strobes, &repeat(d, &lit(1, 1))));
        m.drive(&wr_data.valid, &given_q);
        m.drive(&wr_data.field("data"), &data_q);
        m.drive(&wr_data.field("strb"), &strb_q);

        m.comment("What follows.");
        let slot_ends = m.wire("slot_ends", &(&skip | &write_ends));
        let last_slot = slot_q.eq(&lit(u128::from(v) - 1, slot_bits));
        let all_slots = m.wire("all_slots", &(&slot_ends & last_slot));
        m.next_when(&slot_q, &slot_ends, &all_slots.mux(&lit(0, slot_bits), &slot_q.add_wrap(&lit(1, slot_bits))));
        m.drive(&vector_ends, &(&all_slots & &scales_q));
        let groups_left_q = m.reg("groups_left_q", groups_ty);
        let vectors_left_q = m.reg("vectors_left_q", vectors.1);
        let one = lit(1, groups_ty.width);
        let last_group = m.wire("last_group", &groups_left_q.eq(&one));
        let all_groups = m.wire("all_groups", &(&vector_ends & &last_group));
        let groups_next = last_group.mux(&groups_q, &groups_left_q.sub_wrap(&one));
        m.next_when(&groups_left_q, &(&start | &vector_ends), &start.mux(&cmd.field("groups"), &groups_next));
        let one = lit(1, vectors.1.width);
        let fewer = start.mux(&cmd.field("vectors"), &vectors_left_q.sub_wrap(&one));
        m.next_when(&vectors_left_q, &(&start | &all_groups), &fewer);
        let done = m.wire("done", &(&all_groups & vectors_left_q.eq(&one)));
        m.next(&expect_q, &(&start | (&expect_q & !&begin) | (&vector_ends & !&done)));
        m.next(&await_q, &((&all_slots & !&scales_q) | (&await_q & !&scaled)));
        m.next(&pick_q, &(&begin | &scaled | (&slot_ends & !&all_slots)));
        m.next(&weigh_q, &pick_q);
        m.next(&add_q, &(&weigh_q & !&skip));
        m.next(&place_q, &add_q);
        m.next(&ask_q, &(&place_q | (&ask_q & !&wr_cmd.ready)));
        m.next(&give_q, &(wr_cmd.fire() | (&give_q & !&write_ends)));
        design.add(m)
    }
}
