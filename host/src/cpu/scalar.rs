//! The kernels in plain Rust: what every other instruction set is tested against, and the fallback.

use super::{
    acts::Acts,
    layout::{Code, ROWS, Shape, VECTOR, split},
};
use spec::format::{code3, sherry};

/// The trit of an output and an input of a packed matrix.
pub fn trit(packed: &[u8], shape: Shape, row: usize, col: usize) -> i8 {
    let block = &packed[row / ROWS * shape.block_bytes()..][..shape.block_bytes()];
    let lane = row % ROWS * 4;
    let group = &block[col / shape.code.group_cols() * shape.code.group_bytes()..];
    let at = col % shape.code.group_cols();
    let codes = |b: usize| split(std::array::from_fn(|v| group[v * VECTOR + lane + b]));
    match shape.code {
        Code::Two => (group[lane + at % 4] >> (at / 4 * 2) & 3) as i8 - 1,
        Code::Five => code3::decode3(codes(at % 4)[at / 12])[at % 12 / 4],
        Code::Sherry => sherry::decode4(codes(at % 16 / 4)[at / 16])[at % 4],
    }
}

/// Unpacks a row block to trit vectors `[slots][16 outputs][4]` of `u = trit + 1`.
pub fn unpack_block(block: &[u8], code: Code, panel: &mut [u8]) {
    let groups = block.chunks_exact(code.group_bytes());
    for (group, panel) in groups.zip(panel.chunks_exact_mut(code.group_slots() * VECTOR)) {
        if code == Code::Two {
            for (slot, out) in panel.chunks_exact_mut(VECTOR).enumerate() {
                for (u, byte) in out.iter_mut().zip(group) {
                    *u = byte >> (2 * slot) & 3;
                }
            }
            continue;
        }
        for lane in 0..VECTOR {
            let places = code.group_slots() / 8;
            for (c, &byte) in split(std::array::from_fn(|v| group[v * VECTOR + lane])).iter().enumerate() {
                for place in 0..places {
                    let u = match code {
                        Code::Sherry => sherry::decode4(byte)[place] + 1,
                        _ => code3::decode3(byte)[place] + 1,
                    };
                    panel[(c * places + place) * VECTOR + lane] = u as u8;
                }
            }
        }
    }
}

/// Dot products of one row block: `out[token][output]`, group by group into `total`.
pub fn block(panel: &[u8], multipliers: Option<&[u8]>, acts: &Acts, out: &mut [[i32; ROWS]]) {
    for &tile in acts.tiles() {
        let words = acts.words(tile);
        for token in 0..tile.1 {
            let mut total = [0i32; ROWS];
            let mut entry = 0;
            for (g, span) in acts.spans().iter().enumerate() {
                let mut sums = [-acts.sums()[g * acts.tokens() + tile.0 + token]; ROWS];
                for slot in span.slot..span.slot + span.count {
                    let a = words[entry * tile.1 + token].to_le_bytes();
                    let u = &panel[slot * VECTOR..][..VECTOR];
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let term = |b: usize| i32::from(u[row * 4 + b]) * i32::from(a[b] as i8);
                        *sum += term(0) + term(1) + term(2) + term(3);
                    }
                    entry += 1;
                }
                for (row, (total, sum)) in total.iter_mut().zip(sums).enumerate() {
                    let multiplier = multipliers.map_or(1, |m| i32::from(m[g * ROWS + row]));
                    *total = total.wrapping_add(multiplier.wrapping_mul(sum));
                }
            }
            out[tile.0 + token] = total;
        }
    }
}
