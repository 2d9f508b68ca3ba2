//! Codes of activations, packed for the table builder.

use super::fifo::Fifo;
use super::table_build::GROUP;
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, Ty, cat, lit, repeat, uint};
use crate::width::{count_width, index_width};
use spec::program::{Op, field};
use std::rc::Rc;

/// Codes of one vector for each of `token_groups * slots` token slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActBuffer {
    /// Tables `T` of a segment.
    pub tables: u32,
    /// Tables `G` of a memory word.
    pub groups: u32,
    /// Token slots `V` of a memory word.
    pub slots: u32,
    /// Groups of token slots.
    pub token_groups: u32,
    /// Columns `L` of a beat of codes, a power of two.
    pub columns: u32,
    /// Segments of all vectors that it holds.
    pub segments: u64,
}

/// A field of the quantiser's descriptor, with the width that programs give it.
pub(crate) fn quant_field(name: &'static str) -> (&'static str, Ty) {
    (name, uint(field(Op::Quant, name).map_or(1, |f| f.width)))
}

impl ActBuffer {
    /// Cycles from `rd_en_i` to the word: read, output register.
    pub const READ_LATENCY: u32 = 2;

    /// Memory words of a segment for one group of slots.
    pub fn passes(&self) -> u32 {
        self.tables.div_ceil(self.groups)
    }

    /// Memory words.
    pub fn depth(&self) -> u64 {
        self.segments * u64::from(self.passes() * self.token_groups)
    }

    /// Bits of a memory word.
    pub fn word(&self) -> u32 {
        8 * GROUP * self.groups * self.slots
    }

    /// What the memory is made of.
    pub fn style(&self) -> RamStyle {
        match self.depth() {
            0..=64 => RamStyle::Distributed,
            65..=1024 => RamStyle::Block,
            _ => RamStyle::Ultra,
        }
    }

    /// Columns of a word of the window: at least those of two tables.
    pub(crate) fn span(&self) -> u32 {
        self.columns.max(2 * GROUP)
    }

    fn describe(&self, m: &mut Module) {
        m.header(&format!(
            "Activation buffer: columns in order fill tables of 3 (Sherry 4), tables fill segments of {t}.\n\
             A table that a segment, a group of columns or the vector ends is filled with zeros, so is a\n\
             segment that has less than {t} tables.\n\n\
             Shapes   code [{v} slots, {l} columns] i8 a beat, for one group of slots after the other\n\
             \x20        memory [{d}] of [{g} tables, {v} slots, {GROUP} columns] i8 in {} RAM\n\
             Address  (segment * {passes} + pass) * {ng} + group; the vector's first segment is `act`\n\
             Rate     two tables of a word (6 or 8 columns) a cycle; two cycles more for each segment, one for each\n\
             \x20        group of slots and each word of zeros: a beat of up to 4 columns a cycle is no wait\n\
             Latency  {} cycles from rd_en_i to rd_data_o\n\
             Done     done_o, a pulse for each pack command when all its words are written\n\
             Stalls   code_ready_o depends on registers only. Columns from cols on are dropped up to `last`\n\
             Oracle   sim::blocks::matrix",
            self.style().name(),
            Self::READ_LATENCY,
            t = self.tables,
            v = self.slots,
            l = self.columns,
            g = self.groups,
            d = self.depth(),
            passes = self.passes(),
            ng = self.token_groups,
        ));
    }

