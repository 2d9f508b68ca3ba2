//! What is computed once a vector.

use super::parts::{RING, RING_COUNT, RING_INDEX, Tokens, Values, counter, ring};
use crate::blocks::fifo::Fifo;
use crate::blocks::fp::{Add, Div, Mul, Sqrt};
use crate::blocks::pipe::{delay_n, valid_n};
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// Factors and scales of `vtokens` slot lanes.
pub(crate) struct Scalar {
    pub(crate) vtokens: u32,
}

/// Values between two steps of the root.
const QUEUE: u32 = 4;
const ONE: u128 = 0x3f80_0000;
/// 127.0
const MAX_CODE: u128 = 0x42fe_0000;

/// What a quotient is.
const INVERSE: u128 = 0;
const SCALE: u128 = 1;
const FACTOR: u128 = 2;
const MEAN: u128 = 3;

impl Scalar {
    fn describe(&self, m: &mut Module) {
        m.header(&format!(
            "Once a vector: inverse = 127 / max, r = 1 / sqrt(sum / count + eps), scale = max / 127 or (max * r) / 127,\n\
             and scale * factor for queries. raw_i: no scale, the inverse is r.\n\n\
             Shapes   max, sum, inverse, scale [{v}] binary32, kept for {RING} vectors\n\
             Order    one divider, one quotient a cycle: inverses, scales, 1 / root, means; one root at a time\n\
             Latency  {first} cycles from max to the last inverse if the divider is free\n\
             Stalls   none: the scanner starts no more than {RING} vectors\n\
             Oracle   spec::numerics::quant (sim::blocks::quantize)",
            v = self.vtokens,
            first = Div::LATENCY + Mul::LATENCY + 3 + self.vtokens,
        ));
    }

    pub(crate) fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (div_of, mul_of) = (Div::build(design)?, Mul::build(design)?);
        let (add_of, sqrt_of) = (Add::build(design)?, Sqrt::build(design)?);
        let queue_of = Fifo { width: 32, depth: QUEUE }.build(design)?;
        let (vtokens, word) = (self.vtokens, 32 * self.vtokens);
        let mut m = Module::new(format!("tern_quant_scalar_v{vtokens}"));
        self.describe(&mut m);
        let clear = m.input("clear_i", uint(1));
        let [rms, raw, query] = ["rms_i", "raw_i", "query_i"].map(|n| m.input(n, uint(1)));
        let [count, eps, factor] = ["count_i", "eps_i", "factor_i"].map(|n| m.input(n, uint(32)));
        let max_done = m.input("max_done_i", uint(1));
        let max = m.input("max_i", uint(word));
        let sum_done = m.input("sum_done_i", uint(1));
        let sum = m.input("sum_i", uint(word));
        let inverse_ring = m.input("inverse_ring_i", uint(RING_INDEX));
        let inverse = m.output("inverse_o", uint(word));
        let inverse_done = m.output("inverse_done_o", uint(1));
        let scale_ring = m.input("scale_ring_i", uint(RING_INDEX));
        let scale = m.output("scale_o", uint(word));
        let scale_done = m.output("scale_done_o", uint(1));

        m.comment("Maxima and sums as they come.");
        let maxima = Values::new(&mut m, "max", vtokens);
        let sums = Values::new(&mut m, "sum", vtokens);
        let at = ring(&mut m, "max_ring_q", &clear, &max_done);
        maxima.write_all(&mut m, &max_done, &at, &max);
        let at = ring(&mut m, "sum_ring_q", &clear, &sum_done);
        sums.write_all(&mut m, &sum_done, &at, &sum);

        m.comment("Maxima: all inverses of a vector, then its scales if no root is needed for them.");
        let scaling_q = m.reg_reset("scaling_q", &lit(0, 1));
        let max_step = m.net("max_step", uint(1));
        let item_over = m.wire("max_over", &(&scaling_q | &rms));
        let max_at = Tokens::new(&mut m, "maximum", vtokens, &clear, &max_step, &item_over);
        let max_end = m.wire("max_end", &(&(&max_step & &max_at.end) & &item_over));
        let turn = &max_step & &max_at.end;
        m.next_when(&scaling_q, &(&clear | &turn), &!(&clear | &item_over));
        let maxima_left = counter(&mut m, "maxima_q", &clear, &max_done, &max_end, RING_COUNT);
        // mode norm leaves its maxima behind: they end with the next command
        let has_max = m.wire("has_max", &(maxima_left.any() & !(&raw | &clear)));
        let max_value = maxima.one(&mut m, "max_value", &max_at.ring, &max_at.lane);

