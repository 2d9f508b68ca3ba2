//! Programs: what the sequencer fetches and carries out. The one origin of the descriptor encoding:
//! the compiler writes it, the sequencer's decoder is printed from it, the reference device reads it.
//!
//! A program is a row of descriptors of [`WORDS`] little-endian 32-bit words. Word 0 holds the
//! operation in bits 7:0, the units to wait for in bits 15:8 ([`wait`]) and a label in bits 31:16
//! that faults and lock-step reports name (the layer; [`LABEL_NONE`] outside layers). Word 15 says how many of
//! the latest commands of a unit that is waited for may still be in work ([`wait::LAGGED`]). All other fields
//! stand in [`FIELDS`]. See docs/architecture/machine.md for what each operation does.

mod fields;
mod listing;
mod packet;
mod shape;
mod words;

pub use fields::{FIELDS, Field, field, fields_of};
pub use listing::listing;
pub use packet::{check_packet, write_packets};
pub use shape::{DeviceShape, MAX_LANES, ShapeError};
pub use words::{WordLayout, WordPacker, WordReader};

use thiserror::Error;

/// Words of a descriptor.
pub const WORDS: usize = 16;
/// Bytes of a descriptor.
pub const BYTES: usize = 4 * WORDS;
/// Bytes of a line, the unit of all addresses in programs and slots.
pub const LINE: u64 = 64;
/// Bytes of a packet of a linear stream: payload, then one beat with the payload's CRC32C in its
/// lowest 32 bits, the other bits of that beat zero.
pub const PACKET: u64 = 4096;
/// Label of a descriptor that belongs to no layer.
pub const LABEL_NONE: u16 = 0xffff;

/// Operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Op {
    /// The pass is over when every unit is idle.
    End = 0,
    /// Starts a run of a linear stream.
    Stream = 1,
    /// Embedding rows and rotary factors of all slots.
    Gather = 2,
    /// Norm and quantisation of vectors of the vector memory.
    Quant = 3,
    /// One tile of a matrix: engine and epilogue.
    Linear = 4,
    /// Attention of one layer.
    Attend = 5,
}

impl Op {
    /// All operations.
    pub const ALL: [Op; 6] = [Op::End, Op::Stream, Op::Gather, Op::Quant, Op::Linear, Op::Attend];

    /// The operation with this code.
    pub fn from_code(code: u32) -> Option<Op> {
        Op::ALL.into_iter().find(|op| *op as u32 == code)
    }

    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Op::End => "end",
            Op::Stream => "stream",
            Op::Gather => "gather",
            Op::Quant => "quant",
            Op::Linear => "linear",
            Op::Attend => "attend",
        }
    }
}

/// Units that a descriptor may wait for, as bits of its wait mask: it is not issued before all of
/// them are idle (commands done, results written).
pub mod wait {
    /// Embedding and rotary factors.
    pub const GATHER: u32 = 1;
    /// Quantiser with what it feeds: activation buffer, query memory.
    pub const QUANT: u32 = 2;
    /// Matrix engine.
    pub const ENGINE: u32 = 4;
    /// Epilogue and output head.
    pub const EPILOGUE: u32 = 8;
    /// Attention.
    pub const ATTEND: u32 = 16;
    /// Keys and values written, and acknowledged by memory.
    pub const KV: u32 = 32;
    /// All units.
    pub const ALL: u32 = 63;
    /// Units whose latest commands need not be done: 4 bits each in word [`LAG_WORD`], the first lowest, say how many
    /// at most. 0: the unit must be idle.
    pub const LAGGED: [u32; 3] = [QUANT, EPILOGUE, ATTEND];
    /// The word of a descriptor that holds them.
    pub const LAG_WORD: usize = 15;
    /// Bits of such a number.
    pub const LAG_BITS: u32 = 4;
}

/// Linear streams (field `stream` of [`Op::Stream`]).
pub mod stream {
    /// Weights, one region for each port.
    pub const WEIGHT: u32 = 0;
    /// Row scales and biases.
    pub const ROW: u32 = 1;
    /// Norm weights.
    pub const NORM: u32 = 2;
    /// Group multipliers.
    pub const MULT: u32 = 3;
}

/// Modes of [`Op::Quant`].
pub mod quant {
    /// Codes to the activation buffer, scales to the epilogue.
    pub const ACT: u32 = 0;
    /// Codes to the query memory, scales times `factor`.
    pub const QUERY: u32 = 1;
    /// Codes and scales to the keys of the cache.
    pub const KEY: u32 = 2;
    /// Codes and scales to the values of the cache.
    pub const VALUE: u32 = 3;
    /// Normed floats to the vector memory, not quantised.
    pub const NORM: u32 = 4;
}

/// Modes of the epilogue (field `mode` of [`Op::Linear`]).
pub mod epilogue {
    /// To the vector memory.
    pub const STORE: u32 = 0;
    /// Added to the vector memory.
    pub const RESIDUAL: u32 = 1;
    /// Words in pairs: `silu(a) * b`.
    pub const SILU: u32 = 2;
    /// Words in pairs: `(relu(a) * relu(a)) * b`.
    pub const RELU2: u32 = 3;
    /// Words in pairs, turned: `a cos - b sin`, `b cos + a sin`.
    pub const ROPE: u32 = 4;
    /// To the output head: arg-max, logits.
    pub const LOGITS: u32 = 5;
    /// To the output head's list: the groups of Q rows with the largest logits, of the last slot.
    pub const RANK: u32 = 6;
    /// As LOGITS, but word `w` holds the rows of the list's group `w`, which also has their scales.
    pub const PICK: u32 = 7;
}

