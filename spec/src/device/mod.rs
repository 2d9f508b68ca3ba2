//! The reference device: carries out compiled programs on a memory of bytes, one descriptor after
//! the other. Slow and obvious. The RTL is compared with it, command by command, and it tells whether
//! a compiled model gives the bits of the reference decoder.
//!
//! One file per unit, named as in docs/architecture/machine.md. Waits have no effect here: every
//! descriptor is done before the next starts.

mod attend;
mod fault;
mod gather;
mod head;
mod kv;
mod linear;
mod memory;
mod quantize;
mod state;
mod stream;
mod weights;

pub use fault::{Fault, FaultKind};
pub use memory::Memory;
pub use state::Vectors;

use crate::numerics::{exp2::Exp2Table, sigmoid::SigmoidTable};
use crate::program::{BYTES, Descriptor, DeviceShape, LABEL_NONE, LINE, Op, ShapeError, stream as id};
use head::Heads;
use state::{Acts, Queries};
use stream::{LinearStream, Packets};
use weights::WeightStream;

/// A token slot of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Whether the slot is used.
    pub valid: bool,
    /// Token id.
    pub token: u32,
    /// Position in its sequence.
    pub position: u32,
    /// First line of its sequence's cache.
    pub cache: u32,
    /// At the first slot of a run its length, otherwise 0.
    pub run: u8,
}

/// What a pass works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Line of the program, a linear stream of descriptors.
    pub program_line: u32,
    /// Its descriptors.
    pub program_words: u32,
    /// The slots, at most P of each bank; those of the second bank begin at number P. Slots of one sequence come in the
    /// order of their positions: the first bank does not see what the second one writes.
    pub slots: Vec<Slot>,
    /// Slots whose logits are wanted, bit by bit.
    pub want_logits: u64,
    /// Slots whose best token is wanted, but no logits.
    pub want_best: u64,
}

/// What a pass gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassResult {
    /// Token with the largest logit, the lowest of equals, and that logit: for every slot, `None` for
    /// unused ones, programs without a head and where no logit is a number.
    pub best: Vec<Option<(u32, f32)>>,
    /// Logits of the slots that want them, `[vocab]`; empty for the others.
    pub logits: Vec<Vec<f32>>,
}

/// What a tap is told after each descriptor.
pub struct Done<'a> {
    /// Number of the descriptor in its program.
    pub index: usize,
    /// The descriptor.
    pub descriptor: &'a Descriptor,
    /// The device after it.
    pub device: &'a Device,
}

/// The device: memory and everything that lives on the chip.
pub struct Device {
    shape: DeviceShape,
    memory: Memory,
    vectors: Vectors,
    acts: Acts,
    queries: Queries,
    /// Rotary factors, `[slot][element]` (cos, sin).
    rope: Vec<Vec<(f32, f32)>>,
    weights: WeightStream,
    rows: LinearStream,
    norms: LinearStream,
    mults: LinearStream,
    heads: Heads,
    slots: Vec<Slot>,
    exp2: Exp2Table,
    sigmoid: SigmoidTable,
}

impl Device {
    /// A device with this memory, everything on the chip zero.
    pub fn new(shape: DeviceShape, memory: Vec<u8>) -> Result<Device, ShapeError> {
        shape.validate()?;
        Ok(Device {
            memory: Memory::new(memory),
            vectors: Vectors::new(&shape),
            acts: Acts::new(&shape),
            queries: Queries::new(&shape),
            rope: vec![Vec::new(); shape.slots()],
            weights: WeightStream::new(&shape),
            rows: LinearStream::new(4 * shape.rows),
            norms: LinearStream::new(4 * shape.lanes()),
            mults: LinearStream::new(shape.rows),
            heads: Heads::new(&shape),
            slots: Vec::new(),
            exp2: Exp2Table::default(),
            sigmoid: SigmoidTable::default(),
            shape,
        })
    }

    /// Its sizes.
    pub fn shape(&self) -> &DeviceShape {
        &self.shape
    }

    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory, to be filled.
    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The vector memory.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Carries out a pass; `tap` is told after each descriptor.
    pub fn run(&mut self, pass: &Pass, tap: &mut dyn FnMut(&Done<'_>)) -> Result<PassResult, Fault> {
        let begin = |kind| Fault { index: 0, op: None, label: LABEL_NONE, kind };
        if pass.slots.len() > self.shape.slots() {
            return Err(begin(FaultKind::Program("more slots than the machine has")));
        }
        self.slots = pass.slots.clone();
        self.heads.begin(pass);
        for stream in [&mut self.rows, &mut self.norms, &mut self.mults] {
            stream.reset();
        }
        self.weights.reset();
        let packets = self.shape.packets(u64::from(pass.program_words) * BYTES as u64);
        let mut program = Packets::start(u64::from(pass.program_line) * LINE, packets);
        for index in 0..pass.program_words as usize {
            let mut bytes = [0; BYTES];
            for byte in &mut bytes {
                let next = program.next(&self.memory, self.shape.beat(), "program");
                *byte = next.map_err(|kind| Fault { index, ..begin(kind) })?;
            }
            let descriptor = Descriptor::from_bytes(&bytes);
            let done = self.execute(&descriptor).map_err(|kind| Fault {
                index,
                op: descriptor.op(),
                label: descriptor.label(),
                kind,
            })?;
            tap(&Done { index, descriptor: &descriptor, device: self });
            if done {
                return Ok(self.heads.result());
            }
        }
        Err(Fault { index: pass.program_words as usize, ..begin(FaultKind::Program("no end")) })
    }

    /// Carries out one descriptor; true for the end.
    fn execute(&mut self, d: &Descriptor) -> Result<bool, FaultKind> {
        match d.op() {
            None => return Err(FaultKind::Operation(d.words[0] & 0xff)),
            Some(Op::End) => return Ok(true),
            Some(Op::Stream) => self.stream(d)?,
            Some(Op::Gather) => self.gather(d)?,
            Some(Op::Quant) => self.quant(d)?,
            Some(Op::Linear) => self.linear(d)?,
            Some(Op::Attend) => self.attend(d)?,
        }
        Ok(false)
    }

    fn stream(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        match d.get("stream") {
            id::WEIGHT if d.get("listed") == 1 => {
                self.weights.start_listed(d, self.heads.list(), &self.memory, &self.shape)
            }
            id::WEIGHT => self.weights.start(d, &self.shape),
            id::ROW => self.rows.start(d),
            id::NORM => self.norms.start(d),
            _ => self.mults.start(d),
        }
    }

    /// Numbers of the slots of a descriptor's bank, whether they are used or not.
    fn bank(&self, d: &Descriptor) -> std::ops::Range<usize> {
        let (p, all) = (self.shape.tokens, self.slots.len());
        let first = d.get("bank") as usize * p;
        first.min(all)..(first + p).min(all)
    }

    /// Numbers of the used slots of a descriptor's bank.
    fn used(&self, d: &Descriptor) -> Vec<usize> {
        self.bank(d).filter(|&slot| self.slots[slot].valid).collect()
    }
}

#[cfg(test)]
mod tests;
