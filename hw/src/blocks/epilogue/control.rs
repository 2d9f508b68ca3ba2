//! Commands, row words and the issue of beats.

use super::operands::Operands;
use super::{COMMANDS, Epilogue, FIELDS, Lane};
use crate::blocks::fifo::Fifo;
use crate::blocks::pipe::delay_n;
use crate::ir::{Design, Expr, IrError, Module, Outputs, Sink, cat, lit, repeat, uint, zero};
use crate::width::index_width;
use spec::program::epilogue::{LOGITS, PICK, RANK, RELU2, RESIDUAL, ROPE, SILU};

/// The command in work. Its fields hold until its last beat has left the lanes.
pub(super) struct Command {
    pub(super) start: Expr,
    pub(super) active: Expr,
    pub(super) bank: Expr,
    /// To be driven: the last beat is issued.
    pub(super) finish: Expr,
    /// Another one is in the queue.
    pub(super) waiting: Expr,
    pub(super) new_words: Expr,
    pub(super) last_group: Expr,
    pub(super) accumulate: Expr,
    pub(super) new_fetch: Expr,
    pub(super) bias: Expr,
    pub(super) row_scale: Expr,
    pub(super) new_rows: Expr,
    /// A summand and a bias: two sums.
    pub(super) two: Expr,
    pub(super) residual: Expr,
    pub(super) silu: Expr,
    pub(super) relu: Expr,
    pub(super) rope: Expr,
    /// To the output head, and for what: its list, rows of the list.
    pub(super) logits: Expr,
    pub(super) rank: Expr,
    pub(super) pick: Expr,
    pub(super) keep: Expr,
    /// Words come in pairs.
    pub(super) pair: Expr,
    /// Pairs give one result.
    pub(super) gate: Expr,
    pub(super) rope_words: Expr,
    pub(super) scale_a: Expr,
    pub(super) scale_b: Expr,
    pub(super) dst: Expr,
    pub(super) acc: Expr,
    pub(super) cols: Expr,
    pub(super) base: Expr,
    pub(super) final_tile: Expr,
}

/// The beat that is issued.
pub(super) struct Beat {
    pub(super) fire: Expr,
    pub(super) g: Expr,
    pub(super) s: Expr,
    pub(super) odd: Expr,
    /// Last of its tile.
    pub(super) last: Expr,
    /// Results: none, one or two.
    pub(super) gives: Expr,
    /// Column words of this word, and of this pair if pairs give one result.
    pub(super) column: Expr,
    pub(super) gate_column: Expr,
    /// To be driven: two more results have a place.
    pub(super) room: Expr,
}

/// Scales and biases of the word that is issued.
pub(super) struct RowWords {
    pub(super) scales: Expr,
    pub(super) biases: Expr,
    ready: Expr,
    /// To be driven: the word is done.
    pop: Expr,
}

/// What the lanes do when.
pub(super) struct Flow {
    /// Stage 0 has operands.
    pub(super) valid: Expr,
    /// The stage behind the conversions has a beat.
    pub(super) scaled: Expr,
    /// Summands are taken, and a cycle later added.
    pub(super) adds: Expr,
    pub(super) summing: Expr,
    /// Stages of the second part, those of [`Lane::LATE`], that have a beat, and whether one of all has.
    pub(super) late: Expr,
    pub(super) moving: Expr,
    pub(super) add_vm: Expr,
    pub(super) add_bias: Expr,
    pub(super) bias: Expr,
    pub(super) again: Expr,
    pub(super) keep: Expr,
    pub(super) take: Expr,
    pub(super) swap: Expr,
    /// Kept word of the sum: `group * runs + run`.
    pub(super) pair: Expr,
    /// Word of the rotary memory: group, element / lanes.
    pub(super) rope_group: Expr,
    pub(super) rope_word: Expr,
    /// The second result of a rotation, when `sin_i` is taken.
    pub(super) second: Expr,
    /// Results arrive.
    pub(super) arrive: Expr,
}

