//! The matrix unit.

use super::act_buffer::{ActBuffer, quant_field};
use super::feeder::Feeder;
use super::fifo::Fifo;
use super::psum::MULT_BITS;
use super::tlmm::{Tlmm, linear_field};
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use crate::width::count_width;
use std::rc::Rc;

/// Activation buffer, feeder and engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The engine.
    pub engine: Tlmm,
    /// Token slots `V` of a beat of codes; divides the engine's tokens.
    pub slots: u32,
    /// Columns `L` of a beat of codes, a power of two.
    pub columns: u32,
    /// Segments that the activation buffer holds, of all banks.
    pub segments: u64,
}

/// Tiles that wait while one is in work.
const TILES: u32 = 8;
/// Events that are counted.
const EVENTS: [&str; 4] = ["ev_beat_o", "ev_starved_o", "ev_tables_o", "ev_sums_o"];

impl Matrix {
    /// A unit whose buffer holds the widest layer of each bank; what its memory blocks have left over is for layers
    /// whose groups cut segments short.
    pub fn new(engine: Tlmm, banks: u32, slots: u32, columns: u32) -> Matrix {
        let mut matrix = Matrix { engine, slots, columns, segments: engine.segments() * u64::from(banks) };
        let block = if matrix.buffer().depth() <= 1024 { 512 } else { 4096 };
        let words_of_segment = matrix.buffer().depth() / matrix.segments;
        matrix.segments = matrix.buffer().depth().next_multiple_of(block) / words_of_segment;
        matrix
    }

