//! Sums of squares in the contract's order.

use crate::blocks::fp::Add;
use crate::blocks::pipe::{delay_n, valid_n};
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, RamStyle, cat, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// Partial sums of a vector.
pub(crate) const PARTIALS: u32 = 64;

/// Sums of squares of `vtokens` vectors, `lanes` squares of each a cycle. A power of two, at most 64.
pub(crate) struct Squares {
    pub(crate) lanes: u32,
    pub(crate) vtokens: u32,
}

/// What all adders do in a cycle.
struct Step {
    /// Something is added.
    on: Expr,
    /// Partial sums are added to each other, not squares to them.
    tree: Expr,
    /// Which lanes are added to each other, one bit for each distance; none: places of the same lane.
    cross: Vec<Expr>,
    left: Expr,
    right: Expr,
    no_left: Expr,
    no_right: Expr,
}

impl Squares {
    /// Cycles from a partial sum's addition until it can be read again: operands, adder, memory.
    pub(crate) const REVISIT: u32 = Add::LATENCY + 2;

    /// Places of a lane: partial sum `j` is place `j / lanes` of lane `j % lanes`.
    pub(crate) fn places(&self) -> u32 {
        PARTIALS / self.lanes
    }

    /// Least distance in cycles of words.
    pub(crate) fn word_cycles(&self) -> u32 {
        Self::REVISIT.div_ceil(self.places())
    }

    fn describe(&self, m: &mut Module) {
        let (lanes, vtokens) = (self.lanes, self.vtokens);
        m.header(&format!(
            "Sum of squares: square j is added to partial sum j mod 64, in order; then i and i + 32, i and i + 16, ...\n\n\
             Shapes   squares [{vtokens}][{lanes}] binary32 a word, sums [{vtokens}] binary32\n\
             \x20        a lane: adder and [2 vectors][{places}] partial sums in LUT RAM\n\
             Order    words of a vector in order, a word every {cycles} cycles at most ({revisit} until a sum is back);\n\
             \x20        partial sums of a finished vector are added in cycles without a word, all lanes at once\n\
             Limit    two vectors: words of a third may come when the sum of the first is out\n\
             Stalls   none\n\
             Oracle   spec::numerics::f32ops::sum_of_squares (sim::blocks::quantize)",
            places = self.places(),
            cycles = self.word_cycles(),
            revisit = Self::REVISIT,
        ));
    }

    /// `valid_i`, `last_i`, `place_i`, `first_i` (the place is still empty), `square_i`, `words_i` (of the vector)
    /// -> `done_o`, `sum_o`.
    pub(crate) fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let add_of = Add::build(design)?;
        let (lanes, vtokens) = (self.lanes, self.vtokens);
        let mut m = Module::new(format!("tern_quant_squares_l{lanes}_v{vtokens}"));
        self.describe(&mut m);
        let square = m.input("square_i", uint(32 * lanes * vtokens));
        let done = m.output("done_o", uint(1));
        let sum = m.output("sum_o", uint(32 * vtokens));
        let (step, end) = self.control(&mut m);

