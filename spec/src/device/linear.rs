//! Matrix engine and epilogue.

use super::{Device, FaultKind};
use crate::format::{code3, sherry};
use crate::numerics::f32ops::{add, from_i64, mul, sub};
use crate::program::{Descriptor, epilogue as mode};

/// Scales and biases of the rows of a tile.
struct Rows {
    scales: Vec<f32>,
    biases: Option<Vec<f32>>,
}

impl Device {
    pub(super) fn linear(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        let words = d.get("words") as usize;
        if words > self.shape.tile_words() {
            return Err(FaultKind::Range { what: "word of a tile", at: words - 1, limit: self.shape.tile_words() });
        }
        let sums = self.sums(d, words)?;
        let rows = self.rows_of_tile(d, words)?;
        for (slot, sums) in self.used(d).into_iter().zip(sums) {
            self.epilogue(d, slot, &sums, &rows)?;
        }
        Ok(())
    }

    /// Integer sums of a tile, `[used slot][row]`.
    fn sums(&mut self, d: &Descriptor, words: usize) -> Result<Vec<Vec<i64>>, FaultKind> {
        let (segs, planes, sherry) = (d.get("segs") as usize, d.get("planes"), d.get("sherry") == 1);
        let (tables, q) = (self.shape.tables, self.shape.rows);
        let (used, first) = (self.used(d), d.get("act") as usize);
        let made = self.acts.format(first, segs) == Some(sherry);
        if planes == 0 || segs == 0 || !made || sherry != self.weights.sherry() {
            return Err(FaultKind::Program("planes, segments or format of activations and weights"));
        }
        if u64::from(d.get("total")) != words as u64 * segs as u64 * u64::from(planes) {
            return Err(FaultKind::Program("words of weights of a tile"));
        }
        let hold = d.get("hold") == 1;
        let (held, limit) = (self.weights.held() + d.get("total") as usize, self.shape.buffer_words);
        if hold && held > limit {
            return Err(FaultKind::Range { what: "word of held tiles", at: held - 1, limit });
        }
        if d.get("again") == 1 && !hold {
            return Err(FaultKind::Program("weights that come once more without being held"));
        }
        let mut sums = vec![vec![0i64; words * q]; used.len()];
        for plane in 0..planes {
            for seg in 0..segs {
                for word in 0..words {
                    let codes = self.weights.next(&self.memory, &self.shape, hold)?;
                    let factors: Vec<i64> = match d.get("grouped") {
                        0 => vec![3i64.pow(planes - 1 - plane); q],
                        _ => {
                            let bytes = self.mults.next(&self.memory, &self.shape, "mult")?;
                            bytes.into_iter().map(i64::from).collect()
                        }
                    };
                    for (&slot, sums) in used.iter().zip(&mut sums) {
                        let acts = &self.acts.codes(slot, first)[seg * tables..(seg + 1) * tables];
                        for (row, codes) in codes.chunks(tables).enumerate() {
                            let sum: i64 =
                                codes.iter().zip(acts).map(|(&code, acts)| product(sherry, code, acts)).sum();
                            sums[word * q + row] += factors[row] * sum;
                        }
                    }
                }
            }
        }
        if d.get("again") == 1 {
            self.weights.again();
        }
        Ok(sums)
    }

    fn rows_of_tile(&mut self, d: &Descriptor, words: usize) -> Result<Rows, FaultKind> {
        let q = self.shape.rows;
        let paired = matches!(d.get("mode"), mode::SILU | mode::RELU2 | mode::ROPE);
        if paired && !words.is_multiple_of(2) {
            return Err(FaultKind::Program("words in pairs"));
        }
        let mut rows = Rows { scales: Vec::new(), biases: (d.get("bias") == 1).then(Vec::new) };
        if d.get("mode") == mode::PICK {
            if words != self.heads.list().len() || rows.biases.is_some() {
                return Err(FaultKind::Program("words of listed groups"));
            }
            rows.scales = self.heads.list().iter().flat_map(|listed| listed.scales.clone()).collect();
            return Ok(rows);
        }
        for word in 0..words {
            if d.get("row_scale") == 1 {
                rows.scales.extend(self.rows.next_f32(&self.memory, &self.shape, "row")?);
            } else {
                let name = if paired && word % 2 == 1 { "scale_b" } else { "scale_a" };
                rows.scales.resize(rows.scales.len() + q, d.get_f32(name));
            }
            if let Some(biases) = &mut rows.biases {
                biases.extend(self.rows.next_f32(&self.memory, &self.shape, "row")?);
            }
        }
        Ok(rows)
    }

