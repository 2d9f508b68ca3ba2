//! CRC32C of a row of beats.

use super::require::require;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// Checksum (Castagnoli, reflected, begun with and complemented by ones) of whole beats.
pub struct Crc32c {
    /// Bits of a beat, a multiple of 8.
    pub bits: u32,
}

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The remainder after one more bit of zero.
const fn step(rest: u32) -> u32 {
    if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 }
}

fn steps(rest: u32, count: u32) -> u32 {
    (0..count).fold(rest, |rest, _| step(rest))
}

/// The exclusive or of the bits of `of` whose contribution has bit `bit`.
fn sum(of: &Expr, contributions: &[u32], bit: u32) -> Expr {
    let taken = (0..of.width()).filter(|i| contributions[*i as usize] >> bit & 1 == 1);
    let bits: Vec<Expr> = taken.map(|i| of.bit(i)).collect();
    if bits.is_empty() { lit(0, 1) } else { cat(&bits).parity() }
}

impl Crc32c {
    /// Cycles from a beat to the checksum that includes it.
    pub const LATENCY: u32 = 2;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let bits = self.bits;
        let name = format!("tern_crc32c_w{bits}");
        require(&name, bits >= 8 && bits.is_multiple_of(8), "bits of a beat", "a multiple of 8", bits.into())?;
        let mut m = Module::new(name);
        m.header(&format!(
            "CRC32C: rest = shift(first ? ones : rest) ^ share of the beat; crc = ~rest.\n\n\
             Shapes   data u{bits}, byte 0 in the low bits | crc u32\n\
             Width    polynomial 1edc6f41 reflected; the shift by {bits} bits and the share of every data bit are\n\
             \x20        linear over GF(2): the generator computes which bits each bit of the sum takes\n\
             Latency  {} cycles: the beat's share, the sum of both\n\
             Stalls   none: a beat counts in a cycle with valid_i\n\
             Oracle   spec::crc32c",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let first = m.input("first_i", uint(1));
        let data = m.input("data_i", uint(bits));
        let crc = m.output("crc_o", uint(32));
        // bit i of the data is divided together with bit i of the remainder, then shifted bits - i times
        let of_data: Vec<u32> = (0..bits).map(|i| steps(1, bits - i)).collect();
        let of_rest: Vec<u32> = (0..32).map(|i| steps(1 << i, bits)).collect();
        let row = |of: &Expr, from: &[u32]| cat((0..32).rev().map(|bit| sum(of, from, bit)));
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        m.next(&valid_q, &valid);
        let first_q = m.reg("first_q", uint(1));
        let share_q = m.reg("share_q", uint(32));
        m.next_when(&first_q, &valid, &first);
        m.next_when(&share_q, &valid, &row(&data, &of_data));
        let rest_q = m.reg("rest_q", uint(32));
        let shifted = m.wire("shifted", &row(&rest_q, &of_rest));
        let begun = first_q.mux(&lit(steps(u32::MAX, bits).into(), 32), &shifted);
        m.next_when(&rest_q, &valid_q, &(begun ^ &share_q));
        m.drive(&crc, &!&rest_q);
        design.add(m)
    }
}
