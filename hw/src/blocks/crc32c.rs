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

/// A part that fewer sums than this take is not worth a LUT of its own.
const SHARED: u32 = 8;
/// Inputs of a LUT.
const LUT: usize = 6;

/// A signal of the sums: an exclusive or of some bits of a beat.
struct Part {
    /// The sums that take it, a bit each.
    sums: u32,
    bits: Vec<usize>,
}

/// Parts of the sums, given which sums each bit is in: the bits, then what two parts have in common, most often first
/// (Paar, "Optimized arithmetic for Reed-Solomon encoders", 1997).
fn parts(columns: &[u32]) -> Vec<Part> {
    let mut parts: Vec<Part> = columns.iter().enumerate().map(|(i, &sums)| Part { sums, bits: vec![i] }).collect();
    loop {
        let pairs = (0..parts.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let fit = pairs.filter(|&(i, j)| parts[i].bits.len() + parts[j].bits.len() <= LUT);
        let count = |&(i, j): &(usize, usize)| (parts[i].sums & parts[j].sums).count_ones();
        let Some((i, j)) = fit.max_by_key(count).filter(|pair| count(pair) >= SHARED) else { return parts };
        let sums = parts[i].sums & parts[j].sums;
        [i, j].into_iter().for_each(|at| parts[at].sums &= !sums);
        let bits = [&parts[i].bits[..], &parts[j].bits].concat();
        parts.push(Part { sums, bits });
    }
}

/// An exclusive or in a module of its own, which synthesis maps to one LUT.
fn build_xor(design: &mut Design, inputs: usize) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new(format!("tern_xor{inputs}"));
    m.header(&format!("Exclusive or of {inputs} bits, a LUT.\n\nShapes   of u{inputs} | sum u1\nLatency  0"));
    let of = m.input("of_i", uint(inputs as u32));
    let sum = m.output("sum_o", uint(1));
    m.drive(&sum, &of.parity());
    design.add(m)
}

/// A bit, and the LUTs before it in a row.
type Signal = (u32, Expr);

/// The exclusive or of a few signals.
fn xor(m: &mut Module, design: &mut Design, name: &str, of: &[Signal]) -> Result<Signal, IrError> {
    let bits = cat(of.iter().map(|(_, bit)| bit));
    let xor_of = build_xor(design, of.len())?;
    let levels = of.iter().map(|(levels, _)| levels + 1).max().unwrap_or(0);
    Ok((levels, m.instance(name, &xor_of, &[("of_i", &bits)]).get("sum_o")))
}

impl Crc32c {
    /// Cycles from a beat to the checksum that includes it.
    pub const LATENCY: u32 = 2;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let bits = self.bits;
        let name = format!("tern_crc32c_w{bits}");
        require(
            &name,
            bits >= 32 && bits.is_multiple_of(8),
            "bits of a beat",
            "a multiple of 8, at least 32",
            bits.into(),
        )?;
        let mut m = Module::new(name);
        m.header(&format!(
            "CRC32C: rest = share(data ^ (first ? ones : rest)); crc = ~rest.\n\n\
             Shapes   data u{bits}, byte 0 in the low bits | crc u32\n\
             Width    polynomial 1edc6f41 reflected; the share of every bit of a beat is linear over GF(2): the generator\n\
             \x20        computes which bits each bit of the sum takes, shares what sums have in common and makes trees of\n\
             \x20        exclusive ors of {LUT} bits\n\
             Latency  {} cycles: the beat, the sum\n\
             Stalls   none: a beat counts in a cycle with valid_i. The sum stays until the cycle after the next first beat\n\
             Oracle   spec::crc32c",
            Self::LATENCY
        ));
        let valid = m.input("valid_i", uint(1));
        let first = m.input("first_i", uint(1));
        let data = m.input("data_i", uint(bits));
        let crc = m.output("crc_o", uint(32));
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        let data_q = m.reg("data_q", uint(bits));
        let crc_q = m.reg("crc_q", uint(32));
        m.next(&valid_q, &valid);
        m.next_when(&data_q, &valid, &data);

