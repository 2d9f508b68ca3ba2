//! How a memory keeps its masters waiting, and what goes wrong in it.

/// Delays of a memory. Fields of zero or `None` cost nothing.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Least and most cycles from an address to its first data or response.
    pub latency: (u64, u64),
    /// Least and most percent of the cycles that a port loses, drawn anew every [`Timing::WINDOW`] cycles.
    /// Ports past the end lose none.
    pub loss: Vec<(u64, u64)>,
    /// Beats that all ports together get in so many cycles.
    pub shared: Option<(i64, i64)>,
    /// Every so many cycles nothing moves for so many.
    pub refresh: Option<(u64, u64)>,
    /// One burst in so many waits for so many cycles: another row of its bank was open.
    pub bank_miss: Option<(u64, u64)>,
    /// Answers of different ids may overtake each other.
    pub reorder: bool,
    /// Beats of different ids may alternate.
    pub interleave: bool,
    /// Address and write channels are not ready once in so many cycles.
    pub stalls: u64,
    /// Fields that are not valid carry random bits.
    pub noise: bool,
}

impl Timing {
    /// Cycles for which a port's loss stays the same.
    pub const WINDOW: u64 = 1024;

    /// A beat a cycle on every port.
    pub fn ideal() -> Timing {
        Timing { latency: (8, 8), ..Timing::default() }
    }

    /// As measured on boards whose ports share switches: ports 1 and 2 lose 9 to 33 % of their beats.
    pub fn measured() -> Timing {
        Timing { latency: (40, 70), loss: vec![(0, 0), (9, 33), (9, 33)], ..Timing::default() }
    }

    /// One DDR4-2400 channel of 64 bits behind 128-bit ports at 250 MHz: 4.8 beats a cycle, refreshes of
    /// 350 ns every 7.8 us, and bursts that find their bank closed.
    pub fn ddr() -> Timing {
        Timing {
            latency: (40, 90),
            shared: Some((24, 5)),
            refresh: Some((1950, 88)),
            bank_miss: Some((6, 9)),
            ..Timing::default()
        }
    }

    /// Everything that AXI4 allows: for benches of masters.
    pub fn harsh() -> Timing {
        Timing {
            latency: (1, 40),
            loss: vec![(0, 60); 32],
            refresh: Some((700, 50)),
            bank_miss: Some((5, 20)),
            reorder: true,
            interleave: true,
            stalls: 3,
            noise: true,
            ..Timing::default()
        }
    }

    /// The model with this name.
    pub fn named(name: &str) -> Option<Timing> {
        match name {
            "ideal" => Some(Timing::ideal()),
            "measured" => Some(Timing::measured()),
            "ddr" => Some(Timing::ddr()),
            "harsh" => Some(Timing::harsh()),
            _ => None,
        }
    }
}

/// Failures of a memory. Bursts and beats of a port count from 0 at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Port, beat, bit: a read beat with one bit turned over.
    pub flip: Option<(usize, u64, usize)>,
    /// Byte of the memory whose accesses are answered with SLVERR.
    pub error_at: Option<u64>,
    /// Port, burst: a read burst that is not answered as long as this is set.
    pub silent: Option<(usize, u64)>,
    /// Port, burst: a read burst whose last beat is not marked.
    pub drop_last: Option<(usize, u64)>,
}

/// What a port has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read bursts asked for.
    pub read_bursts: u64,
    /// Read beats taken.
    pub read_beats: u64,
    /// Cycles in which a read was open and the memory had no beat for it.
    pub read_waits: u64,
    /// Write bursts asked for.
    pub write_bursts: u64,
    /// Write beats taken.
    pub write_beats: u64,
}
