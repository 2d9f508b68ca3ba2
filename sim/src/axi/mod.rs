//! A memory behind AXI4 ports: one array of bytes, any number of masters of a model.
//!
//! [`Memory::step`] is called once in each cycle, before the model's clock edge. It reads what the masters
//! say and answers in the same cycle, so the masters' outputs must be registers. It checks the protocol:
//! a broken rule is an [`AxiError`].

mod bytes;
mod read;
mod timing;
mod write;

pub use bytes::Bytes;
pub use timing::{Counters, Faults, Timing};

use crate::SimError;
use crate::ffi::{Library, Model, PortId};
use crate::rng::Rng;
use read::ReadPort;
use thiserror::Error;
use write::WritePort;

/// Bytes that no burst may cross.
const PAGE: u64 = 4096;
/// Bursts that a port may have open.
const OPEN: usize = 64;

/// A rule of AXI4 that a master broke.
#[derive(Debug, Error)]
#[error("port {port}, cycle {cycle}: {what}")]
pub struct AxiError {
    /// Prefix of the port.
    pub port: String,
    /// Cycle since the start.
    pub cycle: u64,
    /// The rule.
    pub what: String,
}

/// What the ports have in common.
struct Shared {
    bytes: Bytes,
    base: u64,
    timing: Timing,
    faults: Faults,
    rng: Rng,
    cycle: u64,
    /// Beats that may still pass, in units of the divisor of `timing.shared`.
    budget: i64,
}

impl Shared {
    /// Whether nothing moves at all.
    fn refreshing(&self) -> bool {
        self.timing.refresh.is_some_and(|(period, length)| self.cycle % period.max(1) < length)
    }

    fn latency(&mut self) -> u64 {
        let (low, high) = self.timing.latency;
        self.cycle + self.rng.within(low.max(1), high.max(low).max(1))
    }

    /// Whether an address or write channel takes nothing in this cycle.
    fn stalls(&mut self) -> bool {
        self.timing.stalls != 0 && self.rng.one_in(self.timing.stalls)
    }

    fn error_in(&self, offset: u64, length: u64) -> bool {
        self.faults.error_at.is_some_and(|at| (offset..offset + length).contains(&at))
    }

    /// Offset of a burst in the memory, if it keeps the rules.
    fn burst(&self, address: u64, beats: u64, beat: u64, size: u64, kind: u64) -> Result<u64, String> {
        let (offset, length) = (address.wrapping_sub(self.base), beats * beat);
        let rule = |kept: bool, what: &str| match kept {
            true => Ok(()),
            false => Err(format!("{beats} beats from {address:#x}: {what}")),
        };
        rule(1 << size == beat, "beats are not as wide as the port")?;
        rule(kind == 1, "the burst is not of type INCR")?;
        rule(address.is_multiple_of(beat), "the address is not a multiple of a beat")?;
        rule(address / PAGE == (address + length - 1) / PAGE, "the burst crosses 4 KiB")?;
        let end = offset.checked_add(length);
        rule(end.is_some_and(|end| end <= self.bytes.len() as u64), "outside of the memory")?;
        Ok(offset)
    }
}

/// A signal of a port: `<prefix>_<name>`, or without the direction's suffix as at the top of a machine.
fn port_of(library: &Library, prefix: &str, name: &str) -> Result<PortId, SimError> {
    let full = format!("{prefix}_{name}");
    library.port(&full).or_else(|error| library.port(&full[..full.len() - 2]).map_err(|_| error))
}

struct Port {
    name: String,
    read: Option<ReadPort>,
    write: Option<WritePort>,
    counters: Counters,
}

/// The memory.
pub struct Memory {
    shared: Shared,
    ports: Vec<Port>,
}

impl Memory {
    /// A memory of these bytes, the first at address `base`, a multiple of 4,096.
    pub fn new(bytes: Vec<u8>, base: u64, timing: Timing, seed: u64) -> Memory {
        Memory::on(bytes.into(), base, timing, seed)
    }

    /// The same for bytes of any kind.
    pub fn on(bytes: Bytes, base: u64, timing: Timing, seed: u64) -> Memory {
        let (faults, rng) = (Faults::default(), Rng::new(seed));
        Memory { shared: Shared { bytes, base, timing, faults, rng, cycle: 0, budget: 0 }, ports: Vec::new() }
    }

    /// Connects the ports of a model that begin with `<prefix>_ar`, `_r`, `_aw`, `_w`, `_b`. Returns the port's number.
    pub fn attach(&mut self, library: &Library, prefix: &str) -> Result<usize, SimError> {
        let has = |name: &str| port_of(library, prefix, name).is_ok();
        let read = if has("arvalid_o") { Some(ReadPort::new(library, prefix)?) } else { None };
        let write = if has("awvalid_o") { Some(WritePort::new(library, prefix)?) } else { None };
        self.ports.push(Port { name: prefix.to_string(), read, write, counters: Counters::default() });
        Ok(self.ports.len() - 1)
    }

    /// Forgets all open bursts, as after a reset of the masters.
    pub fn reset(&mut self) {
        for port in &mut self.ports {
            port.read.iter_mut().for_each(ReadPort::reset);
            port.write.iter_mut().for_each(WritePort::reset);
        }
    }

    /// Begins anew with these delays, as a new memory with the same bytes would; no burst may be open.
    pub fn restart(&mut self, timing: Timing, seed: u64) {
        self.reset();
        let shared = &mut self.shared;
        (shared.timing, shared.rng, shared.cycle, shared.budget) = (timing, Rng::new(seed), 0, 0);
    }

    /// Forgets the ports: the memory may be attached to another model.
    pub fn detach(&mut self) {
        self.ports.clear();
    }

    /// Plays one cycle; to be called before the clock edge.
    pub fn step(&mut self, model: &mut Model) -> Result<(), AxiError> {
        let shared = &mut self.shared;
        if let Some((beats, cycles)) = shared.timing.shared {
            shared.budget = (shared.budget + beats).min(4 * cycles + beats);
        }
        // nobody is always the first to be served
        let (count, first) = (self.ports.len(), shared.cycle as usize);
        for turn in 0..count {
            let at = (first + turn) % count;
            let port = &mut self.ports[at];
            let mut done = Ok(());
            if let Some(read) = &mut port.read {
                done = read.step(at, model, shared, &mut port.counters);
            }
            if let (Ok(()), Some(write)) = (&done, &mut port.write) {
                done = write.step(model, shared, &mut port.counters);
            }
            done.map_err(|what| AxiError { port: port.name.clone(), cycle: shared.cycle, what })?;
        }
        shared.cycle += 1;
        Ok(())
    }

    /// Ports at which a beat was read in the last cycle, a bit each.
    pub fn beats_now(&self) -> u64 {
        let port = |(at, port): (usize, &Port)| u64::from(port.read.as_ref().is_some_and(ReadPort::moved)) << at;
        self.ports.iter().enumerate().map(port).sum()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.shared.bytes
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.shared.bytes
    }

    /// The delays, to be changed.
    pub fn timing_mut(&mut self) -> &mut Timing {
        &mut self.shared.timing
    }

    /// The failures, to be changed.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.shared.faults
    }

    /// What a port has seen.
    pub fn counters(&self, port: usize) -> Counters {
        self.ports[port].counters
    }
}
