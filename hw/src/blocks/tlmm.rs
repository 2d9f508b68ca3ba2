//! The table-look-up matrix engine.

use super::{fifo::Fifo, psum::Psum, table_build::TableBuild, tlmm_row::TlmmRow};
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, Sink, cat, lit, uint};
use crate::width::{acc_width, count_width, index_width};
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
}

/// Progress through a tile and what may happen next.
struct Control {
    admit: Expr,
    word: Expr,
    first: Expr,
    last: Expr,
    end_of_segment: Expr,
    end_of_tile: Expr,
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

    /// Bits of an accumulated sum. A Sherry segment holds 4 inputs of which 3 count; padding is zero.
    pub fn acc(&self) -> u32 {
        acc_width(self.cols)
    }

    /// The partial sums.
    pub fn psum(&self) -> Psum {
        let (lanes, input) = (self.rows * self.tokens, self.row().width());
        let acc = self.acc().max(input + 1);
        Psum { lanes, lanes_per_pend: self.tokens, input, acc, words: self.words() }
    }

    /// Cycles from a beat of the last segment to its sums when nothing stalls.
    pub fn latency(&self) -> u32 {
        self.row().latency() + Psum::LATENCY + Fifo::LATENCY
    }

    /// Beats of sums that the output queue holds: enough never to stall a sink that does not.
    pub fn queue(&self) -> u32 {
        (self.latency() + 2).next_power_of_two()
    }

    fn describe(&self, m: &mut Module) {
        let (t, q, p, psum) = (self.tables, self.rows, self.tokens, self.psum());
        m.header(&format!(
            "Table look-up matrix engine: sum[r][p] = sum_c w[r][c] * a[c][p] for ternary w and int8 a.\n\
             {t} tables x {q} rows x {p} tokens: one 5-bit code serves {p} tokens, {} look-ups a cycle.\n\n\
             Shapes   act [{g} tables, {p} tokens, 4] i8 a beat, {passes} beats a segment of {t} tables\n\
             \x20        wgt [{q} rows, {t} tables] u5 a beat, {words} beats (words) a segment at most\n\
             \x20        sum [{q} rows, {p} tokens] i{acc}; lowest index in the low bits\n\
             Order    a tile is cmd_seg_last_i + 1 segments of cmd_word_last_i + 1 words; all words of a\n\
             \x20        segment come before the next segment. Unused inputs are zero activations\n\
             Width    |sum| <= 128 * {cols} inputs, so i{acc}; tree i{tree}\n\
             Latency  {lat} cycles from a beat of the last segment to its sums, one beat a cycle\n\
             Tables   two banks: the next segment is built while this one is looked up\n\
             Stalls   wgt_ready_o falls while the tables of a segment are not built, while the sums of the\n\
             \x20        last segment have no place in the queue of {queue}, and between segments shorter than\n\
             \x20        {revisit} words until the pipeline is empty. It depends on registers only\n\
             Counters ev_beat_o, ev_starved_o (no weights), ev_tables_o (tables not built),\n\
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
        let (psum, tokens) = (self.psum(), self.tokens);
        let build_of = self.table_build().build(design)?;
        let row_of = self.row().build(design)?;
        let psum_of = psum.build(design)?;
        let beat = psum.lanes * psum.acc;
        let queue_of = Fifo { width: beat + 1, depth: self.queue() }.build(design)?;
        let (cols, words) = (self.cols, self.words());
        let mut m = Module::new(format!(
            "tern_tlmm_t{}_q{}_p{tokens}_g{}_k{cols}_w{words}",
            self.tables, self.rows, self.groups
        ));
        self.describe(&mut m);
        let (index, segs) = (index_width(words), index_width(self.segments()));
        let cmd = m.sink("cmd", &[("word_last", uint(index)), ("seg_last", uint(segs))]);
        let act = m.sink("act", &[("data", uint(self.table_build().beat_width())), ("sherry", uint(1))]);
        let wgt = m.sink("wgt", &[("data", uint(5 * self.tables * self.rows))]);
        let sum = m.source("sum", &[("data", uint(beat)), ("last", uint(1))]);

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
        let control = self.control(&mut m, &cmd, &wgt, &ready_tables, &room, &in_flight);
        m.drive(&release, &control.end_of_segment);

        m.comment("Rows: all see the same tables.");
        let bank_sherry = m.wire("bank_sherry", &bank_of(&sherry_q, &use_q));
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
                    ("code_i", &wgt.field("data").lane(q, 5 * self.tables)),
                ];
                m.instance(&format!("row{q}"), &row_of, &inputs)
            })
            .collect();

