//! How the kernels want ternary weights in memory.
//!
//! ```text
//! trit vector   64 bytes = [16 outputs][4 inputs], u = trit + 1 in {0, 1, 2}: one byte each when unpacked
//! slot          the 4 inputs of a trit vector: one 32-bit word of int8 activations
//! row block     16 outputs, all inputs; a matrix is its row blocks, one after the other
//!
//! Code::Two     4 slots (16 inputs)  in 1 vector of 64 bytes: slot s in bits 2s+1:2s of every byte
//! Code::Five    24 slots (96 inputs) in 5 vectors: slots 3c, 3c+1, 3c+2 make code u0 + 3 u1 + 9 u2
//! Code::Sherry  32 slots (128 inputs) in 5 vectors: slots 4c..4c+3 make a Sherry code
//!
//! codes 0..7 of a group in its 5 vectors v0..v4, byte by byte:
//!   code 0..4   bits 4:0 of v0..v4
//!   code 5      bits 2:0 in v0[7:5], bits 4:3 in v3[7:6]
//!   code 6      bits 2:0 in v1[7:5], bits 4:3 in v4[7:6]
//!   code 7      bits 2:0 in v2[7:5], bit 3 in v3[5], bit 4 in v4[5]
//! ```
//!
//! Slot `s` holds inputs `4s..4s+3`, except in [`Code::Sherry`], whose codes carry four neighbouring
//! inputs: there byte `b` of slot `4c + v` is input `16c + 4b + v`. Inputs past the end of the matrix
//! meet zero activations and outputs past it are never read, so any code will do there.

/// Outputs in a row block.
pub const ROWS: usize = 16;
/// Bytes of a vector.
pub const VECTOR: usize = 64;

/// A layout of trits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Two bits a weight.
    Two,
    /// Five bits for three weights.
    Five,
    /// Five bits for four weights, one of which is zero.
    Sherry,
}

impl Code {
    /// Inputs in a group of vectors, the unit that the inputs of a matrix are padded to.
    pub const fn group_cols(self) -> usize {
        self.group_slots() * 4
    }

    /// Slots in a group of vectors.
    pub const fn group_slots(self) -> usize {
        match self {
            Code::Two => 4,
            Code::Five => 24,
            Code::Sherry => 32,
        }
    }

    /// Bytes of a group of vectors.
    pub const fn group_bytes(self) -> usize {
        match self {
            Code::Two => VECTOR,
            Code::Five | Code::Sherry => 5 * VECTOR,
        }
    }

    /// Slots that must be read together to see neighbouring inputs: 1, or 4 where they are permuted.
    pub const fn unit_slots(self) -> usize {
        match self {
            Code::Two | Code::Five => 1,
            Code::Sherry => 4,
        }
    }
}

/// Shape and layout of a packed matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Layout of the trits.
    pub code: Code,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

impl Shape {
    /// Row blocks.
    pub const fn blocks(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Groups of vectors in a row block.
    pub const fn groups(&self) -> usize {
        self.cols.div_ceil(self.code.group_cols())
    }

    /// Slots in a row block.
    pub const fn slots(&self) -> usize {
        self.groups() * self.code.group_slots()
    }

    /// Bytes of a row block.
    pub const fn block_bytes(&self) -> usize {
        self.groups() * self.code.group_bytes()
    }

    /// Bytes of the matrix.
    pub const fn bytes(&self) -> usize {
        self.blocks() * self.block_bytes()
    }
}

/// Merges eight 5-bit codes into five bytes, in each of the four bytes of the words.
#[inline(always)]
pub const fn merge(c: [u32; 8]) -> [u32; 5] {
    const ONE: u32 = 0x0101_0101;
    [
        c[0] | (c[5] & (7 * ONE)) << 5,
        c[1] | (c[6] & (7 * ONE)) << 5,
        c[2] | (c[7] & (7 * ONE)) << 5,
        c[3] | (c[5] >> 3 & (3 * ONE)) << 6 | (c[7] >> 3 & ONE) << 5,
        c[4] | (c[6] >> 3 & (3 * ONE)) << 6 | (c[7] >> 4 & ONE) << 5,
    ]
}

/// The eight 5-bit codes of five bytes.
#[inline(always)]
pub const fn split(v: [u8; 5]) -> [u8; 8] {
    [
        v[0] & 31,
        v[1] & 31,
        v[2] & 31,
        v[3] & 31,
        v[4] & 31,
        v[0] >> 5 | v[3] >> 6 << 3,
        v[1] >> 5 | v[4] >> 6 << 3,
        v[2] >> 5 | (v[3] >> 5 & 1) << 3 | (v[4] >> 5 & 1) << 4,
    ]
}

/// `u = trit + 1` of place `place` in a code of [`Code::Five`] (places 0..2) or [`Code::Sherry`]
/// (0..3), for all 32 codes. Codes that do not exist read as zero trits.
pub const fn table(code: Code, place: usize) -> [u8; 32] {
    let mut out = [0; 32];
    let mut c = 0;
    while c < 32 {
        out[c] = match code {
            Code::Sherry => (spec::format::sherry::decode4(c as u8)[place] + 1) as u8,
            _ => (spec::format::code3::decode3(c as u8)[place] + 1) as u8,
        };
        c += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_keeps_its_place() {
        for place in 0..8 {
            for code in 0..32 {
                for others in [0, 31, 21] {
                    let mut codes = [others; 8];
                    codes[place] = code;
                    for lane in 0..4 {
                        // other bytes of the words must not matter
                        let words = codes.map(|c| u32::from_le_bytes([31 - c; 4]) & !(255 << (8 * lane)));
                        let words = std::array::from_fn(|i| words[i] | u32::from(codes[i]) << (8 * lane));
                        assert_eq!(split(merge(words).map(|w| w.to_le_bytes()[lane])), codes);
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_are_as_stated() {
        let five = Shape { code: Code::Five, rows: 1536, cols: 1536 };
        assert_eq!(five.bytes() * 8 * 3, 1536 * 1536 * 5);
        let sherry = Shape { code: Code::Sherry, rows: 1536, cols: 1536 };
        assert_eq!(sherry.bytes() * 8 * 4, 1536 * 1536 * 5);
        let odd = Shape { code: Code::Two, rows: 17, cols: 33 };
        assert_eq!((odd.blocks(), odd.groups(), odd.slots()), (2, 3, 12));
    }
}