        let on_q = valid_n(&mut m, "on", &step.on, 1);
        let write = valid_n(&mut m, "write", &on_q, Add::LATENCY);
        let place = delay_n(&mut m, "write_place", &step.left, Add::LATENCY + 1);
        let mut sums = Vec::new();
        for v in 0..vtokens {
            let mem = |m: &mut Module, l: u32| {
                m.memory(&format!("part{v}_{l}"), 32, u64::from(2 * self.places()), RamStyle::Distributed)
            };
            let memories: Vec<Expr> = (0..lanes).map(|l| mem(&mut m, l)).collect();
            let lefts: Vec<Expr> = memories
                .iter()
                .enumerate()
                .map(|(l, memory)| {
                    let word = m.read(memory, &step.left);
                    m.wire(&format!("left{v}_{l}"), &step.no_left.mux(&lit(0, 32), &word))
                })
                .collect();
            for l in 0..lanes {
                let at = l as usize;
                let mut other = lit(0, 32);
                if self.places() > 1 {
                    let word = m.read(&memories[at], &step.right);
                    other = step.no_right.mux(&lit(0, 32), &word);
                }
                for (level, on) in step.cross.iter().enumerate() {
                    let half = lanes >> (level + 1);
                    if l < half {
                        other = on.mux(&lefts[at + half as usize], &other);
                    }
                }
                let a_q = m.reg(&format!("a{v}_{l}_q"), uint(32));
                let b_q = m.reg(&format!("b{v}_{l}_q"), uint(32));
                m.next_when(&a_q, &step.on, &lefts[at]);
                m.next_when(&b_q, &step.on, &step.tree.mux(&other, &square.lane(v * lanes + l, 32)));
                let inputs = [("valid_i", &on_q), ("a_i", &a_q), ("b_i", &b_q)];
                let add: Outputs = m.instance(&format!("add{v}_{l}"), &add_of, &inputs);
                m.write(&memories[at], &write, &place, &add.get("y_o"));
                if l == 0 {
                    sums.push(add.get("y_o"));
                }
            }
        }
        m.drive(&done, &end);
        m.drive(&sum, &cat(sums.iter().rev()));
        design.add(m)
    }

    /// Places of words and the order of the tree.
    fn control(&self, m: &mut Module) -> (Step, Expr) {
        let places = self.places();
        let index = index_width(places.into());
        let valid = m.input("valid_i", uint(1));
        let last = m.input("last_i", uint(1));
        let first = m.input("first_i", uint(1));
        m.comment("Two vectors in turn; the tree begins when the last sums are back.");
        let word_bank_q = m.reg_reset("word_bank_q", &lit(0, 1));
        let tree_bank_q = m.reg_reset("tree_bank_q", &lit(0, 1));
        let waiting_q = m.reg_reset("waiting_q", &lit(0, 2));
        let rest = count_width(Self::REVISIT.into());
        let rest_q = m.reg_reset("rest_q", &lit(0, rest));
        let level_q = m.reg_reset("level_q", &lit(1, PARTIALS.trailing_zeros()));
        let ended = m.wire("ended", &(&valid & &last));
        let go = m.wire("go", &(&(waiting_q.any() & !rest_q.any()) & !&valid));
        m.next_when(&word_bank_q, &ended, &!&word_bank_q);

        // levels: first places of a lane, then lanes
        let (inner, all) = (places.trailing_zeros(), PARTIALS.trailing_zeros());
        let cross: Vec<Expr> = (inner..all).map(|level| level_q.bit(level)).collect();
        let mut level_end = lit(1, 1);
        let (mut left, mut right) = (lit(0, index), lit(0, index));
        let (mut no_left, mut no_right) = (lit(0, 1), lit(0, 1));
        let mut place = lit(0, index);
        if places > 1 {
            place = m.input("place_i", uint(index));
            let words = m.input("words_i", uint(16));
            let place_q = m.reg_reset("place_q", &lit(0, index));
            let distance_q = m.reg_reset("distance_q", &lit(u128::from(places / 2), index));
            let end = m.wire("places_end", &place_q.eq(&distance_q.sub_wrap(&lit(1, index))));
            level_end = m.wire("level_end", &(&end | !distance_q.any()));
            let next = level_end.mux(&lit(0, index), &place_q.add_wrap(&lit(1, index)));
            m.next_when(&place_q, &go, &next);
            let narrow = distance_q.shr(&lit(1, 1));
            let whole = lit(u128::from(places / 2), index);
            let reload = level_q.bit(all - 1).mux(&whole, &narrow);
            m.next_when(&distance_q, &(&go & &level_end), &reload);
            m.comment("Places that a short vector has not reached are zero.");
            left = place_q.clone();
            right = m.wire("right_place", &place_q.add_wrap(&distance_q));
            let start = level_q.bit(0);
            let missing = |p: &Expr| !p.extend(16).lt(&words);
            no_left = m.wire("no_left", &(&start & missing(&left)));
            no_right = m.wire("no_right", &(&start & missing(&right)));
        }
        let level_done = m.wire("level_done", &(&go & &level_end));
        let tree_done = m.wire("tree_done", &(&level_done & level_q.bit(all - 1)));
        m.next_when(&level_q, &level_done, &cat([&level_q.low(all - 1), &level_q.bit(all - 1)]));
        m.next_when(&tree_bank_q, &tree_done, &!&tree_bank_q);
        let (more, fewer) = (waiting_q.add_wrap(&lit(1, 2)), waiting_q.sub_wrap(&lit(1, 2)));
        m.next_when(&waiting_q, &(&ended ^ &tree_done), &ended.mux(&more, &fewer));
        let pause = lit(u128::from(Self::REVISIT) - 1, rest);
        let count = rest_q.any().mux(&rest_q.sub_wrap(&lit(1, rest)), &rest_q);
        m.next(&rest_q, &(&ended | &level_done).mux(&pause, &count));

        let at = |bank: &Expr, place: &Expr| if places > 1 { cat([bank, place]) } else { bank.clone() };
        let end = valid_n(m, "end", &tree_done, Add::LATENCY + 1);
        let step = Step {
            on: m.wire("on", &(&valid | &go)),
            left: m.wire("left", &valid.mux(&at(&word_bank_q, &place), &at(&tree_bank_q, &left))),
            right: m.wire("right", &at(&tree_bank_q, &right)),
            no_left: m.wire("none_left", &valid.mux(&first, &no_left)),
            no_right,
            tree: !&valid,
            cross,
        };
        if places == 1 {
            m.unused("right", std::slice::from_ref(&step.right));
        }
        (step, end)
    }
}
