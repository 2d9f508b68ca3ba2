//! The output head: best row of every slot, logits to memory, the list of the best groups of rows.

mod list;
mod tournament;

use super::fifo::Fifo;
use super::ring::KEEP;
use crate::ir::{Design, Expr, ExprError, Interface, IrError, Module, RamStyle, Ty, cat, lit, repeat, uint, zero};
use crate::width::index_width;
use std::rc::Rc;
use tournament::Entry;

/// Arg-max over all rows for each of `tokens` slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOut {
    /// Rows `Q` of a group.
    pub rows: u32,
    /// Groups that are listed at most.
    pub list: u32,
    /// Token slots `P`.
    pub tokens: u32,
    /// Columns `L` of a vector word, divides `rows`.
    pub lanes: u32,
    /// Token slots `V` of a vector word, divides `tokens`.
    pub vtokens: u32,
    /// Bits `B` of a memory port: 32 or a larger power of two.
    pub port: u32,
}

/// Bits of a row number.
pub const ROW: u32 = 20;
/// Bits of a byte address.
pub const ADDR: u32 = 40;
/// Writes that may wait for the memory port.
const QUEUE: u32 = 4;
const KEY: u32 = 32;

/// Fields of the stream from the epilogue to the head, for `lanes` columns of `vtokens` slots.
pub(crate) fn log_fields(lanes: u32, vtokens: u32, group_bits: u32) -> [(&'static str, Ty); 10] {
    [
        ("data", uint(32 * lanes * vtokens)),
        ("group", uint(group_bits)),
        ("row", uint(ROW)),
        ("mask", uint(lanes)),
        ("scale", uint(32 * lanes)),
        ("last", uint(1)),
        ("final", uint(1)),
        ("rank", uint(1)),
        ("pick", uint(1)),
        ("keep", uint(KEEP)),
    ]
}

/// A beat of the memory port: data, strobes, whether it is the first or the last of its write.
struct PortBeat {
    data: Expr,
    strobes: Expr,
    first: Expr,
    last: Expr,
}

impl HeadOut {
    /// Token groups.
    pub fn groups(&self) -> u32 {
        self.tokens / self.vtokens
    }

    /// Cycles from a taken beat to the outputs that know it.
    pub fn latency(&self) -> u32 {
        3 + self.lanes.ilog2()
    }

    /// Port beats that the logits of a slot in a beat take.
    fn beats(&self) -> u32 {
        (32 * self.lanes).div_ceil(self.port)
    }

    fn check(&self) -> Result<(), IrError> {
        let fits = self.vtokens > 0 && self.tokens > 0 && self.tokens.is_multiple_of(self.vtokens);
        let listed = (1..1 << KEEP).contains(&self.list) && self.lanes > 0 && self.rows.is_multiple_of(self.lanes);
        if fits
            && listed
            && self.rows > 0
            && self.lanes.is_power_of_two()
            && self.port.is_power_of_two()
            && (32..=512).contains(&self.port)
        {
            return Ok(());
        }
        let (expr, expected) = (
            "shape of the output head",
            "V divides P, L divides Q, 1 to 255 listed groups, L and B powers of two, B in 32..=512",
        );
        let error = ExprError { expr: expr.into(), expected: expected.into(), found: format!("{self:?}") };
        Err(IrError::Expr { module: "tern_head".into(), error })
    }

    fn describe(&self, m: &mut Module) {
        let (p, l, v, b) = (self.tokens, self.lanes, self.vtokens, self.port);
        m.header(&format!(
            "Output head: best[p] = first row with the largest logit; logits of wanted slots to memory.\n\n\
             Shapes   log [{v} slots, {l} rows] binary32 a beat of a group; best_token_o, best_logit_o [{p}] u32\n\
             Order    binary32 as real numbers, -0 = 0; infinity counts as the largest number, minus infinity\n\
             \x20        and NaN never win. Ties go to the row that came first. No candidate: row 0, -infinity\n\
             Memory   row r of slot p: 4 bytes at 64 logits_line_i + 64 logits_stride_i p + 4 r; {} beat(s) of u{b}\n\
             \x20        a write, strobes of valid rows only. The first row of a beat is a multiple of {l}\n\
             Start    start_i clears; then {p} cycles, in which no beat is taken, for the slots' lines\n\
             Latency  {} cycles, one beat a cycle; a beat of k wanted slots takes k times the beats of a write\n\
             List     listed_i: the slot that the list is for, one-hot, steady; no later group has beats. The keep\n\
             \x20        groups of {q} rows with its largest logits in beats with rank are listed;\n\
             \x20        of equals in the list the first goes first; a full list is searched for its smallest in\n\
             \x20        keep cycles. After the final beat list gives the numbers and pick the scales, in list order;\n\
             \x20        beats with pick are the listed groups' logits, in that order, for any slots: row and mask come\n\
             \x20        from the list\n\
             Stalls   log_ready_o falls while wanted logits wait for the port\n\
             Oracle   sim::blocks::head",
            self.beats(),
            self.latency(),
            q = self.rows,
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.check()?;
        let (p, l, v, b) = (self.tokens, self.lanes, self.vtokens, self.port);
        let cmd_of = Fifo { width: ADDR, depth: QUEUE }.build(design)?;
        let data_of = Fifo { width: b + b / 8, depth: QUEUE }.build(design)?;
        let mut m = Module::new(format!("tern_head_q{}_p{p}_l{l}_v{v}_b{b}_k{}", self.rows, self.list));
        self.describe(&mut m);
        let group = index_width(self.groups().into());
        let start = m.input("start_i", uint(1));
        let want = m.input("want_i", uint(p));
        let listed = m.input("listed_i", uint(p));
        let line = m.input("logits_line_i", uint(32));
        let stride = m.input("logits_stride_i", uint(32));
        let log = m.sink("log", &log_fields(l, v, group));
        let tokens = m.output("best_token_o", uint(32 * p));
        let logits = m.output("best_logit_o", uint(32 * p));
        let idle = m.output("idle_o", uint(1));

        m.comment("Lines of the slots, added up after the start.");
        let fill_q = m.reg_reset("fill_q", &lit(0, 1));
        let slot = index_width(p.into());
        let slot_q = m.reg("slot_q", uint(slot));
        let line_q = m.reg("line_q", uint(32));
        let full = slot_q.eq(&lit(u128::from(p) - 1, slot));
        m.next(&fill_q, &(&start | (&fill_q & !full)));
        m.next_when(&slot_q, &(&start | &fill_q), &start.mux(&lit(0, slot), &slot_q.add_wrap(&lit(1, slot))));
        m.next_when(&line_q, &(&start | &fill_q), &start.mux(&line, &line_q.add_wrap(&stride)));
        let lines = m.memory("lines", 32, p.into(), RamStyle::Distributed);
        m.write(&lines, &fill_q, &slot_q, &line_q);

        m.comment("The beat in work.");
        let done = m.net("done", uint(1));
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        let free = m.wire("free", &(&done | !&valid_q));
        let go = m.net("go", uint(1));
        m.drive(&log.ready, &(&free & !&fill_q & &go));
        let take = m.wire("take", &log.fire());
        m.next(&valid_q, &(&take | (&valid_q & !&done)));
        let fresh_q = m.reg_reset("fresh_q", &lit(0, 1));
        m.next_when(&fresh_q, &go, &take);
        let hold = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(&format!("{name}_q"), value.ty());
            m.next_when(&q, &take, value);
            q
        };
        let [data, group_q, scale, rank] =
            ["data", "group", "scale", "rank"].map(|name| hold(&mut m, name, &log.field(name)));
        let keep = m.reg("keep_q", uint(KEEP));
        m.next_when(&keep, &(&take & log.field("rank")), &log.field("keep"));
        let end = hold(&mut m, "end", &(log.field("last") & log.field("final")));
        // rows and masks of picked groups stand in the list
        let pick = log.field("pick");
        let (listed_row, listed_mask) = (m.net("listed_row", uint(ROW)), m.net("listed_mask", uint(l)));
        let row = hold(&mut m, "row", &pick.mux(&listed_row, &log.field("row")));
        let rows = m.wire("rows", &pick.mux(&listed_mask, &log.field("mask")));
        let mask = hold(&mut m, "mask", &rows);

        let entry = Entry {
            fresh: &fresh_q,
            data: &data,
            group: &group_q,
            row: &row,
            mask: &mask,
            scale: &scale,
            rank: &rank,
            end: &end,
            listed: &listed,
        };
        let (wins_busy, candidate) = self.tournament(&mut m, (&start, &go), &entry, [&tokens, &logits]);
        let list = self.list(&mut m, &start, &keep, &candidate, &go);
        m.drive(&listed_row, &list.row);
        m.drive(&listed_mask, &list.mask);
        m.drive(&list.taken, &(&take & &pick));
        m.drive(&list.last, &self.holds(&log.field("group"), &listed));
        m.comment("To memory.");

        m.comment("Wanted slots of the beat, lowest first.");
        let wanted = m.reg("wanted_q", uint(v));
        let of_group = |g: u32| want.slice(g * v, v);
        let mut wanted_next = of_group(0);
        for g in 1..self.groups() {
            wanted_next = log.field("group").eq(&lit(g.into(), group)).mux(&of_group(g), &wanted_next);
        }
        let any_row = rows.any() & !log.field("rank");
        let left = m.net("wanted_left", uint(v));
        let step = m.net("step", uint(1));
        let after = take.mux(&(wanted_next & repeat(v, &any_row)), &left);
        m.next_when(&wanted, &(&take | &step), &after);
        let mut lane = lit(0, index_width(v.into()));
        let mut data_of_lane = data.lane(0, 32 * l);
        let mut rest = Vec::new();
        for at in (0..v).rev() {
            lane = wanted.bit(at).mux(&lit(at.into(), lane.width()), &lane);
            data_of_lane = wanted.bit(at).mux(&data.lane(at, 32 * l), &data_of_lane);
            let lower = if at > 0 { wanted.low(at).any() } else { lit(0, 1) };
            rest.push(&wanted.bit(at) & lower);
        }
        m.drive(&left, &cat(&rest));
        let writes = m.wire("writes", &(&valid_q & wanted.any()));
        let lane = m.wire("lane", &lane);
        let words = m.wire("logits", &data_of_lane);
        let times = |k: u32| group_q.extend(slot).shl(&lit(k.into(), 5));
        let terms = (0..32).filter(|k| v >> k & 1 == 1).map(times);
        let wr_slot = terms.fold(lane.extend(slot), |sum, term| sum.add_wrap(&term));
        let slot_line = m.read(&lines, &wr_slot);
        // the address in port beats; a line holds at least one
        let inside = (b / 8).ilog2();
        let row_beat = row.slice(inside - 2, ROW + 2 - inside);
        let first_beat = if inside < 6 { cat([slot_line, lit(0, 6 - inside)]) } else { slot_line };
        let beat_addr = first_beat.extend(ADDR - inside).add_wrap(&row_beat.extend(ADDR - inside));
        let addr = m.wire("addr", &cat([beat_addr, zero(uint(inside))]));
        let bytes = cat((0..l).rev().map(|at| repeat(4, &mask.bit(at))));

        let cmd_room = m.net("cmd_room", uint(1));
        let data_room = m.net("data_room", uint(1));
        let push = m.wire("push", &(&writes & &cmd_room & &data_room));
        let PortBeat { data: beat, strobes, first, last } = self.port_beat(&mut m, &words, &bytes, &row, &push);
        m.drive(&step, &(&push & &last));
        m.drive(&done, &(&valid_q & (!wanted.any() | (&step & !left.any()))));
        let wr_cmd = m.source("wr_cmd", &[("addr", uint(ADDR)), ("beats", uint(8))]);
        let wr_data = m.source("wr_data", &[("data", uint(b)), ("strb", uint(b / 8))]);
        let push_cmd = &push & &first;
        let ready = [("in_valid_i", &push_cmd), ("in_data_i", &addr), ("out_ready_i", &wr_cmd.ready)];
        let cmds = m.instance("cmds", &cmd_of, &ready);
        let both = cat([&strobes, &beat]);
        let ready = [("in_valid_i", &push), ("in_data_i", &both), ("out_ready_i", &wr_data.ready)];
        let beats = m.instance("beats", &data_of, &ready);
        m.drive(&cmd_room, &cmds.get("in_ready_o"));
        m.drive(&data_room, &beats.get("in_ready_o"));
        m.drive(&wr_cmd.valid, &cmds.get("out_valid_o"));
        m.drive(&wr_cmd.field("addr"), &cmds.get("out_data_o"));
        m.drive(&wr_cmd.field("beats"), &lit(self.beats().into(), 8));
        m.drive(&wr_data.valid, &beats.get("out_valid_o"));
        m.drive(&wr_data.field("data"), &beats.get("out_data_o").low(b));
        m.drive(&wr_data.field("strb"), &beats.get("out_data_o").slice(b, b / 8));
        let busy = [valid_q, fresh_q, wins_busy, list.busy, fill_q, cmds.get("out_valid_o"), beats.get("out_valid_o")];
        m.drive(&idle, &!cat(&busy).any());
        design.add(m)
    }

    /// Whether one of the slots is in the group.
    fn holds(&self, group: &Expr, slots: &Expr) -> Expr {
        let own = |g: u32| group.eq(&lit(g.into(), group.width())) & slots.slice(g * self.vtokens, self.vtokens).any();
        (1..self.groups()).fold(own(0), |any, g| any | own(g))
    }

    /// The part of a slot's logits that goes out next.
    fn port_beat(&self, m: &mut Module, words: &Expr, bytes: &Expr, row: &Expr, push: &Expr) -> PortBeat {
        let (b, wide, always) = (self.port, 32 * self.lanes, lit(1, 1));
        if wide <= b {
            // the same logits in every place, strobes only in theirs
            let copies = b / wide;
            let place = match copies {
                1 => lit(0, 1),
                _ => row.slice(self.lanes.ilog2(), copies.ilog2()),
            };
            let strobe = |at: u32| bytes & &repeat(bytes.width(), &place.eq(&lit(at.into(), place.width())));
            let strobes = if copies == 1 { bytes.clone() } else { cat((0..copies).rev().map(strobe)) };
            return PortBeat { data: repeat(copies, words), strobes, first: always.clone(), last: always };
        }
        let parts = wide / b;
        let index = index_width(parts.into());
        let part_q = m.reg_reset("part_q", &lit(0, index));
        let last = m.wire("part_last", &part_q.eq(&lit(u128::from(parts) - 1, index)));
        m.next_when(&part_q, push, &last.mux(&lit(0, index), &part_q.add_wrap(&lit(1, index))));
        let pick = |of: &Expr, bits: u32| {
            let part = |at: u32| part_q.eq(&lit(at.into(), index));
            (1..parts).fold(of.lane(0, bits), |other, at| part(at).mux(&of.lane(at, bits), &other))
        };
        let first = part_q.eq(&lit(0, index));
        PortBeat { data: pick(words, b), strobes: pick(bytes, b / 8), first, last }
    }
}
