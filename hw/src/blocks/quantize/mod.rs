//! Quantiser: norm, maximum, codes, scales.

mod code;
mod command;
mod lanes;
mod maximum;
mod output;
mod parts;
mod scalar;
mod squares;

use super::fifo::Fifo;
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
    /// Token groups `NG`.
    pub groups: u32,
    /// Most columns of a vector with a norm.
    pub max_cols: u64,
    /// Column words of a group in the vector memory.
    pub vm_words: u64,
    /// What keeps the norm weights: block or UltraRAM.
    pub style: RamStyle,
}

/// Requests to the vector memory that may be unanswered.
const UNANSWERED: u32 = 16;

/// An answer of the vector memory and what it is for.
struct Answer {
    valid: Expr,
    data: Expr,
    /// For the second pass.
    emit: Expr,
    last: Expr,
    word: Expr,
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

    fn squares(&self) -> Squares {
        Squares { lanes: self.lanes, vtokens: self.vtokens }
    }

    /// Words of the second pass between their request and the one who takes them: enough for one a cycle.
    fn queue(&self) -> u32 {
        // registers before and behind the memory, two products, a code; 8 for the memory
        (2 * super::fp::Mul::LATENCY + ToCode::LATENCY + 6 + 8).next_power_of_two()
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
             \x20        norm weights [{words}] [{l}] binary32 in {style} RAM; {NG} groups\n\
             Order    vectors outer, groups inner; a scale comes when the last code of its vector has been taken.\n\
             \x20        Each vector is read twice; up to {RING} are in work, second passes go first\n\
             Rate     a word a cycle in both passes{slow}; about 2 words cycles a vector of a group\n\
             Limits   words * vectors behind src inside the memory; words of a norm at most {words};\n\
             \x20        answers of the memory at a constant distance from their requests{needed}\n\
             Stalls   a word of the second pass is only asked for if the queue of {queue} has a place for it\n\
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
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let name = format!(
            "tern_quantize_l{}_v{}_g{}_k{}_d{}",
            self.lanes, self.vtokens, self.groups, self.max_cols, self.vm_words
        );
        self.check(&name)?;
        let tags = Fifo { width: 2 + index_width(self.norm_words()), depth: UNANSWERED }.build(design)?;
        let mut m = Module::new(name);
        self.describe(&mut m);
        let finished = m.net("finished", uint(1));
        let command = self.command(&mut m, &finished);
        let weights = m.sink("norm", &[("data", uint(32 * self.lanes))]);

        m.comment("Both passes ask for words, the second one first.");
        let addr = self.addr_width();
        let item_done = m.net("item_done", uint(1));
        let inverse_done = m.net("inverse_done", uint(1));
        let sum_done = m.net("sum_done", uint(1));
        let queue_pop = m.net("queue_pop", uint(1));
        let emit_step = m.net("emit_step", uint(1));
        let scan_step = m.net("scan_step", uint(1));
        let (clear, extent) = (&command.clear, &command.extent);
        let src = self.base(&mut m, "src_base", &command.src);
        let emit = Walk::new(&mut m, "emit", self.groups, extent, clear, &src, &emit_step);
        let scan = Walk::new(&mut m, "scan", self.groups, extent, clear, &src, &scan_step);
        let tag_room = m.net("tag_room", uint(1));
        let request = m.source("vm_rd", &[("addr", uint(addr))]);
        let rd_valid_q = m.reg_reset("rd_valid_q", &lit(0, 1));
        let rd_addr_q = m.reg("rd_addr_q", uint(addr));
        let rd_scan_q = m.reg("rd_scan_q", uint(1));
        let free = m.wire("rd_free", &(&(!&rd_valid_q | &request.ready) & &tag_room));

        let width = count_width(self.queue().into());
        let queued_q = counter(&mut m, "queued_q", clear, &emit_step, &queue_pop, width);
        let emit_item = &emit_step & &emit.word_end;
        let ready_q = counter(&mut m, "ready_q", clear, &inverse_done, &emit_item, RING_COUNT);
        let room = queued_q.ne(&lit(self.queue().into(), width));
        let emit_go = m.wire("emit_go", &(&(&emit.active & ready_q.any()) & room));

        let scan_first = m.wire("scan_first", &!scan.word.any());
        let begin = m.wire("scan_begin", &(&scan_step & &scan_first));
        let held_q = counter(&mut m, "held_q", clear, &begin, &item_done, RING_COUNT);
        let adding_q = counter(&mut m, "adding_q", clear, &(&begin & &command.rms), &sum_done, 2);
        let may_begin = held_q.ne(&lit(RING.into(), RING_COUNT)) & adding_q.ne(&lit(2, 2));
        let loaded = self.load(&mut m, &command, &weights);
        let has_weight = !&command.norm | loaded.gt(&scan.word);
        let gap = self.gap(&mut m, &command, &rd_valid_q, &rd_scan_q, &request.ready);
        let may_scan = &(&scan.active & &(&may_begin | !&scan_first)) & &(has_weight & gap);
        let scan_go = m.wire("scan_go", &may_scan);
        m.drive(&emit_step, &(&free & &emit_go));
        m.drive(&scan_step, &(&free & &(&scan_go & !&emit_go)));
        let ask = m.wire("ask", &(&free & &(&emit_go | &scan_go)));
        m.next(&rd_valid_q, &(&ask | &(&rd_valid_q & !&request.ready)));
        m.next_when(&rd_addr_q, &ask, &emit_go.mux(&emit.addr, &scan.addr));
        m.next_when(&rd_scan_q, &ask, &!&emit_go);
        m.drive(&request.valid, &rd_valid_q);
        m.drive(&request.field("addr"), &rd_addr_q);

        m.comment("What an answer is for.");
        let valid = m.input("vm_rsp_valid_i", uint(1));
        let data = m.input("vm_rsp_data_i", uint(32 * self.lanes * self.vtokens));
        let ww = index_width(self.norm_words());
        let word = emit_go.mux(&emit.word.low(ww), &scan.word.low(ww));
        let tag = cat([&emit_go, &emit_go.mux(&emit.word_end, &scan.word_end), &word]);
        let inputs = [("in_valid_i", &ask), ("in_data_i", &tag), ("out_ready_i", &valid)];
        let tags = m.instance("tags", &tags, &inputs);
        m.drive(&tag_room, &tags.get("in_ready_o"));
        let tag = tags.get("out_data_o");
        m.unused("tags", &[tags.get("out_valid_o"), emit.over, scan.over]);
        let answer = Answer { valid, data, emit: tag.bit(ww + 1), last: tag.bit(ww), word: tag.low(ww) };

        let results = self.arithmetic(&mut m, design, &command, &weights, &answer)?;
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

    /// Whether the next word of a first pass may be asked for: the sums of squares need some distance.
    fn gap(&self, m: &mut Module, command: &Command, rd_valid: &Expr, rd_scan: &Expr, rd_ready: &Expr) -> Expr {
        let cycles = self.squares().word_cycles();
        if cycles < 2 {
            m.unused("rd_scan", std::slice::from_ref(rd_scan));
            return lit(1, 1);
        }
        let width = count_width(cycles.into());
        let gap_q = m.reg_reset("gap_q", &lit(0, width));
        let pending = m.wire("scan_pending", &(rd_valid & rd_scan));
        let left = gap_q.any().mux(&gap_q.sub_wrap(&lit(1, width)), &gap_q);
        let taken = &pending & rd_ready;
        m.next(&gap_q, &taken.mux(&lit(u128::from(cycles) - 2, width), &left));
        !&command.rms | !(&pending | gap_q.any())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(lanes: u32, vtokens: u32, groups: u32) -> Quantize {
        Quantize { lanes, vtokens, groups, max_cols: 100, vm_words: 70, style: RamStyle::Block }
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
