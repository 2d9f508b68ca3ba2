//! Repacking of a model file's trits into the layouts of [`super::layout`].
//!
//! A row block is unpacked piece by piece into bytes that stay in the first-level cache, then merged
//! into codes with 32-bit arithmetic, four inputs of an output at a time. No byte of the source is
//! needed afterwards.

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

/// Packs the 16 rows of row block `block` into `out`, `[shape.block_bytes()]`.
pub fn pack_block(trits: &TritMatrix, shape: Shape, block: usize, out: &mut [u8]) {
    let mut piece = [[1u8; PIECE + 8]; ROWS];
    let rows = block * ROWS..((block + 1) * ROWS).min(trits.rows());
    let mut out = out.chunks_exact_mut(shape.code.group_bytes());
    for start in (0..trits.cols()).step_by(PIECE) {
        let cols = PIECE.min(trits.cols() - start);
        for (row, u) in rows.clone().zip(&mut piece) {
            unpack_u(trits, row, start, cols, u);
            u[cols..].fill(1);
        }
        for group in 0..cols.div_ceil(shape.code.group_cols()) {
            let Some(out) = out.next() else { return };
            let at = group * shape.code.group_cols();
            match shape.code {
                Code::Two => pack_two(&piece, at, out),
                Code::Five => pack_codes(out, |c, row| five_word(&piece[row], at + 12 * c)),
                Code::Sherry => pack_codes(out, |c, row| sherry_word(&piece[row], at + 16 * c)),
            }
        }
    }
}

/// Unpacks `cols` inputs of a row from `start` (a multiple of [`PIECE`]) as `u = trit + 1`.
fn unpack_u(trits: &TritMatrix, row: usize, start: usize, cols: usize, out: &mut [u8; PIECE + 8]) {
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
}

#[inline(always)]
fn word(u: &[u8; PIECE + 8], at: usize) -> u32 {
    u32::from_le_bytes([u[at], u[at + 1], u[at + 2], u[at + 3]])
}

/// Four codes of three inputs: byte `b` holds inputs `b`, `b + 4`, `b + 8`. At most 26 a byte.
#[inline(always)]
fn five_word(u: &[u8; PIECE + 8], at: usize) -> u32 {
    word(u, at) + 3 * word(u, at + 4) + 9 * word(u, at + 8)
}

/// Four Sherry codes: byte `b` holds inputs `4b..4b + 3`.
#[inline(always)]
fn sherry_word(u: &[u8; PIECE + 8], at: usize) -> u32 {
    let code = |b: usize| {
        let four: [i8; 4] = std::array::from_fn(|i| u[at + 4 * b + i] as i8 - 1);
        // padding past the end of a row has no code; its activations are zero, so any code will do
        sherry::encode4(four).unwrap_or(0)
    };
    u32::from_le_bytes([code(0), code(1), code(2), code(3)])
}

/// Fills a group of five vectors from `codes(c, row)`, four codes in a word.
#[inline(always)]
fn pack_codes(out: &mut [u8], codes: impl Fn(usize, usize) -> u32) {
    for row in 0..ROWS {
        let words: [[u8; 4]; 8] = std::array::from_fn(|c| codes(c, row).to_le_bytes());
        for b in 0..4 {
            for (v, byte) in merge(std::array::from_fn(|c| words[c][b])).into_iter().enumerate() {
                out[v * VECTOR + row * 4 + b] = byte;
            }
        }
    }
}

fn pack_two(piece: &[[u8; PIECE + 8]; ROWS], at: usize, out: &mut [u8]) {
    for (row, u) in piece.iter().enumerate() {
        let packed = (0..4).fold(0, |packed, s| packed | word(u, at + 4 * s) << (2 * s));
        out[row * 4..row * 4 + 4].copy_from_slice(&packed.to_le_bytes());
    }
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