        let next = match design.is_for_simulation() {
            true => self.parities(&mut m, &data_q, &crc_q),
            false => self.shared(&mut m, design, &data_q, &crc_q)?,
        };
        let begins = m.wire("begins", &(&valid & &first));
        m.next(&crc_q, &begins.mux(&lit(0, 32), &valid_q.mux(&cat(next.iter().rev()), &crc_q)));
        m.drive(&crc, &crc_q);
        design.add(m)
    }

    /// The sums that each bit of a beat is in, a bit each: bit `i` is shifted `bits - i` times.
    fn columns(&self) -> Vec<u32> {
        (0..self.bits).map(|i| steps(1, self.bits - i)).collect()
    }

    /// What a beat of zeros makes of a remainder of ones.
    fn complement(&self) -> u32 {
        steps(u32::MAX, self.bits)
    }

    /// The sums of a board: shared parts of as few LUTs as possible.
    fn shared(&self, m: &mut Module, design: &mut Design, data_q: &Expr, crc_q: &Expr) -> Result<Vec<Expr>, IrError> {
        let bits = self.bits;
        m.comment("The remainder is divided together with the first 32 bits; here it is complemented.");
        let mut signals: Vec<Signal> = (0..bits).map(|i| (0, data_q.bit(i))).collect();
        for (i, signal) in signals.iter_mut().enumerate().take(32) {
            let both = [signal.clone(), (0, crc_q.bit(i as u32))];
            *signal = xor(m, design, &format!("both{i}"), &both)?;
        }
        m.comment("What sums have in common.");
        let parts = parts(&self.columns());
        let mut taken: Vec<(u32, Signal)> = Vec::new();
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.sums != 0) {
            let of: Vec<Signal> = part.bits.iter().map(|&bit| signals[bit].clone()).collect();
            let signal = if at < bits as usize { of[0].clone() } else { xor(m, design, &format!("part{at}"), &of)? };
            taken.push((part.sums, signal));
        }
        m.comment("The sums.");
        let complement = self.complement();
        let mut next = Vec::new();
        for sum in 0..32 {
            let mut of: Vec<Signal> = taken.iter().filter(|(s, _)| s >> sum & 1 == 1).map(|(_, s)| s.clone()).collect();
            while of.len() > LUT {
                // the first one takes so many that all later ones are full
                let count = (of.len() + LUT - 3) % (LUT - 1) + 2;
                of.sort_by_key(|(levels, _)| *levels);
                let rest = of.split_off(count);
                let one = xor(m, design, &format!("sum{sum}n{}", rest.len()), &of)?;
                of = rest;
                of.push(one);
            }
            let all = cat(of.iter().map(|(_, bit)| bit)).parity();
            next.push(if complement >> sum & 1 == 1 { all } else { !all });
        }
        Ok(next)
    }

    /// The same sums for a simulation, which is slow at single bits: each is the parity of its bits of a beat.
    fn parities(&self, m: &mut Module, data_q: &Expr, crc_q: &Expr) -> Vec<Expr> {
        m.comment("The remainder is divided together with the first 32 bits; here it is complemented.");
        let mixed = m.wire("mixed", &(data_q ^ crc_q.extend(self.bits)));
        m.comment("The sums.");
        let columns = self.columns();
        let of = |sum: u32, word: &[u32]| {
            word.iter().rev().fold(0, |mask, column| mask << 1 | u128::from(column >> sum & 1))
        };
        let sum = |sum: u32| {
            let words = columns.chunks(32).enumerate();
            let bits = |(at, word): (usize, &[u32])| mixed.slice(32 * at as u32, word.len() as u32).extend(32);
            let taken = words.map(|part| bits(part) & lit(of(sum, part.1), 32));
            let all = taken.reduce(|a, b| a ^ b).map_or(lit(0, 1), |bits| bits.parity());
            if self.complement() >> sum & 1 == 1 { all } else { !all }
        };
        (0..32).map(sum).collect()
    }
}
