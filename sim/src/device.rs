//! A whole machine in Verilator behind [`Transport`]: the driver of a board drives it unchanged.
//!
//! Time passes only inside register accesses and [`Transport::wait`]. Memory is the model of
//! [`crate::axi`]; the host reaches it directly, as a DMA engine would.

use crate::SimError;
use crate::axi::{Bytes, Counters, Faults, Memory, Timing};
use crate::compile::{self, Job, Speed, compile, compile_traced};
use crate::ffi::{Library, Model, PortId};
pub use crate::waves::Waves;
use hw::ir::Design;
use hw::preset::Machine;
use spec::program::wait;
use spec::transport::{Event, Transport, TransportError, check_offset, check_range};
use std::time::{Duration, Instant};

/// Bus address of the simulated memory: not zero, so that a forgotten base shows.
pub const MEMORY_BASE: u64 = 0x1_0000_0000;
/// Cycles in which a register access must be answered.
const LITE_LIMIT: u64 = 1000;
/// Cycles between two looks at the clock on the wall.
const CLOCK_CYCLES: u64 = 4096;

/// How to simulate.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Bytes of device memory, a multiple of 4,096.
    pub memory_bytes: u64,
    /// The memory's delays.
    pub timing: Timing,
    /// Seed of delays and of registers without reset.
    pub seed: u64,
    /// How hard the C++ compiler works.
    pub speed: Speed,
    /// Waves to write; `None`: those that the environment asks for ([`crate::waves`]).
    pub waves: Option<Waves>,
}

/// The ports of the control interface.
struct Lite {
    awaddr: PortId,
    awvalid: PortId,
    awready: PortId,
    wdata: PortId,
    wstrb: PortId,
    wvalid: PortId,
    wready: PortId,
    bvalid: PortId,
    bready: PortId,
    araddr: PortId,
    arvalid: PortId,
    arready: PortId,
    rdata: PortId,
    rvalid: PortId,
    rready: PortId,
}

impl Lite {
    fn new(library: &Library) -> Result<Lite, SimError> {
        let port = |name: &str| library.port(&format!("s_axi_ctrl_{name}"));
        Ok(Lite {
            awaddr: port("awaddr")?,
            awvalid: port("awvalid")?,
            awready: port("awready")?,
            wdata: port("wdata")?,
            wstrb: port("wstrb")?,
            wvalid: port("wvalid")?,
            wready: port("wready")?,
            bvalid: port("bvalid")?,
            bready: port("bready")?,
            araddr: port("araddr")?,
            arvalid: port("arvalid")?,
            arready: port("arready")?,
            rdata: port("rdata")?,
            rvalid: port("rvalid")?,
            rready: port("rready")?,
        })
    }
}

/// A write to the vector memory, as the tap of the machine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorWrite {
    /// Cycle since the start.
    pub cycle: u64,
    /// Address: column word times token groups, plus group.
    pub address: u64,
    /// Slot lanes that are written.
    pub mask: u64,
    /// All lanes, `[V][L]` binary32.
    pub data: Vec<u32>,
}

/// What the machine does in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Cycle since the start.
    pub cycle: u64,
    /// Number of the descriptor in issue.
    pub index: u32,
    /// Idle units, bits as in a wait mask.
    pub idle: u32,
    /// The engine uses a word of weights.
    pub beat: bool,
    /// It waits for weights.
    pub starved: bool,
    /// It waits for its tables.
    pub tables: bool,
    /// It waits for room for its sums.
    pub sums: bool,
    /// The descriptor waits for units.
    pub waiting: bool,
    /// A pass runs.
    pub running: bool,
    /// Ports at which a beat was read, a bit each.
    pub ports: u64,
}

/// Sees every cycle.
pub type Observer = Box<dyn FnMut(&Activity) + Send>;

/// The tap's ports for the writes of a bank of the vector memory.
struct Tap {
    valid: PortId,
    address: PortId,
    mask: PortId,
    data: PortId,
}

/// A simulated machine.
pub struct SimDevice {
    model: Model,
    memory: Memory,
    lite: Lite,
    irq: PortId,
    reset: PortId,
    taps: Vec<Tap>,
    /// Number of the descriptor in issue; what is idle, and events.
    index: PortId,
    state: PortId,
    cycles: u64,
    writes: Option<Vec<VectorWrite>>,
    observer: Option<Observer>,
    seed: u64,
    /// Waves that are being written or will be, and the next cycle at which that changes.
    waves: Option<Waves>,
    turn: u64,
}

/// Generates a machine and gives it to `with`. In one that is to be fast, and shows no waves, units that rest have no
/// clock.
fn generated<T>(
    machine: &Machine,
    speed: Speed,
    traced: bool,
    with: impl FnOnce(&Job) -> Result<T, SimError>,
) -> Result<T, SimError> {
    let fast = speed != Speed::Quick && !traced;
    let mut design = if fast { Design::for_simulation() } else { Design::default() };
    let top = machine.build_with(&mut design, true)?;
    with(&Job { top: &top.name, verilog: &compile::text(&design), ports: &top.ports, speed, lint: false })
}

