//! One harness for every block with streams.
//!
//! Streams are found by their port names (`<name>_valid_i` and so on). Each block is run plain, with
//! gaps at its sources, with stalls at its sinks, with both at random, and with a reset in the middle
//! of a packet; each time its outputs are compared with what the block's oracle says.

mod check;
pub mod rig;
mod streams;

pub use check::{Cover, check, check_mutated};
pub use streams::Bench;

use crate::SimError;
use crate::axi::{AxiError, Memory};
use crate::compile::{Job, Speed, compile, text};
use crate::ffi::Library;
use crate::rng::Rng;
use hw::ir::{Design, Interface, IrError};
use std::cell::RefCell;
use std::rc::Rc;
use thiserror::Error;

/// A value of a port or field, lowest 32 bits first.
pub type Word = Vec<u32>;
/// The fields of a beat, in port order.
pub type Beat = Vec<Word>;

/// A planted bug: text as it is generated, text with the bug.
pub type Bug<'a> = (&'a str, &'a str);

/// Compiles a design for a bench, with a planted bug if one is given; without one it must be lint clean.
pub fn build(design: &Design, top: &Interface, bug: Option<Bug>) -> Result<Library, SimError> {
    let mut verilog = text(design);
    if let Some((from, to)) = bug {
        if !verilog.contains(from) {
            return Err(BenchError::NoMutation { block: top.name.clone(), from: from.to_string() }.into());
        }
        verilog = verilog.replacen(from, to, 1);
    }
    let lint = bug.is_none() && !design.is_for_simulation();
    compile(&Job { top: &top.name, verilog: &verilog, ports: &top.ports, speed: Speed::Quick, lint })
}

/// How large the next packet should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The smallest that the block allows.
    Min,
    /// The largest that the block allows (or that is worth simulating).
    Max,
    /// Anything between.
    Any,
}

/// A piece of work for a block and what must come out.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Beats for each input stream.
    pub inputs: Vec<(&'static str, Vec<Beat>)>,
    /// Expected beats of each output stream.
    pub outputs: Vec<(&'static str, Vec<Beat>)>,
    /// Sticky one-bit outputs that this packet sets.
    pub sets: Vec<&'static str>,
}

/// A block under test: its generator, stimulus and oracle.
pub trait Block {
    /// Adds the block to a design.
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError>;
    /// Whether it is built as simulations of whole models have it ([`Design::for_simulation`]).
    fn for_simulation(&self) -> bool {
        false
    }
    /// Random work and the oracle's answer to it; counts what it covers.
    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet;
    /// Names of counters that must not stay zero.
    fn must_cover(&self) -> &'static [&'static str];
    /// Sticky outputs, compared at the end of each run.
    fn sticky(&self) -> &'static [&'static str] {
        &[]
    }
    /// Inputs that belong to no stream and keep one value.
    fn steady(&self) -> Vec<(&'static str, Word)> {
        Vec::new()
    }
    /// A memory and the prefixes of the AXI4 ports that it stands behind. It is ideal in plain runs and
    /// harsh in runs with gaps.
    fn memory(&self) -> Option<(Rc<RefCell<Memory>>, Vec<String>)> {
        None
    }
    /// Cycles to wait after all beats have moved.
    fn settle(&self) -> u64 {
        20
    }
    /// The block was reset: earlier work may be done in part.
    fn forget(&self) {}
    /// What is still wrong after all work of a run is done.
    fn after(&self) -> Result<(), String> {
        Ok(())
    }
    /// Cycles between the first input beat taken on a stream and the first output beat of another, if
    /// nothing stalls: `(input, output, cycles)`.
    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        None
    }
    /// Most cycles that these packets may take if nothing stalls.
    fn most_cycles(&self, _packets: &[Packet]) -> Option<u64> {
        None
    }
}

/// A difference between a block and its oracle.
#[derive(Debug, Error)]
pub enum BenchError {
    /// Another value than the oracle's.
    #[error("{block} ({run}), cycle {cycle}: {stream} beat {index} is {difference}")]
    Value {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// Cycle of the run.
        cycle: u64,
        /// Output stream.
        stream: String,
        /// Number of the beat.
        index: usize,
        /// What came and what the oracle says.
        difference: String,
    },
    /// A stream broke the handshake law.
    #[error("{block} ({run}), cycle {cycle}: {stream} changed or withdrew a beat that was not taken")]
    Law {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// Cycle of the run.
        cycle: u64,
        /// Output stream.
        stream: String,
    },
    /// Outputs did not come in time.
    #[error("{block} ({run}): nothing moved for {cycles} cycles, {missing} beats missing")]
    Stuck {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// Cycles without a beat.
        cycles: u64,
        /// Beats that are still expected.
        missing: usize,
    },
    /// A sticky output, a latency or a cycle count is another than promised.
    #[error("{block} ({run}): {what} is {found}, expected {expected}")]
    Promise {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// The promise.
        what: String,
        /// What was seen.
        found: u64,
        /// What was promised.
        expected: u64,
    },
    /// The stimulus never did what it should.
    #[error("{block}: the runs never covered `{counter}`")]
    Uncovered {
        /// The block.
        block: String,
        /// The counter that stayed zero.
        counter: String,
    },
    /// A rule of AXI4 was broken.
    #[error("{block} ({run}): {error}")]
    Axi {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// The rule.
        error: AxiError,
    },
    /// What [`Block::after`] found.
    #[error("{block} ({run}): {what}")]
    After {
        /// The block.
        block: String,
        /// Which run of the harness.
        run: String,
        /// What is wrong.
        what: String,
    },
    /// A mutation does not apply to the text.
    #[error("{block}: the mutation {from:?} does not occur")]
    NoMutation {
        /// The block.
        block: String,
        /// The text that should be replaced.
        from: String,
    },
}

/// Packs lanes of `width` bits into words, lane 0 in the low bits.
pub fn pack(width: u32, lanes: impl IntoIterator<Item = u64>) -> Word {
    let mut words = Vec::new();
    for (lane, value) in lanes.into_iter().enumerate() {
        for bit in 0..width {
            let at = lane * width as usize + bit as usize;
            words.resize(words.len().max(at / 32 + 1), 0);
            words[at / 32] |= ((value >> bit & 1) as u32) << (at % 32);
        }
    }
    words
}
