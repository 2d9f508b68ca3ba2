//! Sherry 3:4 codes: four weights, exactly one of them zero, in five bits (1.25 bits a weight).
//!
//! ```text
//! code[4:3] = place of the zero (0..3)
//! code[2:0] = signs of the three others in column order, 1 = negative, bit 0 = lowest column
//! ```
//!
//! All 32 codes are legal. Eight codes of one row fill five bytes as one little-endian 40-bit
//! number, code `i` in bits `5i+4:5i`, so a row of `cols` weights takes `ceil(cols / 32) * 5` bytes.
//! `cols` is a multiple of 4; codes past the end of a row are zero and are never read. Example:
//! `[1, 0, -1, 1]` has its zero at place 1 and the second sign set: `01_010` = 10.
//! Source: Sherry (arXiv 2601.07892).

/// Weights in a code.
pub const WEIGHTS_PER_CODE: usize = 4;

/// Bytes of a row of `cols` weights.
pub const fn row_bytes(cols: usize) -> usize {
    cols.div_ceil(32) * 5
}

/// The four weights of a 5-bit code.
pub const fn decode4(code: u8) -> [i8; 4] {
    let zero = (code >> 3 & 3) as usize;
    let mut out = [0i8; 4];
    let mut sign = 0;
    let mut place = 0;
    while place < 4 {
        if place != zero {
            out[place] = if code >> sign & 1 == 1 { -1 } else { 1 };
            sign += 1;
        }
        place += 1;
    }
    out
}

/// The code of four weights, or `None` unless exactly one is zero and the others are -1 or 1.
pub fn encode4(weights: [i8; 4]) -> Option<u8> {
    let zero = weights.iter().position(|&w| w == 0)?;
    let mut code = (zero as u8) << 3;
    let others = weights.iter().enumerate().filter(|&(place, _)| place != zero);
    for (sign, (_, &w)) in others.enumerate() {
        match w {
            1 => {}
            -1 => code |= 1 << sign,
            _ => return None,
        }
    }
    Some(code)
}

/// Code number `index` of a packed row.
pub fn code_at(row: &[u8], index: usize) -> u8 {
    let group = &row[index / 8 * 5..index / 8 * 5 + 5];
    let bits = group.iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    (bits >> (5 * (index % 8)) & 31) as u8
}

/// Packs a row, or returns the first group of four that is not 3:4 sparse.
pub fn pack_row(weights: &[i8], out: &mut [u8]) -> Result<(), usize> {
    assert_eq!(out.len(), row_bytes(weights.len()), "packed row length");
    assert!(weights.len().is_multiple_of(4), "columns come in fours");
    out.fill(0);
    for (index, four) in weights.chunks(4).enumerate() {
        let code = encode4([four[0], four[1], four[2], four[3]]).ok_or(index)?;
        let bit = 5 * (index % 8);
        let base = index / 8 * 5 + bit / 8;
        let shifted = u16::from(code) << (bit % 8);
        out[base] |= shifted as u8;
        if shifted > 0xff {
            out[base + 1] |= (shifted >> 8) as u8;
        }
    }
    Ok(())
}

/// Unpacks the first `out.len()` weights of a packed row.
pub fn unpack_row(row: &[u8], out: &mut [i8]) {
    assert_eq!(row.len(), row_bytes(out.len()), "packed row length");
    for (index, four) in out.chunks_mut(4).enumerate() {
        four.copy_from_slice(&decode4(code_at(row, index))[..four.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in 0..32 {
            assert_eq!(encode4(decode4(code)), Some(code));
        }
        assert_eq!(encode4([1, 0, -1, 1]), Some(10));
        assert_eq!(encode4([1, 1, 1, 1]), None);
        assert_eq!(encode4([1, 0, 0, 1]), None);
    }

    #[test]
    fn rows_round_trip() {
        for groups in 1..30 {
            let weights: Vec<i8> = (0..groups).flat_map(|g| decode4((g * 11 % 32) as u8)).collect();
            let mut packed = vec![0; row_bytes(weights.len())];
            pack_row(&weights, &mut packed).unwrap();
            let mut back = vec![9; weights.len()];
            unpack_row(&packed, &mut back);
            assert_eq!(back, weights);
        }
    }

    #[test]
    fn a_dense_group_is_named() {
        let mut packed = vec![0; row_bytes(8)];
        assert_eq!(pack_row(&[1, 0, 1, 1, 1, 1, 1, 1], &mut packed), Err(1));
    }
}
