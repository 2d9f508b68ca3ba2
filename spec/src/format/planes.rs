//! Trit planes: an integer in [-121, 121] as five balanced trits, `v = t0 + 3 t1 + 9 t2 + 27 t3 + 81 t4`.
//!
//! A matrix of such integers is five ternary matrices; the engine runs them as five passes with
//! weights 1, 3, 9, 27, 81.

/// Number of planes of a full-precision code.
pub const PLANES: usize = 5;
/// Largest magnitude that five balanced trits hold.
pub const MAX_CODE: i8 = 121;

/// Largest magnitude that so many balanced trits hold, 1 to [`PLANES`] of them: `(3^planes - 1) / 2`.
pub const fn max_code(planes: usize) -> i8 {
    [0, 1, 4, 13, 40, MAX_CODE][planes]
}

/// Fewest planes, at least one, that hold this magnitude.
pub fn needed(magnitude: u8) -> usize {
    (1..PLANES).find(|&planes| magnitude <= max_code(planes) as u8).unwrap_or(PLANES)
}

/// Segments of a row, of so many, that rank it in the first step of a shortlist: two thirds, rounded up. They are what the
/// first step reads; what it overlooks, `tests/tests/shortlist.rs` measures.
pub const fn ranked(segments: usize) -> usize {
    (2 * segments).div_ceil(3)
}

/// The balanced trits of `value`, lowest first.
///
/// # Panics
/// If `value` is outside [-121, 121].
pub fn split(value: i8) -> [i8; PLANES] {
    assert!((-MAX_CODE..=MAX_CODE).contains(&value), "{value} does not fit five trits");
    let mut rest = i32::from(value);
    std::array::from_fn(|_| {
        let trit = (rest + 1).rem_euclid(3) - 1;
        rest = (rest - trit) / 3;
        trit as i8
    })
}

/// The value of balanced trits, lowest first.
pub fn join(trits: [i8; PLANES]) -> i8 {
    trits.iter().rev().fold(0, |value, &t| value * 3 + t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_round_trips() {
        for value in -MAX_CODE..=MAX_CODE {
            let trits = split(value);
            assert!(trits.iter().all(|t| (-1..=1).contains(t)));
            assert_eq!(join(trits), value);
        }
        for planes in 1..=PLANES {
            let most = max_code(planes);
            assert!(split(most)[planes..].iter().all(|&t| t == 0) && split(most)[..planes] == [1; PLANES][..planes]);
            assert_eq!((needed(most as u8), needed(most as u8 + 1)), (planes, (planes + 1).min(PLANES)));
        }
        assert_eq!([0, 1, 2, 3, 16, 27].map(ranked), [0, 1, 2, 2, 11, 18]);
        assert_eq!(needed(0), 1);
        assert_eq!(split(121), [1; 5]);
        assert_eq!(split(-121), [-1; 5]);
        assert_eq!(split(2), [-1, 1, 0, 0, 0]);
    }
}
