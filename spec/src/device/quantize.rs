//! Norm and quantisation of vectors.

use super::{Device, FaultKind};
use crate::numerics::f32ops::{add, div, mul, round_to_i32, sqrt, sum_of_squares};
use crate::numerics::quant::{MAX_CODE, abs_max};
use crate::program::{Descriptor, DeviceShape, quant as mode};

/// A vector after the quantiser.
struct Quantized {
    /// `x*w` with a norm, otherwise `x`.
    weighted: Vec<f32>,
    codes: Vec<i8>,
    scale: f32,
    /// RMS factor, 1 without a norm.
    factor: f32,
}

fn quantize(x: &[f32], norm: Option<(&[f32], f32, f32)>) -> Quantized {
    let weighted: Vec<f32> = match norm {
        Some((weights, ..)) => x.iter().zip(weights).map(|(&x, &w)| mul(x, w)).collect(),
        None => x.to_vec(),
    };
    let max = abs_max(&weighted);
    let inverse = div(MAX_CODE, max);
    let code = |&y: &f32| round_to_i32(mul(y, inverse)).clamp(-127, 127) as i8;
    let codes = weighted.iter().map(code).collect();
    let factor = match norm {
        Some((_, count, eps)) => div(1.0, sqrt(add(div(sum_of_squares(x), count), eps))),
        None => 1.0,
    };
    let scale = match norm {
        Some(_) => div(mul(max, factor), MAX_CODE),
        None => div(max, MAX_CODE),
    };
    Quantized { weighted, codes, scale, factor }
}

impl Device {
    pub(super) fn quant(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        let (lanes, words, vectors) = (self.shape.lanes(), d.get("words") as usize, d.get("vectors") as usize);
        let columns = words * lanes;
        let kind = d.get("mode");
        let weights = match d.get("norm") {
            0 => None,
            _ => {
                let mut all = Vec::with_capacity(columns);
                for _ in 0..words {
                    all.extend(self.norms.next_f32(&self.memory, &self.shape, "norm")?);
                }
                Some(all)
            }
        };
        let norm = weights.as_deref().map(|weights| (weights, d.get_f32("count"), d.get_f32("eps")));
        if kind == mode::NORM && (norm.is_none() || vectors != 1) || kind == mode::ACT && vectors != 1 {
            return Err(FaultKind::Program("norm without weights, or several vectors for one place"));
        }
        for vector in 0..vectors {
            for slot in self.used(d) {
                let source = d.get("src") as usize + vector * words;
                let result = quantize(self.vectors.get(slot, source, columns)?, norm);
                match kind {
                    mode::ACT => self.pack(d, slot, &result.codes, result.scale)?,
                    mode::QUERY => {
                        let scale = mul(result.scale, d.get_f32("factor"));
                        let word = d.get("dst") as usize + vector * words;
                        let head = d.get("first") as usize + vector;
                        self.queries.set(slot, (word, head), &result.codes, scale)?;
                    }
                    mode::KEY | mode::VALUE => self.write_kv(d, slot, vector, &result.codes, result.scale)?,
                    mode::NORM => {
                        let out = self.vectors.get_mut(slot, d.get("dst") as usize, columns)?;
                        for (out, &y) in out.iter_mut().zip(&result.weighted) {
                            *out = mul(y, result.factor);
                        }
                    }
                    _ => return Err(FaultKind::Program("no such mode of the quantiser")),
                }
            }
        }
        Ok(())
    }

    /// Codes to the activation buffer: three (four) columns to a table, T tables to a segment.
    fn pack(&mut self, d: &Descriptor, slot: usize, codes: &[i8], scale: f32) -> Result<(), FaultKind> {
        let sherry = d.get("sherry") == 1;
        let [cols, segment, group] = ["cols", "seg_cols", "group_cols"].map(|name| d.get(name) as usize);
        if cols > codes.len() || segment == 0 || group == 0 || segment > self.shape.segment(sherry) {
            return Err(FaultKind::Program("columns of a segment or group"));
        }
        if cols > self.shape.max_cols {
            return Err(FaultKind::Range { what: "column", at: cols - 1, limit: self.shape.max_cols });
        }
        let tables = self.shape.tables;
        let mut packed = Vec::new();
        for part in codes[..cols].chunks(group).flat_map(|group| group.chunks(segment)) {
            let first = packed.len();
            packed.extend(part.chunks(DeviceShape::weights_of_code(sherry)).map(|some| {
                let mut table = [0; 4];
                table[..some.len()].copy_from_slice(some);
                table
            }));
            packed.resize(first + tables, [0; 4]);
        }
        self.acts.set(slot, d.get("act") as usize, sherry, &packed, scale)
    }
}