/// A program that cannot be read or a field that does not fit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProgramError {
    /// An operation code that does not exist.
    #[error("descriptor {index}: operation {code} does not exist")]
    Op {
        /// Number of the descriptor.
        index: usize,
        /// The code.
        code: u32,
    },
    /// A value that its field cannot hold.
    #[error("{op} field {name} = {value}: it holds {bits} bits")]
    Field {
        /// The operation.
        op: &'static str,
        /// The field.
        name: &'static str,
        /// The value.
        value: u64,
        /// Width of the field.
        bits: u32,
    },
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its words as in memory.
    pub words: [u32; WORDS],
}

impl Descriptor {
    /// A descriptor with all fields zero.
    pub fn new(op: Op, wait: u32, label: u16) -> Descriptor {
        let mut words = [0; WORDS];
        words[0] = op as u32 | (wait & 0xff) << 8 | u32::from(label) << 16;
        Descriptor { words }
    }

    /// A descriptor as it lies in memory.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Descriptor {
        let word = |i: usize| u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]);
        Descriptor { words: std::array::from_fn(word) }
    }

    /// The bytes of a descriptor in memory.
    pub fn to_bytes(&self) -> [u8; BYTES] {
        std::array::from_fn(|i| self.words[i / 4].to_le_bytes()[i % 4])
    }

    /// The operation, if it exists.
    pub fn op(&self) -> Option<Op> {
        Op::from_code(self.words[0] & 0xff)
    }

    /// Units to wait for.
    pub fn wait(&self) -> u32 {
        self.words[0] >> 8 & 0xff
    }

    /// How many of the latest commands of this unit, which it waits for, may still be in work; 0: it must be idle.
    pub fn lag(&self, unit: u32) -> u32 {
        let at = wait::LAGGED.iter().position(|u| *u == unit);
        at.map_or(0, |at| self.words[wait::LAG_WORD] >> (wait::LAG_BITS * at as u32) & ((1 << wait::LAG_BITS) - 1))
    }

    /// Sets [`Descriptor::lag`], to the most that there is if `lag` is more; units without one keep 0.
    pub fn set_lag(&mut self, unit: u32, lag: u32) {
        if let Some(at) = wait::LAGGED.iter().position(|u| *u == unit) {
            let (shift, most) = (wait::LAG_BITS * at as u32, (1 << wait::LAG_BITS) - 1);
            let word = &mut self.words[wait::LAG_WORD];
            *word = *word & !(most << shift) | lag.min(most) << shift;
        }
    }

    /// The label.
    pub fn label(&self) -> u16 {
        (self.words[0] >> 16) as u16
    }

    /// The value of a field of its operation.
    ///
    /// # Panics
    /// If the operation has no such field: a mistake in the program text, not in data.
    pub fn get(&self, name: &str) -> u32 {
        let op = self.op().unwrap_or(Op::End);
        let f = field(op, name).unwrap_or_else(|| panic!("{} has no field {name}", op.name()));
        (self.words[f.word] >> f.low) & f.mask()
    }

    /// The value of a field that holds a binary32.
    pub fn get_f32(&self, name: &str) -> f32 {
        f32::from_bits(self.get(name))
    }

    /// Sets a field of its operation.
    ///
    /// # Panics
    /// If the operation has no such field: a mistake in the program text, not in data.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), ProgramError> {
        let op = self.op().unwrap_or(Op::End);
        let f = field(op, name).unwrap_or_else(|| panic!("{} has no field {name}", op.name()));
        if value > u64::from(f.mask()) {
            return Err(ProgramError::Field { op: op.name(), name: f.name, value, bits: f.width });
        }
        self.words[f.word] = self.words[f.word] & !(f.mask() << f.low) | (value as u32) << f.low;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields lie inside their words, never over each other or over word 0.
    #[test]
    fn fields_do_not_overlap() {
        for op in Op::ALL {
            let mut used = [0u32; WORDS];
            used[0] = u32::MAX;
            used[wait::LAG_WORD] = u32::MAX;
            for f in fields_of(op) {
                assert!(f.width >= 1 && f.low + f.width <= 32 && f.word < WORDS, "{f:?}");
                let bits = f.mask() << f.low;
                assert_eq!(used[f.word] & bits, 0, "{} {}", op.name(), f.name);
                used[f.word] |= bits;
            }
        }
    }

    #[test]
    fn fields_hold_what_they_are_given_and_refuse_more() {
        let mut d = Descriptor::new(Op::Linear, wait::QUANT, 7);
        d.set("words", 300).unwrap();
        d.set("planes", 5).unwrap();
        assert_eq!((d.get("words"), d.get("planes"), d.label(), d.wait()), (300, 5, 7, wait::QUANT));
        assert!(d.set("planes", 8).is_err());
        d.set_lag(wait::ATTEND, 3);
        d.set_lag(wait::QUANT, 99);
        d.set_lag(wait::KV, 2);
        assert_eq!([wait::QUANT, wait::EPILOGUE, wait::ATTEND, wait::KV].map(|u| d.lag(u)), [15, 0, 3, 0]);
        assert_eq!(d.op(), Some(Op::Linear));
    }
}