        m.comment("Means of squares; the queue before the root has a place for each on its way.");
        let sum_step = m.net("sum_step", uint(1));
        let sum_at = Tokens::new(&mut m, "mean", vtokens, &clear, &sum_step, &lit(1, 1));
        let sums_left = counter(&mut m, "sums_q", &clear, &sum_done, &(&sum_step & &sum_at.end), RING_COUNT);
        let root_taken = m.net("root_taken", uint(1));
        let places = count_width(QUEUE.into());
        let full = lit(QUEUE.into(), places);
        let means = counter(&mut m, "means_q", &clear, &sum_step, &root_taken, places);
        let has_sum = m.wire("has_sum", &(sums_left.any() & means.ne(&full)));
        let sum_value = sums.one(&mut m, "sum_value", &sum_at.ring, &sum_at.lane);

        m.comment("Roots and scales with them.");
        let root_valid = m.net("root_valid", uint(1));
        let root_value = m.net("root_value", uint(32));
        let root_step = m.net("root_step", uint(1));
        let root_at = Tokens::new(&mut m, "root", vtokens, &clear, &root_step, &lit(1, 1));
        let product_valid = m.net("product_valid", uint(1));
        let product_value = m.net("product_value", uint(32));
        let product_step = m.net("product_step", uint(1));
        let product_at = Tokens::new(&mut m, "product", vtokens, &clear, &product_step, &lit(1, 1));
        let products = counter(&mut m, "products_q", &clear, &(&root_step & !&raw), &product_step, places);
        let has_root = m.wire("has_root", &(&root_valid & products.ne(&full)));
        m.unused("ends", &[root_at.end.clone(), product_at.end.clone()]);

        m.comment("The divider's next operands.");
        m.drive(&max_step, &has_max);
        m.drive(&product_step, &(&product_valid & !&has_max));
        m.drive(&root_step, &(&has_root & !(&has_max | &product_valid)));
        m.drive(&sum_step, &(&has_sum & !(&(&has_max | &product_valid) | &has_root)));
        let choose = |max: &Expr, product: &Expr, root: &Expr, sum: &Expr| {
            has_max.mux(max, &product_valid.mux(product, &has_root.mux(root, sum)))
        };
        let kind = choose(&cat([&lit(0, 1), &scaling_q]), &lit(SCALE, 2), &lit(FACTOR, 2), &lit(MEAN, 2));
        let (code, one) = (lit(MAX_CODE, 32), lit(ONE, 32));
        let dividend = choose(&scaling_q.mux(&max_value, &code), &product_value, &one, &sum_value);
        let divisor = choose(&scaling_q.mux(&code, &max_value), &code, &root_value, &count);
        let at_ring = choose(&max_at.ring, &product_at.ring, &root_at.ring, &sum_at.ring);
        let at_lane = choose(&max_at.lane, &product_at.lane, &root_at.lane, &sum_at.lane);
        let issue = m.wire("issue", &(&(&has_max | &product_valid) | &(&has_root | &has_sum)));
        let dividend_q = m.reg("dividend_q", uint(32));
        let divisor_q = m.reg("divisor_q", uint(32));
        m.next_when(&dividend_q, &issue, &dividend);
        m.next_when(&divisor_q, &issue, &divisor);
        let issue_q = valid_n(&mut m, "issue", &issue, 1);
        let div = m.instance("div", &div_of, &[("valid_i", &issue_q), ("a_i", &dividend_q), ("b_i", &divisor_q)]);

        m.comment("Every quotient is multiplied: by max, by the factor of queries or by one.");
        let lane = index_width(vtokens.into());
        let tag = line(&mut m, "tag", &cat([&kind, &at_ring, &at_lane]), Div::LATENCY + 1);
        let valid = valid_line(&mut m, "issued", &issue, Div::LATENCY + 1);
        let is = |tag: &Expr, kind: u128| tag.slice(lane + RING_INDEX, 2).eq(&lit(kind, 2));
        let quotient_max = maxima.one(&mut m, "quotient_max", &tag.slice(lane, RING_INDEX), &tag.low(lane));
        let times_max = is(&tag, FACTOR) & !&raw;
        let times_factor = is(&tag, SCALE) & &query;
        let multiplier = times_max.mux(&quotient_max, &times_factor.mux(&factor, &one));
        let quotient_q = m.delay("quotient_q", &div.get("y_o"));
        let multiplier_q = m.delay("multiplier_q", &multiplier);
        let there_q = valid_n(&mut m, "quotient_there", &valid, 1);
        let inputs = [("valid_i", &there_q), ("a_i", &quotient_q), ("b_i", &multiplier_q)];
        let mul = m.instance("mul", &mul_of, &inputs);
        let product = mul.get("y_o");
        let tag = line(&mut m, "product_tag", &tag, Mul::LATENCY + 1);
        let valid = valid_line(&mut m, "multiplied", &valid, Mul::LATENCY + 1);
        let (at_ring, at_lane) = (tag.slice(lane, RING_INDEX), tag.low(lane));
        let last = m.wire("last_lane", &at_lane.eq(&lit(u128::from(vtokens) - 1, lane)));