impl Epilogue {
    /// Takes the next command when the lanes are empty.
    pub(super) fn command(
        &self,
        m: &mut Module,
        design: &mut Design,
        cmd: &Sink,
        busy: &Expr,
        fetching: &Expr,
    ) -> Result<Command, IrError> {
        m.comment("Commands wait in a queue; the next starts when the lanes are empty.");
        let all = cat(FIELDS.iter().rev().map(|name| cmd.field(name)));
        let queue_of = Fifo { width: all.width(), depth: COMMANDS }.build(design)?;
        let start = m.net("start", uint(1));
        let active_q = m.reg_reset("active_q", &lit(0, 1));
        let inputs = [("in_valid_i", &cmd.valid), ("in_data_i", &all), ("out_ready_i", &start)];
        let queue = m.instance("commands", &queue_of, &inputs);
        m.drive(&cmd.ready, &queue.get("in_ready_o"));
        let waiting = queue.get("out_valid_o");
        m.drive(&start, &(&waiting & !(&active_q | busy | fetching)));
        let finish = m.net("finish", uint(1));
        m.next(&active_q, &(&start | (&active_q & !&finish)));
        let next = queue.get("out_data_o");
        let new = |name: &str| {
            let at = FIELDS.iter().take_while(|f| **f != name).map(|f| self.field_type(f).width).sum();
            next.slice(at, self.field_type(name).width)
        };
        let beyond =
            [("dst", self.word_width()), ("acc", self.word_width()), ("groups", index_width(self.groups().into()))];
        let spare = |(name, used): (&str, u32)| {
            let all = new(name);
            (all.width() > used).then(|| all.slice(used, all.width() - used))
        };
        let mut spare: Vec<Expr> = beyond.into_iter().filter_map(spare).collect();
        spare.extend((self.banks == 1).then(|| new("bank")));
        m.unused("command", &spare);
        let mut hold = |name: &str, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, &start, value);
            q
        };
        let mode = new("mode");
        let is = |code: u32| mode.eq(&lit(code.into(), mode.width()));
        let index = index_width(self.groups().into());
        let last_group = new("groups").low(index).sub_wrap(&lit(1, index));
        let word = |name: &str| new(name).low(self.word_width());
        let gate = is(SILU) | is(RELU2);
        Ok(Command {
            new_words: new("words"),
            last_group: hold("last_group", &last_group),
            bank: if self.banks > 1 { hold("bank", &new("bank")) } else { lit(0, 1) },
            accumulate: hold("accumulate", &new("accumulate")),
            new_fetch: new("accumulate") | is(RESIDUAL),
            bias: hold("bias", &new("bias")),
            row_scale: hold("row_scale", &new("row_scale")),
            new_rows: new("bias") | new("row_scale"),
            two: hold("two", &(new("accumulate") & new("bias"))),
            residual: hold("residual", &is(RESIDUAL)),
            silu: hold("silu", &is(SILU)),
            relu: hold("relu", &is(RELU2)),
            rope: hold("rope", &is(ROPE)),
            logits: hold("logits", &(is(LOGITS) | is(RANK) | is(PICK))),
            rank: hold("rank", &is(RANK)),
            pick: hold("pick", &is(PICK)),
            keep: hold("keep", &new("keep")),
            pair: hold("pairs", &(&gate | is(ROPE))),
            gate: hold("gate", &gate),
            rope_words: hold("rope_words", &new("rope_words")),
            scale_a: hold("scale_a", &new("scale_a")),
            scale_b: hold("scale_b", &new("scale_b")),
            dst: hold("dst", &word("dst")),
            acc: hold("acc", &word("acc")),
            cols: hold("cols", &new("cols")),
            base: hold("base", &new("base")),
            final_tile: hold("final", &new("final")),
            start,
            active: active_q,
            finish,
            waiting,
        })
    }

    /// Sorts the row stream into scales and biases of the command's words.
    pub(super) fn row_words(&self, m: &mut Module, design: &mut Design, cmd: &Command) -> Result<RowWords, IrError> {
        m.comment("Row words: scales, then biases, of as many words as the tile has.");
        let width = 32 * self.rows;
        let row = m.sink("row", &[("data", uint(width))]);
        let pick = m.sink("pick", &[("data", uint(width))]);
        let queue_of = Fifo { width, depth: 2 }.build(design)?;
        let left_q = m.reg_reset("row_left_q", &zero(cmd.new_words.ty()));
        let bias_next_q = m.reg_reset("bias_next_q", &lit(0, 1));
        let to_bias = m.wire("to_bias", &(&bias_next_q | !&cmd.row_scale));
        let open = m.wire("row_open", &left_q.any());
        let pop = m.net("word_done", uint(1));
        let there = m.wire("row_there", &cmd.pick.mux(&pick.valid, &row.valid));
        let push_scale = m.wire("push_scale", &(&there & &open & !&to_bias));
        let push_bias = m.wire("push_bias", &(&there & &open & &to_bias));
        let (pop_scale, pop_bias) = (&pop & &cmd.row_scale, &pop & &cmd.bias);
        let data = m.wire("row_word", &cmd.pick.mux(&pick.field("data"), &row.field("data")));
        let inputs = |push, pop| [("in_valid_i", push), ("in_data_i", &data), ("out_ready_i", pop)];
        let scales = m.instance("scales", &queue_of, &inputs(&push_scale, &pop_scale));
        let biases = m.instance("biases", &queue_of, &inputs(&push_bias, &pop_bias));
        let room = m.wire("row_room", &(&open & to_bias.mux(&biases.get("in_ready_o"), &scales.get("in_ready_o"))));
        m.drive(&row.ready, &(&room & !&cmd.pick));
        m.drive(&pick.ready, &(&room & &cmd.pick));
        let taken = m.wire("row_taken", &(&there & &room));
        m.next_when(&bias_next_q, &taken, &(!&to_bias & &cmd.bias));
        let complete = &taken & (&to_bias | !&cmd.bias);
        let begin = &cmd.start & &cmd.new_rows;
        let less = left_q.sub_wrap(&lit(1, left_q.width()));
        m.next_when(&left_q, &(&begin | complete), &begin.mux(&cmd.new_words, &less));
        let there = |needed: &Expr, queue: &Outputs| !needed | queue.get("out_valid_o");
        let ready = there(&cmd.row_scale, &scales) & there(&cmd.bias, &biases);
        Ok(RowWords { scales: scales.get("out_data_o"), biases: biases.get("out_data_o"), ready, pop })
    }

    /// Issues one beat of sums a cycle when all it needs is there.
    pub(super) fn issue(&self, m: &mut Module, cmd: &Command, sum: &Sink, rows: &RowWords, ops: &Operands) -> Beat {
        m.comment("Issue. Two sums keep to every second cycle of one parity: the second sum uses the other one.");
        let fire = m.net("fire", uint(1));
        let walk = self.walk(m, "issue", &fire, &cmd.last_group);
        let room = m.net("room", uint(1));
        let odd_q = m.reg_reset("odd_q", &lit(0, 1));
        let left_q = m.reg("words_left_q", cmd.new_words.ty());
        let parity_q = m.reg_reset("parity_q", &lit(0, 1));
        let rest_q = m.reg_reset("rest_q", &lit(0, 1));
        let word_end = m.wire("word_end", &(&fire & &walk.end));
        let last = m.wire("last_word", &left_q.eq(&lit(1, left_q.width())));
        // from the start of the command on, so that it takes the same cycles whenever that is
        m.next(&parity_q, &!(&parity_q | &cmd.start));
        m.next(&rest_q, &(&fire & &cmd.rope & &odd_q));
        let change = &cmd.start | &word_end;
        m.next_when(&odd_q, &change, &(&word_end & !&odd_q));
        m.next_when(&left_q, &change, &cmd.start.mux(&cmd.new_words, &left_q.sub_wrap(&lit(1, left_q.width()))));
        let (step, none) = (lit(self.runs().into(), 16), lit(0, 16));
        let column_q = m.reg("column_q", uint(16));
        m.next_when(&column_q, &change, &cmd.start.mux(&none, &column_q.add_wrap(&step)));
        let gate_column_q = m.reg("gate_column_q", uint(16));
        let pair_change = &cmd.start | (&word_end & &odd_q);
        m.next_when(&gate_column_q, &pair_change, &cmd.start.mux(&none, &gate_column_q.add_wrap(&step)));

        let paced = (!&cmd.two | &parity_q) & !&rest_q;
        let there = &rows.ready & &ops.ready & &room;
        let can = m.wire("can_issue", &(&cmd.active & &paced & &there));
        m.drive(&fire, &(&can & &sum.valid));
        m.drive(&sum.ready, &(&can & &walk.end));
        m.drive(&ops.take, &fire);
        m.drive(&rows.pop, &word_end);
        m.drive(&cmd.finish, &(&word_end & &last));
        let (two, one) = (&cmd.rope & &odd_q, (!&cmd.pair | &odd_q) & !&cmd.rope);
        let gives = m.wire("gives", &(cat([&two, &one]) & repeat(2, &fire)));
        let last = &last & &walk.end;
        let (column, gate_column) = (column_q, gate_column_q);
        Beat { fire, g: walk.g, s: walk.s, odd: odd_q, last, gives, column, gate_column, room }
    }

    /// Follows the beats through the lanes.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn flow(
        &self,
        m: &mut Module,
        design: &mut Design,
        cmd: &Command,
        beat: &Beat,
        bias: &Expr,
        ops: &Operands,
        busy: &Expr,
    ) -> Result<Flow, IrError> {
        m.comment("Which stage of the lanes holds a beat; stage 0 has the operands.");
        let (add, sum_at) = (Lane::ADD, Lane::SUM);
        let mut stages = vec![beat.fire.clone()];
        for stage in 0..=sum_at + Lane::AGAIN {
            let q = m.reg_reset(&format!("stage{stage}_q"), &lit(0, 1));
            let before = stages.last().cloned().unwrap_or_else(|| lit(0, 1));
            m.next(&q, &before);
            stages.push(q);
        }
        let stage = |at: u32| &stages[at as usize + 1];
        let again = m.wire("again", &(&cmd.two & stage(add + Lane::AGAIN)));
        let add_vm = m.wire("add_vm", &(&cmd.accumulate & !&again));
        m.drive(&ops.pop_summand, &(stage(add) & &cmd.accumulate));

        m.comment("Biases wait for their sums.");
        let depth = (add + Lane::AGAIN + 3).next_power_of_two();
        let wait_of = Fifo { width: bias.width(), depth }.build(design)?;
        let push = &beat.fire & &cmd.bias;
        let add_bias = m.wire("add_bias", &(&cmd.bias & cmd.two.mux(&again, stage(add))));
        let inputs = [("in_valid_i", &push), ("in_data_i", bias), ("out_ready_i", &add_bias)];
        let waiting = m.instance("bias_wait", &wait_of, &inputs);
        m.unused("bias_wait", &[waiting.get("in_ready_o"), waiting.get("out_valid_o")]);

        m.comment("Sums: of an even word of a pair kept, all others taken into the second part.");
        let sum = m.wire("sum_there", &cmd.two.mux(stage(sum_at + Lane::AGAIN), stage(sum_at)));
        let walk = self.walk(m, "sum", &sum, &cmd.last_group);
        let odd_q = m.reg_reset("sum_odd_q", &lit(0, 1));
        let sum_end = m.wire("sum_word_end", &(&sum & &walk.end));
        m.next_when(&odd_q, &(&cmd.start | &sum_end), &(&sum_end & !&odd_q));
        let even = &cmd.pair & !&odd_q;
        let keep = m.wire("keep", &(&sum & &even));
        let take = m.wire("take", &(&sum & !&even));
        let swap_q = m.reg_reset("swap_q", &lit(0, 1));
        m.next(&swap_q, &(&take & &cmd.rope));
        let pair = self.indexed(&walk.g, self.runs(), &walk.s, u64::from(self.groups() * self.runs()));
        let pair = m.wire("pair_index", &pair);

        m.comment("Pair of words in its head, for the rotary memory.");
        let head_q = m.reg("head_word_q", cmd.rope_words.ty());
        let width = head_q.width();
        let pair_end = &sum_end & &odd_q;
        let head_end = head_q.add_wrap(&lit(1, width)).eq(&cmd.rope_words);
        let restart = &cmd.start | &head_end;
        let up = head_q.add_wrap(&lit(1, width));
        m.next_when(&head_q, &(&cmd.start | pair_end), &restart.mux(&lit(0, width), &up));
        let rope_words = u64::from(self.rope_words());
        let rope_word = self.indexed(&head_q, self.runs(), &walk.s, rope_words);

        let loaded_q = m.reg_reset("loaded_q", &lit(0, 1));
        m.next(&loaded_q, &(&take | &swap_q));
        let mut late = vec![loaded_q];
        for at in 1..=Lane::RESULT {
            let q = m.reg_reset(&format!("late{at}_q"), &lit(0, 1));
            m.next(&q, &late[at as usize - 1]);
            late.push(q);
        }
        m.drive(&ops.pop_old, &(&late[Lane::OLD as usize] & &cmd.residual));
        let second_q = m.delay("second_q", &swap_q);
        let second = delay_n(m, "second_late", &second_q, Lane::SIN);
        let any = |stages: &[Expr]| cat(stages).any();
        let moving_q = m.reg_reset("moving_q", &lit(0, 1));
        m.next(&moving_q, &(&take | &swap_q | any(&late[..Lane::OLD as usize])));
        let adds = m.wire("adds", &(stage(add) | &again));
        let summing = m.delay("summing_q", &adds);
        let early = cat(&stages[1..]).any();
        m.drive(busy, &(early | cat(&late).any() | &swap_q));
        Ok(Flow {
            valid: stage(0).clone(),
            scaled: stage(Lane::SCALE).clone(),
            adds,
            summing,
            late: cat(Lane::LATE.iter().rev().map(|at| late[*at as usize].clone())),
            moving: moving_q,
            add_vm,
            add_bias,
            bias: waiting.get("out_data_o"),
            again,
            keep,
            take,
            swap: swap_q,
            pair,
            rope_group: walk.g,
            rope_word,
            second,
            arrive: late[Lane::RESULT as usize].clone(),
        })
    }

    /// `high * factor + low`, in the bits of an index below `count`.
    pub(super) fn indexed(&self, high: &Expr, factor: u32, low: &Expr, count: u64) -> Expr {
        let width = index_width(count);
        let fit = |e: &Expr| if e.width() > width { e.low(width) } else { e.extend(width) };
        let terms = (0..32u32).filter(|k| factor >> k & 1 == 1);
        terms.fold(fit(low), |sum, k| sum.add_wrap(&fit(high).shl(&lit(k.into(), 5))))
    }
}
