//! Repacking of a model file's trits into the layouts of [`super::layout`].
//!
//! A row is unpacked piece by piece into bytes that stay in the first-level cache, then merged into
//! codes with 32-bit arithmetic, four inputs at a time. No byte of the source is needed afterwards.

use super::layout::{Code, ROWS, Shape, VECTOR, merge};
use spec::format::{
    matrix::{Encoding, TritMatrix},
    sherry, trit5,
};

/// `u = trit + 1` of the five trits of every byte of the file format; three bytes of filling.
static U5: [[u8; 8]; 256] = {
    let mut table = [[1u8; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut k = 0;
        while k < 5 {
            table[byte][k] = (trit5::DECODE[byte][k] + 1) as u8;
            k += 1;
        }
        byte += 1;
    }
    table
};

/// Inputs that are unpacked at a time: a multiple of 5 and of every layout's group, and of Sherry's 32.
const PIECE: usize = 1920;

/// A piece of a row: `u = trit + 1`, or Sherry codes, one a byte; eight more for the last store.
type Piece = [u8; PIECE + 8];

/// Packs the 16 rows of row block `block` into `out`, `[shape.block_bytes()]`.
pub fn pack_block(trits: &TritMatrix, shape: Shape, block: usize, out: &mut [u8]) {
    assert_eq!(out.len(), shape.block_bytes(), "packed row block length");
    let mut piece = [1u8; PIECE + 8];
    let group_cols = shape.code.group_cols();
    for lane in 0..ROWS {
        let row = block * ROWS + lane;
        let mut groups = out.chunks_exact_mut(shape.code.group_bytes());
        for start in (0..trits.cols()).step_by(PIECE) {
            let cols = PIECE.min(trits.cols() - start);
            let used = match (row < trits.rows(), shape.code) {
                (false, _) => 0,
                (true, Code::Sherry) => unpack_codes(trits.row(row), start, cols, &mut piece),
                (true, _) => unpack_u(trits, row, start, cols, &mut piece),
            };
            piece[used..].fill(1);
            for (i, group) in (0..cols.div_ceil(group_cols)).zip(&mut groups) {
                match shape.code {
                    Code::Two => pack_two(array(&piece, 16 * i), lane, group),
                    Code::Five => pack_five(array(&piece, 96 * i), lane, group),
                    Code::Sherry => pack_sherry(array(&piece, 32 * i), lane, group),
                }
            }
        }
    }
}

#[inline(always)]
fn array<const N: usize>(piece: &Piece, at: usize) -> &[u8; N] {
    piece[at..].first_chunk().expect("pieces are whole groups")
}

/// Unpacks `cols` inputs of a row from `start` (a multiple of [`PIECE`]) as `u = trit + 1`.
fn unpack_u(trits: &TritMatrix, row: usize, start: usize, cols: usize, out: &mut Piece) -> usize {
    let row = trits.row(row);
    match trits.encoding() {
        Encoding::Trit5 => {
            let bytes = &row[start / 5..][..cols.div_ceil(5)];
            for (i, &byte) in bytes.iter().enumerate() {
                out[5 * i..5 * i + 8].copy_from_slice(&U5[byte as usize]);
            }
        }
        Encoding::Sherry => {
            for i in 0..cols / 4 {
                let four = sherry::decode4(sherry::code_at(row, start / 4 + i));
                out[4 * i..4 * i + 4].copy_from_slice(&four.map(|t| (t + 1) as u8));
            }
        }
    }
    cols
}

/// Unpacks the Sherry codes of `cols` inputs of a row from `start`, a code a byte.
fn unpack_codes(row: &[u8], start: usize, cols: usize, out: &mut Piece) -> usize {
    let bytes = row[start / 32 * 5..][..cols.div_ceil(32) * 5].chunks_exact(5);
    for (five, out) in bytes.zip(out.chunks_exact_mut(8)) {
        let bits = u64::from_le_bytes([five[0], five[1], five[2], five[3], five[4], 0, 0, 0]);
        out.copy_from_slice(&std::array::from_fn::<u8, 8, _>(|i| (bits >> (5 * i) & 31) as u8));
    }
    cols / 4
}

#[inline(always)]
fn word(u: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([u[at], u[at + 1], u[at + 2], u[at + 3]])
}

/// Stores the five vectors' words of an output.
#[inline(always)]
fn store(words: [u32; 5], lane: usize, out: &mut [u8]) {
    for (v, word) in words.into_iter().enumerate() {
        out[v * VECTOR + lane * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
}

/// Four codes a word: byte `b` holds inputs `b`, `b + 4`, `b + 8` of twelve. At most 26 a byte.
#[inline(always)]
fn pack_five(u: &[u8; 96], lane: usize, out: &mut [u8]) {
    let code = |c: usize| word(u, 12 * c) + 3 * word(u, 12 * c + 4) + 9 * word(u, 12 * c + 8);
    store(merge(std::array::from_fn(code)), lane, out);
}

#[inline(always)]
fn pack_sherry(codes: &[u8; 32], lane: usize, out: &mut [u8]) {
    store(merge(std::array::from_fn(|c| word(codes, 4 * c))), lane, out);
}

#[inline(always)]
fn pack_two(u: &[u8; 16], lane: usize, out: &mut [u8]) {
    let packed = (0..4).fold(0, |packed, s| packed | word(u, 4 * s) << (2 * s));
    out[lane * 4..lane * 4 + 4].copy_from_slice(&packed.to_le_bytes());
}

/// Packs a whole matrix into `out`, `[shape.bytes()]`.
pub fn pack(trits: &TritMatrix, shape: Shape, out: &mut [u8]) {
    assert_eq!(out.len(), shape.bytes(), "packed matrix length");
    for (block, out) in out.chunks_exact_mut(shape.block_bytes()).enumerate() {
        pack_block(trits, shape, block, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::scalar;

    #[test]
    fn every_layout_gives_the_trits_back() {
        let mut random = crate::cpu::testing::Random::new(1);
        for (rows, cols) in [(1usize, 1usize), (16, 96), (17, 97), (31, 4), (5, 1921), (33, 4000)] {
            for encoding in [Encoding::Trit5, Encoding::Sherry] {
                let cols = if encoding == Encoding::Sherry { cols.next_multiple_of(4) } else { cols };
                let matrix = random.matrix(rows, cols, encoding);
                for code in [Code::Two, Code::Five, Code::Sherry] {
                    if code == Code::Sherry && encoding != Encoding::Sherry {
                        continue;
                    }
                    let shape = Shape { code, rows, cols };
                    let mut packed = vec![0; shape.bytes()];
                    pack(&matrix, shape, &mut packed);
                    let mut want = vec![0i8; cols];
                    for row in 0..rows {
                        matrix.unpack_row(row, &mut want);
                        for (col, &want) in want.iter().enumerate() {
                            assert_eq!(scalar::trit(&packed, shape, row, col), want, "{shape:?} {row} {col}");
                        }
                    }
                }
            }
        }
    }
}
