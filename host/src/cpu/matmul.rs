//! Integer products of packed matrices and activations, whatever the instruction set.

use super::{
    acts::{Acts, TILE_ROWS},
    buffer::Buffer,
    isa::Isa,
    layout::{ROWS, Shape, VECTOR},
    scalar,
};
use std::ops::Range;

/// A packed matrix, borrowed.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    /// Shape and layout.
    pub shape: Shape,
    /// Row blocks.
    pub bytes: &'a [u8],
    /// Columns that share a multiplier; all if there are no multipliers.
    pub group: usize,
    /// Multipliers `[row blocks][groups][16]`, or empty.
    pub multipliers: &'a [u8],
}

impl<'a> Packed<'a> {
    fn block(&self, block: usize) -> &'a [u8] {
        let bytes = self.shape.block_bytes();
        &self.bytes[block * bytes..(block + 1) * bytes]
    }

    fn block_multipliers(&self, block: usize) -> Option<&'a [u8]> {
        if self.multipliers.is_empty() {
            return None;
        }
        let count = self.shape.cols.div_ceil(self.group) * ROWS;
        Some(&self.multipliers[block * count..(block + 1) * count])
    }
}

/// Buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    panel: Buffer<u8>,
    sums: Buffer<[i32; ROWS]>,
    #[cfg(target_arch = "x86_64")]
    chunk: Option<Box<super::amx::Panel>>,
}

/// Room for the unpacked slots of a row block.
fn slots(panel: &mut Buffer<u8>, shape: Shape) -> &mut [u8] {
    panel.resize(shape.slots() * VECTOR);
    panel
}

