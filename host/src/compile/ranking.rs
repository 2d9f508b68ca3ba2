//! The plane that ranks the head's rows: one ternary matrix beside the exact planes, read in the first step of a shortlist.
//!
//! A trit of it says whether a code is at least `least` in magnitude, and its sign. Of all such matrices it is the one at the
//! smallest angle to the codes; the top plane of a code, whose trits are zero up to half of 3^(planes-1), is another of
//! them, and for codes of about normal distribution a poor one: a fifth of its trits count, of the best one's a half.
//! Only some of the segments are read ([`planes::ranked`]): those next to each other that count most.

use super::matrix::Layout;
use spec::format::{planes, table::CodedMatrix};
use std::ops::Range;

/// The ranking plane of a table.
pub(super) struct Ranking<'a> {
    table: &'a CodedMatrix,
    /// Least magnitude of a code that counts.
    least: u8,
    /// Segments that count, one after another.
    pub segments: Range<usize>,
}

impl<'a> Ranking<'a> {
    /// For activations that are normed with `norm`, `[cols]`.
    pub fn new(table: &'a CodedMatrix, norm: &[f32], layout: Layout) -> Self {
        let segments = most_of(&energies(table, norm), &layout.segments());
        Ranking { table, least: least(&magnitudes(table)), segments }
    }

    /// Trits of some rows; rows that the table does not have are zero.
    pub fn rows(&self, rows: Range<usize>) -> Vec<i8> {
        let known = rows.start..rows.end.min(self.table.rows());
        let trit = |&byte: &u8| match byte as i8 {
            code if code.unsigned_abs() < self.least => 0,
            code => code.signum(),
        };
        let mut trits: Vec<i8> = known.flat_map(|row| self.table.row(row)).map(trit).collect();
        trits.resize(rows.len() * self.table.cols(), 0);
        trits
    }
}

/// How many codes there are of each magnitude.
fn magnitudes(table: &CodedMatrix) -> [u64; 129] {
    let mut counts = [0; 129];
    let codes = (0..table.rows()).flat_map(|row| table.row(row));
    codes.for_each(|&byte| counts[usize::from((byte as i8).unsigned_abs())] += 1);
    counts
}

/// The least magnitude whose matrix of signs has the smallest angle to the codes: the largest square of their product by
/// the number of its trits. At least 1.
fn least(counts: &[u64]) -> u8 {
    let (mut product, mut trits) = (0.0, 0.0);
    let mut best = (0.0, 1);
    for (magnitude, &count) in counts.iter().enumerate().skip(1).rev() {
        product += (magnitude as u64 * count) as f64;
        trits += count as f64;
        let cosine = product * product / f64::max(trits, 1.0);
        if cosine > best.0 {
            best = (cosine, magnitude as u8);
        }
    }
    best.1
}

/// What each column adds to the variance of the logits if all normed activations vary alike, `[cols]`.
fn energies(table: &CodedMatrix, norm: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; table.cols()];
    for (row, &scale) in table.scales().iter().enumerate() {
        let square = f64::from(scale) * f64::from(scale);
        for (sum, &byte) in sums.iter_mut().zip(table.row(row)) {
            *sum += square * f64::from(i32::from(byte as i8).pow(2));
        }
    }
    sums.iter().zip(norm).map(|(sum, &weight)| sum * f64::from(weight).powi(2)).collect()
}

/// The segments, as many as count, that hold most energy; the first of equals.
fn most_of(energies: &[f64], segments: &[Range<usize>]) -> Range<usize> {
    let count = planes::ranked(segments.len());
    let energy = |first: usize| -> f64 {
        let (from, to) = (segments[first].start, segments[first + count - 1].end);
        energies[from..to].iter().sum()
    };
    let mut best = (f64::NEG_INFINITY, 0);
    for first in 0..=segments.len() - count {
        let own = energy(first);
        if own > best.0 {
            best = (own, first);
        }
    }
    best.1..best.1 + count
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::bytes::Bytes;

    fn table(rows: &[[i8; 4]], scales: &[f32]) -> CodedMatrix {
        let codes: Vec<u8> = rows.iter().flatten().map(|&code| code as u8).collect();
        CodedMatrix::new(rows.len(), 4, Bytes::from(codes), scales.to_vec()).unwrap()
    }

    /// For a normal distribution the best threshold is 0.612 of its deviation (Li, Zhang, Liu: Ternary Weight Networks, 2016).
    #[test]
    fn a_normal_distribution_counts_from_its_known_threshold() {
        let deviation = 33.0;
        let density = |code: usize| (1e9 * (-0.5 * (code as f64 / deviation).powi(2)).exp()) as u64;
        let counts: Vec<u64> = (0..129).map(density).collect();
        let found = f64::from(least(&counts)) - 0.5;
        assert!((found / deviation - 0.612).abs() < 0.02, "{found}");
    }

    #[test]
    fn extremes_have_a_threshold() {
        assert_eq!(least(&magnitudes(&table(&[[0; 4]], &[1.0]))), 1);
        assert_eq!(least(&magnitudes(&table(&[[1, -1, 0, 1]], &[1.0]))), 1);
        assert_eq!(least(&magnitudes(&table(&[[121, -121, 2, -2]], &[1.0]))), 121);
    }

    #[test]
    fn trits_are_signs_of_codes_that_count_and_rows_beyond_are_zero() {
        let table = table(&[[9, -9, 4, -5], [-121, 0, 121, 1]], &[1.0; 2]);
        let ranking = Ranking { table: &table, least: 5, segments: 0..1 };
        assert_eq!(ranking.rows(0..3), [1, -1, 0, -1, -1, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn segments_are_those_with_most_energy() {
        let layout = Layout { sherry: false, cols: 4, seg_cols: 1, group_cols: 4 };
        let place = |codes: [i8; 4], norm: [f32; 4]| Ranking::new(&table(&[codes], &[1.0]), &norm, layout).segments;
        assert_eq!(place([5; 4], [1.0; 4]), 0..3);
        assert_eq!(place([5, 5, 5, 9], [1.0; 4]), 1..4);
        assert_eq!(place([5, 5, 5, 9], [2.0, 1.0, 1.0, 1.0]), 0..3);
        assert_eq!(place([5; 4], [f32::NAN; 4]), 0..3);
    }
}
