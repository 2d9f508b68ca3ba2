//! The epilogue: sums of the matrix engine to vectors, or to the output head.

mod control;
mod lane;
mod operands;
mod output;
mod rope;
mod sigmoid;

pub use lane::Lane;
pub use sigmoid::Sigmoid;

use crate::blocks::banks;
use crate::ir::{Design, Expr, ExprError, Interface, IrError, Module, RamStyle, Ty, cat, lit, uint};
use crate::width::{count_width, index_width};
use operands::Operands;
use spec::program::{Op, field};
use std::rc::Rc;

/// Scales, planes, bias, rotation, gates and residual for `tokens` slots, `vtokens` x `lanes` values a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epilogue {
    /// Rows `Q` of a word of sums.
    pub rows: u32,
    /// Token slots `P` of a bank.
    pub tokens: u32,
    /// Banks of slots.
    pub banks: u32,
    /// Columns `L` of a vector word: a power of two that divides `rows`.
    pub lanes: u32,
    /// Token slots `V` of a vector word, divides `tokens`.
    pub vtokens: u32,
    /// Bits of a sum, at most 48.
    pub acc: u32,
    /// Bits of an address of the vector memory.
    pub addr: u32,
    /// Elements of half a rotated head, at most: `rope_words * rows` of the widest head.
    pub half: u32,
}

/// Fields of a command, in port order; `groups` follows.
const FIELDS: [&str; 16] = [
    "bank",
    "words",
    "mode",
    "accumulate",
    "bias",
    "row_scale",
    "rope_words",
    "scale_a",
    "scale_b",
    "dst",
    "acc",
    "cols",
    "base",
    "final",
    "keep",
    "groups",
];
/// Commands that wait.
const COMMANDS: u32 = 8;

impl Epilogue {
    /// Token groups `NG`.
    pub fn groups(&self) -> u32 {
        self.tokens / self.vtokens
    }

    /// Bits of `{bank, group}`.
    pub(super) fn place_width(&self) -> u32 {
        banks::place_width(self.banks, self.groups())
    }

    /// `{bank, group}` of the command in work.
    fn place(&self, cmd: &control::Command, group: &Expr) -> Expr {
        banks::place(self.banks, &cmd.bank, group)
    }

    /// Runs of `lanes` rows in a word, `Q / L`.
    pub fn runs(&self) -> u32 {
        self.rows / self.lanes
    }

    /// Values of a beat, `V * L`.
    pub fn width(&self) -> u32 {
        self.vtokens * self.lanes
    }

    /// Bits of the field `groups`.
    pub fn groups_width(&self) -> u32 {
        count_width(self.groups().into())
    }

    /// Bits of a column word's number.
    fn word_width(&self) -> u32 {
        self.addr.min(16)
    }

    fn lane(&self) -> Lane {
        Lane { acc: self.acc, pairs: u64::from(self.groups() * self.runs()) }
    }

    /// Cycles from a taken word of sums to its first result, when nothing stalls.
    pub fn latency(&self) -> u32 {
        1 + Lane::SUM + 1 + Lane::RESULT + 1
    }

    /// Results in flight and in the queue: enough for one a cycle.
    fn queue(&self) -> u32 {
        (self.latency() + 4).next_power_of_two()
    }

    fn field_type(&self, name: &str) -> Ty {
        match field(Op::Linear, name) {
            Some(field) => uint(field.width),
            None => uint(self.groups_width()),
        }
    }

    fn check(&self) -> Result<(), IrError> {
        let sizes = [self.rows, self.tokens, self.lanes, self.vtokens, self.acc, self.addr, self.half];
        let divides = |a: u32, b: u32| a > 0 && b.is_multiple_of(a);
        let lanes = self.lanes.is_power_of_two() && self.lanes <= 64 && divides(self.lanes, self.rows);
        if !sizes.contains(&0) && lanes && divides(self.vtokens, self.tokens) && self.acc <= 48 && self.addr <= 32 {
            return Ok(());
        }
        let (expr, expected) =
            ("shape of the epilogue", "L <= 64 a power of two that divides Q, V divides P, acc <= 48");
        let error = ExprError { expr: expr.into(), expected: expected.into(), found: format!("{self:?}") };
        Err(IrError::Expr { module: "tern_epilogue".into(), error })
    }