    /// The activation buffer.
    pub fn buffer(&self) -> ActBuffer {
        ActBuffer {
            tables: self.engine.tables,
            groups: self.engine.groups,
            slots: self.slots,
            token_groups: self.engine.tokens / self.slots,
            columns: self.columns,
            segments: self.segments,
        }
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (e, buffer) = (&self.engine, self.buffer());
        let buffer_of = buffer.build(design)?;
        let feeder_of = Feeder { buffer }.build(design)?;
        let engine_of = e.build(design)?;
        let tile = ["words", "segs", "planes", "grouped"].map(linear_field);
        let ng = buffer.token_groups;
        let tile_width: u32 = tile.iter().map(|(_, ty)| ty.width).sum();
        let queue_of = Fifo { width: tile_width + count_width(ng.into()), depth: TILES }.build(design)?;
        let feeds = ["act", "segs", "planes", "sherry"].map(linear_field);
        let feed_width = feeds.iter().map(|(_, ty)| ty.width).sum::<u32>() + count_width(ng.into());
        let feeds_of = Fifo { width: feed_width, depth: TILES }.build(design)?;
        let mut m =
            Module::new(format!("tern_matrix_{}_v{}_l{}_s{}", e.tag(), self.slots, self.columns, self.segments));
        m.header(&format!(
            "Matrix unit: sums of a tile of ternary weights with the codes of {} token slots.\n\n\
             Shapes   code [{v} slots, {l} columns] i8 a beat, group by group | sum [{q}, {p}] i{acc}\n\
             \x20        wgt [{q}, {t}] u5 | mul [{q}] u8\n\
             Order    pack, codes; then any number of tiles, planes and segments as tern_tlmm\n\
             Latency  see the parts; the tables of a tile are built while the tile before is looked up\n\
             Stalls   as the parts; {TILES} tiles wait at cmd. A pack must wait until no tile reads its segments, a\n\
             \x20        tile until they are packed: the sequencer does\n\
             Idle     idle_o: no tile waits or is in work and all sums were taken; pack_idle_o: codes are in\n\
             \x20        the buffer; pack_done_o: a pulse for each pack\n\
             Oracle   sim::blocks::matrix",
            e.tokens,
            v = self.slots,
            l = self.columns,
            q = e.rows,
            p = e.tokens,
            t = e.tables,
            acc = e.psum().acc,
        ));
        let groups = ("groups", uint(count_width(ng.into())));
        let [act, cols, seg_cols, group_cols, sherry] =
            ["act", "cols", "seg_cols", "group_cols", "sherry"].map(quant_field);
        let pack = m.sink("pack", &[act, cols, seg_cols, group_cols, sherry, groups]);
        let code = m.sink("code", &[("data", uint(8 * self.slots * self.columns)), ("last", uint(1))]);
        let [words, segs, planes, grouped] = tile;
        let cmd = m.sink("cmd", &[linear_field("act"), words, segs, planes, grouped, linear_field("sherry"), groups]);
        let wgt = m.sink("wgt", &[("data", uint(5 * e.tables * e.rows))]);
        let mul = m.sink("mul", &[("data", uint(MULT_BITS * e.rows))]);
        let beat = e.psum().lanes * e.psum().acc;
        let sum = m.source("sum", &[("data", uint(beat)), ("last", uint(1))]);
        let idle = m.output("idle_o", uint(1));
        let pack_idle = m.output("pack_idle_o", uint(1));
        let pack_done = m.output("pack_done_o", uint(1));

        let rd_en = m.net("read_en", uint(1));
        let rd_addr = m.net("read_addr", uint(crate::width::index_width(buffer.depth())));
        let buffered = m.instance(
            "buffer",
            &buffer_of,
            &[
                ("pack_valid_i", &pack.valid),
                ("pack_act_i", &pack.field("act")),
                ("pack_cols_i", &pack.field("cols")),
                ("pack_seg_cols_i", &pack.field("seg_cols")),
                ("pack_group_cols_i", &pack.field("group_cols")),
                ("pack_sherry_i", &pack.field("sherry")),
                ("pack_groups_i", &pack.field("groups")),
                ("code_valid_i", &code.valid),
                ("code_data_i", &code.field("data")),
                ("code_last_i", &code.field("last")),
                ("rd_en_i", &rd_en),
                ("rd_addr_i", &rd_addr),
            ],
        );
        m.drive(&pack.ready, &buffered.get("pack_ready_o"));
        m.drive(&code.ready, &buffered.get("code_ready_o"));
        m.drive(&pack_idle, &buffered.get("idle_o"));
        m.drive(&pack_done, &buffered.get("done_o"));

        m.comment("A tile goes to the feeder's queue and to the engine's at once.");
        let fork = m.net("tile_start", uint(1));
        let act_ready = m.net("act_ready", uint(1));
        let feed_ready = m.net("feed_ready", uint(1));
        let parts = ["groups", "sherry", "planes", "segs", "act"].map(|n| cmd.field(n));
        let inputs = [("in_valid_i", &fork), ("in_data_i", &cat(&parts)), ("out_ready_i", &feed_ready)];
        let waiting = m.instance("feeds", &feeds_of, &inputs);
        let mut low = 0;
        let feed_fields = feeds.map(|(_, ty)| {
            let field = waiting.get("out_data_o").slice(low, ty.width);
            low += ty.width;
            field
        });
        let feed_groups = waiting.get("out_data_o").slice(low, count_width(ng.into()));
        let feed = m.instance(
            "feeder",
            &feeder_of,
            &[
                ("cmd_valid_i", &waiting.get("out_valid_o")),
                ("cmd_act_i", &feed_fields[0]),
                ("cmd_segs_i", &feed_fields[1]),
                ("cmd_planes_i", &feed_fields[2]),
                ("cmd_sherry_i", &feed_fields[3]),
                ("cmd_groups_i", &feed_groups),
                ("rd_data_i", &buffered.get("rd_data_o")),
                ("act_ready_i", &act_ready),
            ],
        );
        m.drive(&feed_ready, &feed.get("cmd_ready_o"));
        m.drive(&rd_en, &feed.get("rd_en_o"));
        m.drive(&rd_addr, &feed.get("rd_addr_o"));
        let parts = ["groups", "grouped", "planes", "segs", "words"].map(|n| cmd.field(n));
        let tile_ready = m.net("tile_ready", uint(1));
        let queue = m.instance(
            "tiles",
            &queue_of,
            &[("in_valid_i", &fork), ("in_data_i", &cat(&parts)), ("out_ready_i", &tile_ready)],
        );
        m.drive(&cmd.ready, &(waiting.get("in_ready_o") & queue.get("in_ready_o")));
        m.drive(&fork, &cmd.fire());

        let next = queue.get("out_data_o");
        let part = |at: usize| {
            let low: u32 = tile[..at].iter().map(|(_, ty)| ty.width).sum();
            next.slice(low, tile[at].1.width)
        };
        let groups = next.slice(tile_width, count_width(ng.into()));
        let of_token = |p: u32| groups.gt(&lit((p / self.slots).into(), groups.width()));
        let active = m.wire("active_tokens", &cat((0..e.tokens).rev().map(of_token)));
        let engine = m.instance(
            "engine",
            &engine_of,
            &[
                ("cmd_valid_i", &queue.get("out_valid_o")),
                ("cmd_words_i", &part(0)),
                ("cmd_segs_i", &part(1)),
                ("cmd_planes_i", &part(2)),
                ("cmd_grouped_i", &part(3)),
                ("cmd_active_i", &active),
                ("act_valid_i", &feed.get("act_valid_o")),
                ("act_data_i", &feed.get("act_data_o")),
                ("act_sherry_i", &feed.get("act_sherry_o")),
                ("wgt_valid_i", &wgt.valid),
                ("wgt_data_i", &wgt.field("data")),
                ("mul_valid_i", &mul.valid),
                ("mul_data_i", &mul.field("data")),
                ("sum_ready_i", &sum.ready),
            ],
        );
        m.drive(&tile_ready, &engine.get("cmd_ready_o"));
        m.drive(&act_ready, &engine.get("act_ready_o"));
        m.drive(&wgt.ready, &engine.get("wgt_ready_o"));
        m.drive(&mul.ready, &engine.get("mul_ready_o"));
        m.drive(&sum.valid, &engine.get("sum_valid_o"));
        m.drive(&sum.field("data"), &engine.get("sum_data_o"));
        m.drive(&sum.field("last"), &engine.get("sum_last_o"));
        let waits = waiting.get("out_valid_o") | queue.get("out_valid_o");
        m.drive(&idle, &(engine.get("idle_o") & feed.get("idle_o") & !waits));
        for name in EVENTS {
            let port = m.output(name, uint(1));
            m.drive(&port, &engine.get(name));
        }
        design.add(m)
    }
}