/// Generates and compiles a machine, or finds it in the cache. Only a traced one can write waves.
pub fn build(machine: &Machine, speed: Speed, traced: bool) -> Result<Library, SimError> {
    generated(machine, speed, traced, if traced { compile_traced } else { compile })
}

/// Whether a run of the machine with [`Speed::Recording`] would help [`Speed::Full`] no further.
pub fn is_profiled(machine: &Machine) -> Result<bool, SimError> {
    generated(machine, Speed::Full, false, compile::is_profiled)
}

impl SimDevice {
    /// Builds a machine and takes it out of reset.
    pub fn new(machine: &Machine, options: &SimOptions) -> Result<SimDevice, SimError> {
        let mut options = options.clone();
        if options.waves.is_none() {
            options.waves = Waves::from_environment(&machine.name)?;
        }
        SimDevice::start(&build(machine, options.speed, options.waves.is_some())?, machine, &options)
    }

    /// Starts a machine that is built already; for waves it must be built with them.
    pub fn start(library: &Library, machine: &Machine, options: &SimOptions) -> Result<SimDevice, SimError> {
        SimDevice::start_on(library, machine, options, vec![0; options.memory_bytes as usize].into())
    }

    /// Starts a machine on a memory that is there already.
    pub fn start_on(
        library: &Library,
        machine: &Machine,
        options: &SimOptions,
        bytes: Bytes,
    ) -> Result<SimDevice, SimError> {
        let mut memory = Memory::on(bytes, MEMORY_BASE, options.timing.clone(), options.seed);
        for port in 0..machine.ports {
            memory.attach(library, &format!("m_axi_gmem{port}"))?;
        }
        let mut model = library.start(options.seed as u32 | 1);
        let lite = Lite::new(library)?;
        let reset = library.port("aresetn")?;
        for port in [lite.awvalid, lite.wvalid, lite.bready, lite.arvalid, lite.rready, reset] {
            model.set(port, 0);
        }
        let tap = |bank: u32| {
            let port = |name: &str| library.port(&format!("tap{bank}_{name}"));
            Ok(Tap { valid: port("valid")?, address: port("addr")?, mask: port("mask")?, data: port("data")? })
        };
        let taps = (0..machine.banks).map(tap).collect::<Result<Vec<_>, SimError>>()?;
        let (index, state) = (library.port("tap_index")?, library.port("tap_state")?);
        let irq = library.port("irq")?;
        let (waves, seed) = (options.waves.clone(), options.seed);
        let turn = waves.as_ref().map_or(u64::MAX, |waves| waves.from_cycle);
        let mut device = SimDevice {
            model,
            memory,
            lite,
            irq,
            reset,
            taps,
            index,
            state,
            cycles: 0,
            writes: None,
            observer: None,
            seed,
            waves,
            turn,
        };
        device.restart();
        // cycles count from here, those of waves too
        device.turn_waves()?;
        Ok(device)
    }

    /// What loading the bitstream anew does: all registers at their reset values, open bursts forgotten. Memory stays.
    pub fn restart(&mut self) {
        self.memory.reset();
        for level in [0, 1] {
            self.model.set(self.reset, level);
            for _ in 0..8 {
                self.model.tick();
            }
        }
    }

    /// Clock cycles since the start.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Lets time pass.
    pub fn run(&mut self, cycles: u64) -> Result<(), TransportError> {
        (0..cycles).try_for_each(|_| self.step())
    }

    /// Whether the interrupt is high.
    pub fn interrupt(&mut self) -> bool {
        self.model.get(self.irq) == 1
    }

    /// How to see the current cycle again.
    pub fn replay_hint(&self) -> String {
        let shown = self.waves.as_ref().map(|waves| waves.viewer());
        let how =
            shown.unwrap_or_else(|| "run again with WAVES=1, or with sim::waves::replayed, for waves".to_string());
        format!("cycle {}, seed {}: {how}", self.cycles, self.seed)
    }

    /// Opens or ends the file of waves where its cycle has come.
    fn turn_waves(&mut self) -> Result<(), SimError> {
        let Some(waves) = self.waves.as_ref().filter(|_| self.cycles >= self.turn) else { return Ok(()) };
        if self.cycles < waves.to_cycle {
            self.model.open_waves(&waves.path, self.cycles)?;
            self.turn = waves.to_cycle;
        } else {
            self.model.close_waves();
        }
        Ok(())
    }

    /// What a memory port has seen.
    pub fn port_counters(&self, port: usize) -> Counters {
        self.memory.counters(port)
    }

    /// Gives the memory other delays, as if it were new; between passes only.
    pub fn restart_memory(&mut self, timing: Timing, seed: u64) {
        self.memory.restart(timing, seed);
    }

    /// Failures of the memory, to be set.
    pub fn faults_mut(&mut self) -> &mut Faults {
        self.memory.faults_mut()
    }

    /// The memory forgets all open bursts, as one that is reset.
    pub fn reset_memory(&mut self) {
        self.memory.reset();
    }

    /// Starts to keep the writes to the vector memory.
    pub fn record_writes(&mut self) {
        self.writes = Some(Vec::new());
    }

