//! `code3`: three trits in five bits, the code that addresses a 27-entry table of activation sums.
//!
//! ```text
//! code = u0 + 3 u1 + 9 u2       u = trit + 1 in {0, 1, 2}, u0 = lowest column; codes 27..=31 illegal
//! ```
//!
//! This is the form on the chip (five trits a byte are unpacked to it on the way in) and in the fast
//! CPU kernels. Example: `[1, -1, 0]` is `2 + 0 + 9 = 11`; three zeros are 13.

/// Trits in a code.
pub const TRITS_PER_CODE: usize = 3;
/// Number of legal codes.
pub const CODES: u8 = 27;
/// The code of three zeros.
pub const ZERO: u8 = 13;

/// The code of three trits.
pub const fn encode3(trits: [i8; 3]) -> u8 {
    (trits[0] + 1) as u8 + 3 * (trits[1] + 1) as u8 + 9 * (trits[2] + 1) as u8
}

/// The three trits of a legal code; illegal codes give zeros.
pub const fn decode3(code: u8) -> [i8; 3] {
    if code >= CODES {
        return [0; 3];
    }
    [(code % 3) as i8 - 1, (code / 3 % 3) as i8 - 1, (code / 9) as i8 - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in 0..CODES {
            assert_eq!(encode3(decode3(code)), code);
        }
        assert_eq!(encode3([1, -1, 0]), 11);
        assert_eq!(encode3([0; 3]), ZERO);
    }
}
