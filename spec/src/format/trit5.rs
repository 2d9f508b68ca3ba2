//! `trit5`: five trits in a byte, 1.6 bits a weight: the form of dense ternary weights in files and
//! in device memory.
//!
//! ```text
//! byte = u0 + 3 u1 + 9 u2 + 27 u3 + 81 u4       u = trit + 1 in {0, 1, 2}, u0 = lowest column
//! ```
//!
//! Legal bytes are 0..=242; 243..=255 are illegal and are refused by the loader and flagged by the
//! hardware. A row of `cols` trits takes `ceil(cols / 5)` bytes; the unused places of its last byte
//! hold trit 0 (`u = 1`), so that padding never changes a sum. Example: `[1, 0, -1, 0, 0]` is
//! `2 + 3 + 0 + 27 + 81 = 113`; five zeros are 121.

/// Trits in a byte.
pub const TRITS_PER_BYTE: usize = 5;
/// Number of legal codes; a byte at or above it is illegal.
pub const CODES: u8 = 243;
/// The byte that holds five zeros.
pub const ZERO: u8 = 121;

/// Bytes of a row of `cols` trits.
pub const fn row_bytes(cols: usize) -> usize {
    cols.div_ceil(TRITS_PER_BYTE)
}

const fn decode_table() -> [[i8; 5]; 256] {
    let mut table = [[0i8; 5]; 256];
    let mut byte = 0;
    while byte < CODES as usize {
        let mut rest = byte;
        let mut k = 0;
        while k < 5 {
            table[byte][k] = (rest % 3) as i8 - 1;
            rest /= 3;
            k += 1;
        }
        byte += 1;
    }
    table
}

/// The five trits of every byte; illegal bytes decode to zeros.
pub static DECODE: [[i8; 5]; 256] = decode_table();

/// Packs five trits, each -1, 0 or 1.
///
/// # Panics
/// In debug builds, if a value is not a trit.
pub fn pack5(trits: [i8; 5]) -> u8 {
    trits.iter().rev().fold(0, |code, &t| {
        debug_assert!((-1..=1).contains(&t), "{t} is not a trit");
        code * 3 + (t + 1) as u8
    })
}

/// Packs a row of trits, padding its last byte with zeros.
pub fn pack_row(trits: &[i8], out: &mut [u8]) {
    assert_eq!(out.len(), row_bytes(trits.len()), "packed row length");
    for (five, byte) in trits.chunks(5).zip(out) {
        let mut padded = [0; 5];
        padded[..five.len()].copy_from_slice(five);
        *byte = pack5(padded);
    }
}

/// Unpacks the first `out.len()` trits of a packed row.
pub fn unpack_row(row: &[u8], out: &mut [i8]) {
    assert_eq!(row.len(), row_bytes(out.len()), "packed row length");
    for (five, &byte) in out.chunks_mut(5).zip(row) {
        five.copy_from_slice(&DECODE[byte as usize][..five.len()]);
    }
}

/// Index of the first byte that no row of `cols` trits may hold: an illegal code, or padding that
/// is not zero.
pub fn first_illegal(row: &[u8], cols: usize) -> Option<usize> {
    // Without an early exit the compiler compares whole vectors at once.
    if row.iter().fold(false, |illegal, &byte| illegal | (byte >= CODES)) {
        return row.iter().position(|&byte| byte >= CODES);
    }
    let used = cols % TRITS_PER_BYTE;
    let last = row.len().checked_sub(1)?;
    let padding_set = used != 0 && DECODE[row[last] as usize][used..].iter().any(|&t| t != 0);
    padding_set.then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for byte in 0..CODES {
            assert_eq!(pack5(DECODE[byte as usize]), byte);
        }
        assert_eq!(pack5([1, 0, -1, 0, 0]), 113);
        assert_eq!(pack5([0; 5]), ZERO);
    }

    #[test]
    fn rows_of_every_length_round_trip() {
        for cols in 1..40 {
            let trits: Vec<i8> = (0..cols).map(|i| ((i * 7 + cols) % 3) as i8 - 1).collect();
            let mut packed = vec![0; row_bytes(cols)];
            pack_row(&trits, &mut packed);
            assert_eq!(first_illegal(&packed, cols), None);
            let mut back = vec![9; cols];
            unpack_row(&packed, &mut back);
            assert_eq!(back, trits);
        }
    }

    #[test]
    fn illegal_codes_and_padding_are_found() {
        assert_eq!(first_illegal(&[121, 243], 10), Some(1));
        assert_eq!(first_illegal(&[121, 255, 0], 15), Some(1));
        assert_eq!(first_illegal(&[121, 121 + 81], 9), Some(1));
        assert_eq!(first_illegal(&[121, 121 + 27], 9), None);
    }
}
