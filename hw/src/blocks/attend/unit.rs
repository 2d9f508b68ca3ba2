//! One unit: a front that reads keys and scores them, a back that reads values and mixes them.

use super::Attend;
use super::util::{fit, lanes};
use crate::blocks::fp;
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, Sink, Source, cat, lit, uint};
use std::rc::Rc;

/// Modules that a unit is made of.
pub(super) struct Parts {
    pub(super) dots: Rc<Interface>,
    pub(super) exp2: Rc<Interface>,
    pub(super) mac: Rc<Interface>,
    pub(super) mul: Rc<Interface>,
    pub(super) to_int: Rc<Interface>,
    pub(super) div: Rc<Interface>,
    pub(super) dot_float: Rc<Interface>,
    pub(super) weight_float: Rc<Interface>,
    pub(super) sum_float: Rc<Interface>,
    pub(super) acc_float: Rc<Interface>,
    pub(super) queue: Rc<Interface>,
}

/// Memories between front and back; the highest address bit is the block's parity.
pub(super) struct Memories {
    /// Last visible position of a query.
    pub(super) limit: Expr,
    /// Where a query's result goes: lane, group, column.
    pub(super) place: Expr,
    /// Largest value scale that a query sees.
    pub(super) largest: Expr,
    /// Its inverse.
    pub(super) inverse: Expr,
    /// Largest score.
    pub(super) top: Expr,
    /// Value scales of positions.
    pub(super) value_scales: Expr,
    /// Scores of positions and queries.
    pub(super) scores: Expr,
}

/// Ports of a unit.
pub(super) struct Ports {
    pub(super) group: Expr,
    pub(super) q_words: Expr,
    pub(super) k_beats: Expr,
    pub(super) v_beats: Expr,
    pub(super) v_words: Expr,
    pub(super) v_off: Expr,
    pub(super) bank: Expr,
    pub(super) position: Expr,
    pub(super) job: Sink,
    /// A job begins.
    pub(super) take: Expr,
    /// Number of its command.
    pub(super) tag: Expr,
    pub(super) k_cmd: Source,
    pub(super) k_data: Sink,
    pub(super) v_cmd: Source,
    pub(super) v_data: Sink,
    pub(super) read_ready: Expr,
    pub(super) answer: Expr,
    pub(super) codes: Expr,
    pub(super) factors: Expr,
    pub(super) read: Expr,
    pub(super) read_at: Expr,
    pub(super) read_head: Expr,
    pub(super) out: Source,
    pub(super) ev_row: Expr,
    pub(super) ev_masked: Expr,
}

/// A block of queries that front or back works on.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) parity: Expr,
    /// Its last query.
    pub(super) n: Expr,
    /// The last position that one of them sees.
    pub(super) last: Expr,
    /// Beats of a value's row and words of a result.
    pub(super) v_beats: Expr,
    pub(super) v_words: Expr,
    /// Number of the job's command.
    pub(super) tag: Expr,
    /// It is the job's last block.
    pub(super) ends: Expr,
}

impl Block {
    /// The same, kept from `enable` on.
    pub(super) fn held(&self, m: &mut Module, name: &str, enable: &Expr) -> Block {
        let mut held = |what: &str, value: &Expr| m.held(&format!("{name}_{what}_q"), enable, value);
        Block {
            parity: held("parity", &self.parity),
            n: held("n", &self.n),
            last: held("last", &self.last),
            v_beats: held("v_beats", &self.v_beats),
            v_words: held("v_words", &self.v_words),
            tag: held("tag", &self.tag),
            ends: held("ends", &self.ends),
        }
    }
}

/// A finished front half on its way to the back.
pub(super) struct Token {
    pub(super) valid: Expr,
    pub(super) block: Block,
}

impl Attend {
    /// Index of `position` among words of scales.
    pub(super) fn scale_word(&self, position: &Expr) -> Expr {
        let low = self.scale_lanes().ilog2();
        if position.width() > low { position.slice(low, position.width() - low) } else { lit(0, 1) }
    }

    /// Its place in that word.
    pub(super) fn scale_lane(&self, position: &Expr) -> Expr {
        let low = self.scale_lanes().ilog2();
        if low == 0 { lit(0, 1) } else { fit(position, low) }
    }

