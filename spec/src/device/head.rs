//! The output head: logits, the best row, and the list of groups with the best rows.

use super::{Pass, PassResult};
use crate::model::head::Best;
use crate::program::DeviceShape;

/// A group of Q rows in the list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    /// Its number.
    pub group: u32,
    /// Its rows that exist.
    pub rows: usize,
    /// Their scales, Q of them.
    pub scales: Vec<f32>,
    key: f32,
}

/// The output head.
pub(super) struct Heads {
    want: Vec<bool>,
    best: Vec<Best>,
    logits: Vec<Vec<f32>>,
    list: Vec<Listed>,
    /// The slot that the list is for: the last one.
    pub(super) listed: usize,
    /// Groups ranked so far.
    ranked: u32,
}

impl Heads {
    pub(super) fn new(shape: &DeviceShape) -> Heads {
        let p = shape.slots();
        let (want, best, logits) = (vec![false; p], vec![Best::default(); p], vec![Vec::new(); p]);
        Heads { want, best, logits, list: Vec::new(), listed: 0, ranked: 0 }
    }

    pub(super) fn begin(&mut self, pass: &Pass) {
        for (slot, want) in self.want.iter_mut().enumerate() {
            *want = slot < 64 && pass.want_logits >> slot & 1 == 1;
        }
        self.best.fill(Best::default());
        self.logits.iter_mut().for_each(Vec::clear);
        self.list.clear();
        self.listed = pass.slots.iter().rposition(|slot| slot.valid).unwrap_or(0);
        self.ranked = 0;
    }

    /// Takes a row of a slot.
    pub(super) fn take(&mut self, slot: usize, row: u32, logit: f32) {
        self.best[slot].take(row, logit);
        if self.want[slot] {
            let logits = &mut self.logits[slot];
            logits.resize((row as usize + 1).max(logits.len()), 0.0);
            logits[row as usize] = logit;
        }
    }

    /// Takes the next group: its rows' logits by the ranking plane. The first `keep` groups are listed;
    /// from then on a group takes the place of the smallest one, the first of equals, if it is larger.
    pub(super) fn rank(&mut self, keep: usize, logits: &[f32], scales: &[f32]) {
        let mut best = Best::default();
        logits.iter().for_each(|&logit| best.take(0, logit));
        let key = best.get().map_or(f32::NEG_INFINITY, |(_, logit)| logit);
        let listed = Listed { group: self.ranked, rows: logits.len(), scales: scales.to_vec(), key };
        self.ranked += 1;
        if self.list.len() < keep {
            return self.list.push(listed);
        }
        let least = self.list.iter_mut().reduce(|least, other| if other.key < least.key { other } else { least });
        if let Some(least) = least.filter(|least| key > least.key) {
            *least = listed;
        }
    }

    /// The listed groups.
    pub(super) fn list(&self) -> &[Listed] {
        &self.list
    }

    pub(super) fn result(&self) -> PassResult {
        PassResult { best: self.best.iter().map(|best| best.get()).collect(), logits: self.logits.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::DeviceShape;

    #[test]
    fn the_smallest_group_makes_room_the_first_of_equals() {
        let shape = DeviceShape { shortlist: 3, ..super::super::tests::shape() };
        let mut heads = Heads::new(&shape);
        for logits in [[1.0, 0.0], [-0.0, f32::NAN], [0.0, -1.0], [0.0, 0.0], [f32::NAN, 2.0], [f32::INFINITY, 0.0]] {
            heads.rank(3, &logits, &[1.0; 2]);
        }
        let groups: Vec<u32> = heads.list().iter().map(|listed| listed.group).collect();
        assert_eq!(groups, [0, 4, 5]);
    }
}
