//! The embedding and the output head: int8 codes, row after row, one table for both where they are tied.

use super::{acts::Acts, isa::Isa, shared::Shared, vector};
use spec::{
    format::table::CodedMatrix,
    numerics::f32ops::{from_i32, mul},
};
use std::ops::Range;

/// Rows of a unit of work.
pub const UNIT_ROWS: usize = 128;

/// A table whose codes lie in the engine's store (on huge pages a third faster than in a mapped file).
pub struct Table {
    rows: usize,
    cols: usize,
    start: usize,
    scales: Vec<f32>,
}

impl Table {
    /// Plans `table` at byte `start` of the store.
    pub fn new(table: &CodedMatrix, start: usize) -> Self {
        Table { rows: table.rows(), cols: table.cols(), start, scales: table.scales().to_vec() }
    }

    /// Rows: vocabulary entries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Where its codes lie in the store.
    pub fn bytes(&self) -> Range<usize> {
        self.start..self.start + self.rows * self.cols
    }

    /// A row as numbers: [`CodedMatrix::read_row`].
    pub fn read_row(&self, store: &[u8], row: usize, out: &mut [f32]) {
        let codes = &store[self.start + row * self.cols..][..self.cols];
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = mul(f32::from(code as i8), self.scales[row]);
        }
    }

    /// Logits of the rows `rows` for all tokens of `acts` (layout `Code::Two`), into `out`, `[tokens,
    /// rows of the table]`. `scales` are the tokens' scales.
    ///
    /// # Safety
    /// No other thread writes the same rows of `out`.
    pub unsafe fn logits(
        &self,
        isa: Isa,
        store: &[u8],
        rows: Range<usize>,
        acts: &Acts,
        scales: &[f32],
        out: &Shared<'_, f32>,
    ) {
        let codes = &store[self.bytes()];
        let mut sums = [[0i32; 4]; 4];
        for first in (0..acts.tokens()).step_by(4) {
            let tokens = first..(first + 4).min(acts.tokens());
            // one token: two streams of rows; more: four neighbours that share the activations
            let (mut start, half) = (rows.start, rows.len() / 2);
            while start < rows.end {
                let picked = match tokens.len() {
                    1 if start < rows.start + half => (start, half, 2),
                    1 if start == rows.start + half && half > 0 => {
                        start = rows.start + 2 * half; // the second stream has served these
                        continue;
                    }
                    _ => (start, 1, (rows.end - start).min(4)),
                };
                products(isa, codes, self.cols, picked, acts, tokens.clone(), &mut sums);
                for (token, sums) in tokens.clone().zip(&sums) {
                    for (i, &sum) in sums.iter().enumerate().take(picked.2) {
                        let row = start + i * picked.1;
                        let logit = mul(from_i32(sum), mul(scales[token], self.scales[row]));
                        // SAFETY: these rows are the caller's alone.
                        unsafe { out.set(token * self.rows + row, logit) };
                    }
                }
                start += if picked.1 == 1 { picked.2 } else { 1 };
            }
        }
    }
}

/// Dot products of rows `first + i * step` and up to 4 tokens: `sums[token][i]`.
fn products(
    isa: Isa,
    codes: &[u8],
    cols: usize,
    rows: (usize, usize, usize),
    acts: &Acts,
    tokens: Range<usize>,
    sums: &mut [[i32; 4]; 4],
) {
    let lines = acts.row_lines();
    let acts_of = |token: usize| &acts.rows()[token * lines..(token + 1) * lines];
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => {
            let a: [_; 4] = std::array::from_fn(|i| acts_of((tokens.start + i).min(tokens.end - 1)));
            let minus = std::array::from_fn(|i| -128 * acts.sums()[(tokens.start + i).min(tokens.end - 1)]);
            // SAFETY: these sets are only offered where the processor has their features.
            unsafe { super::avx512::table_products(codes, cols, rows, a, minus, tokens.len(), sums) }
        }
        _ => {
            let (first, step, count) = rows;
            for i in 0..count {
                let codes = &codes[(first + i * step) * cols..][..cols];
                for (sums, token) in sums.iter_mut().zip(tokens.clone()) {
                    sums[i] = vector::dot(isa, codes, acts_of(token));
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
            for seed in 0..60 {
                let mut random = Random::new(seed);
                let (rows, cols) = (1 + random.below(290), 1 + random.below(300));
                let code = |random: &mut Random| (random.below(243) as i32 - 121) as i8 as u8;
                let codes: Vec<u8> = match seed % 3 {
                    0 => vec![121; rows * cols],
                    _ => (0..rows * cols).map(|_| code(&mut random)).collect(),
                };
                let scales = (0..rows).map(|_| random.unit().abs()).collect();
                let want = CodedMatrix::new(rows, cols, codes.into(), scales).unwrap();
                let store: Vec<u8> = [9; 5].iter().chain(want.codes().iter()).copied().collect();
                let table = Table::new(&want, 5);
                let tokens = if seed % 2 == 0 { 1 } else { 1 + random.below(20) };
                let inputs: Vec<Quantized> =
                    (0..tokens).map(|_| Quantized { codes: random.codes(cols), scale: random.unit().abs() }).collect();
                let all: Vec<i8> = inputs.iter().flat_map(|q| q.codes.clone()).collect();
                let scales: Vec<f32> = inputs.iter().map(|q| q.scale).collect();
                let mut acts = Acts::default();
                acts.prepare(isa, plain_shape(rows, cols), cols, tokens, &all);
                let mut got = vec![f32::NAN; tokens * rows];
                let out = Shared::new(&mut got);
                for start in (0..rows).step_by(UNIT_ROWS) {
                    let range = start..(start + UNIT_ROWS).min(rows);
                    // SAFETY: one thread.
                    unsafe { table.logits(isa, &store, range, &acts, &scales, &out) };
                }
                for (token, input) in inputs.iter().enumerate() {
                    let want = model::head::device(&want, input);
                    let at = format!("{} seed {seed} token {token}/{tokens} {rows}x{cols}", isa.name());
                    assert_eq!(got[token * rows..(token + 1) * rows], want, "{at}");
                }
                let (mut a, mut b) = (vec![0.0; cols], vec![0.0; cols]);
                want.read_row(rows / 2, &mut a);
                table.read_row(&store, rows / 2, &mut b);
                assert_eq!(a, b);
            }
        }
    }
}