    pub(super) fn scale_word_bits(&self) -> u32 {
        self.position_bits().saturating_sub(self.scale_lanes().ilog2()).max(1)
    }

    /// Memory of the scales of keys as they are read, values' beside them: name, width, depth.
    pub(super) fn scales(&self) -> (&'static str, u32, u64) {
        ("scales", 64 * self.scale_lanes(), 1 << self.scale_word_bits())
    }

    /// Memory of the scales of values, for front and back: name, width, depth.
    pub(super) fn value_scales(&self) -> (&'static str, u32, u64) {
        ("value_scales", 32 * self.scale_lanes(), 2 << self.scale_word_bits())
    }

    /// Memory of scores, for front and back: name, width, depth.
    pub(super) fn scores(&self) -> (&'static str, u32, u64) {
        let pairs = if self.queries <= 2 { 0 } else { self.query_bits() - 1 };
        let positions = self.position_bits() - u32::from(self.halves());
        ("scores", 32 * self.score_lanes(), 2 << (positions + pairs))
    }

    /// Scores in a word of their memory.
    pub(super) fn score_lanes(&self) -> u32 {
        self.queries.min(2)
    }

    /// Address of a score's word. Where blocks are halved, the highest bit of a position stands in the place of the
    /// highest bit of a query, one of which is always zero.
    pub(super) fn score_at(&self, parity: &Expr, position: &Expr, query: &Expr) -> Expr {
        let (positions, queries) = (position.width() - 1, query.width() - 1);
        match self.queries {
            0..=2 => cat([parity, position]),
            _ if !self.halves() => cat([parity, position, &query.slice(1, queries)]),
            _ => {
                let high = position.bit(positions) | query.bit(queries);
                let low = position.low(positions);
                if queries == 1 {
                    cat([parity, &low, &high])
                } else {
                    cat([parity, &low, &high, &query.slice(1, queries - 1)])
                }
            }
        }
    }

    /// Most chunks of a query's or a result's words, as an index.
    pub(super) fn words_bits(&self) -> u32 {
        crate::width::index_width(u64::from(self.max_head_dim.div_ceil(self.lanes) * self.word_chunks()))
    }

    fn memories(&self, m: &mut Module) -> Memories {
        let small = 2u64 << self.query_bits();
        let mut of = |name: &str, width: u32| m.memory(name, width, small, RamStyle::Distributed);
        let limit = of("limit", self.position_bits());
        let place = of("place", self.lane_bits() + self.group_bits() + 16);
        let [largest, inverse, top] = ["largest", "inverse", "top"].map(|name| of(name, 32));
        let mut deep = |(name, width, depth)| m.memory(name, width, depth, Self::style(depth));
        let [value_scales, scores] = [self.value_scales(), self.scores()].map(&mut deep);
        Memories { limit, place, largest, inverse, top, value_scales, scores }
    }

