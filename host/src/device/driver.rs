//! Drives a machine through a [`Transport`]: simulated RTL, a Zynq's AXI, a card behind PCIe.
//!
//! STATUS is the truth and the interrupt a hint: after every wait, whatever it said, the cause is cleared and STATUS
//! is read. What the device says is never trusted further than it can be checked.

use super::RunError;
use super::error::{DeviceError, Trouble};
pub use super::identity::Expected;
use super::identity::identify;
use super::residency::Loading;
use super::stats::Stats;
use spec::regs::offset;
use spec::transport::{Transport, TransportError};
use std::time::{Duration, Instant};

/// Bits of STATUS and IRQ_STATUS.
pub(super) const BUSY: u32 = 1;
pub(super) const DONE: u32 = 1 << 1;
pub(super) const FAULT: u32 = 1 << 2;
pub(super) const DRAINING: u32 = 1 << 3;
const STUCK: u32 = 1 << 4;
pub(super) const ILLEGAL: u32 = 1 << 5;
/// Bits of CONTROL.
pub(super) const START: u32 = 1;
const RESET: u32 = 1 << 1;
/// How patient a driver is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time that a pass may take.
    pub pass: Duration,
    /// Longest time that a soft reset may take.
    pub reset: Duration,
    /// After so long without an interrupt STATUS is read all the same; `None`: never, which is for tests.
    pub poll: Option<Duration>,
}

impl Patience {
    /// A board: the machine's watchdog bites long before.
    pub const BOARD: Patience = Patience {
        pass: Duration::from_secs(30),
        reset: Duration::from_secs(2),
        poll: Some(Duration::from_millis(50)),
    };
    /// Verilator, a thousand times slower and more.
    pub const SIMULATION: Patience = Patience {
        pass: Duration::from_secs(3600),
        reset: Duration::from_secs(300),
        poll: Some(Duration::from_millis(50)),
    };
}

/// A machine behind a transport.
pub struct Driver<T: Transport> {
    pub(super) transport: T,
    pub(super) expected: Expected,
    pub(super) name: String,
    pub(super) patience: Patience,
    pub(super) pass: u32,
    /// Whether a pass may be at work.
    pub(super) at_work: bool,
    /// Whether the interrupt has shown to be of no use.
    pub(super) polling: bool,
    /// Code and details of the last pass's fault, which has not been mended.
    pub(super) last_fault: Option<(u8, u32)>,
    pub(super) stats: Stats,
    /// What the counter of idle cycles said when it was read last.
    pub(super) idle_cycles: u64,
    pub(super) loading: Loading,
}

impl From<TransportError> for RunError {
    fn from(error: TransportError) -> Self {
        RunError::Trouble(error.into())
    }
}

impl<T: Transport + Send> Driver<T> {
    /// Checks that the machine is the expected one and resets it. `name` is for people.
    pub fn new(mut transport: T, expected: Expected, name: String, patience: Patience) -> Result<Self, RunError> {
        identify(&mut transport, &expected, &name)?;
        let (stats, loading) = (Stats::default(), Loading::default());
        let mut driver = Driver {
            transport,
            expected,
            name,
            patience,
            pass: 0,
            at_work: false,
            polling: false,
            last_fault: None,
            stats,
            idle_cycles: 0,
            loading,
        };
        // passes of another run must not be taken for this one's
        driver.pass = driver.read32("DONE_PASS")?;
        driver.reset()?;
        Ok(driver)
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport, for taps and faults.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// What the driver has counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How a model is loaded.
    pub fn loading_mut(&mut self) -> &mut Loading {
        &mut self.loading
    }

    /// The next pass gets the number after this one.
    pub fn number_from(&mut self, pass: u32) {
        self.pass = pass;
    }

    pub(super) fn error(&self, trouble: Trouble, text: impl std::fmt::Display) -> RunError {
        DeviceError::new(trouble, format!("{}: {text}", self.name)).into()
    }

    pub(super) fn write(&mut self, register: &str, value: u32) -> Result<(), RunError> {
        Ok(self.transport.write32(offset(register), value)?)
    }

    pub(super) fn read32(&mut self, register: &str) -> Result<u32, RunError> {
        Ok(self.transport.read32(offset(register))?)
    }

    /// STATUS, if the machine is there to tell.
    pub(super) fn status(&mut self) -> Result<u32, RunError> {
        let status = self.read32("STATUS")?;
        if status == u32::MAX {
            let id = self.read32("ID")?;
            return Err(self.error(Trouble::Lost, format!("the device is gone: its registers read {id:#010x}")));
        }
        Ok(status)
    }

    /// Soft reset, and everything that outlives a pass.
    pub fn reset(&mut self) -> Result<(), RunError> {
        self.write("CONTROL", RESET)?;
        let start = Instant::now();
        let status = loop {
            let status = self.status()?;
            if status & DRAINING == 0 {
                break status;
            }
            if start.elapsed() > self.patience.reset {
                return Err(self.error(Trouble::Io, "the soft reset does not end; load the bitstream again"));
            }
        };
        self.at_work = false;
        if status & STUCK != 0 {
            let text = "memory never answered; load the bitstream again, or switch the board off and on";
            return Err(self.error(Trouble::Io, text));
        }
        let (base, bytes) = self.window();
        for (register, value) in [("MEM_BASE", base), ("MEM_BYTES", bytes)] {
            self.write(&format!("{register}_LO"), value as u32)?;
            self.write(&format!("{register}_HI"), (value >> 32) as u32)?;
        }
        self.write("IRQ_STATUS", u32::MAX)?;
        self.write("IRQ_ENABLE", 3)
    }
}

/// A driver that is dropped in the middle of a pass leaves the machine idle.
impl<T: Transport> Drop for Driver<T> {
    fn drop(&mut self) {
        if self.at_work {
            let _ = self.transport.write32(offset("CONTROL"), RESET);
        }
    }
}
