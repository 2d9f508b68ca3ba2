//! What lives on the chip.

use super::FaultKind;
use crate::program::DeviceShape;
use std::collections::HashMap;

/// The vector memory: columns of binary32 for P slots. Slots of several banks share it, at column words of their own.
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
        Ok(&self.columns[slot % self.columns.len()][self.range(word, columns)?])
    }

    /// Columns of a slot from a column word on.
    pub(super) fn get_mut(&mut self, slot: usize, word: usize, columns: usize) -> Result<&mut [f32], FaultKind> {
        let (range, slots) = (self.range(word, columns)?, self.columns.len());
        Ok(&mut self.columns[slot % slots][range])
    }
}

/// The activation buffer: codes of P slots in the order of tables, and one scale for every slot of each bank.
pub(super) struct Acts {
    tables: usize,
    /// `[slot of a bank][segment][table]`.
    codes: Vec<Vec<[i8; 4]>>,
    scales: Vec<f32>,
    /// What begins at a segment: whether tables take four columns, and its segments.
    marks: HashMap<usize, (bool, usize)>,
}

impl Acts {
    pub(super) fn new(shape: &DeviceShape) -> Acts {
        let codes = vec![vec![[0; 4]; shape.segments * shape.tables]; shape.tokens];
        Acts { tables: shape.tables, codes, scales: vec![0.0; shape.slots()], marks: HashMap::new() }
    }

    /// Codes of a slot from a segment on, `[segment][table][4]`.
    pub(super) fn codes(&self, slot: usize, first: usize) -> &[[i8; 4]] {
        &self.codes[slot % self.codes.len()][first * self.tables..]
    }

    /// The scale of a slot.
    pub(super) fn scale(&self, slot: usize) -> f32 {
        self.scales[slot]
    }

    /// Format of the activations whose segments hold these, all or some of them.
    pub(super) fn format(&self, first: usize, segs: usize) -> Option<bool> {
        let mut made = self.marks.iter().map(|(&at, &mark)| (at, mark));
        made.find(|&(at, (_, len))| at <= first && first + segs <= at + len).map(|(_, (sherry, _))| sherry)
    }

    /// Writes whole segments and their scale; what they lie over is gone.
    pub(super) fn set(
        &mut self,
        slot: usize,
        first: usize,
        sherry: bool,
        codes: &[[i8; 4]],
        scale: f32,
    ) -> Result<(), FaultKind> {
        let (slots, segs) = (self.codes.len(), codes.len() / self.tables);
        let limit = self.codes[0].len() / self.tables;
        if first + segs > limit {
            return Err(FaultKind::Range { what: "segment", at: first + segs - 1, limit });
        }
        self.marks.retain(|&at, (_, len)| at >= first + segs || at + *len <= first);
        self.marks.insert(first, (sherry, segs));
        self.codes[slot % slots][first * self.tables..][..codes.len()].copy_from_slice(codes);
        self.scales[slot] = scale;
        Ok(())
    }
}

/// The query memory: codes of all heads and a scale for each, for every slot of each bank.
pub(super) struct Queries {
    lanes: usize,
    codes: Vec<Vec<i8>>,
    scales: Vec<Vec<f32>>,
}

impl Queries {
    pub(super) fn new(shape: &DeviceShape) -> Queries {
        let (lanes, words) = (shape.lanes(), shape.query_words);
        Queries {
            lanes,
            codes: vec![vec![0; words * lanes]; shape.slots()],
            scales: vec![vec![0.0; words]; shape.slots()],
        }
    }

    fn range(&self, word: usize, words: usize) -> Result<std::ops::Range<usize>, FaultKind> {
        let all = self.codes[0].len();
        if (word + words) * self.lanes > all {
            return Err(FaultKind::Range { what: "query word", at: word + words - 1, limit: all / self.lanes });
        }
        Ok(word * self.lanes..(word + words) * self.lanes)
    }

    /// `words` words of L codes, from a query word on.
    pub(super) fn codes(&self, slot: usize, word: usize, words: usize) -> Result<&[i8], FaultKind> {
        Ok(&self.codes[slot][self.range(word, words)?])
    }

    /// Scale of a head, with the score's factor in it.
    pub(super) fn scale(&self, slot: usize, head: usize) -> f32 {
        self.scales[slot].get(head).copied().unwrap_or(0.0)
    }

    /// Sets codes from a query word on, and the scale of a head.
    pub(super) fn set(
        &mut self,
        slot: usize,
        (word, head): (usize, usize),
        codes: &[i8],
        scale: f32,
    ) -> Result<(), FaultKind> {
        let range = self.range(word, codes.len() / self.lanes)?;
        let heads = self.scales[slot].len();
        let place = self.scales[slot].get_mut(head);
        *place.ok_or(FaultKind::Range { what: "query head", at: head, limit: heads })? = scale;
        self.codes[slot][range].copy_from_slice(codes);
        Ok(())
    }
}