        m.comment("What a beat is travels beside the adder trees.");
        let lead = self.row().latency() - Psum::READ_LEAD;
        let named = [
            ("word", &control.word),
            ("first", &control.first),
            ("last", &control.last),
            ("end", &control.end_of_tile),
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
        let pends = cat(rows.iter().rev().map(|r| r.get("pend_o")));
        let acc = m.instance(
            "psum",
            &psum_of,
            &[
                ("rd_valid_i", &valid),
                ("rd_word_i", &travel[0]),
                ("rd_first_i", &travel[1]),
                ("sum_i", &sums),
                ("pend_i", &pends),
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
        design.add(m)
    }

    /// Counts words and segments and decides whether a beat of weights may enter.
    fn control(&self, m: &mut Module, cmd: &Sink, wgt: &Sink, tables: &Expr, room: &Expr, in_flight: &Expr) -> Control {
        let (index, segs) = (cmd.field("word_last").width(), cmd.field("seg_last").width());
        m.comment("Progress through the tile.");
        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let word_q = m.reg_reset("word_q", &lit(0, index));
        let seg_q = m.reg_reset("seg_q", &lit(0, segs));
        let word_last_q = m.reg("word_last_q", uint(index));
        let seg_last_q = m.reg("seg_last_q", uint(segs));
        let start = m.wire("start", &cmd.fire());
        m.drive(&cmd.ready, &!&active_q);
        m.next_when(&word_last_q, &start, &cmd.field("word_last"));
        m.next_when(&seg_last_q, &start, &cmd.field("seg_last"));
        let first = m.wire("first_seg", &seg_q.eq(&lit(0, segs)));
        let last = m.wire("last_seg", &seg_q.eq(&seg_last_q));
        let last_word = m.wire("last_word", &word_q.eq(&word_last_q));

        m.comment("A segment too short for the accumulator's loop waits until the one before has left.");
        let short = match u64::from(Psum::REVISIT) - 1 {
            limit if limit >> index != 0 => lit(1, 1),
            limit => word_last_q.lt(&lit(u128::from(limit), index)),
        };
        let wait = m.wire("wait_loop", &(word_q.eq(&lit(0, index)) & short & in_flight));
        let no_room = m.wire("no_room", &(&last & !room));
        let ready = m.wire("ready", &(&active_q & tables & !&no_room & !wait));
        m.drive(&wgt.ready, &ready);
        let admit = m.wire("admit", &wgt.fire());
        let end_of_segment = m.wire("end_of_segment", &(&admit & &last_word));
        let end_of_tile = m.wire("end_of_tile", &(&end_of_segment & &last));
        m.next(&active_q, &(&start | (&active_q & !&end_of_tile)));
        m.next_when(&word_q, &admit, &last_word.mux(&lit(0, index), &word_q.add_wrap(&lit(1, index))));
        m.next_when(&seg_q, &end_of_segment, &last.mux(&lit(0, segs), &seg_q.add_wrap(&lit(1, segs))));
        for (name, value) in [
            ("beat", admit.clone()),
            ("starved", &ready & !&wgt.valid),
            ("tables", &active_q & !tables),
            ("sums", &active_q & tables & &no_room),
        ] {
            let port = m.output(&format!("ev_{name}_o"), uint(1));
            let q = m.reg_reset(&format!("ev_{name}_q"), &lit(0, 1));
            m.next(&q, &value);
            m.drive(&port, &q);
        }
        Control { admit, word: word_q, first, last, end_of_segment, end_of_tile }
    }
}
