//! The output head: logits over the vocabulary.

use crate::format::table::{CodedMatrix, Table};
use crate::model::linear::dot;
use crate::numerics::{
    f32ops::{from_i32, mul},
    quant::Quantized,
};

/// The greedy choice among logits that come one by one: the largest, the lowest row of equals. Infinity
/// counts as the largest number, -0 as 0; minus infinity and NaN never win.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Best(Option<(u32, f32)>);

impl Best {
    /// Takes the logit of a row.
    pub fn take(&mut self, row: u32, logit: f32) {
        if logit.is_nan() || logit == f32::NEG_INFINITY {
            return;
        }
        let logit = logit.min(f32::MAX) + 0.0;
        if self.0.is_none_or(|(at, best)| logit > best || logit == best && row < at) {
            self.0 = Some((row, logit));
        }
    }

    /// Row and logit of the best so far; `None` if no logit was a number.
    pub fn get(self) -> Option<(u32, f32)> {
        self.0
    }
}

/// The greedy choice among the logits of all rows; `None` if none is a number.
pub fn best(logits: &[f32]) -> Option<u32> {
    let mut best = Best::default();
    logits.iter().zip(0..).for_each(|(&logit, row)| best.take(row, logit));
    Some(best.get()?.0)
}

/// As published: the normed vector times every row, summed in binary64.
pub fn float(table: &Table, x: &[f32]) -> Vec<f32> {
    let mut row = vec![0.0; table.cols()];
    (0..table.rows())
        .map(|r| {
            table.read_row(r, &mut row);
            row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() as f32
        })
        .collect()
}

/// In the accelerator's arithmetic: exact integer sums of int8 activations times codes in
/// [-121, 121], then `sum * (x.scale * row_scale)`.
pub fn device(table: &CodedMatrix, x: &Quantized) -> Vec<f32> {
    (0..table.rows())
        .map(|r| {
            let codes: Vec<i8> = table.row(r).iter().map(|&code| code as i8).collect();
            mul(from_i32(dot(&x.codes, &codes)), mul(x.scale, table.scales()[r]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greedy_choice_follows_its_rules() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for (logits, want) in [
            (&[nan, -inf, -3.0, -2.0, -2.0][..], Some(3)),
            (&[-0.0, 0.0], Some(0)),
            (&[f32::MAX, inf, nan], Some(0)),
            (&[nan, -inf], None),
            (&[], None),
        ] {
            assert_eq!(best(logits), want, "{logits:?}");
        }
        let mut late = Best::default();
        for (row, logit) in [(7, 1.0), (3, 1.0), (5, 1.0)] {
            late.take(row, logit);
        }
        assert_eq!(late.get(), Some((3, 1.0)), "whatever the order");
    }
}
