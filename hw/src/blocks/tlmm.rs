//! The table-look-up matrix engine.

use super::psum::{MULT_BITS, Psum};
use super::tlmm_control::{Control, Gates};
use super::{fifo::Fifo, fifo_deep::FifoDeep, table_build::TableBuild, tlmm_row::TlmmRow};
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, Ty, cat, lit, uint};
use crate::width::{count_width, signed_width};
use spec::program::{Op, field};
use std::rc::Rc;

/// `tables` x `rows` look-ups a cycle for each of `tokens` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlmm {
    /// Tables `T`: groups of inputs that are worked on at once.
    pub tables: u32,
    /// Rows `Q`: outputs that are worked on at once.
    pub rows: u32,
    /// Tokens `P` that share the weights.
    pub tokens: u32,
    /// Tables that are built at once.
    pub groups: u32,
    /// Most inputs of a layer.
    pub cols: u64,
    /// Most rows of a tile.
    pub tile_rows: u64,
    /// Beats of sums that may wait for the epilogue; raised to what the pipeline needs.
    pub queue: u32,
}

/// Deepest queue of sums in LUT RAM.
const LUT_QUEUE: u32 = 64;
/// Beats of multipliers that wait.
const MUL_QUEUE: u32 = 4;

/// A field of a tile's descriptor, with the width that programs give it.
pub(crate) fn linear_field(name: &'static str) -> (&'static str, Ty) {
    (name, uint(field(Op::Linear, name).map_or(1, |f| f.width)))
}

impl Tlmm {
    /// One row of the engine.
    pub fn row(&self) -> TlmmRow {
        TlmmRow { tables: self.tables, tokens: self.tokens, groups: self.groups }
    }

    /// The table builder.
    pub fn table_build(&self) -> TableBuild {
        TableBuild { groups: self.groups, tokens: self.tokens, passes: self.row().passes() }
    }

    /// Words of `rows` sums in a tile.
    pub fn words(&self) -> u64 {
        self.tile_rows.div_ceil(u64::from(self.rows))
    }

    /// Segments of `3 tables` inputs in the widest layer.
    pub fn segments(&self) -> u64 {
        self.cols.div_ceil(3 * u64::from(self.tables))
    }

    /// Bits of an accumulated sum. Multipliers reach 255 (planes add up to 121), so the sum reaches
    /// `128 * cols * 255`. Beyond 65,793 inputs that leaves 32 bits, which no grouped layer does: planes
    /// stay below 2^31 up to 131,072 inputs.
    pub fn acc(&self) -> u32 {
        signed_width(128 * 255 * self.cols).min(32)
    }

    /// The partial sums.
    pub fn psum(&self) -> Psum {
        let (lanes, input) = (self.rows * self.tokens, self.row().width());
        let acc = self.acc().max(input + 1);
        Psum { lanes, lanes_per_row: self.tokens, input, ones: self.row().ones(), acc, words: self.words() }
    }

    /// Cycles from a beat of the last segment to its sums when nothing stalls.
    pub fn latency(&self) -> u32 {
        let queue = if self.queue_in_luts() { Fifo::LATENCY } else { FifoDeep::LATENCY };
        self.row().latency() + Psum::LATENCY + queue
    }

    /// Beats of sums that the output queue holds: at least enough never to stall a sink that does not.
    pub fn queue(&self) -> u32 {
        let shortest = self.row().latency() + Psum::LATENCY + FifoDeep::LATENCY + 2;
        self.queue.max(shortest.next_power_of_two())
    }

    /// Whether that queue is in LUT RAM.
    pub fn queue_in_luts(&self) -> bool {
        self.queue() <= LUT_QUEUE
    }

    /// What makes two engines different, in names of modules.
    pub(crate) fn tag(&self) -> String {
        format!(
            "t{}_q{}_p{}_g{}_k{}_w{}_f{}",
            self.tables,
            self.rows,
            self.tokens,
            self.groups,
            self.cols,
            self.words(),
            self.queue()
        )
    }

