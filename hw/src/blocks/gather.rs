//! Embedding rows and rotary factors.

use super::act_window::select;
use super::banks::{of_bank, place, place_width};
use super::fifo::Fifo;
use super::fp::{FromInt, Mul};
use super::kv_write::{ADDRESS_BITS, LINE_SHIFT, cut};
use super::pipe::{delay_n, valid_n};
use crate::ir::{Design, Expr, Interface, IrError, Module, Ty, cat, lit, repeat, uint};
use crate::width::{count_width, index_width};
use spec::program::{Op, field};
use std::rc::Rc;

/// Bits of a number of a rotary element.
const ELEMENT_BITS: u32 = 16;

/// The gatherer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// Token slots `V` of a vector word.
    pub slots: u32,
    /// Groups of token slots of a bank.
    pub token_groups: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Columns `L` of a vector word.
    pub columns: u32,
    /// Bytes `D` of a beat of the port, a power of two from 4 to 64.
    pub bytes: u32,
    /// Column words of the vector memory.
    pub vm_words: u64,
}

fn gather_field(name: &'static str) -> (&'static str, Ty) {
    (name, uint(field(Op::Gather, name).map_or(1, |f| f.width)))
}

impl Gather {
    /// Cycles from a code to its column.
    pub const LATENCY: u32 = FromInt::LATENCY + Mul::LATENCY;

    /// Bits of an address of the vector memory.
    pub fn vm_address(&self) -> u32 {
        index_width(self.vm_words * u64::from(self.token_groups))
    }

    /// Words that wait for the vector memory, those in the pipeline included.
    fn queue(&self) -> u32 {
        (Self::LATENCY.div_ceil(self.columns / self.at_once()) + 3).next_power_of_two()
    }

    /// Columns that are computed at once.
    fn at_once(&self) -> u32 {
        self.columns.min(self.bytes)
    }