/// Computes the sums of the row blocks `blocks` and hands each to `sink(block, sums)`, `sums` being
/// `[token][16 outputs]`.
pub fn products(
    isa: Isa,
    matrix: Packed<'_>,
    blocks: Range<usize>,
    acts: &Acts,
    scratch: &mut Scratch,
    mut sink: impl FnMut(usize, &[[i32; ROWS]]),
) {
    acts.check(matrix.shape, matrix.group);
    let code = matrix.shape.code;
    assert!(isa.reads(code), "{} does not read {code:?}", isa.name());
    let tokens = acts.tokens();
    if scratch.sums.len() < 2 * tokens {
        scratch.sums.resize(2 * tokens);
    }
    #[cfg(target_arch = "x86_64")]
    if acts.uses_tiles(isa) {
        use super::amx::{BLOCKS, Tiles};
        let padded = Tiles::padded_tokens(acts);
        if scratch.sums.len() < BLOCKS * padded {
            scratch.sums.resize(BLOCKS * padded);
        }
        let panel = scratch.chunk.get_or_insert_with(Default::default);
        // SAFETY: `isa` is `Amx`, which is only offered where `enable` said yes (and AVX-512 is there).
        let tiles = unsafe { Tiles::new(acts.tile_rows()) };
        for first in blocks.clone().step_by(BLOCKS) {
            let some = first..(first + BLOCKS).min(blocks.end);
            let weights: Vec<&[u8]> = some.clone().map(|block| matrix.block(block)).collect();
            let mut sums: Vec<&mut [[i32; ROWS]]> = scratch.sums.chunks_exact_mut(padded).take(some.len()).collect();
            // SAFETY: as above; `tiles` was made for these activations.
            unsafe { tiles.blocks(&weights, BLOCKS, code, acts, panel, &mut sums) };
            some.zip(&sums).for_each(|(block, sums)| sink(block, &sums[..tokens]));
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    let mut blocks = blocks;
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Amx) && tokens == 1 && matrix.multipliers.is_empty() {
        let half = blocks.len() / 2;
        for block in blocks.start..blocks.start + half {
            let [first, second] = &mut scratch.sums[..2] else { unreachable!("two sums") };
            let two = [matrix.block(block), matrix.block(block + half)];
            // SAFETY: these sets are only offered where the processor has their features.
            unsafe { super::avx512::pair(two, code, acts, [&mut *first, &mut *second]) };
            sink(block, std::slice::from_ref(first));
            sink(block + half, std::slice::from_ref(second));
        }
        blocks.start += 2 * half;
    }
    let Scratch { panel, sums, .. } = scratch;
    for block in blocks {
        one_block(isa, matrix, block, acts, panel, &mut sums[..tokens]);
        sink(block, &sums[..tokens]);
    }
}

/// The same for two matrices of one shape, block by block together: `sink(block, sums of both)`.
pub fn products_of_two(
    isa: Isa,
    matrices: [Packed<'_>; 2],
    blocks: Range<usize>,
    acts: &Acts,
    scratch: &mut Scratch,
    mut sink: impl FnMut(usize, [&[[i32; ROWS]]; 2]),
) {
    for matrix in matrices {
        acts.check(matrix.shape, matrix.group);
        assert!(isa.reads(matrix.shape.code), "{} does not read {:?}", isa.name(), matrix.shape.code);
    }
    assert_eq!(matrices[0].shape, matrices[1].shape, "matrices of one shape");
    let tokens = acts.tokens();
    let room = tokens.next_multiple_of(TILE_ROWS);
    if scratch.sums.len() < 2 * room {
        scratch.sums.resize(2 * room);
    }
    #[cfg(target_arch = "x86_64")]
    if acts.uses_tiles(isa) {
        let panel = scratch.chunk.get_or_insert_with(Default::default);
        // SAFETY: `isa` is `Amx`, which is only offered where `enable` said yes (and AVX-512 is there).
        let tiles = unsafe { super::amx::Tiles::new(acts.tile_rows()) };
        for block in blocks {
            let (first, second) = scratch.sums.split_at_mut(room);
            let weights = [matrices[0].block(block), matrices[1].block(block)];
            // SAFETY: as above; `tiles` was made for these activations.
            unsafe { tiles.blocks(&weights, 1, matrices[0].shape.code, acts, panel, &mut [&mut *first, &mut *second]) };
            sink(block, [&first[..tokens], &second[..tokens]]);
        }
        return;
    }
    let Scratch { panel, sums, .. } = scratch;
    let (first, second) = sums.split_at_mut(room);
    for block in blocks {
        for (matrix, sums) in matrices.into_iter().zip([&mut *first, &mut *second]) {
            one_block(isa, matrix, block, acts, panel, &mut sums[..tokens]);
        }
        sink(block, [&first[..tokens], &second[..tokens]]);
    }
}

/// Sums of one row block without the tile unit.
fn one_block(
    isa: Isa,
    matrix: Packed<'_>,
    block: usize,
    acts: &Acts,
    panel: &mut Buffer<u8>,
    sums: &mut [[i32; ROWS]],
) {
    let (code, bytes, multipliers) = (matrix.shape.code, matrix.block(block), matrix.block_multipliers(block));
    match isa {
        // SAFETY: these sets are only offered where the processor has their features; the panel is
        // aligned and holds every slot.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => unsafe {
            match multipliers {
                None => super::avx512::block(bytes, code, acts, sums),
                Some(multipliers) => {
                    let panel = slots(panel, matrix.shape);
                    super::avx512::unpack::unpack(bytes, code, false, panel);
                    super::avx512::grouped(panel, multipliers, acts, sums);
                }
            }
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe {
            match multipliers {
                None => super::avx2::block(isa == Isa::AvxVnni, bytes, acts, sums),
                Some(multipliers) => {
                    let panel = slots(panel, matrix.shape);
                    scalar::unpack_block(bytes, code, panel);
                    super::avx2::grouped(panel, multipliers, acts, sums);
                }
            }
        },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => unsafe {
            match multipliers {
                None => super::neon::block(isa == Isa::NeonDot, bytes, acts, sums),
                Some(multipliers) => {
                    let panel = slots(panel, matrix.shape);
                    scalar::unpack_block(bytes, code, panel);
                    super::neon::grouped(panel, multipliers, acts, sums);
                }
            }
        },
        _ => {
            let panel = slots(panel, matrix.shape);
            scalar::unpack_block(bytes, code, panel);
            scalar::block(panel, multipliers, acts, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{layout::Code, pack, testing::Random};
    use spec::format::matrix::{Encoding, TritMatrix};

    fn check(isa: Isa, matrix: &TritMatrix, group: usize, tokens: usize, random: &mut Random, seed: u64) {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let shape = Shape { code: isa.code(matrix.encoding()), rows, cols };
        let mut bytes = vec![0; shape.bytes()];
        pack::pack(matrix, shape, &mut bytes);
        let groups = cols.div_ceil(group);
        let multipliers: Vec<u8> = match groups {
            1 => Vec::new(),
            _ => (0..shape.blocks() * groups * ROWS).map(|_| random.next() as u8).collect(),
        };
        let packed = Packed { shape, bytes: &bytes, group, multipliers: &multipliers };
        let codes: Vec<i8> = (0..tokens).flat_map(|_| random.codes(cols)).collect();
        let mut acts = Acts::default();
        acts.prepare(isa, shape, group, tokens, &codes);
        let mut unpacked = vec![vec![0i8; cols]; rows];
        for (row, out) in unpacked.iter_mut().enumerate() {
            matrix.unpack_row(row, out);
        }
        let mut seen = 0;
        products(isa, packed, 0..shape.blocks(), &acts, &mut Scratch::default(), |block, sums| {
            for (token, sums) in sums.iter().enumerate() {
                for (lane, &sum) in sums.iter().enumerate().take(rows - block * ROWS) {
                    let row = block * ROWS + lane;
                    let want: i32 = (0..cols)
                        .map(|c| {
                            let multiplier = match multipliers.as_slice() {
                                [] => 1,
                                all => i32::from(all[(block * groups + c / group) * ROWS + lane]),
                            };
                            multiplier * i32::from(unpacked[row][c]) * i32::from(codes[token * cols + c])
                        })
                        .sum();
                    let at = format!("{} seed {seed} {shape:?} group {group} token {token}/{tokens}", isa.name());
                    assert_eq!(sum, want, "{at} row {row}");
                    seen += 1;
                }
            }
        });
        assert_eq!(seen, rows * tokens);
        // the same matrix with its row blocks moved on by one is the second of two
        let turned: Vec<u8> =
            bytes[shape.block_bytes()..].iter().chain(&bytes[..shape.block_bytes()]).copied().collect();
        let count = groups * ROWS;
        let turned_multipliers: Vec<u8> = match multipliers.as_slice() {
            [] => Vec::new(),
            all => all[count..].iter().chain(&all[..count]).copied().collect(),
        };
        let second = Packed { bytes: &turned, multipliers: &turned_multipliers, ..packed };
        let mut alone = vec![Vec::new(); shape.blocks()];
        let mut scratch = Scratch::default();
        products(isa, packed, 0..shape.blocks(), &acts, &mut scratch, |block, sums| alone[block] = sums.to_vec());
        let mut seen = 0;
        products_of_two(isa, [packed, second], 0..shape.blocks(), &acts, &mut scratch, |block, sums| {
            let want = [&alone[block], &alone[(block + 1) % shape.blocks()]];
            assert!(sums[0] == want[0] && sums[1] == want[1], "{} seed {seed} {shape:?} block {block}", isa.name());
            seen += 1;
        });
        assert_eq!(seen, shape.blocks());
    }

    #[test]
    fn every_instruction_set_agrees_with_the_definition() {
        for isa in Isa::available() {
            for seed in 0..60 {
                let mut random = Random::new(seed);
                let encoding = if seed % 3 == 2 { Encoding::Sherry } else { Encoding::Trit5 };
                let rows = 1 + random.below(70);
                let cols = (1 + random.below(700)).next_multiple_of(4);
                let tokens = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 47, 130][random.below(14)];
                let matrix = random.matrix(rows, cols, encoding);
                check(isa, &matrix, cols, tokens, &mut random, seed);
                let group = [32, 64, 128, 1 + random.below(cols)][random.below(4)];
                check(isa, &matrix, group, tokens.min(40), &mut random, seed);
            }
        }
    }

    #[test]
    fn every_number_of_tokens_works() {
        for isa in Isa::available() {
            let mut random = Random::new(5);
            let matrix = random.matrix(35, 200, Encoding::Trit5);
            for tokens in 1..=130 {
                check(isa, &matrix, 200, tokens, &mut random, 5);
            }
        }
    }

    #[test]
    fn widths_that_are_no_multiple_of_four_work() {
        for isa in Isa::available() {
            let mut random = Random::new(9);
            for cols in [1, 2, 3, 5, 95, 97, 191, 193] {
                let matrix = random.matrix(18, cols, Encoding::Trit5);
                check(isa, &matrix, cols, 3, &mut random, 9);
                check(isa, &matrix, cols.div_ceil(2), 5, &mut random, 9);
            }
        }
    }

    #[test]
    #[should_panic(expected = "prepared for another matrix")]
    fn foreign_activations_are_refused() {
        let shape = Shape { code: Code::Two, rows: 16, cols: 16 };
        let packed = Packed { shape, bytes: &[0; 64], group: 16, multipliers: &[] };
        let mut acts = Acts::default();
        acts.prepare(Isa::Scalar, Shape { cols: 32, ..shape }, 32, 1, &[0; 32]);
        products(Isa::Scalar, packed, 0..1, &acts, &mut Scratch::default(), |_, _| {});
    }
}
