//! What lives on the chip.

use super::FaultKind;
use crate::program::DeviceShape;

/// The vector memory: columns of binary32 for every slot.
pub struct Vectors {
    lanes: usize,
    columns: Vec<Vec<f32>>,
}

impl Vectors {
    pub(super) fn new(shape: &DeviceShape) -> Vectors {
        let lanes = shape.lanes();
        Vectors { lanes, columns: vec![vec![0.0; shape.vm_words * lanes]; shape.tokens] }
    }

    fn range(&self, word: usize, columns: usize) -> Result<std::ops::Range<usize>, FaultKind> {
        let all = self.columns[0].len();
        let range = word * self.lanes..word * self.lanes + columns;
        if range.end > all {
            let limit = all / self.lanes;
            return Err(FaultKind::Range { what: "column word", at: range.end.div_ceil(self.lanes) - 1, limit });
        }
        Ok(range)
    }

    /// Columns of a slot from a column word on.
    pub fn get(&self, slot: usize, word: usize, columns: usize) -> Result<&[f32], FaultKind> {
        Ok(&self.columns[slot][self.range(word, columns)?])
    }

    /// Columns of a slot from a column word on.
    pub(super) fn get_mut(&mut self, slot: usize, word: usize, columns: usize) -> Result<&mut [f32], FaultKind> {
        let range = self.range(word, columns)?;
        Ok(&mut self.columns[slot][range])
    }
}

/// The activation buffer: codes in the order of tables, and one scale for every slot.
pub struct Acts {
    /// Whether tables take four columns.
    pub(super) sherry: bool,
    /// Segments in the buffer.
    pub(super) segs: usize,
    /// `[slot][segment][table]`.
    pub(super) codes: Vec<Vec<[i8; 4]>>,
    pub(super) scales: Vec<f32>,
}

impl Acts {
    pub(super) fn new(shape: &DeviceShape) -> Acts {
        Acts { sherry: false, segs: 0, codes: vec![Vec::new(); shape.tokens], scales: vec![0.0; shape.tokens] }
    }

    /// Codes of a slot, `[segment][table][4]`.
    pub fn codes(&self, slot: usize) -> &[[i8; 4]] {
        &self.codes[slot]
    }

    /// The scale of a slot.
    pub fn scale(&self, slot: usize) -> f32 {
        self.scales[slot]
    }

    /// Segments in the buffer.
    pub fn segments(&self) -> usize {
        self.segs
    }
}

/// The query memory: codes of all heads and a scale for each.
pub struct Queries {
    lanes: usize,
    codes: Vec<Vec<i8>>,
    scales: Vec<Vec<f32>>,
}

impl Queries {
    pub(super) fn new(shape: &DeviceShape) -> Queries {
        let (lanes, words) = (shape.lanes(), shape.query_words);
        Queries {
            lanes,
            codes: vec![vec![0; words * lanes]; shape.tokens],
            scales: vec![vec![0.0; words]; shape.tokens],
        }
    }

    fn range(&self, head: usize, words: usize) -> Result<std::ops::Range<usize>, FaultKind> {
        let size = words * self.lanes;
        let all = self.codes[0].len();
        if (head + 1) * size > all {
            return Err(FaultKind::Range { what: "query word", at: (head + 1) * words - 1, limit: all / self.lanes });
        }
        Ok(head * size..(head + 1) * size)
    }

    /// Codes of a head of `words` words of L codes.
    pub fn codes(&self, slot: usize, head: usize, words: usize) -> Result<&[i8], FaultKind> {
        Ok(&self.codes[slot][self.range(head, words)?])
    }

    /// Scale of a head, with the score's factor in it.
    pub fn scale(&self, slot: usize, head: usize) -> f32 {
        self.scales[slot].get(head).copied().unwrap_or(0.0)
    }

    pub(super) fn set(&mut self, slot: usize, head: usize, codes: &[i8], scale: f32) -> Result<(), FaultKind> {
        let range = self.range(head, codes.len() / self.lanes)?;
        self.codes[slot][range].copy_from_slice(codes);
        self.scales[slot][head] = scale;
        Ok(())
    }
}
