//! Counters of a pass.

/// A counter of cycles in which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name; its registers are `<NAME>_LO` and `<NAME>_HI`.
    pub name: &'static str,
    /// Register of its low word.
    pub low: &'static str,
    /// Register of its high word.
    pub high: &'static str,
    /// What it counts.
    pub meaning: &'static str,
}

macro_rules! counters {
    ($($name:literal $meaning:literal,)*) => {
        &[$(Counter { name: $name, low: concat!($name, "_LO"), high: concat!($name, "_HI"), meaning: $meaning }),*]
    };
}

/// Bits of a counter; the rest of its high word is zero. 2^40 cycles are more than an hour.
pub const COUNTER_BITS: u32 = 40;

/// The counter that counts while no pass runs and that no start clears.
pub const IDLE: &str = "IDLE";

/// The counters, in the order of their registers. `tern_regs` has an input `ev_<name>_i` for those that it cannot know.
pub const COUNTERS: &[Counter] = counters! {
    "CYCLES" "cycles of the pass",
    "ISSUED" "descriptors issued",
    "WAITING" "cycles in which a descriptor waits for units",
    "ENGINE_BEATS" "words of weights that the engine used",
    "ENGINE_STARVED" "cycles in which the engine waits for weights",
    "ENGINE_TABLES" "cycles in which the engine waits for its tables",
    "ENGINE_SUMS" "cycles in which the engine waits for room for its sums",
    "WRITE_BEATS" "beats written to memory",
    "ATTEND_BEATS" "cycles in which a unit of attention takes the last beat of a key",
    "BUSY_GATHER" "cycles in which gather is busy",
    "BUSY_QUANT" "cycles in which the quantiser is busy",
    "BUSY_ENGINE" "cycles in which the matrix engine is busy",
    "BUSY_EPILOGUE" "cycles in which the epilogue is busy",
    "BUSY_ATTEND" "cycles in which attention is busy",
    "BUSY_KV" "cycles in which the cache writer is busy",
    "IDLE" "cycles without a pass, since a reset; a start does not clear it",
};

/// Number of a counter.
pub fn counter(name: &str) -> Option<usize> {
    COUNTERS.iter().position(|c| c.name == name)
}