    pub(super) fn build_unit(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let parts = Parts {
            dots: self.build_dots(design)?,
            exp2: Self::build_exp2(design)?,
            mac: self.build_mac(design)?,
            mul: fp::Mul::build(design)?,
            to_int: fp::ToInt::build(design)?,
            div: Self::build_divide(design)?,
            dot_float: fp::FromInt { width: self.dot_bits() }.build(design)?,
            weight_float: fp::FromInt { width: super::WEIGHT_BITS + 1 }.build(design)?,
            sum_float: fp::FromInt { width: self.sum_bits() + 1 }.build(design)?,
            acc_float: fp::FromInt { width: self.acc_bits() }.build(design)?,
            queue: self.out_queue().build(design)?,
        };
        let mut m = Module::new(format!("tern_attend_unit_{}", self.suffix()));
        let (bytes, queries) = (self.beat_bytes, self.queries);
        m.header(&format!(
            "Attention of one run and key/value head after the other, in blocks of {queries} queries{}.\n\n\
             u = fixed16(dot * (ks * cq));  p = exp2(top - u);  w = round(p * (vs * (1 / max vs)))\n\
             out = (sum w v) * (max vs / sum p);  top, max and sums over the positions a query sees\n\n\
             Shapes   keys and values [{bytes}] i8 a beat | dots i{} | scores i32 | weights u15 | sums i{}\n\
             Front    queries and scales are loaded, then one key beat a cycle; a row takes at least as many\n\
             \x20        cycles as the block has queries, for their dots share one float path\n\
             Back     one value beat a cycle; weights are made one a cycle, up to {} positions ahead\n\
             Overlap  the front works on the next block while the back finishes this one (parity); inverses of max vs\n\
             \x20        are divided beside the next block's loading if the back is free\n\
             Jobs     the front takes the next one, of the same command or the next, while the back finishes this one;\n\
             \x20        the last word of a job says so: out_end_o, and the number of its command\n\
             Reads    a position that no query of the block sees is never read; keys are asked for only when\n\
             \x20        there is room for all their scores, so that no read waits for another; values with them\n\
             Oracle   spec::model::attention::device, spec::numerics::softmax",
            match self.halves() {
                true => format!(",\nof {} where one may see a position beyond {}", queries / 2, self.full_blocks),
                false => String::new(),
            },
            self.dot_bits(),
            self.acc_bits(),
            Self::AHEAD
        ));
        let shared: Vec<Expr> = Self::SHARED.iter().map(|(n, w)| m.input(&format!("{n}_i"), uint(*w))).collect();
        let read_cmd = [("addr", uint(40)), ("beats", uint(24))];
        let data = [("data", uint(8 * bytes)), ("last", uint(1))];
        let job: Vec<_> = self.job_fields().iter().map(|(n, w)| (*n, uint(*w))).collect();
        let out = [
            ("addr", uint(self.vm_bits())),
            ("mask", uint(self.vtokens)),
            ("data", uint(32 * self.lanes)),
            ("end", uint(1)),
            ("tag", uint(1)),
        ];
        let job = m.sink("job", &job);
        m.comment("What all jobs of a command have in common, until the front is through with this one.");
        let take = m.wire("front_take", &job.fire());
        let mut kept = Self::SHARED
            .iter()
            .zip(&shared)
            .map(|((name, _), value)| m.held(&format!("command_{name}_q"), &take, value));
        let mut next = || kept.next().unwrap_or_else(|| lit(0, 1));
        let (group, q_words, k_beats, v_beats) = (next(), next(), next(), next());
        let (v_words, v_off, bank, tag) = (next(), next(), next(), next());
        let ports = Ports {
            group,
            q_words,
            k_beats,
            v_beats,
            v_words,
            v_off,
            bank,
            position: m.input("slot_position_i", uint(32 * self.tokens * self.banks)),
            job,
            take,
            tag,
            k_cmd: m.source("k_cmd", &read_cmd),
            k_data: m.sink("k_data", &data),
            v_cmd: m.source("v_cmd", &read_cmd),
            v_data: m.sink("v_data", &data),
            read_ready: m.input("rd_ready_i", uint(1)),
            answer: m.input("rsp_valid_i", uint(1)),
            codes: m.input("rsp_code_i", uint(self.query_word())),
            factors: m.input("rsp_scale_i", uint(32 * self.vtokens)),
            read: m.output("rd_valid_o", uint(1)),
            read_at: m.output("rd_addr_o", uint(self.query_address_bits())),
            read_head: m.output("rd_head_o", uint(self.head_bits())),
            out: m.source("out", &out),
            ev_row: m.output("ev_k_row_o", uint(1)),
            ev_masked: m.output("ev_masked_o", uint(1)),
        };
        let memories = self.memories(&mut m);
        let back_busy = m.net("back_busy", uint(1));
        let taken = m.net("taken", uint(1));
        let token = self.front(&mut m, &ports, &memories, &parts, &back_busy, &taken);
        let (take, running) = self.back(&mut m, &ports, &memories, &parts, &token);
        m.drive(&taken, &take);
        m.drive(&back_busy, &running);
        let high: Vec<Expr> = match self.position_bits() {
            bits @ 0..=31 => lanes(&ports.position, 32).iter().map(|p| p.slice(bits, 32 - bits)).collect(),
            _ => Vec::new(),
        };
        m.unused("last", &[ports.k_data.field("last"), ports.v_data.field("last")]);
        m.unused("position", &high);
        if self.banks == 1 {
            m.unused("bank", std::slice::from_ref(&ports.bank));
        }
        let q_bits = self.word_bits().max(self.words_bits());
        if q_bits < 16 {
            m.unused("q_words", &[ports.q_words.slice(q_bits, 16 - q_bits)]);
        }
        design.add(m)
    }
}
