//! What a driver and its machine count, and a table that adds up.

use super::RunError;
use super::driver::Driver;
use spec::regs::{COUNTERS, IDLE};
use spec::transport::Transport;
use std::time::Duration;

/// What a driver has seen.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Passes that ended well.
    pub passes: u64,
    /// Slots that they used.
    pub slots: u64,
    /// Time between doorbells and ends.
    pub device_time: Duration,
    /// Time of passes that is not the device's: registers before, results after.
    pub host_time: Duration,
    /// Ends that no interrupt told.
    pub lost_interrupts: u64,
    /// Interrupts that told nothing.
    pub spurious_interrupts: u64,
    /// Passes in which something touched registers that do not exist.
    pub illegal_accesses: u64,
    /// Passes that ended in a fault.
    pub faults: u64,
    /// Passes that were run again after a fault of memory.
    pub retries: u64,
    /// Bytes of models written.
    pub uploaded: u64,
    /// Time to load the model, if only to find it there.
    pub load_time: Duration,
}

impl Stats {
    pub(super) fn pass(&mut self, slots: usize, device: Duration, all: Duration) {
        self.passes += 1;
        self.slots += slots as u64;
        self.device_time += device;
        self.host_time += all.saturating_sub(device);
    }
}

/// Counters by name.
pub type Counts = Vec<(String, u64)>;

impl<T: Transport + Send> Driver<T> {
    fn wide(&mut self, low: u32, high: u32) -> Result<u64, RunError> {
        let low = self.transport.read32(low)?;
        Ok(u64::from(low) | u64::from(self.transport.read32(high)?) << 32)
    }

    /// Performance counters of the last pass, by name; IDLE, which no start clears, since the last call.
    pub fn counters(&mut self) -> Result<Vec<(&'static str, u64)>, RunError> {
        let offset = spec::regs::offset;
        let mut all = Vec::new();
        for counter in COUNTERS {
            let mut count = self.wide(offset(counter.low), offset(counter.high))?;
            if counter.name == IDLE {
                count -= std::mem::replace(&mut self.idle_cycles, count).min(count);
            }
            all.push((counter.name, count));
        }
        Ok(all)
    }

    /// The same, with the beats of every port.
    pub fn all_counters(&mut self) -> Result<Counts, RunError> {
        let mut all: Counts = self.counters()?.into_iter().map(|(name, count)| (name.to_string(), count)).collect();
        for port in 0..self.expected.shape.ports as u32 {
            let at = |name: &str| spec::regs::offset(name) + 8 * port;
            all.push((format!("PORT_BEATS[{port}]"), self.wide(at("PORT_BEATS_LO"), at("PORT_BEATS_HI"))?));
        }
        Ok(all)
    }
}

/// A part of the cycles of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// What the cycles were spent on.
    pub what: &'static str,
    /// How many.
    pub cycles: u64,
}

/// What the matrix engine did in every cycle: the parts add up to all cycles. `None` if the counters contradict that.
pub fn engine_shares(counters: &Counts) -> Option<Vec<Share>> {
    let count = |name: &str| counters.iter().find(|(n, _)| n == name).map(|(_, count)| *count);
    let parts = [
        ("multiplies", "ENGINE_BEATS"),
        ("waits for weights from memory", "ENGINE_STARVED"),
        ("waits for its tables", "ENGINE_TABLES"),
        ("waits for room for sums", "ENGINE_SUMS"),
    ];
    let all = count("CYCLES")?;
    let mut shares = Vec::new();
    for (what, name) in parts {
        shares.push(Share { what, cycles: count(name)? });
    }
    let used: u64 = shares.iter().map(|share| share.cycles).sum();
    shares.push(Share { what: "has nothing to do: other units work", cycles: all.checked_sub(used)? });
    Some(shares)
}