    fn describe(&self, m: &mut Module) {
        let (q, p, l, v) = (self.rows, self.tokens, self.lanes, self.vtokens);
        m.header(&format!(
            "Epilogue: y = float(sum) * (act_scale[slot] * row_scale), + vector memory, + bias, then by mode\n\
             STORE y | RESIDUAL memory + y | SILU silu(a) b | RELU2 relu(a)^2 b | ROPE a cos - b sin, b cos + a sin |\n\
             LOGITS, RANK and PICK to the output head. a and b are an even word and the odd one after it.\n\n\
             Shapes   sum [{q} rows, {p} slots] i{acc} | row [{q}] binary32 | act_scale [{v}] binary32 of {{bank, group}}\n\
             \x20        vm, vm_wr, log [{v} slots, {l} rows] binary32: lane v*{l} + l. VM address column_word*{ng} + group\n\
             Order    word, group, run of {l} rows; one beat a cycle. Column of a lane: w*{q} + s*{l} + l, or half of w for\n\
             \x20        gates. Columns from `cols` on are +0, but in ROPE. The other summand is at `acc` + column word of w\n\
             Rows     a beat of scales for each word if row_scale, then a beat of biases if bias; in PICK the scales come\n\
             \x20        from pick. log has the scales of its rows\n\
             Rotary   rope writes cos and sin of element `index` of a slot; {half} elements at most\n\
             Latency  {lat} cycles from a word of sums to its first result, {again} more if a summand and a bias are added\n\
             Rate     one beat a cycle; every second cycle: accumulate with bias or RESIDUAL, odd words of ROPE.\n\
             \x20        A command starts when those before have left the lanes\n\
             Done     done_o, a pulse for each command when its last result was taken\n\
             Stalls   vm_rd runs ahead as far as there are places for answers ({ops}, {olds}); results wait in a queue\n\
             \x20        of {queue}. No ready depends on a valid\n\
             Oracle   sim::blocks::epilogue",
            acc = self.acc,
            ng = self.groups(),
            half = self.half,
            lat = self.latency(),
            again = Lane::AGAIN,
            ops = Operands::SUMMANDS,
            olds = self.queue(),
            queue = self.queue(),
        ));
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.check()?;
        let lane_of = self.lane().build(design)?;
        let (q, p, l, v) = (self.rows, self.tokens, self.lanes, self.vtokens);
        let mut m = Module::new(format!(
            "tern_epilogue_q{q}_p{p}_b{}_l{l}_v{v}_a{}_m{}_h{}",
            self.banks, self.acc, self.addr, self.half
        ));
        self.describe(&mut m);
        let m = &mut m;
        let fields: Vec<(&str, Ty)> = FIELDS.iter().map(|name| (*name, self.field_type(name))).collect();
        let cmd_in = m.sink("cmd", &fields);
        let sum = m.sink("sum", &[("data", uint(q * p * self.acc)), ("last", uint(1))]);
        m.unused("sum_last", &[sum.field("last")]);
        let idle = m.output("idle_o", uint(1));

        let busy = m.net("lanes_busy", uint(1));
        let fetching = m.net("fetching", uint(1));
        let cmd = self.command(m, design, &cmd_in, &busy, &fetching)?;
        let rows = self.row_words(m, design, &cmd)?;
        let operands = self.operands(m, design, &cmd, &fetching)?;
        let beat = self.issue(m, &cmd, &sum, &rows, &operands);
        let scales = self.act_scales(m, &self.place(&cmd, &beat.g));

        m.comment("Operands of a beat.");
        let pick_word = |of: &Expr| {
            let run = |s: u32| of.slice(32 * s * l, 32 * l);
            select(&beat.s, &(0..self.runs()).map(run).collect::<Vec<_>>())
        };
        let lane_sum =
            |g: u32, s: u32, v_at: u32, l_at: u32| sum.field("data").lane((s * l + l_at) * p + g * v + v_at, self.acc);
        let slot_lane = |at: u32| {
            let of_run = |g: u32| (0..self.runs()).map(|s| lane_sum(g, s, at / l, at % l)).collect::<Vec<_>>();
            let of_group: Vec<Expr> = (0..self.groups()).map(|g| select(&beat.s, &of_run(g))).collect();
            select(&beat.g, &of_group)
        };
        let sums: Vec<Expr> = (0..self.width())
            .map(|at| {
                let q = m.reg(&format!("sum{at}_q"), uint(self.acc));
                m.next_when(&q, &beat.fire, &slot_lane(at));
                q
            })
            .collect();
        let held = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &beat.fire, value);
            q
        };
        let act_q = held(m, "act_q", &scales);
        let (scale_words, bias_words) = (pick_word(&rows.scales), pick_word(&rows.biases));
        let tensor = (&cmd.pair & &beat.odd).mux(&cmd.scale_b, &cmd.scale_a);
        let all = cat((0..l).map(|_| tensor.clone()));
        let row_q = held(m, "unit_q", &cmd.row_scale.mux(&scale_words, &all));

        let flow = self.flow(m, design, &cmd, &beat, &bias_words, &operands, &busy)?;
        let (cos, sin) = self.rotary(m, &cmd, &flow);

        m.comment("Lanes.");
        let results: Vec<Expr> = (0..self.width())
            .map(|at| {
                let (of_slot, of_row) = (at / l, at % l);
                let lane_of_word = |word: &Expr| word.lane(at, 32);
                let acc = sums[at as usize].as_signed();
                let (act, row) = (act_q.lane(of_slot, 32), row_q.lane(of_row, 32));
                let (summand, bias) = (lane_of_word(&operands.summand), flow.bias.lane(of_row, 32));
                let other = flow.add_vm.mux(&summand, &flow.add_bias.mux(&bias, &lane::nothing()));
                let old = cmd.residual.mux(&lane_of_word(&operands.old), &lane::nothing());
                let (cos, sin) = (lane_of_word(&cos), lane_of_word(&sin));
                let inputs = [
                    ("valid_i", &flow.valid),
                    ("scaled_i", &flow.scaled),
                    ("other_valid_i", &flow.adds),
                    ("sum_i", &flow.summing),
                    ("late_i", &flow.late),
                    ("moving_i", &flow.moving),
                    ("acc_i", &acc),
                    ("act_i", &act),
                    ("row_i", &row),
                    ("other_i", &other),
                    ("again_i", &flow.again),
                    ("keep_i", &flow.keep),
                    ("take_i", &flow.take),
                    ("swap_i", &flow.swap),
                    ("pair_i", &flow.pair),
                    ("silu_i", &cmd.silu),
                    ("relu_i", &cmd.relu),
                    ("rope_i", &cmd.rope),
                    ("cos_i", &cos),
                    ("sin_i", &sin),
                    ("old_i", &old),
                ];
                m.instance(&format!("lane{at}"), &lane_of, &inputs).get("y_o")
            })
            .collect();
        let results = cat(results.iter().rev());
        let waiting = self.results(m, design, &cmd, &beat, &flow, (&results, &row_q))?;
        m.drive(&idle, &!cat([&cmd.waiting, &cmd.active, &fetching, &busy, &waiting]).any());
        let mut done = Module::new("");
        std::mem::swap(m, &mut done);
        design.add(done)
    }

    /// Scale registers of the slots, written by the quantiser.
    fn act_scales(&self, m: &mut Module, g: &Expr) -> Expr {
        let index = self.place_width();
        let data = uint(32 * self.vtokens);
        let scale = m.sink("act_scale", &[("group", uint(index)), ("data", data)]);
        m.drive(&scale.ready, &lit(1, 1));
        let depth = if self.banks == 1 { self.groups().into() } else { 1 << index };
        let memory = m.memory("act_scales", data.width, depth, RamStyle::Distributed);
        m.write(&memory, &scale.valid, &scale.field("group"), &scale.field("data"));
        m.read(&memory, g)
    }
}