    fn describe(&self, m: &mut Module) {
        m.header(&format!(
            "Gatherer: for each valid slot of a bank the embedding row times its scale to the vector memory, then the\n\
             rotary factors of its position.\n\n\
             Shapes   rd_data [{d}] u8 | vm_wr [{v} slots, {l} columns] binary32, all lanes alike, one mask bit\n\
             \x20        rope {{slot {{bank, slot of the bank}}, index, cos, sin}}\n\
             Address  64 * embed + token * embed_beats * {d}: a beat with the scale, then codes; columns that\n\
             \x20        the row does not have are zero. 64 * rope + position * rope_beats * {d}: pairs of 8 bytes\n\
             Rate     {c} columns a cycle, a pair a cycle; one row is read after the other\n\
             Latency  {} cycles from a code to its column, queue of {} words behind it\n\
             Stalls   rd_data_ready_o falls while a beat is in work; a word is begun when it has a place\n\
             Oracle   spec::numerics::f32ops (sim::blocks::gather)",
            Self::LATENCY,
            self.queue(),
            c = self.at_once(),
            d = self.bytes,
            v = self.slots,
            l = self.columns,
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (v, ng, l, d) = (self.slots, self.token_groups, self.columns, self.bytes);
        let (slots, c) = (v * ng, self.at_once());
        let float_of = FromInt { width: 8 }.build(design)?;
        let times_of = Mul::build(design)?;
        let queue_of = Fifo { width: 32 * l, depth: self.queue() }.build(design)?;
        let mut m = Module::new(format!("tern_gather_v{v}_n{ng}_h{}_l{l}_d{d}_w{}", self.banks, self.vm_words));
        self.describe(&mut m);
        let names = ["embed", "embed_beats", "words", "rope", "rope_beats", "dst", "bank"];
        let cmd = m.sink("cmd", &names.map(gather_field));
        let all_slots = slots * self.banks;
        let valids = m.input("slot_valid_i", uint(all_slots));
        let tokens = m.input("slot_token_i", uint(32 * all_slots));
        let positions = m.input("slot_position_i", uint(32 * all_slots));
        let rd_cmd = m.source("rd_cmd", &[("addr", uint(ADDRESS_BITS)), ("beats", uint(24))]);
        let rd_data = m.sink("rd_data", &[("data", uint(8 * d)), ("last", uint(1))]);
        let vm_addr = self.vm_address();
        let vm_wr = m.source("vm_wr", &[("addr", uint(vm_addr)), ("mask", uint(v)), ("data", uint(32 * l * v))]);
        let slot_bits = index_width(slots.into());
        let pair = [
            ("slot", uint(place_width(self.banks, slots))),
            ("index", uint(ELEMENT_BITS)),
            ("cos", uint(32)),
            ("sin", uint(32)),
        ];
        let rope = m.source("rope", &pair);
        let idle = m.output("idle_o", uint(1));

        m.comment("A slot's numbers, products, address; the row; then the same for its rotary factors.");
        let state = |m: &mut Module, name: &str| m.reg_reset(&format!("{name}_q"), &lit(0, 1));
        let steps = ["pick", "weigh", "keep", "place", "ask", "embed", "turn"];
        let [pick_q, weigh_q, keep_q, place_q, ask_q, embed_q, turn_q] = steps.map(|n| state(&mut m, n));
        let busy = m.wire("busy", &cat([&pick_q, &weigh_q, &keep_q, &place_q, &ask_q, &embed_q, &turn_q]).any());
        m.drive(&cmd.ready, &!&busy);
        m.drive(&idle, &!&busy);
        let start = m.wire("start", &cmd.fire());
        let [embed_line_q, embed_beats_q, words_q, rope_line_q, rope_beats_q, dst_q, bank_q] = names.map(|name| {
            let q = m.reg(&format!("cmd_{name}_q"), cmd.field(name).ty());
            m.next_when(&q, &start, &cmd.field(name));
            q
        });
        let rope_phase_q = state(&mut m, "rope_phase");
        let slot_q = m.reg_reset("slot_q", &lit(0, slot_bits));
        let mut at_step = |name: &str, step: &Expr, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, step, value);
            q
        };
        let of_slot = |all: &Expr, width: u32| of_bank(&bank_q, all, width, slots, |values| select(&slot_q, values));
        let valid_q = at_step("valid", &pick_q, &of_slot(&valids, 1));
        let row_q = at_step("row", &pick_q, &rope_phase_q.mux(&of_slot(&positions, 32), &of_slot(&tokens, 32)));
        let beats_q = at_step("beats", &pick_q, &rope_phase_q.mux(&rope_beats_q, &embed_beats_q));
        let line_q = at_step("line", &pick_q, &rope_phase_q.mux(&rope_line_q, &embed_line_q));
        let shift = d.trailing_zeros();
        let kept = ADDRESS_BITS - shift;
        let product = cut(&mut m, "product", &(&row_q * &beats_q), kept);
        let mut at_step = |name: &str, step: &Expr, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, step, value);
            q
        };
        let product_q = at_step("product", &weigh_q, &product);
        let offset_q = at_step("offset", &keep_q, &product_q);
        let bytes = cat([&line_q, &lit(0, LINE_SHIFT)]).extend(ADDRESS_BITS);
        let addr_q = at_step("addr", &place_q, &bytes.add_wrap(&cat([&offset_q, &lit(0, shift)])));
        m.drive(&rd_cmd.valid, &ask_q);
        m.drive(&rd_cmd.field("addr"), &addr_q);
        m.drive(&rd_cmd.field("beats"), &beats_q.extend(24));

        m.comment(&format!("The row's beats: the scale, codes {c} at once, factors pair by pair."));
        let wide = d.max(8);
        let left_bits = count_width(wide.into());
        let shift_q = m.reg("shift_q", uint(8 * wide));
        let left_q = m.reg_reset("left_q", &lit(0, left_bits));
        let scale_q = m.reg("scale_q", uint(32));
        let scaled_q = state(&mut m, "scaled");
        let ended_q = state(&mut m, "ended");
        let none = m.wire("none_left", &left_q.eq(&lit(0, left_bits)));
        let all_begun = m.net("all_begun", uint(1));
        let fire = m.wire("data_fire", &rd_data.fire());
        m.drive(&rd_data.ready, &((&turn_q & &none & !&ended_q) | (&embed_q & !&ended_q & (&none | &all_begun))));
        let step_code = m.net("step_code", uint(1));
        let step_pair = m.wire("step_pair", &rope.fire());
        let of_scale = m.wire("of_scale", &(&embed_q & !&scaled_q));
        m.next_when(&scale_q, &(&fire & &of_scale), &rd_data.field("data").low(32));
        m.next_when(&scaled_q, &(&fire | &ask_q), &!&ask_q);
        m.next_when(&ended_q, &(&fire | &ask_q), &(!&ask_q & rd_data.field("last")));
        let data = rd_data.field("data");
        // a beat of four bytes is half a pair; codes take the low half, both halves get them
        let (loaded, pairs) = if d == 4 {
            let half_q = m.reg_reset("half_q", &lit(0, 1));
            m.next_when(&half_q, &(&ask_q | (&fire & &turn_q)), &(!&ask_q & !&half_q));
            (cat([&data, &turn_q.mux(&shift_q.slice(32, 32), &data)]), half_q.extend(left_bits))
        } else {
            (data, lit((d / 8).into(), left_bits))
        };
        let by_code = match wide {
            wide if wide > c => cat([&lit(0, 8 * c), &shift_q.slice(8 * c, 8 * (wide - c))]),
            _ => shift_q.clone(),
        };
        let by_pair = if wide > 8 { cat([&lit(0, 64), &shift_q.slice(64, 8 * wide - 64)]) } else { shift_q.clone() };
        let moved = turn_q.mux(&by_pair, &by_code);
        m.next_when(&shift_q, &(&fire | &step_code | &step_pair), &fire.mux(&loaded, &moved));
        let gain =
            turn_q.mux(&pairs, &(&of_scale | &all_begun).mux(&lit(0, left_bits), &lit((d / c).into(), left_bits)));
        let fewer = left_q.sub_wrap(&lit(1, left_bits));
        let left_next = ask_q.mux(&lit(0, left_bits), &fire.mux(&gain, &fewer));
        m.next_when(&left_q, &(&fire | &ask_q | &step_code | &step_pair), &left_next);

        m.comment("Factors.");
        let index_q = m.reg("index_q", uint(ELEMENT_BITS));
        m.next_when(
            &index_q,
            &(&ask_q | &step_pair),
            &ask_q.mux(&lit(0, ELEMENT_BITS), &index_q.add_wrap(&lit(1, ELEMENT_BITS))),
        );
        m.drive(&rope.valid, &(&turn_q & !&none));
        m.drive(&rope.field("slot"), &place(self.banks, &bank_q, &slot_q));
        if self.banks == 1 {
            m.unused("bank", std::slice::from_ref(&bank_q));
        }
        m.drive(&rope.field("index"), &index_q);
        m.drive(&rope.field("cos"), &shift_q.low(32));
        m.drive(&rope.field("sin"), &shift_q.slice(32, 32));

        m.comment("Columns: begin a word when there is a place for it.");
        let (parts, lane_bits) = (l / c, index_width((l / c).into()));
        let lane_q = m.reg_reset("lane_q", &lit(0, lane_bits));
        let begun_q = m.reg("begun_q", words_q.ty());
        let booked = count_width(self.queue().into());
        let booked_q = m.reg_reset("booked_q", &lit(0, booked));
        let first_lane = lane_q.eq(&lit(0, lane_bits));
        let last_lane = lane_q.eq(&lit(u128::from(parts) - 1, lane_bits));
        m.drive(&all_begun, &begun_q.eq(&words_q));
        let room = !&first_lane | booked_q.ne(&lit(self.queue().into(), booked));
        let step = m.wire("step_columns", &(&embed_q & &scaled_q & !&all_begun & room & (!&none | &ended_q)));
        m.drive(&step_code, &(&step & !&none));
        m.next_when(&lane_q, &step, &last_lane.mux(&lit(0, lane_bits), &lane_q.add_wrap(&lit(1, lane_bits))));
        let one = lit(1, words_q.width());
        let begun_next = ask_q.mux(&lit(0, words_q.width()), &begun_q.add_wrap(&one));
        m.next_when(&begun_q, &(&ask_q | (&step & last_lane)), &begun_next);
        let book = m.wire("book", &(&step & first_lane));
        let free = m.wire("unbook", &vm_wr.fire());
        let one = lit(1, booked);
        m.next_when(&booked_q, &(&book ^ &free), &book.mux(&booked_q.add_wrap(&one), &booked_q.sub_wrap(&one)));
        let floated = valid_n(&mut m, "floated", &step, FromInt::LATENCY);
        let there = valid_n(&mut m, "there", &floated, Self::LATENCY - FromInt::LATENCY);
        let real = delay_n(&mut m, "real", &!&none, Self::LATENCY);
        let columns: Vec<Expr> = (0..c)
            .map(|at| {
                let code = m.wire(&format!("code{at}"), &shift_q.lane(at, 8).as_signed());
                let float = m.instance(&format!("float{at}"), &float_of, &[("valid_i", &step), ("a_i", &code)]);
                let inputs = [("valid_i", &floated), ("a_i", &float.get("y_o")), ("b_i", &scale_q)];
                let times = m.instance(&format!("times{at}"), &times_of, &inputs);
                m.wire(&format!("column{at}"), &(times.get("y_o") & repeat(32, &real)))
            })
            .collect();

        m.comment("Columns to words, words to the memory.");
        let at_q = m.reg_reset("at_q", &lit(0, lane_bits));
        let full = m.wire("full", &(&there & at_q.eq(&lit(u128::from(parts) - 1, lane_bits))));
        m.next_when(&at_q, &there, &full.mux(&lit(0, lane_bits), &at_q.add_wrap(&lit(1, lane_bits))));
        let lanes: Vec<Expr> = (0..l)
            .map(|at| {
                let q = m.reg(&format!("lane{at}_q"), uint(32));
                let own = &there & at_q.eq(&lit((at / c).into(), lane_bits));
                m.next_when(&q, &own, &columns[(at % c) as usize]);
                q
            })
            .collect();
        let push_q = state(&mut m, "push");
        m.next(&push_q, &full);
        let inputs = [("in_valid_i", &push_q), ("in_data_i", &cat(lanes.iter().rev())), ("out_ready_i", &vm_wr.ready)];
        let queue = m.instance("queue", &queue_of, &inputs);
        m.unused("queue_ready", &[queue.get("in_ready_o")]);
        let lane_of_group_q = m.reg_reset("v_q", &lit(0, index_width(v.into())));
        let group_q = m.reg_reset("group_q", &lit(0, index_width(ng.into())));
        let vm_addr_q = m.reg("vm_addr_q", uint(vm_addr));
        let first = (&dst_q * &lit(ng.into(), count_width(ng.into()))).add_wrap(&group_q);
        let first = cut(&mut m, "first_addr", &first, vm_addr);
        let onward = vm_addr_q.add_wrap(&lit(u128::from(ng) & ((1 << vm_addr) - 1), vm_addr));
        m.next_when(&vm_addr_q, &(&place_q | &free), &place_q.mux(&first, &onward));
        m.drive(&vm_wr.valid, &queue.get("out_valid_o"));
        m.drive(&vm_wr.field("addr"), &vm_addr_q);
        let hot = (0..v).rev().map(|s| lane_of_group_q.eq(&lit(s.into(), index_width(v.into()))));
        m.drive(&vm_wr.field("mask"), &cat(hot.collect::<Vec<_>>()));
        m.drive(&vm_wr.field("data"), &repeat(v, &queue.get("out_data_o")));

        m.comment("What follows.");
        let skip = m.wire("skip", &(&weigh_q & !&valid_q));
        let written = booked_q.eq(&lit(0, booked));
        let embed_ends = m.wire("embed_ends", &(&embed_q & &ended_q & &all_begun & written));
        let turn_ends = m.wire("turn_ends", &(&turn_q & &ended_q & &none));
        let ropes = m.wire("ropes", &rope_beats_q.any());
        let slot_ends = m.wire("slot_ends", &(&skip | &turn_ends | (&embed_ends & !&ropes)));
        let last_slot = m.wire("last_slot", &slot_q.eq(&lit(u128::from(slots) - 1, slot_bits)));
        let next_slot = last_slot.mux(&lit(0, slot_bits), &slot_q.add_wrap(&lit(1, slot_bits)));
        m.next_when(&slot_q, &slot_ends, &next_slot);
        let v_bits = index_width(v.into());
        let v_ends = m.wire("v_ends", &lane_of_group_q.eq(&lit(u128::from(v) - 1, v_bits)));
        m.next_when(
            &lane_of_group_q,
            &slot_ends,
            &v_ends.mux(&lit(0, v_bits), &lane_of_group_q.add_wrap(&lit(1, v_bits))),
        );
        let g_bits = index_width(ng.into());
        let group_next = last_slot.mux(&lit(0, g_bits), &group_q.add_wrap(&lit(1, g_bits)));
        m.next_when(&group_q, &(&slot_ends & &v_ends), &group_next);
        let to_rope = m.wire("to_rope", &(&embed_ends & &ropes));
        m.next_when(&rope_phase_q, &(&to_rope | &slot_ends), &to_rope);
        m.next(&pick_q, &(&start | &to_rope | (&slot_ends & !&last_slot)));
        m.next(&weigh_q, &pick_q);
        m.next(&keep_q, &(&weigh_q & !&skip));
        m.next(&place_q, &keep_q);
        m.next(&ask_q, &(&place_q | (&ask_q & !&rd_cmd.ready)));
        let asked = m.wire("asked", &rd_cmd.fire());
        m.next(&embed_q, &((&asked & !&rope_phase_q) | (&embed_q & !&embed_ends)));
        m.next(&turn_q, &((&asked & &rope_phase_q) | (&turn_q & !&turn_ends)));
        design.add(m)
    }
}
