//! The blocks of ggml's formats, one row at a time.
//!
//! ```text
//! TQ2_0  256 trits in 64 bytes, then f16 d: byte 32h+m holds trits 128h+m, +32, +64, +96, two bits
//!        each, lowest first, as trit + 1
//! TQ1_0  48 bytes of five trits, 4 bytes of four, then f16 d: bytes 0..32 hold trits m+32n,
//!        32..48 trits 160+m+16n, 48..52 trits 240+j+4n. A byte is ceil(v * 256 / 243) where v has
//!        trit + 1 as base-3 digits, n = 0 the highest; the fifth digit of the last four is 0
//! I2_S   runs of 128 trits in 32 bytes: byte m holds trits m, +32, +64, +96, highest bits first
//! Q8_0   f16 d, 32 int8: value q * d
//! Q6_K   256 six-bit q (low four in ql, high two in qh), 16 int8 scales, f16 d: value d * scale * (q - 32)
//! ```

use spec::format::table::f16_to_f32;

/// Trits in a block of TQ1_0 and TQ2_0.
pub const TQ_BLOCK: usize = 256;

/// A byte that holds no legal code, at this place of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalCode {
    /// First column that the byte stands for.
    pub col: usize,
    /// The byte (TQ1_0) or the two-bit code.
    pub code: u8,
}

/// Decodes a row of TQ2_0 blocks: trits, and one scale a block.
pub fn tq2_0_row(row: &[u8], trits: &mut [i8], scales: &mut [f32]) -> Result<(), IllegalCode> {
    for (index, ((block, trits), scale)) in
        row.chunks_exact(66).zip(trits.chunks_exact_mut(TQ_BLOCK)).zip(scales).enumerate()
    {
        let (codes, d) = block.split_at(64);
        *scale = half(d);
        for (half, codes) in codes.chunks_exact(32).enumerate() {
            for part in 0..4 {
                let first = 128 * half + 32 * part;
                two_bits(codes, 2 * part, &mut trits[first..first + 32])
                    .map_err(|at| IllegalCode { col: index * TQ_BLOCK + first + at, code: 3 })?;
            }
        }
    }
    Ok(())
}

/// Decodes a row of I2_S runs.
pub fn i2_s_row(row: &[u8], trits: &mut [i8]) -> Result<(), IllegalCode> {
    for (index, (codes, trits)) in row.chunks_exact(32).zip(trits.chunks_exact_mut(128)).enumerate() {
        for (part, trits) in trits.chunks_exact_mut(32).enumerate() {
            two_bits(codes, 6 - 2 * part, trits)
                .map_err(|at| IllegalCode { col: index * 128 + part * 32 + at, code: 3 })?;
        }
    }
    Ok(())
}

/// Takes two bits of every byte; the place of the first code 3, if there is one.
fn two_bits(codes: &[u8], shift: usize, trits: &mut [i8]) -> Result<(), usize> {
    let mut illegal = 0;
    for (trit, &byte) in trits.iter_mut().zip(codes) {
        let code = byte >> shift & 3;
        illegal |= code & code >> 1;
        *trit = code as i8 - 1;
    }
    match illegal {
        0 => Ok(()),
        _ => Err(trits.iter().position(|&trit| trit == 2).unwrap_or(0)),
    }
}

/// Trits of every TQ1_0 byte, highest digit first; `None` for bytes that no five trits give.
static TQ1_0: [Option<[i8; 5]>; 256] = tq1_0_table();

const fn tq1_0_table() -> [Option<[i8; 5]>; 256] {
    let mut table = [None; 256];
    let mut value = 0usize;
    while value < 243 {
        let mut trits = [0i8; 5];
        let mut rest = value;
        let mut digit = 5;
        while digit > 0 {
            digit -= 1;
            trits[digit] = (rest % 3) as i8 - 1;
            rest /= 3;
        }
        table[(value * 256).div_ceil(243)] = Some(trits);
        value += 1;
    }
    table
}

/// Decodes a row of TQ1_0 blocks: trits, and one scale a block.
pub fn tq1_0_row(row: &[u8], trits: &mut [i8], scales: &mut [f32]) -> Result<(), IllegalCode> {
    for (index, ((block, trits), scale)) in
        row.chunks_exact(54).zip(trits.chunks_exact_mut(TQ_BLOCK)).zip(scales).enumerate()
    {
        let (codes, d) = block.split_at(52);
        *scale = half(d);
        // (bytes, first trit, distance of a byte's trits, trits of a byte)
        for (bytes, first, stride, digits) in
            [(&codes[..32], 0, 32, 5), (&codes[32..48], 160, 16, 5), (&codes[48..52], 240, 4, 4)]
        {
            for (at, &byte) in bytes.iter().enumerate() {
                let illegal = IllegalCode { col: index * TQ_BLOCK + first + at, code: byte };
                let five = TQ1_0[byte as usize].ok_or(illegal)?;
                if digits == 4 && five[4] != -1 {
                    return Err(illegal);
                }
                for (n, &trit) in five[..digits].iter().enumerate() {
                    trits[first + at + stride * n] = trit;
                }
            }
        }
    }
    Ok(())
}

/// Dequantises a row of Q8_0 blocks; exact, since 11 and 7 bits fit the 24 of a binary32.
pub fn q8_0_row(row: &[u8], values: &mut [f32]) {
    for (block, values) in row.chunks_exact(34).zip(values.chunks_exact_mut(32)) {
        let (d, codes) = block.split_at(2);
        let d = half(d);
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = f32::from(code as i8) * d;
        }
    }
}

/// Dequantises a row of Q6_K blocks; exact, since 11, 7 and 5 bits fit the 24 of a binary32.
pub fn q6_k_row(row: &[u8], values: &mut [f32]) {
    for (block, values) in row.chunks_exact(210).zip(values.chunks_exact_mut(256)) {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, d) = rest.split_at(16);
        let d = half(d);
        for (n, value) in values.iter_mut().enumerate() {
            let (part, at) = (n / 128, n % 128);
            let nibble = low[64 * part + at % 64] >> (at / 64 * 4) & 15;
            let bits = high[32 * part + at % 32] >> (at / 32 * 2) & 3;
            let code = i16::from(nibble | bits << 4) - 32;
            *value = d * f32::from(scales[n / 16] as i8) * f32::from(code);
        }
    }
}

fn half(bytes: &[u8]) -> f32 {
    match bytes {
        &[low, high, ..] => f16_to_f32(u16::from_le_bytes([low, high])),
        _ => 0.0,
    }
}
