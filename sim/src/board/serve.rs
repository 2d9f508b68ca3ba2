//! The board at work: answers the host, and lets the machine's clock run while a pass does.

use super::nodes::Nodes;
use super::shared::Request;
use super::{BoardError, Kind};
use crate::axi::{Faults, Timing};
use crate::compile::Speed;
use crate::device::{SimDevice, SimOptions, build};
use hw::preset::Machine;
use spec::regs::offset;
use spec::transport::{Transport, check_offset, check_range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Cycles between two looks at the mailbox.
const STRIDE: u64 = 256;
/// Cycles after a write to a register.
const SETTLE: u64 = 8;
/// Strides between two looks at whether the machine still works.
const STRIDES: u64 = 64;
/// Longest sleep of a board that has nothing to do.
const IDLE: Duration = Duration::from_millis(50);
/// Bits of STATUS in which the clock matters: busy, draining.
const AT_WORK: u32 = 1 | 1 << 3;

/// What goes wrong on a board, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mishaps {
    /// So many interrupts are lost.
    pub lose_interrupts: u64,
    /// So many interrupts are told for each one, and as many before the first.
    pub storm: u64,
    /// Registers read as all ones from this access on.
    pub vanish_after: Option<u64>,
    /// The bitstream is loaded anew in the pass that this doorbell starts, counted from 0.
    pub reload_in_pass: Option<u64>,
    /// The same with the next doorbell.
    pub reload_now: bool,
    /// The clock runs only where the host touches registers.
    pub frozen: bool,
    /// From now on the first memory port answers no read.
    pub mute: bool,
    /// Memory forgets what it owes, once.
    pub reset_memory: bool,
    /// Syncs of the processor's cache do nothing.
    pub no_sync: bool,
    /// What the memory does wrong.
    pub memory: Faults,
}

/// A board.
pub struct Board {
    machine: Machine,
    device: SimDevice,
    nodes: Nodes,
    kind: Kind,
    mishaps: Arc<Mutex<Mishaps>>,
    /// Whether time matters.
    running: bool,
    /// Level of the interrupt at the last look, and whether a UIO node lets it through.
    high: bool,
    enabled: bool,
    interrupts: u32,
    accesses: u64,
    doorbells: u64,
}

impl Board {
    /// Builds the machine, or finds it in the cache, and makes the nodes under `dir`.
    pub fn new(
        kind: Kind,
        machine: &Machine,
        dir: &Path,
        memory_bytes: u64,
        timing: Timing,
        mishaps: Mishaps,
    ) -> Result<Board, BoardError> {
        let options = SimOptions { memory_bytes, timing, seed: 1, speed: Speed::Full, waves: None };
        let library = build(machine, options.speed, false)?;
        let (nodes, memory) = Nodes::create(kind, dir, memory_bytes)?;
        let mut device = SimDevice::start_on(&library, machine, &options, memory)?;
        *device.faults_mut() = mishaps.memory;
        Ok(Board {
            machine: machine.clone(),
            device,
            nodes,
            kind,
            mishaps: Arc::new(Mutex::new(mishaps)),
            running: false,
            high: false,
            enabled: false,
            interrupts: 0,
            accesses: 0,
            doorbells: 0,
        })
    }

    /// What goes wrong, to be changed at any time.
    pub fn mishaps(&self) -> Arc<Mutex<Mishaps>> {
        self.mishaps.clone()
    }