    /// Address of a segment's first word.
    pub(crate) fn segment_address(&self, m: &mut Module, segment: &Expr) -> Expr {
        let (address, bits) = (index_width(self.depth()), index_width(self.segments));
        let used = segment.low(bits.min(segment.width()));
        if bits < segment.width() {
            m.unused("act", &[segment.slice(bits, segment.width() - bits)]);
        }
        let words = u128::from(self.passes() * self.token_groups);
        let product = m.wire("first_word", &(&used * &lit(words, count_width(words as u64))));
        if product.width() > address {
            m.unused("first_word", &[product.slice(address, product.width() - address)]);
            return product.low(address);
        }
        product.extend(address)
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (v, ng) = (self.slots, self.token_groups);
        let code_width = 8 * v * self.columns;
        let queue_of = Fifo { width: code_width + 1, depth: 4 }.build(design)?;
        let mut m = Module::new(format!(
            "tern_act_buffer_t{}_g{}_v{v}_n{ng}_l{}_s{}",
            self.tables, self.groups, self.columns, self.segments
        ));
        self.describe(&mut m);
        let groups_ty = uint(count_width(ng.into()));
        let [act, cols, seg_cols, group_cols, sherry] =
            ["act", "cols", "seg_cols", "group_cols", "sherry"].map(quant_field);
        let pack = m.sink("pack", &[act, cols, seg_cols, group_cols, sherry, ("groups", groups_ty)]);
        let code = m.sink("code", &[("data", uint(code_width)), ("last", uint(1))]);
        let address = index_width(self.depth());
        let rd_en = m.input("rd_en_i", uint(1));
        let rd_addr = m.input("rd_addr_i", uint(address));
        let rd_data = m.output("rd_data_o", uint(self.word()));
        let idle = m.output("idle_o", uint(1));
        let done = m.output("done_o", uint(1));

        m.comment("Work: find the next cut in two steps, pack up to it, fill the segment, drop what is beyond `cols`.");
        let state = |m: &mut Module, name: &str| m.reg_reset(&format!("{name}_q"), &lit(0, 1));
        let (find_q, cut_q, pack_q) = (state(&mut m, "find"), state(&mut m, "cut"), state(&mut m, "pack"));
        let (fill_q, drop_q) = (state(&mut m, "fill"), state(&mut m, "drop"));
        let write_q = state(&mut m, "write");
        let busy = m.wire("busy", &cat([&find_q, &cut_q, &pack_q, &fill_q, &drop_q]).any());
        m.drive(&pack.ready, &!&busy);
        m.drive(&idle, &!(&busy | &write_q));
        let start = m.wire("start", &pack.fire());
        let kept = |m: &mut Module, name: &str| {
            let q = m.reg(&format!("{name}_q"), pack.field(name).ty());
            m.next_when(&q, &start, &pack.field(name));
            q
        };
        let [cols_q, seg_cols_q, group_cols_q, sherry_q, groups_q] =
            ["cols", "seg_cols", "group_cols", "sherry", "groups"].map(|n| kept(&mut m, n));
        let first = self.segment_address(&mut m, &pack.field("act"));
        let first_q = m.reg("first_q", uint(address));
        m.next_when(&first_q, &start, &first);

        m.comment("Columns up to the next cut: of the segment, the group of columns, the vector.");
        let wide = cols_q.width();
        let fresh_q = m.reg("fresh_q", uint(1));
        let cols_left_q = m.reg("cols_left_q", uint(wide));
        let group_left_q = m.reg("group_left_q", uint(wide));
        let room_q = m.reg("room_q", uint(wide));
        let token_q = m.reg("token_q", groups_ty);
        let smaller = |a: &Expr, b: &Expr| a.lt(b).mux(a, b);
        let in_vector = m.wire("in_vector", &fresh_q.mux(&cols_q, &cols_left_q));
        let in_group = m.wire("in_group", &fresh_q.mux(&group_cols_q, &group_left_q));
        let kept_when = |m: &mut Module, name: &str, value: &Expr, when: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, when, value);
            q
        };
        let from_vector_q = kept_when(&mut m, "from_vector", &in_vector, &find_q);
        let from_group_q = kept_when(&mut m, "from_group", &in_group, &find_q);
        let nearest_q = kept_when(&mut m, "nearest", &smaller(&in_vector, &in_group), &find_q);
        let length = m.wire("length", &smaller(&nearest_q, &seg_cols_q.extend(wide)));
        let length_q = kept_when(&mut m, "length", &length, &cut_q);
        let (slot_bits, pass_bits) = (index_width(self.groups.into()), index_width(self.passes().into()));
        let slot_q = m.reg_reset("slot_q", &lit(0, slot_bits));
        let last_slot = slot_q.eq(&lit(u128::from(self.groups) - 1, slot_bits));
        // whether eight columns or more are left, known a cycle before
        let big = m.reg("big_q", uint(1));
        let few = room_q.low(3);
        // a table's columns, 3 or 4, and two tables': as many as are left before the cut
        let one_whole = &big | sherry_q.mux(&few.bit(2), &(few.bit(2) | few.low(2).all()));
        let one = m.wire("take_one", &one_whole.mux(&sherry_q.mux(&lit(4, 4), &lit(3, 4)), &few.extend(4)));
        let two_whole = &big | (!&sherry_q & (few.bit(2) & few.bit(1)));
        let two = m.wire("take_two", &two_whole.mux(&sherry_q.mux(&lit(8, 4), &lit(6, 4)), &few.extend(4)));
        let pair = m.wire("pair", &(!&last_slot & two.ne(&one)));
        let take = m.wire("take", &pair.mux(&two, &one));

        let code_take = m.net("code_take", uint(1));
        let beat = cat([&code.field("last"), &code.field("data")]);
        let queued = m.instance(
            "queue",
            &queue_of,
            &[("in_valid_i", &code.valid), ("in_data_i", &beat), ("out_ready_i", &code_take)],
        );
        m.drive(&code.ready, &queued.get("in_ready_o"));
        let window = self.window(&mut m, &queued, &code_take, [&one, &two], &pair);
        let table = m.wire("table_taken", &(&pack_q & &window.ready));
        m.drive(&window.taken, &table);
        let left = m.wire("left", &room_q.sub_wrap(&take.extend(wide)));
        let ends = m.wire("ends", &left.eq(&lit(0, wide)));
        let cut_ends = m.wire("cut_ends", &(&table & &ends));
        m.next_when(&room_q, &(&cut_q | &table), &cut_q.mux(&length, &left));
        // at most eight are taken: of sixteen or more eight are left, and below that one bit tells
        let stays = room_q.slice(4, wide - 4).any() | left.bit(3);
        m.next_when(&big, &(&cut_q | &table), &cut_q.mux(&length.slice(3, wide - 3).any(), &stays));

        m.comment("What is left after this cut.");
        let counted_q = m.delay("counted_q", &cut_q);
        let vector_rest = m.wire("vector_rest", &from_vector_q.sub_wrap(&length_q));
        let group_rest = m.wire("group_rest", &from_group_q.sub_wrap(&length_q));
        m.next_when(&cols_left_q, &counted_q, &vector_rest);
        let group_full = group_rest.eq(&lit(0, wide));
        m.next_when(&group_left_q, &counted_q, &group_full.mux(&group_cols_q, &group_rest));
        let vector_ends = m.wire("vector_ends", &counted_q.mux(&vector_rest, &cols_left_q).eq(&lit(0, wide)));

        m.comment("Tables to words, two at once where a word and the columns before the cut have them.");
        let pass_q = m.reg_reset("pass_q", &lit(0, pass_bits));
        let before_last = match self.groups {
            1 => lit(0, 1),
            n => slot_q.eq(&lit(u128::from(n) - 2, slot_bits)),
        };
        let full = &last_slot | (&pair & before_last);
        let word_ends = m.wire("word_ends", &(&fill_q | (&table & (full | &ends))));
        let last_pass = m.wire("last_pass", &pass_q.eq(&lit(u128::from(self.passes()) - 1, pass_bits)));
        let further =
            pair.mux(&slot_q.add_wrap(&lit(2 % (1 << slot_bits), slot_bits)), &slot_q.add_wrap(&lit(1, slot_bits)));
        m.next_when(&slot_q, &(&table | &fill_q), &word_ends.mux(&lit(0, slot_bits), &further));
        let next_pass = last_pass.mux(&lit(0, pass_bits), &pass_q.add_wrap(&lit(1, pass_bits)));
        m.next_when(&pass_q, &word_ends, &next_pass);
        let lane = 8 * GROUP * v;
        let first = slot_q.eq(&lit(0, slot_bits));
        // bytes of a table, zero behind its columns
        let bytes = |m: &mut Module, name: &str, count: &Expr, column: &dyn Fn(u32) -> Expr| {
            let on: Vec<Expr> = (0..GROUP).map(|k| count.gt(&lit(k.into(), 4)) & &pack_q).collect();
            let byte = |slot: u32, k: u32| column(k).lane(slot, 8) & repeat(8, &on[k as usize]);
            let of_slot = |slot: u32| (0..GROUP).rev().map(move |k| (slot, k));
            let all: Vec<Expr> = (0..v).rev().flat_map(of_slot).map(|(slot, k)| byte(slot, k)).collect();
            m.wire(name, &cat(&all))
        };
        let columns = &window.columns;
        let new = bytes(&mut m, "new_table", &one, &|k| columns[k as usize].clone());
        let rest = m.wire("take_next", &two.sub_wrap(&one).as_unsigned());
        let behind: Vec<Expr> = (0..GROUP as usize)
            .map(|k| m.wire(&format!("next_column{k}"), &sherry_q.mux(&columns[k + 4], &columns[k + 3])))
            .collect();
        let next = bytes(&mut m, "next_table", &rest, &|k| behind[k as usize].clone());
        if self.groups == 1 {
            m.unused("next_table", std::slice::from_ref(&next));
        }
        let lanes: Vec<Expr> = (0..self.groups)
            .map(|at| {
                let q = m.reg(&format!("table{at}_q"), uint(lane));
                let own = m.wire(&format!("own{at}"), &slot_q.eq(&lit(at.into(), slot_bits)));
                let (mut value, mut on) = (&new & repeat(lane, &own), &own | &first);
                if at > 0 {
                    let second = &pair & slot_q.eq(&lit(u128::from(at) - 1, slot_bits));
                    let second = m.wire(&format!("second{at}"), &second);
                    value = value | (&next & repeat(lane, &second));
                    on = on | second;
                }
                m.next_when(&q, &((&table | &fill_q) & on), &value);
                q
            })
            .collect();

        m.comment("Words lie in the order of their making, a group apart.");
        let addr_q = m.reg("addr_q", uint(address));
        let write_addr_q = m.reg("write_addr_q", uint(address));
        let step = lit(ng.into(), address.max(count_width(ng.into())));
        let step = if step.width() > address { lit(0, address) } else { step };
        let group_start = first_q.add_wrap(&token_q.extend(address.max(token_q.width())).low(address));
        m.next(&write_q, &word_ends);
        m.next_when(&write_addr_q, &word_ends, &addr_q);
        m.next_when(&addr_q, &((&find_q & &fresh_q) | &word_ends), &find_q.mux(&group_start, &addr_q.add_wrap(&step)));
        let memory = m.memory("mem", self.word(), self.depth(), self.style());
        m.write(&memory, &write_q, &write_addr_q, &cat(lanes.iter().rev()));
        let read = m.read(&memory, &rd_addr);
        let near_q = m.reg("near_q", uint(self.word()));
        let data_q = m.reg("data_q", uint(self.word()));
        let en_q = m.reg_reset("rd_en_q", &lit(0, 1));
        m.next(&en_q, &rd_en);
        m.next_when(&near_q, &rd_en, &read);
        m.next_when(&data_q, &en_q, &near_q);
        m.drive(&rd_data, &data_q);

        m.comment("What follows.");
        let seg_ends = m.wire("seg_ends", &(&last_pass & (&cut_ends | &fill_q)));
        let drop_ends = m.wire("drop_ends", &(&drop_q & &window.at_last));
        m.drive(&window.drop, &drop_q);
        let one = lit(1, groups_ty.width);
        let next_token = m.wire("next_token", &token_q.add_wrap(&one));
        let more = next_token.ne(&groups_q);
        let again = m.wire("again", &(&drop_ends & &more));
        m.next(&find_q, &(&start | (&seg_ends & !&vector_ends) | &again));
        m.next(&cut_q, &find_q);
        m.next(&pack_q, &(&cut_q | (&pack_q & !&cut_ends)));
        m.next(&fill_q, &((&cut_ends | &fill_q) & !&last_pass));
        m.next(&drop_q, &((&seg_ends & &vector_ends) | (&drop_q & !&drop_ends)));
        m.next_when(&fresh_q, &(&start | &find_q | &again), &!&find_q);
        m.next_when(&token_q, &(&start | &drop_ends), &start.mux(&lit(0, groups_ty.width), &next_token));
        let done_q = m.reg_reset("done_q", &lit(0, 1));
        m.next(&done_q, &(&drop_ends & !&more));
        m.drive(&done, &done_q);
        design.add(m)
    }
}
