//! The output head: int8 codes as the model file holds them, row after row, never copied.

use super::{acts::Acts, isa::Isa, shared::Shared, vector};
use spec::{
    format::table::CodedMatrix,
    numerics::f32ops::{from_i32, mul},
};
use std::ops::Range;

/// Rows of a unit of work.
pub const UNIT_ROWS: usize = 64;

/// Logits of the rows `rows` for all tokens of `acts` (layout `Code::Two`), into `out`, `[tokens, rows
/// of the table]`. `scales` are the tokens' scales.
///
/// # Safety
/// No other thread writes the same rows of `out`.
pub unsafe fn logits(
    isa: Isa,
    table: &CodedMatrix,
    rows: Range<usize>,
    acts: &Acts,
    scales: &[f32],
    out: &Shared<'_, f32>,
) {
    let mut sums = [[0i32; 4]; 4];
    for first in (0..acts.tokens()).step_by(4) {
        let tokens = first..(first + 4).min(acts.tokens());
        for row in rows.clone().step_by(4) {
            let four = row..(row + 4).min(rows.end);
            products(isa, table, four.clone(), acts, tokens.clone(), &mut sums);
            for (token, sums) in tokens.clone().zip(&sums) {
                let at = token * table.rows() + row;
                // SAFETY: these rows are the caller's alone.
                let out = unsafe { out.part(at..at + four.len()) };
                for (i, out) in out.iter_mut().enumerate() {
                    *out = mul(from_i32(sums[i]), mul(scales[token], table.scales()[row + i]));
                }
            }
        }
    }
}

/// Dot products of up to 4 rows and up to 4 tokens: `sums[token][row]`.
fn products(
    isa: Isa,
    table: &CodedMatrix,
    rows: Range<usize>,
    acts: &Acts,
    tokens: Range<usize>,
    sums: &mut [[i32; 4]; 4],
) {
    let cols = table.cols();
    let codes = &table.codes()[rows.start * cols..rows.end * cols];
    let lines = acts.row_lines();
    let acts_of = |token: usize| &acts.rows()[token * lines..(token + 1) * lines];
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => {
            let a: [_; 4] = std::array::from_fn(|i| acts_of((tokens.start + i).min(tokens.end - 1)));
            let minus = std::array::from_fn(|i| -128 * acts.sums()[(tokens.start + i).min(tokens.end - 1)]);
            // SAFETY: these sets are only offered where the processor has their features.
            unsafe { super::avx512::table_products(codes, cols, a, minus, tokens.len(), sums) }
        }
        _ => {
            for (row, codes) in codes.chunks_exact(cols).enumerate() {
                for (sums, token) in sums.iter_mut().zip(tokens.clone()) {
                    sums[row] = vector::dot(isa, codes, acts_of(token));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{linear::plain_shape, testing::Random};
    use spec::{model, numerics::quant::Quantized};

    #[test]
    fn every_instruction_set_gives_the_logits_of_the_specification() {
        for isa in Isa::available() {
            for seed in 0..40 {
                let mut random = Random::new(seed);
                let (rows, cols) = (1 + random.below(90), 1 + random.below(300));
                let code = |random: &mut Random| (random.below(243) as i32 - 121) as i8 as u8;
                let codes: Vec<u8> = match seed % 3 {
                    0 => vec![121; rows * cols],
                    _ => (0..rows * cols).map(|_| code(&mut random)).collect(),
                };
                let scales = (0..rows).map(|_| random.unit().abs()).collect();
                let table = CodedMatrix::new(rows, cols, codes.into(), scales).unwrap();
                let tokens = 1 + random.below(40);
                let inputs: Vec<Quantized> =
                    (0..tokens).map(|_| Quantized { codes: random.codes(cols), scale: random.unit().abs() }).collect();
                let all: Vec<i8> = inputs.iter().flat_map(|q| q.codes.clone()).collect();
                let scales: Vec<f32> = inputs.iter().map(|q| q.scale).collect();
                let mut acts = Acts::default();
                acts.prepare(isa, plain_shape(rows, cols), cols, tokens, &all);
                let mut got = vec![0.0; tokens * rows];
                let out = Shared::new(&mut got);
                for start in (0..rows).step_by(UNIT_ROWS) {
                    let range = start..(start + UNIT_ROWS).min(rows);
                    // SAFETY: one thread.
                    unsafe { logits(isa, &table, range, &acts, &scales, &out) };
                }
                for (token, input) in inputs.iter().enumerate() {
                    let want = model::head::device(&table, input);
                    let at = format!("{} seed {seed} token {token}/{tokens} {rows}x{cols}", isa.name());
                    assert_eq!(got[token * rows..(token + 1) * rows], want, "{at}");
                }
            }
        }
    }
}