/// The item of this index, by halves; an index past the end gives any item.
fn select(index: &Expr, items: &[Expr]) -> Expr {
    let [first, rest @ ..] = items else { return lit(0, 1) };
    if rest.is_empty() {
        return first.clone();
    }
    let bit = (items.len() - 1).ilog2();
    let (low, high) = items.split_at(1 << bit);
    index.bit(bit).mux(&select(index, high), &select(index, low))
}

/// A walk through the groups and runs of a word.
struct Walk {
    g: Expr,
    s: Expr,
    /// The last beat of the word.
    end: Expr,
}

impl Epilogue {
    /// Counters that a step moves on; they return to zero at the end of the word.
    fn walk(&self, m: &mut Module, name: &str, step: &Expr, last_group: &Expr) -> Walk {
        let (groups, runs) = (index_width(self.groups().into()), index_width(self.runs().into()));
        let s_q = m.reg_reset(&format!("{name}_s_q"), &lit(0, runs));
        let g_q = m.reg_reset(&format!("{name}_g_q"), &lit(0, groups));
        let last_run = m.wire(&format!("{name}_last_run"), &s_q.eq(&lit(u128::from(self.runs()) - 1, runs)));
        let last = m.wire(&format!("{name}_last_group"), &g_q.eq(last_group));
        let up = |q: &Expr, last: &Expr| last.mux(&lit(0, q.width()), &q.add_wrap(&lit(1, q.width())));
        m.next_when(&s_q, step, &up(&s_q, &last_run));
        m.next_when(&g_q, &(step & &last_run), &up(&g_q, &last));
        let end = m.wire(&format!("{name}_end"), &(&last_run & &last));
        Walk { g: g_q, s: s_q, end }
    }
}

/// A counter of things on their way: up by `add` (a count), down by one with `take`.
fn counter(m: &mut Module, name: &str, max: u32, add: &Expr, take: &Expr) -> Expr {
    let width = count_width(max.into());
    let q = m.reg_reset(name, &lit(0, width));
    let grown = q.add_wrap(&add.extend(width));
    m.next_when(&q, &(add.any() | take), &grown.sub_wrap(&take.extend(width)));
    q
}