        m.comment("Results to where they are used.");
        let to_inverse = m.wire("to_inverse", &(&valid & (is(&tag, INVERSE) | (is(&tag, FACTOR) & &raw))));
        let to_scale = m.wire("to_scale", &(&valid & is(&tag, SCALE)));
        let inverses = Values::new(&mut m, "inverse", vtokens);
        inverses.write_one(&mut m, &to_inverse, &at_ring, &at_lane, &product);
        let scales = Values::new(&mut m, "scale", vtokens);
        scales.write_one(&mut m, &to_scale, &at_ring, &at_lane, &product);
        let read = inverses.all(&mut m, &inverse_ring);
        m.drive(&inverse, &read);
        let read = scales.all(&mut m, &scale_ring);
        m.drive(&scale, &read);
        let done_q = valid_n(&mut m, "inverse_done", &(&to_inverse & &last), 1);
        m.drive(&inverse_done, &done_q);
        let done_q = valid_n(&mut m, "scale_done", &(&to_scale & &last), 1);
        m.drive(&scale_done, &done_q);

        let push = m.wire("push_product", &(&(&valid & is(&tag, FACTOR)) & !&raw));
        let inputs = [("in_valid_i", &push), ("in_data_i", &product), ("out_ready_i", &product_step)];
        let queue = m.instance("products", &queue_of, &inputs);
        m.drive(&product_valid, &queue.get("out_valid_o"));
        m.drive(&product_value, &queue.get("out_data_o"));
        let products_ready = queue.get("in_ready_o");

        let to_mean = &valid & is(&tag, MEAN);
        let add = m.instance("add", &add_of, &[("valid_i", &to_mean), ("a_i", &product), ("b_i", &eps)]);
        let push = valid_n(&mut m, "mean_valid", &to_mean, Add::LATENCY);
        let pop = m.net("pop_mean", uint(1));
        let inputs = [("in_valid_i", &push), ("in_data_i", &add.get("y_o")), ("out_ready_i", &pop)];
        let queue = m.instance("means", &queue_of, &inputs);
        let inputs = [
            ("in_valid_i", &queue.get("out_valid_o")),
            ("in_a_i", &queue.get("out_data_o")),
            ("out_ready_i", &root_step),
        ];
        let sqrt = m.instance("sqrt", &sqrt_of, &inputs);
        m.drive(&pop, &sqrt.get("in_ready_o"));
        m.drive(&root_taken, &(queue.get("out_valid_o") & sqrt.get("in_ready_o")));
        m.drive(&root_valid, &sqrt.get("out_valid_o"));
        m.drive(&root_value, &sqrt.get("out_y_o"));
        m.unused("ready", &[products_ready, queue.get("in_ready_o")]);
        design.add(m)
    }
}

/// `value`, `cycles` later, as one wide register: the simulator moves it at once.
fn line(m: &mut Module, name: &str, value: &Expr, cycles: u32) -> Expr {
    let width = value.width();
    if cycles < 2 {
        return delay_n(m, name, value, cycles);
    }
    let q = m.reg(&format!("{name}_line_q"), uint(width * cycles));
    m.next(&q, &cat([&q.low(width * (cycles - 1)), value]));
    q.slice(width * (cycles - 1), width)
}

/// As [`line`] for a bit that a reset clears.
fn valid_line(m: &mut Module, name: &str, value: &Expr, cycles: u32) -> Expr {
    if cycles < 2 {
        return valid_n(m, name, value, cycles);
    }
    let q = m.reg_reset(&format!("{name}_line_q"), &lit(0, cycles));
    m.next(&q, &cat([&q.low(cycles - 1), value]));
    q.bit(cycles - 1)
}
