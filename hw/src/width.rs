//! Widths, each derived in one place.

/// Bits of an index below `count`.
pub fn index_width(count: u64) -> u32 {
    if count <= 2 { 1 } else { 64 - (count - 1).leading_zeros() }
}

/// Bits of a count up to and including `max`.
pub fn count_width(max: u64) -> u32 {
    (64 - max.leading_zeros()).max(1)
}

/// Bits of a signed sum whose magnitude reaches `max` on both sides.
pub fn signed_width(max: u64) -> u32 {
    65 - max.leading_zeros()
}

/// Bits of a sum of `cols` products of an int8 and a trit. The magnitude reaches `128 cols` on both
/// sides, because `-(-128)` is `+128`.
pub fn acc_width(cols: u64) -> u32 {
    signed_width(128 * cols)
}

/// The greatest common divisor.
pub fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_at_their_edges() {
        assert_eq!([1, 2, 3, 4, 5].map(index_width), [1, 1, 2, 2, 3]);
        assert_eq!([0, 1, 2, 3, 4].map(count_width), [1, 1, 2, 2, 3]);
        assert_eq!(signed_width(127), 8);
        assert_eq!(signed_width(128), 9);
        assert_eq!(acc_width(16), 13); // 16 * 128 = 2048 does not fit i12
        assert_eq!(acc_width(6912), 21);
    }
}
