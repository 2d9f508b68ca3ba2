//! RoPE and quantisation of the heads of q, k and v; new keys and values on their way to the caches.

use super::{engine::Item, isa::Isa, kv::Writer, layout::ROWS, shared::Shared, vector};
use spec::numerics::{f32ops::mul, rope::RopeTable, softmax::score_factor};
use std::ops::Range;

/// Tiles of some rows of all tokens: data, tiles from one row block to the next, first row.
pub type Rows<'a> = (&'a [[f32; ROWS]], usize, usize);

/// Where the heads of a chunk go.
pub(super) struct Heads<'a> {
    pub isa: Isa,
    pub layer: usize,
    pub items: &'a [Item],
    pub rope: &'a RopeTable,
    pub dim: usize,
    /// Query codes, `[heads][tokens][dim]`.
    pub codes: Shared<'a, i8>,
    /// Query scales times the score factor, `[heads][tokens]`.
    pub scales: Shared<'a, f32>,
    /// Of the cache of every step.
    pub writers: Vec<Writer<'a>>,
}

/// Buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    row: Vec<f32>,
    codes: Vec<i8>,
}

impl Heads<'_> {
    /// Stores a head of `tokens` whose rows are `rows`: of q (part 0), k (1) or v (2).
    ///
    /// # Safety
    /// Nobody else stores this head of these tokens.
    pub unsafe fn take(
        &self,
        (part, head): (usize, usize),
        tokens: Range<usize>,
        rows: Rows<'_>,
        scratch: &mut Scratch,
    ) {
        let (dim, factor) = (self.dim, score_factor(self.dim));
        let Scratch { row, codes } = scratch;
        codes.resize(dim, 0);
        for token in tokens {
            let Item { step, position, .. } = self.items[token];
            let angles = (part < 2).then(|| (self.rope.cos(position), self.rope.sin(position)));
            let place = (self.layer, head, position);
            let index = head * self.items.len() + token;
            // SAFETY: head and token are the caller's, and positions of a sequence are different.
            unsafe {
                match part {
                    0 => {
                        let codes = self.codes.part(index * dim..(index + 1) * dim);
                        let scale = head_codes(self.isa, rows, token, angles, row, codes);
                        self.scales.set(index, mul(scale, factor));
                    }
                    1 => {
                        let scale = head_codes(self.isa, rows, token, angles, row, codes);
                        self.writers[step].push_key(place, codes, scale);
                    }
                    _ => {
                        let scale = head_codes(self.isa, rows, token, angles, row, codes);
                        self.writers[step].push_value(place, codes, scale);
                    }
                }
            }
        }
    }
}

/// Codes of a token's head, turned by `angles` (cosines and sines) if there are any; returns the scale.
/// `buffer` is for heads that have to be copied.
fn head_codes(
    isa: Isa,
    (tiles, stride, first): Rows<'_>,
    token: usize,
    angles: Option<(&[f32], &[f32])>,
    buffer: &mut Vec<f32>,
    codes: &mut [i8],
) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) && super::avx512::heads::serves(codes.len()) && first.is_multiple_of(ROWS)
    {
        let x = &tiles[first / ROWS * stride + token..];
        // SAFETY: these sets are only offered where the processor has their features.
        return unsafe { super::avx512::heads::quantize(x, stride, angles, codes) };
    }
    buffer.clear();
    buffer.extend((first..first + codes.len()).map(|row| tiles[row / ROWS * stride + token][row % ROWS]));
    if let Some((cos, sin)) = angles {
        vector::rotate(isa, buffer, cos, sin);
    }
    vector::quantize(isa, buffer, codes)
}