    /// The writes since the last call.
    pub fn take_writes(&mut self) -> Vec<VectorWrite> {
        self.writes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Shows every cycle from now on to `observer`.
    pub fn observe(&mut self, observer: Option<Observer>) {
        self.observer = observer;
    }

    fn activity(&self) -> Activity {
        let state = self.model.get(self.state);
        let units = wait::ALL.count_ones();
        let event = |bit: u32| state >> (units + bit) & 1 == 1;
        Activity {
            cycle: self.cycles,
            index: self.model.get(self.index) as u32,
            idle: state as u32 & wait::ALL,
            beat: event(0),
            starved: event(1),
            tables: event(2),
            sums: event(3),
            waiting: event(4),
            running: event(5),
            ports: self.memory.beats_now(),
        }
    }

    /// One clock cycle.
    fn step(&mut self) -> Result<(), TransportError> {
        if self.cycles >= self.turn {
            let turned = self.turn_waves();
            turned.map_err(|error| TransportError::Lost { reason: error.to_string() })?;
            if self.waves.as_ref().is_some_and(|waves| self.cycles >= waves.to_cycle) {
                return Err(TransportError::Lost { reason: format!("the waves end here, in cycle {}", self.cycles) });
            }
        }
        if let Err(error) = self.memory.step(&mut self.model) {
            let reason = format!("the machine broke a rule of AXI: {error} ({})", self.replay_hint());
            self.model.close_waves();
            return Err(TransportError::Lost { reason });
        }
        if let Some(writes) = &mut self.writes {
            for tap in self.taps.iter().filter(|tap| self.model.get(tap.valid) == 1) {
                writes.push(VectorWrite {
                    cycle: self.cycles,
                    address: self.model.get(tap.address),
                    mask: self.model.get(tap.mask),
                    data: self.model.words(tap.data),
                });
            }
        }
        if self.observer.is_some() {
            let now = self.activity();
            self.observer.iter_mut().for_each(|observer| observer(&now));
        }
        self.model.tick();
        self.cycles += 1;
        Ok(())
    }

    /// Steps until `done`; an interface that never answers is lost.
    fn step_until(&mut self, what: &str, mut done: impl FnMut(&mut Model) -> bool) -> Result<(), TransportError> {
        for _ in 0..LITE_LIMIT {
            self.model.eval();
            let ready = done(&mut self.model);
            self.step()?;
            if ready {
                return Ok(());
            }
        }
        Err(TransportError::Lost {
            reason: format!("{what}: no answer in {LITE_LIMIT} cycles ({})", self.replay_hint()),
        })
    }
}

impl Transport for SimDevice {
    fn memory_base(&self) -> u64 {
        MEMORY_BASE
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.bytes().len() as u64
    }

    fn read32(&mut self, offset: u32) -> Result<u32, TransportError> {
        check_offset(offset)?;
        let Lite { araddr, arvalid, arready, rdata, rvalid, rready, .. } = self.lite;
        self.model.set(araddr, offset.into());
        self.model.set(arvalid, 1);
        self.step_until("register address", |model| model.get(arready) == 1)?;
        self.model.set(arvalid, 0);
        self.model.set(rready, 1);
        let mut word = 0;
        self.step_until("register read", |model| {
            word = model.get(rdata) as u32;
            model.get(rvalid) == 1
        })?;
        self.model.set(rready, 0);
        Ok(word)
    }

    fn write32(&mut self, offset: u32, value: u32) -> Result<(), TransportError> {
        check_offset(offset)?;
        let Lite { awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bvalid, bready, .. } = self.lite;
        self.model.set(awaddr, offset.into());
        self.model.set(wdata, value.into());
        self.model.set(wstrb, 15);
        self.model.set(awvalid, 1);
        self.model.set(wvalid, 1);
        let (mut address, mut data) = (false, false);
        while !(address && data) {
            let (mut took_address, mut took_data) = (false, false);
            self.step_until("register write", |model| {
                took_address = !address && model.get(awready) == 1;
                took_data = !data && model.get(wready) == 1;
                took_address || took_data
            })?;
            address |= took_address;
            data |= took_data;
            self.model.set(awvalid, u64::from(!address));
            self.model.set(wvalid, u64::from(!data));
        }
        self.model.set(bready, 1);
        self.step_until("register answer", |model| model.get(bvalid) == 1)?;
        self.model.set(bready, 0);
        Ok(())
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        check_range(address, bytes.len(), self.memory_bytes())?;
        let at = address as usize;
        bytes.copy_from_slice(&self.memory.bytes()[at..at + bytes.len()]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TransportError> {
        check_range(address, bytes.len(), self.memory_bytes())?;
        let at = address as usize;
        self.memory.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> Result<Event, TransportError> {
        let start = Instant::now();
        loop {
            for _ in 0..CLOCK_CYCLES {
                if self.interrupt() {
                    return Ok(Event::Interrupt);
                }
                self.step()?;
            }
            if start.elapsed() >= timeout {
                return Ok(Event::Timeout);
            }
        }
    }
}
