//! Why a pass could not be carried out.

use crate::program::{LABEL_NONE, Op};
use std::fmt;
use thiserror::Error;

/// A pass that was given up, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Number of the descriptor.
    pub index: usize,
    /// Its operation.
    pub op: Option<Op>,
    /// Its label: the layer.
    pub label: u16,
    /// What happened.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {}", self.index)?;
        if let Some(op) = self.op {
            write!(f, " ({})", op.name())?;
        }
        if self.label != LABEL_NONE {
            write!(f, " of layer {}", self.label)?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Fault {}

/// What happened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FaultKind {
    /// An operation that does not exist.
    #[error("operation {0} does not exist")]
    Operation(u32),
    /// An access outside the memory.
    #[error("{len} bytes at {addr:#x} lie outside the memory of {size} bytes")]
    Address {
        /// First byte.
        addr: u64,
        /// Number of bytes.
        len: usize,
        /// Size of the memory.
        size: usize,
    },
    /// A packet whose checksum is wrong.
    #[error("packet at {addr:#x}: checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Address of the packet.
        addr: u64,
        /// The checksum in the packet.
        found: u32,
        /// The checksum of its payload.
        expected: u32,
    },
    /// A byte that stands for no five trits.
    #[error("byte {byte} of port {port} is no code of five trits")]
    Trits {
        /// The byte.
        byte: u8,
        /// The port.
        port: usize,
    },
    /// A stream that was asked for more words than its run has, or whose run was not used up.
    #[error("{stream} stream: {problem}")]
    Stream {
        /// The stream.
        stream: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A column word, query or position outside its memory.
    #[error("{what} {at} does not exist: there are {limit}")]
    Range {
        /// What was addressed.
        what: &'static str,
        /// The number.
        at: usize,
        /// How many there are.
        limit: usize,
    },
    /// Fields that contradict each other or the state of the machine.
    #[error("{0}")]
    Program(&'static str),
}
