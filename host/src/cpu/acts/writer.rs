//! Codes of tokens on their way into the forms that the kernels read.

use super::{Line, Span, TILE_ROWS};
use crate::cpu::{layout::Code, shared::Shared};

/// Fills [`super::Acts`], token by token, from any thread.
pub struct Writer<'a> {
    pub(super) code: Code,
    pub(super) cols: usize,
    pub(super) group: usize,
    pub(super) tokens: usize,
    pub(super) row_lines: usize,
    pub(super) tile_rows: usize,
    pub(super) spans: &'a [Span],
    pub(super) tiles: &'a [(usize, usize)],
    pub(super) rows: Shared<'a, Line>,
    pub(super) sums: Shared<'a, i32>,
    pub(super) words: Shared<'a, i32>,
}

impl Writer<'_> {
    /// Sets the codes of a token, `[cols]`.
    ///
    /// # Safety
    /// No two threads write the same token.
    pub unsafe fn token(&self, token: usize, codes: &[i8]) {
        assert!(token < self.tokens && codes.len() == self.cols, "token {token} of {}", self.tokens);
        let (first, step) = self.place(token);
        for index in 0..self.row_lines {
            // SAFETY: the line belongs to this token alone.
            unsafe { self.rows.set(first + index * step, self.line(codes, index)) };
        }
        if self.tile_rows > 0 {
            return; // trits are signed in tiles: neither sums nor words are needed
        }
        for (g, codes) in codes.chunks(self.group).enumerate() {
            // SAFETY: as above.
            unsafe { self.sums.set(g * self.tokens + token, sum(codes)) };
        }
        // SAFETY: as above.
        unsafe { self.spread(token) };
    }

    /// First line of a token, and lines from one to the next.
    fn place(&self, token: usize) -> (usize, usize) {
        match self.tile_rows {
            0 => (token * self.row_lines, 1),
            rows => (token / rows * self.row_lines * TILE_ROWS + token % rows, TILE_ROWS),
        }
    }

    /// Copies a token's words from its line to its tile.
    ///
    /// # Safety
    /// As [`Writer::token`].
    unsafe fn spread(&self, token: usize) {
        // SAFETY: lines and words below belong to this token alone.
        let lines = unsafe { self.rows.part(token * self.row_lines..(token + 1) * self.row_lines) };
        let Some(&(first, count)) = self.tiles.iter().find(|tile| (tile.0..tile.0 + tile.1).contains(&token)) else {
            return;
        };
        let entries: usize = self.spans.iter().map(|s| s.count).sum();
        let mut at = entries * first + token - first;
        let word = |slot: usize| {
            let four = &lines[slot / 16].0[slot % 16 * 4..slot % 16 * 4 + 4];
            i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8])
        };
        for (g, span) in self.spans.iter().enumerate() {
            let bounds = g * self.group..(g + 1) * self.group;
            let slots = span.slot..span.slot + span.count;
            let masked = |slot| word(slot) & mask(self.code, slot, &bounds);
            // SAFETY: as above.
            unsafe {
                match self.spans.len() {
                    1 => self.words.scatter(at, count, slots.map(word)),
                    _ => self.words.scatter(at, count, slots.map(masked)),
                }
            }
            at += span.count * count;
        }
    }

    /// Norms, quantises and writes `M` tokens of `source` from `token` on; returns their scales. Only
    /// for matrices with one multiplier a row.
    ///
    /// # Safety
    /// As [`Writer::token`], and the processor has AVX-512 F, BW, VL and DQ.
    #[cfg(target_arch = "x86_64")]
    pub unsafe fn quantize<const M: usize>(
        &self,
        source: crate::cpu::avx512::quantize::Source<'_>,
        token: usize,
        norm: Option<crate::cpu::vector::Norm<'_>>,
    ) -> [f32; M] {
        use crate::cpu::avx512::quantize::{Target, quantize};
        assert!(self.spans.len() == 1 && source.cols == self.cols && token + M <= self.tokens, "token {token}");
        let targets = std::array::from_fn(|m| {
            let (first, step) = self.place(token + m);
            Target { first: self.rows.pointer(first, step, self.row_lines), step }
        });
        // SAFETY: the lines were checked and belong to these tokens; features by the caller's promise.
        let scales = unsafe { quantize(source, token, norm, self.code, self.row_lines, targets) };
        if self.tile_rows == 0 {
            for token in token..token + M {
                // SAFETY: lines and sum belong to this token alone.
                unsafe {
                    let lines = self.rows.part(token * self.row_lines..(token + 1) * self.row_lines);
                    self.sums.set(token, lines.iter().map(|line| sum(&line.0)).sum());
                    self.spread(token);
                }
            }
        }
        scales
    }

    /// The codes of inputs `64 * index` and on, in slot order.
    #[inline(always)]
    fn line(&self, codes: &[i8], index: usize) -> Line {
        let piece = codes.get(index * 64..).unwrap_or(&[]);
        let mut line = match piece.first_chunk() {
            Some(whole) => Line(*whole),
            None => Line(std::array::from_fn(|i| piece.get(i).copied().unwrap_or(0))),
        };
        if self.code == Code::Sherry {
            transpose_fours(&mut line.0);
        }
        line
    }
}

fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|&c| i32::from(c)).sum()
}

/// Byte `4b + v` of every 16 goes to `4v + b`: the order of [`Code::Sherry`]'s slots.
fn transpose_fours(line: &mut [i8; 64]) {
    for unit in line.chunks_exact_mut(16) {
        let old: [i8; 16] = std::array::from_fn(|i| unit[i]);
        for (i, byte) in unit.iter_mut().enumerate() {
            *byte = old[i % 4 * 4 + i / 4];
        }
    }
}

/// Ones in the bytes of a slot whose inputs lie in `bounds`.
fn mask(code: Code, slot: usize, bounds: &std::ops::Range<usize>) -> i32 {
    let input = |b: usize| match code {
        Code::Sherry => slot / 4 * 16 + 4 * b + slot % 4,
        _ => slot * 4 + b,
    };
    i32::from_le_bytes(std::array::from_fn(|b| if bounds.contains(&input(b)) { 0xff } else { 0 }))
}
