//! Quantiser: norm, maximum, codes, scales.

mod code;
mod command;
mod lanes;
mod maximum;
mod output;
mod parts;
mod scalar;
mod squares;

use super::banks;
use super::fifo::Fifo;
use super::fifo_ram::FifoRam;
use crate::ir::{Design, Expr, ExprError, Interface, IrError, Module, RamStyle, Sink, cat, lit, uint};
use crate::width::{count_width, index_width};
use code::ToCode;
use command::Command;
use parts::{RING, RING_COUNT, Walk, counter};
use squares::Squares;
use std::rc::Rc;

/// The quantiser of vectors in the vector memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantize {
    /// Columns `L` of a word: a power of two, at most 64.
    pub lanes: u32,
    /// Token slots `V` of a word.
    pub vtokens: u32,
    /// Token groups `NG` of a bank.
    pub groups: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Most columns of a vector with a norm.
    pub max_cols: u64,
    /// Column words of a group in the vector memory.
    pub vm_words: u64,
    /// What keeps the norm weights: block or UltraRAM.
    pub style: RamStyle,
}

/// Requests to the vector memory that may be unanswered.
const UNANSWERED: u32 = 16;

/// An answer of the vector memory and where it stands in its vector.
struct Answer {
    valid: Expr,
    data: Expr,
    last: Expr,
    word: Expr,
}

/// The second pass: a word of `y` leaves the queue when its vector's inverse is known.
struct Emit {
    step: Expr,
    data: Expr,
    last: Expr,
}

impl Quantize {
    /// Words of norm weights.
    pub fn norm_words(&self) -> u64 {
        self.max_cols.div_ceil(u64::from(self.lanes.max(1))).max(1)
    }

    /// Bits of an address of the vector memory.
    pub fn addr_width(&self) -> u32 {
        index_width(self.vm_words * u64::from(self.groups))
    }

    /// Bits of a group's number.
    pub fn group_width(&self) -> u32 {
        index_width(self.groups.into())
    }

    /// Bits of `{bank, group}`.
    pub fn place_width(&self) -> u32 {
        banks::place_width(self.banks, self.groups)
    }

    fn squares(&self) -> Squares {
        Squares { lanes: self.lanes, vtokens: self.vtokens }
    }

    /// Words of the second pass between the queue of `y` and the one who takes them: enough for one a cycle.
    fn queue(&self) -> u32 {
        // a product, a code, registers around them
        (super::fp::Mul::LATENCY + ToCode::LATENCY + 6).next_power_of_two()
    }

    /// The queue of `y` between the passes: a vector comes as fast as the one before it leaves.
    pub fn kept(&self) -> FifoRam {
        let depth = self.norm_words().next_power_of_two().max(2);
        let width = 32 * self.lanes * self.vtokens + 1;
        FifoRam { width, depth, ultra: depth >= 4096 }
    }

    fn check(&self, module: &str) -> Result<(), IrError> {
        let fail = |what: &str, expected: &str, found: u64| {
            let error = ExprError { expr: what.into(), expected: expected.into(), found: found.to_string() };
            Err(IrError::Expr { module: module.into(), error })
        };
        match () {
            _ if !self.lanes.is_power_of_two() || self.lanes > squares::PARTIALS => {
                fail("lanes", "a power of two up to 64", self.lanes.into())
            }
            _ if self.vtokens == 0 => fail("vtokens", "at least one", 0),
            _ if self.groups == 0 => fail("groups", "at least one", 0),
            _ if self.vm_words == 0 => fail("vm_words", "at least one", 0),
            _ if self.norm_words() > 1 << 16 => fail("norm words", "at most 65536", self.norm_words()),
            () => Ok(()),
        }
    }

