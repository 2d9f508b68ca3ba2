//! The arithmetic behind the vector memory: products, maxima, squares, codes.

use super::code::ToCode;
use super::maximum::Maximum;
use super::parts::{RING_INDEX, ring};
use super::scalar::Scalar;
use super::{Answer, Command, Emit, Quantize};
use crate::blocks::fp::Mul;
use crate::blocks::pipe::{delay_n, valid_n};
use crate::ir::{Design, Expr, IrError, Module, Sink, cat, lit, repeat, uint};
use crate::width::index_width;

/// 1.0
const ONE: u128 = 0x3f80_0000;

/// What comes out of the arithmetic.
pub(super) struct Results {
    pub(super) inverse_done: Expr,
    pub(super) sum_done: Expr,
    pub(super) scale_done: Expr,
    /// All slots' scales of vector `scale_ring` of the ring, to be driven.
    pub(super) scale_ring: Expr,
    pub(super) scale: Expr,
    /// A word of `y`, its vector's last one marked by the top bit.
    pub(super) y_valid: Expr,
    pub(super) y: Expr,
    /// A word of the second pass: codes, or floats in mode NORM.
    pub(super) valid: Expr,
    pub(super) last: Expr,
    pub(super) data: Expr,
}

impl Quantize {
    /// Three products for each lane: `y = x * w` and `x * x` in the first pass, `y * inverse` in the second.
    pub(super) fn arithmetic(
        &self,
        m: &mut Module,
        design: &mut Design,
        command: &Command,
        weights: &Sink,
        (answer, emit): (&Answer, &Emit),
    ) -> Result<Results, IrError> {
        let (lanes, vtokens) = (self.lanes, self.vtokens);
        let (all, row, product) = (lanes * vtokens, 32 * lanes, Mul::LATENCY);
        let squares = self.squares();
        let mul_of = Mul::build(design)?;
        let code_of = ToCode::build(design)?;
        let max_of = Maximum { lanes }.build(design)?;
        let squares_of = squares.build(design)?;
        let scalar_of = Scalar { vtokens }.build(design)?;

        m.comment("Answer and weight side by side.");
        let memory = m.memory("weight", row, self.norm_words(), self.style);
        let ww = index_width(self.norm_words());
        let write_q = m.reg_reset("weight_at_q", &lit(0, ww));
        let take = weights.fire();
        let next = command.clear.mux(&lit(0, ww), &write_q.add_wrap(&lit(1, ww)));
        m.next_when(&write_q, &(&command.clear | &take), &next);
        m.write(&memory, &take, &write_q, &weights.field("data"));
        let stored = m.read(&memory, &answer.word);
        let stored_q = m.reg("stored_q", uint(row));
        m.next_when(&stored_q, &answer.valid, &stored);
        let weight_q = m.reg("weight_q", uint(row));
        let one = repeat(lanes, &lit(ONE, 32));
        let valid = valid_n(m, "answer_valid", &answer.valid, 1);
        m.next_when(&weight_q, &valid, &command.norm.mux(&stored_q, &one));
        let x_q = m.reg("x_q", uint(32 * all));
        m.next_when(&x_q, &answer.valid, &answer.data);
        let x_q2 = m.reg("x_q2", uint(32 * all));
        m.next_when(&x_q2, &valid, &x_q);
        // partial sums: place of a word and whether the vector reaches it for the first time
        let places = squares.places().trailing_zeros();
        let first = if ww > places { !answer.word.slice(places, ww - places).any() } else { lit(1, 1) };
        let mut about = vec![answer.last.clone(), first];
        if places > 0 {
            about.push(answer.word.low(ww.min(places)).extend(places));
        }
        let about = delay_n(m, "about", &cat(&about), 2);
        let valid = valid_n(m, "word_valid", &valid, 1);

        m.comment("y = x * w; x waits beside it.");
        let lane = |word: &Expr, l: u32| word.lane(l, 32);
        let mut ys = Vec::new();
        for l in 0..all {
            let inputs = [("valid_i", &valid), ("a_i", &lane(&x_q2, l)), ("b_i", &lane(&weight_q, l % lanes))];
            ys.push(m.instance(&format!("y{l}"), &mul_of, &inputs).get("y_o"));
        }
        let (mut x, mut now) = (x_q2, valid);
        for stage in 1..=product {
            let q = m.reg(&format!("x_late{stage}_q"), uint(32 * all));
            m.next_when(&q, &now, &x);
            x = q;
            now = valid_n(m, &format!("y_valid{stage}"), &now, 1);
        }
        let about = delay_n(m, "about_y", &about, product);
        let top = about.width() - 1;
        let last = about.bit(top);

        m.comment("Maxima.");
        let mut maxima = Vec::new();
        let mut max_done = Vec::new();
        for v in 0..vtokens {
            let y = cat((0..lanes).rev().map(|l| ys[(v * lanes + l) as usize].clone()));
            let inputs = [("valid_i", &now), ("last_i", &last), ("y_i", &y)];
            let max = m.instance(&format!("max{v}"), &max_of, &inputs);
            maxima.push(max.get("max_o"));
            max_done.push(max.get("done_o"));
        }
        m.unused("max_done", &max_done);

        m.comment("Squares.");
        let mut squared = Vec::new();
        for l in 0..all {
            let own = lane(&x, l);
            let inputs = [("valid_i", &now), ("a_i", &own), ("b_i", &own)];
            squared.push(m.instance(&format!("square{l}"), &mul_of, &inputs).get("y_o"));
        }
        let about = delay_n(m, "about_square", &about, product);
        let scanned = valid_n(m, "scanned", &(&now & &command.rms), product);
        let (last_square, first_square) = (about.bit(top), about.bit(top - 1));
        let inputs = [("valid_i", scanned), ("last_i", last_square), ("first_i", first_square)];
        let mut inputs: Vec<(&str, Expr)> = inputs.into_iter().collect();
        inputs.push(("square_i", cat(squared.iter().rev())));
        if squares.places() > 1 {
            inputs.extend([("place_i", about.low(places)), ("words_i", command.words.clone())]);
        }
        let inputs: Vec<(&str, &Expr)> = inputs.iter().map(|(name, e)| (*name, e)).collect();
        let sums = m.instance("squares", &squares_of, &inputs);

        m.comment("Once a vector.");
        let query = m.wire("is_query", &command.mode.eq(&lit(spec::program::quant::QUERY.into(), 3)));
        let inverse_ring = m.net("inverse_ring", uint(RING_INDEX));
        let scale_ring = m.net("scale_ring", uint(RING_INDEX));
        let inputs = [
            ("clear_i", &command.clear),
            ("rms_i", &command.rms),
            ("raw_i", &command.raw),
            ("query_i", &query),
            ("count_i", &command.count),
            ("eps_i", &command.eps),
            ("factor_i", &command.factor),
            ("max_done_i", &max_done[0]),
            ("max_i", &cat(maxima.iter().rev())),
            ("sum_done_i", &sums.get("done_o")),
            ("sum_i", &sums.get("sum_o")),
            ("inverse_ring_i", &inverse_ring),
            ("scale_ring_i", &scale_ring),
        ];
        let scalar = m.instance("scalar", &scalar_of, &inputs);

        m.comment("The second pass: y * inverse.");
        let at = ring(m, "inverse_ring_q", &command.clear, &(&emit.step & &emit.last));
        m.drive(&inverse_ring, &at);
        let inverse_q = m.reg("inverse_q", uint(32 * vtokens));
        m.next_when(&inverse_q, &emit.step, &scalar.get("inverse_o"));
        let y_q = m.reg("y_q", uint(32 * all));
        m.next_when(&y_q, &emit.step, &emit.data);
        let emitted = valid_n(m, "emitted", &emit.step, 1);
        let mut products = Vec::new();
        for l in 0..all {
            let (y, inverse) = (lane(&y_q, l), inverse_q.lane(l / lanes, 32));
            let inputs = [("valid_i", &emitted), ("a_i", &y), ("b_i", &inverse)];
            products.push(m.instance(&format!("z{l}"), &mul_of, &inputs).get("y_o"));
        }
        let floats = cat(products.iter().rev());
        let emitted = valid_n(m, "emitted_z", &emitted, product);
        let last_z = delay_n(m, "last_z", &emit.last, product + 1);

        m.comment("Codes.");
        let codes: Vec<Expr> = (0..all)
            .map(|l| {
                let inputs = [("valid_i", &emitted), ("a_i", &products[l as usize])];
                m.instance(&format!("code{l}"), &code_of, &inputs).get("y_o")
            })
            .collect();
        let code_valid = valid_n(m, "code_valid", &emitted, ToCode::LATENCY);
        let code_last = delay_n(m, "code_last", &last_z, ToCode::LATENCY);
        let low = command.raw.mux(&floats.low(8 * all), &cat(codes.iter().rev()));
        Ok(Results {
            inverse_done: scalar.get("inverse_done_o"),
            sum_done: sums.get("done_o"),
            scale_done: scalar.get("scale_done_o"),
            scale_ring,
            scale: scalar.get("scale_o"),
            y_valid: now,
            y: cat([last].into_iter().chain(ys.into_iter().rev())),
            valid: command.raw.mux(&emitted, &code_valid),
            last: command.raw.mux(&last_z, &code_last),
            data: cat([&floats.slice(8 * all, 24 * all), &low]),
        })
    }
}