    fn describe(&self, m: &mut Module) {
        let (t, q, p, psum) = (self.tables, self.rows, self.tokens, self.psum());
        m.header(&format!(
            "Table look-up matrix engine: sum[r][p] = sum_s mult[r][s] * sum_c w[r][c] * a[c][p], c the inputs\n\
             of segment s, for ternary w and int8 a.\n\
             {t} tables x {q} rows x {p} tokens: one 5-bit code serves {p} tokens, {} look-ups a cycle.\n\n\
             Shapes   act [{g} tables, {p} tokens, 4] i8 a beat, {passes} beats a segment of {t} tables\n\
             \x20        wgt [{q} rows, {t} tables] u5 a beat, {words} beats (words) a segment at most\n\
             \x20        mul [{q} rows] u8 a beat, one for each word of a grouped tile\n\
             \x20        sum [{q} rows, {p} tokens] i{acc}; lowest index in the low bits\n\
             Order    a tile is cmd_planes_i times cmd_segs_i segments of cmd_words_i words; all words of a\n\
             \x20        segment come before the next segment. Unused inputs are zero activations\n\
             Tokens   sums of tokens whose bit of cmd_active_i is not set are any numbers; token 0 always has it\n\
             Mult     3^(planes - 1 - plane), or of the mul stream if cmd_grouped_i\n\
             Width    |sum| <= 128 * 255 * {cols} inputs, so i{acc}; tree i{tree}\n\
             Latency  {lat} cycles from a beat of the last segment to its sums, one beat a cycle\n\
             Tables   two banks: the next segment is built while this one is looked up\n\
             Stalls   wgt_ready_o falls while the tables of a segment are not built, while the sums of the\n\
             \x20        last segment have no place in the queue of {queue}, while multipliers are missing, and\n\
             \x20        between segments shorter than {revisit} words until the pipeline is empty. It depends\n\
             \x20        on registers only\n\
             Counters ev_beat_o, ev_starved_o (no weights or multipliers), ev_tables_o (tables not built),\n\
             \x20        ev_sums_o (no place for sums): one high cycle each\n\
             Source   TeLLMe (arXiv 2504.16266), T-MAC (arXiv 2407.00088)\n\
             Oracle   sim::blocks::tlmm",
            t * q * p,
            g = self.groups,
            passes = self.row().passes(),
            words = self.words(),
            acc = psum.acc,
            cols = self.cols,
            tree = self.row().width(),
            lat = self.latency(),
            queue = self.queue(),
            revisit = Psum::REVISIT,
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let psum = self.psum();
        let build_of = self.table_build().build(design)?;
        let row_of = self.row().build(design)?;
        let psum_of = psum.build(design)?;
        let beat = psum.lanes * psum.acc;
        let (width, depth) = (beat + 1, self.queue());
        let queue_of = match self.queue_in_luts() {
            true => Fifo { width, depth }.build(design)?,
            false => FifoDeep { width, depth }.build(design)?,
        };
        let mul_width = MULT_BITS * self.rows;
        let mul_of = Fifo { width: mul_width, depth: MUL_QUEUE }.build(design)?;
        let mut m = Module::new(format!("tern_tlmm_{}", self.tag()));
        self.describe(&mut m);
        let [words, segs, planes, grouped] = ["words", "segs", "planes", "grouped"].map(linear_field);
        let cmd = m.sink("cmd", &[words, segs, planes, grouped, ("active", uint(self.tokens))]);
        let act = m.sink("act", &[("data", uint(self.table_build().beat_width())), ("sherry", uint(1))]);
        let wgt = m.sink("wgt", &[("data", uint(5 * self.tables * self.rows))]);
        let mul = m.sink("mul", &[("data", uint(mul_width))]);
        let sum = m.source("sum", &[("data", uint(beat)), ("last", uint(1))]);
        let idle = m.output("idle_o", uint(1));

        m.comment("Two banks of tables, filled and emptied in turn.");
        let release = m.net("release_bank", uint(1));
        let full_q = m.reg_reset("full_q", &lit(0, 2));
        let sherry_q = m.reg("sherry_q", uint(2));
        let fill_q = m.reg_reset("fill_q", &lit(0, 1));
        let use_q = m.reg_reset("use_q", &lit(0, 1));
        let bank_of = |mask: &Expr, bank: &Expr| bank.mux(&mask.bit(1), &mask.bit(0));
        let filled = m.net("filled", uint(1));
        let free = m.wire("bank_free", &!bank_of(&full_q, &fill_q));
        let build = m.instance(
            "build",
            &build_of,
            &[
                ("act_valid_i", &act.valid),
                ("act_data_i", &act.field("data")),
                ("act_sherry_i", &act.field("sherry")),
                ("bank_free_i", &free),
            ],
        );
        m.drive(&act.ready, &build.get("act_ready_o"));
        m.drive(&filled, &build.get("wr_last_o"));
        let one_hot = |bank: &Expr, on: &Expr| cat([&(bank & on), &(!bank & on)]);
        let set = one_hot(&fill_q, &filled);
        let clear = one_hot(&use_q, &release);
        m.next(&full_q, &((&full_q | set) & !clear));
        m.next_when(&fill_q, &filled, &!&fill_q);
        m.next_when(&use_q, &release, &!&use_q);
        let mode = build.get("wr_sherry_o");
        let modes = fill_q.mux(&cat([&mode, &sherry_q.bit(0)]), &cat([&sherry_q.bit(1), &mode]));
        m.next_when(&sherry_q, &filled, &modes);

        let ready_tables = m.wire("tables_ready", &bank_of(&full_q, &use_q));
        let room = m.net("room", uint(1));
        let in_flight = m.net("in_flight", uint(1));
        let mul_take = m.net("mul_take", uint(1));
        let mul_queue = m.instance(
            "mul_queue",
            &mul_of,
            &[("in_valid_i", &mul.valid), ("in_data_i", &mul.field("data")), ("out_ready_i", &mul_take)],
        );
        m.drive(&mul.ready, &mul_queue.get("in_ready_o"));
        let gates =
            Gates { tables: &ready_tables, room: &room, in_flight: &in_flight, mul: &mul_queue.get("out_valid_o") };
        let control = Control::build(&mut m, &cmd, &wgt, &gates, self.words());
        m.drive(&release, &control.end_of_segment);
        m.drive(&mul_take, &(&control.admit & &control.grouped));
        let same = crate::ir::repeat(self.rows, &control.mult);
        let mult = m.wire("mult", &control.grouped.mux(&mul_queue.get("out_data_o"), &same));

        m.comment("Rows: all see the same tables.");
        let bank_sherry = m.wire("bank_sherry", &bank_of(&sherry_q, &use_q));
        let moving = m.wire("moving", &(&control.tokens & crate::ir::repeat(self.tokens, &control.admit)));
        let rows: Vec<Outputs> = (0..self.rows)
            .map(|q| {
                let inputs = [
                    ("wr_en_i", &build.get("wr_valid_o")),
                    ("wr_bank_i", &fill_q),
                    ("wr_entry_i", &build.get("wr_entry_o")),
                    ("wr_pass_i", &build.get("wr_pass_o")),
                    ("wr_data_i", &build.get("wr_data_o")),
                    ("bank_i", &use_q),
                    ("sherry_i", &bank_sherry),
                    ("valid_i", &moving),
                    ("code_i", &wgt.field("data").lane(q, 5 * self.tables)),
                ];
                m.instance(&format!("row{q}"), &row_of, &inputs)
            })
            .collect();

        m.comment("What a beat is travels beside the adder trees.");
        let lead = self.row().latency();
        let named = [
            ("word", &control.word),
            ("first", &control.first),
            ("last", &control.last),
            ("end", &control.end_of_tile),
            ("mult", &mult),
        ];
        let mut travel: Vec<Expr> = named.iter().map(|(_, e)| (*e).clone()).collect();
        let (mut valid, mut alive) = (control.admit.clone(), Vec::new());
        for stage in 0..lead {
            let q = m.reg_reset(&format!("valid_s{stage}_q"), &lit(0, 1));
            m.next(&q, &valid);
            alive.push(q.clone());
            valid = q;
            for ((name, _), e) in named.iter().zip(&mut travel) {
                *e = m.delay(&format!("{name}_s{stage}_q"), e);
            }
        }
        let sums = cat(rows.iter().rev().map(|r| r.get("sum_o")));
        let ones = cat(rows.iter().rev().map(|r| r.get("ones_o")));
        let acc = m.instance(
            "psum",
            &psum_of,
            &[
                ("rd_valid_i", &valid),
                ("rd_word_i", &travel[0]),
                ("rd_first_i", &travel[1]),
                ("sum_i", &sums),
                ("ones_i", &ones),
                ("mult_i", &travel[4]),
            ],
        );
        alive.push(acc.get("busy_o"));
        m.drive(&in_flight, &cat(&alive).any());

        m.comment("Sums of the last segment go to the queue, in which a place was kept for them.");
        let give = m.reg_reset("give_q", &lit(0, 1));
        let give2 = m.reg_reset("give_q2", &lit(0, 1));
        let give3 = m.reg_reset("give_q3", &lit(0, 1));
        m.next(&give, &(&valid & &travel[2]));
        m.next(&give2, &give);
        m.next(&give3, &give2);
        let end = m.delay("end_q", &travel[3]);
        let end2 = m.delay("end_q2", &end);
        let end3 = m.delay("end_q3", &end2);
        let queue = m.instance(
            "queue",
            &queue_of,
            &[("in_valid_i", &give3), ("in_data_i", &cat([&end3, &acc.get("acc_o")])), ("out_ready_i", &sum.ready)],
        );
        m.unused("queue_ready", &[queue.get("in_ready_o")]);
        m.drive(&sum.valid, &queue.get("out_valid_o"));
        m.drive(&sum.field("data"), &queue.get("out_data_o").low(beat));
        m.drive(&sum.field("last"), &queue.get("out_data_o").bit(beat));
        let places = count_width(u64::from(self.queue()));
        let taken_q = m.reg_reset("taken_q", &lit(0, places));
        let (book, free) = (m.wire("book", &(&control.admit & &control.last)), m.wire("unbook", &sum.fire()));
        let one = lit(1, places);
        m.next_when(&taken_q, &(&book ^ &free), &book.mux(&taken_q.add_wrap(&one), &taken_q.sub_wrap(&one)));
        m.drive(&room, &taken_q.ne(&lit(u128::from(self.queue()), places)));
        m.drive(&idle, &(!&control.active & taken_q.eq(&lit(0, places))));
        design.add(m)
    }
}