    fn epilogue(&mut self, d: &Descriptor, slot: usize, sums: &[i64], rows: &Rows) -> Result<(), FaultKind> {
        let q = self.shape.rows;
        let (dst, cols) = (d.get("dst") as usize, d.get("cols") as usize);
        let act_scale = self.acts.scale(slot);
        let mut y: Vec<f32> =
            sums.iter().zip(&rows.scales).map(|(&acc, &scale)| mul(from_i64(acc), mul(act_scale, scale))).collect();
        if d.get("accumulate") == 1 {
            let other = self.vectors.get(slot, d.get("acc") as usize, y.len())?;
            y.iter_mut().zip(other).for_each(|(y, &other)| *y = add(other, *y));
        }
        if let Some(biases) = &rows.biases {
            y.iter_mut().zip(biases).for_each(|(y, &bias)| *y = add(*y, bias));
        }
        let result: Vec<f32> = match d.get("mode") {
            mode::STORE => y,
            mode::RESIDUAL => {
                let other = self.vectors.get(slot, dst, y.len())?;
                y.iter().zip(other).map(|(&y, &other)| add(other, y)).collect()
            }
            kind @ (mode::SILU | mode::RELU2) => {
                let act = |x: f32| match kind {
                    mode::SILU => self.sigmoid.silu(x),
                    _ => mul(x.max(0.0), x.max(0.0)),
                };
                let pairs = y.chunks_exact(2 * q).map(|pair| pair.split_at(q));
                pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| mul(act(a), b))).collect()
            }
            mode::ROPE => self.turn(slot, &y, d.get("rope_words") as usize)?,
            mode::LOGITS => {
                for (row, &y) in y.iter().enumerate().take(cols) {
                    self.heads.take(slot, d.get("base") + row as u32, y);
                }
                return Ok(());
            }
            mode::RANK if slot != self.heads.listed => return Ok(()),
            mode::RANK => {
                for (logits, scales) in y[..cols.min(y.len())].chunks(q).zip(rows.scales.chunks(q)) {
                    self.heads.rank(d.get("keep") as usize, logits, scales);
                }
                return Ok(());
            }
            mode::PICK => {
                let list = self.heads.list().to_vec();
                for (listed, logits) in list.iter().zip(y.chunks(q)) {
                    for (lane, &logit) in logits.iter().enumerate().take(listed.rows) {
                        self.heads.take(slot, listed.group * q as u32 + lane as u32, logit);
                    }
                }
                return Ok(());
            }
            _ => return Err(FaultKind::Program("no such mode of the epilogue")),
        };
        let out = self.vectors.get_mut(slot, dst, result.len())?;
        for (column, (out, y)) in out.iter_mut().zip(result).enumerate() {
            *out = if column < cols { y } else { 0.0 };
        }
        Ok(())
    }

    /// RoPE: even words are of first halves of heads, odd ones of second halves.
    fn turn(&self, slot: usize, y: &[f32], rope_words: usize) -> Result<Vec<f32>, FaultKind> {
        let q = self.shape.rows;
        if rope_words == 0 || !(y.len() / q).is_multiple_of(2 * rope_words) {
            return Err(FaultKind::Program("whole heads"));
        }
        let mut result = y.to_vec();
        for (pair, words) in result.chunks_exact_mut(2 * q).enumerate() {
            let (first, second) = words.split_at_mut(q);
            for (lane, (a, b)) in first.iter_mut().zip(second).enumerate() {
                let index = pair % rope_words * q + lane;
                let factors = self.rope[slot].get(index);
                let limit = self.rope[slot].len();
                let &(cos, sin) = factors.ok_or(FaultKind::Range { what: "rotary factor", at: index, limit })?;
                let turned = sub(mul(*a, cos), mul(*b, sin));
                *b = add(mul(*b, cos), mul(*a, sin));
                *a = turned;
            }
        }
        Ok(result)
    }
}

/// One table: the weights of a code times its activations.
fn product(sherry: bool, code: u8, acts: &[i8; 4]) -> i64 {
    let weights = if sherry {
        sherry::decode4(code)
    } else {
        let [a, b, c] = code3::decode3(code);
        [a, b, c, 0]
    };
    weights.iter().zip(acts).map(|(&w, &a)| i64::from(w) * i64::from(a)).sum()
}