    fn describe(&self, m: &mut Module) {
        let (l, v) = (self.lanes, self.vtokens);
        m.header(&format!(
            "Quantiser: y = norm ? x * w : x; inverse = 127 / max |y|; code = round(y * inverse);\n\
             scale = max / 127 or (max * r) / 127 with r = 1 / sqrt(sum x*x / count + eps), times factor for queries.\n\
             Mode norm: y * r to the vector memory instead.\n\n\
             Shapes   words [{v} slots][{l} columns] binary32, codes [{v}][{l}] i8, scales [{v}] binary32\n\
             \x20        group of results {{bank, group}}; base: dst of the command, for queries; vector of a scale from first up\n\
             \x20        norm weights [{words}] [{l}] binary32 in {style} RAM; {NG} groups\n\
             Order    vectors outer, groups inner; a scale comes when the last code of its vector has been taken.\n\
             \x20        Each vector is read once; y waits for its maximum in a queue of {kept} words. Up to {RING}\n\
             \x20        vectors are in work: one is read while another one leaves\n\
             Rate     a word a cycle in both passes{slow}: a vector of a group every `words` cycles, if there are many\n\
             Limits   words * vectors behind src inside the memory; words of a vector at most {kept}, of a norm {words};\n\
             \x20        answers of the memory at a constant distance from their requests{needed}\n\
             Stalls   a word is only asked for if y has a place, and only leaves if the queue of {queue} has one\n\
             Done     idle_o rises for a cycle at least after each command; mode act waits for packed_i, which tells\n\
             \x20        that the codes are in the activation buffer\n\
             Oracle   spec::numerics::quant (sim::blocks::quantize)",
            words = self.norm_words(),
            style = self.style.name(),
            NG = self.groups,
            slow = match self.squares().word_cycles() {
                1 => String::new(),
                n => format!(" (first pass of a norm: every {n} cycles)"),
            },
            needed = if self.squares().word_cycles() > 1 { "" } else { " are not needed" },
            queue = self.queue(),
            kept = self.kept().depth,
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let name = format!(
            "tern_quantize_l{}_v{}_g{}_h{}_k{}_d{}",
            self.lanes, self.vtokens, self.groups, self.banks, self.max_cols, self.vm_words
        );
        self.check(&name)?;
        let tags = Fifo { width: 1 + index_width(self.norm_words()), depth: UNANSWERED }.build(design)?;
        let kept_of = self.kept().build(design)?;
        let mut m = Module::new(name);
        self.describe(&mut m);
        let finished = m.net("finished", uint(1));
        let command = self.command(&mut m, &finished);
        let weights = m.sink("norm", &[("data", uint(32 * self.lanes))]);

        m.comment("The first pass asks for words while y has places for them.");
        let addr = self.addr_width();
        let item_done = m.net("item_done", uint(1));
        let inverse_done = m.net("inverse_done", uint(1));
        let sum_done = m.net("sum_done", uint(1));
        let queue_pop = m.net("queue_pop", uint(1));
        let emit_step = m.net("emit_step", uint(1));
        let scan_step = m.net("scan_step", uint(1));
        let (clear, extent) = (&command.clear, &command.extent);
        let src = self.base(&mut m, "src_base", &command.src);
        let scan = Walk::new(&mut m, "scan", self.groups, extent, clear, &src, &scan_step);
        let tag_room = m.net("tag_room", uint(1));
        let request = m.source("vm_rd", &[("addr", uint(addr))]);
        let rd_valid_q = m.reg_reset("rd_valid_q", &lit(0, 1));
        let rd_addr_q = m.reg("rd_addr_q", uint(addr));
        let free = m.wire("rd_free", &(&(!&rd_valid_q | &request.ready) & &tag_room));

        let scan_first = m.wire("scan_first", &!scan.word.any());
        let begin = m.wire("scan_begin", &(&scan_step & &scan_first));
        let held_q = counter(&mut m, "held_q", clear, &begin, &item_done, RING_COUNT);
        let adding_q = counter(&mut m, "adding_q", clear, &(&begin & &command.rms), &sum_done, 2);
        let may_begin = held_q.ne(&lit(RING.into(), RING_COUNT)) & adding_q.ne(&lit(2, 2));
        let places = count_width(self.kept().depth);
        let kept_q = counter(&mut m, "kept_q", clear, &scan_step, &emit_step, places);
        let has_place = kept_q.ne(&lit(self.kept().depth.into(), places));
        let loaded = self.load(&mut m, &command, &weights);
        let has_weight = !&command.norm | loaded.gt(&scan.word);
        let gap = self.gap(&mut m, &command, &rd_valid_q, &request.ready);
        let may_scan = &(&scan.active & &(&may_begin | !&scan_first)) & &(has_weight & gap & has_place);
        m.drive(&scan_step, &(&free & &may_scan));
        m.next(&rd_valid_q, &(&scan_step | &(&rd_valid_q & !&request.ready)));
        m.next_when(&rd_addr_q, &scan_step, &scan.addr);
        m.drive(&request.valid, &rd_valid_q);
        m.drive(&request.field("addr"), &rd_addr_q);

        m.comment("What an answer is for.");
        let valid = m.input("vm_rsp_valid_i", uint(1));
        let data = m.input("vm_rsp_data_i", uint(32 * self.lanes * self.vtokens));
        let ww = index_width(self.norm_words());
        let tag = cat([&scan.word_end, &scan.word.low(ww)]);
        let inputs = [("in_valid_i", &scan_step), ("in_data_i", &tag), ("out_ready_i", &valid)];
        let tags = m.instance("tags", &tags, &inputs);
        m.drive(&tag_room, &tags.get("in_ready_o"));
        let tag = tags.get("out_data_o");
        m.unused("tags", &[tags.get("out_valid_o"), scan.over]);
        let answer = Answer { valid, data, last: tag.bit(ww), word: tag.low(ww) };

        m.comment("The second pass takes y from its queue when the vector's inverse is known.");
        let y_valid = m.net("y_there", uint(1));
        let y_data = m.net("y_word", uint(self.kept().width));
        let inputs = [("in_valid_i", &y_valid), ("in_data_i", &y_data), ("out_ready_i", &emit_step)];
        let kept = m.instance("kept", &kept_of, &inputs);
        m.unused("kept", &[kept.get("in_ready_o"), kept.get("idle_o")]);
        let width = count_width(self.queue().into());
        let queued_q = counter(&mut m, "queued_q", clear, &emit_step, &queue_pop, width);
        let word = kept.get("out_data_o");
        let emit = Emit { step: emit_step.clone(), last: word.bit(word.width() - 1), data: word.low(word.width() - 1) };
        let emit_item = &emit_step & &emit.last;
        let ready_q = counter(&mut m, "ready_q", clear, &inverse_done, &emit_item, RING_COUNT);
        let room = queued_q.ne(&lit(self.queue().into(), width));
        m.drive(&emit_step, &(kept.get("out_valid_o") & ready_q.any() & room));

        let results = self.arithmetic(&mut m, design, &command, &weights, (&answer, &emit))?;
        m.drive(&y_valid, &results.y_valid);
        m.drive(&y_data, &results.y);
        m.drive(&inverse_done, &results.inverse_done);
        m.drive(&sum_done, &results.sum_done);
        let done = self.outputs(&mut m, design, &command, &results)?;
        m.drive(&queue_pop, &done.pop);
        m.drive(&item_done, &done.item);
        m.drive(&finished, &done.all);
        design.add(m)
    }

    /// Counts the norm weights of the command as they come; the memory itself stands beside the products.
    fn load(&self, m: &mut Module, command: &Command, weights: &Sink) -> Expr {
        m.comment("Norm weights come once a command; the first pass waits for those that it needs.");
        let loading_q = m.reg_reset("loading_q", &lit(0, 1));
        let loaded_q = m.reg_reset("loaded_q", &lit(0, 17));
        let take = m.wire("take_weight", &weights.fire());
        let next = m.wire("loaded_next", &loaded_q.add_wrap(&lit(1, 17)));
        let end = &take & next.eq(&command.words.extend(17));
        m.drive(&weights.ready, &loading_q);
        let on = &command.clear & &command.norm;
        m.next_when(&loading_q, &(&command.clear | &end), &on);
        m.next_when(&loaded_q, &(&command.clear | &take), &command.clear.mux(&lit(0, 17), &next));
        loaded_q
    }

    /// Whether the next word may be asked for: the sums of squares need some distance.
    fn gap(&self, m: &mut Module, command: &Command, rd_valid: &Expr, rd_ready: &Expr) -> Expr {
        let cycles = self.squares().word_cycles();
        if cycles < 2 {
            return lit(1, 1);
        }
        let width = count_width(cycles.into());
        let gap_q = m.reg_reset("gap_q", &lit(0, width));
        let left = gap_q.any().mux(&gap_q.sub_wrap(&lit(1, width)), &gap_q);
        let taken = rd_valid & rd_ready;
        m.next(&gap_q, &taken.mux(&lit(u128::from(cycles) - 2, width), &left));
        !&command.rms | !(rd_valid | gap_q.any())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(lanes: u32, vtokens: u32, groups: u32) -> Quantize {
        Quantize { lanes, vtokens, groups, banks: 1 + groups % 2, max_cols: 100, vm_words: 70, style: RamStyle::Block }
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        for shape in [quantize(3, 1, 1), quantize(128, 1, 1), quantize(0, 1, 1), quantize(1, 0, 1), quantize(1, 1, 0)] {
            assert!(shape.build(&mut Design::default()).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn all_others_are_built() {
        for lanes in [1, 2, 4, 8, 16, 32, 64] {
            for (vtokens, groups) in [(1, 1), (2, 4), (3, 5)] {
                let shape = quantize(lanes, vtokens, groups);
                assert!(shape.build(&mut Design::default()).is_ok(), "{shape:?}");
            }
        }
    }
}