    fn with_mishaps<R>(&self, act: impl FnOnce(&mut Mishaps) -> R) -> R {
        act(&mut self.mishaps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves until `stop` is set.
    pub fn serve(&mut self, stop: &AtomicBool) -> Result<(), BoardError> {
        let mut strides = 0;
        for _ in 0..self.with_mishaps(|mishaps| mishaps.storm) {
            self.nodes.signal(1);
        }
        while !stop.load(Ordering::Relaxed) {
            while let Some(request) = self.nodes.mailbox.next(self.patience()) {
                self.apply_mishaps();
                let result = self.carry_out(request)?;
                self.watch_interrupt();
                self.nodes.mailbox.answer(result);
            }
            if self.patience().is_zero() {
                self.device.run(STRIDE)?;
                strides += 1;
                if strides % STRIDES == 0 || self.device.interrupt() {
                    self.running = self.device.read32(offset("STATUS"))? & AT_WORK != 0;
                }
                self.watch_interrupt();
            }
        }
        Ok(())
    }

    /// How long the board may wait for its host.
    fn patience(&self) -> Duration {
        if self.running && !self.with_mishaps(|mishaps| mishaps.frozen) { Duration::ZERO } else { IDLE }
    }

    fn apply_mishaps(&mut self) {
        let mishaps = self.with_mishaps(|mishaps| {
            let now = *mishaps;
            mishaps.reset_memory = false;
            now
        });
        if mishaps.reset_memory {
            self.device.reset_memory();
        }
        let next = self.device.port_counters(0).read_bursts;
        let faults = self.device.faults_mut();
        let silent = faults.silent;
        *faults = mishaps.memory;
        if mishaps.mute {
            // the burst that is silent already stays so
            faults.silent = silent.or(Some((0, next)));
        }
    }

    /// Tells the host when the interrupt rises (XDMA), or is high while it is allowed (UIO).
    fn watch_interrupt(&mut self) {
        let high = self.device.interrupt();
        let rising = high && !self.high;
        self.high = high;
        let due = match self.kind {
            Kind::Xdma => rising,
            Kind::Axi => high && self.enabled,
        };
        if !due {
            return;
        }
        self.enabled = false;
        let (lost, storm) = self.with_mishaps(|mishaps| {
            let lost = mishaps.lose_interrupts > 0;
            mishaps.lose_interrupts = mishaps.lose_interrupts.saturating_sub(1);
            (lost, mishaps.storm)
        });
        if lost {
            return;
        }
        self.interrupts = self.interrupts.wrapping_add(1);
        let word = if self.kind == Kind::Xdma { 1 } else { self.interrupts };
        for _ in 0..=storm {
            self.nodes.signal(word);
        }
    }

    fn carry_out(&mut self, request: Request) -> Result<u32, BoardError> {
        match request {
            Request::Read(_) | Request::Write(..) => {
                self.accesses += 1;
                if self.with_mishaps(|mishaps| mishaps.vanish_after).is_some_and(|limit| self.accesses > limit) {
                    return Ok(u32::MAX);
                }
            }
            _ => {}
        }
        match request {
            Request::Read(at) if check_offset(at).is_ok() => return Ok(self.device.read32(at)?),
            Request::Write(at, value) if check_offset(at).is_ok() => {
                self.device.write32(at, value)?;
                // a clock that always runs lets the interrupt's level follow
                self.device.run(SETTLE)?;
                if at == offset("CONTROL") {
                    self.running = true;
                    self.doorbell(value)?;
                }
            }
            Request::Enable(on) => self.enabled = on,
            // what lies outside of memory is not the cache's
            Request::ForDevice(at, bytes) | Request::ForCpu(at, bytes)
                if check_range(at, bytes as usize, self.device.memory_bytes()).is_err()
                    || self.with_mishaps(|mishaps| mishaps.no_sync) => {}
            Request::ForDevice(at, bytes) => {
                if let Some(cached) = &self.nodes.cached {
                    self.device.write(at, &cached[at as usize..][..bytes as usize])?;
                }
            }
            Request::ForCpu(at, bytes) => {
                if let Some(cached) = &mut self.nodes.cached {
                    self.device.read(at, &mut cached[at as usize..][..bytes as usize])?;
                }
            }
            // the bus answers accesses outside of the window with zeros
            Request::Read(_) | Request::Write(..) => {}
        }
        Ok(0)
    }

    /// A start, after which the bitstream may be loaded anew.
    fn doorbell(&mut self, value: u32) -> Result<(), BoardError> {
        if value & 1 == 0 {
            return Ok(());
        }
        let reload = self.with_mishaps(|mishaps| (mishaps.reload_in_pass, std::mem::take(&mut mishaps.reload_now)));
        if reload.0 == Some(self.doorbells) || reload.1 {
            self.device.restart();
        }
        self.doorbells += 1;
        Ok(())
    }

    /// The machine's name.
    pub fn preset(&self) -> &str {
        &self.machine.name
    }
}
