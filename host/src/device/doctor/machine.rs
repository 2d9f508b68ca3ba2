//! What a machine says and does. All that is changed is put back: a model that is loaded stays.

use super::Finding;
use crate::device::RunError;
use crate::device::board;
use crate::device::driver::{Driver, Patience};
use crate::device::error::{DeviceError, Trouble};
use crate::device::open::{AnyTransport, Opened};
use spec::regs::{Capabilities, offset};
use spec::transport::{Event, Transport};
use std::time::{Duration, Instant};

/// Most by which a clock may be off, in parts of a thousand.
const CLOCK_TOLERANCE: f64 = 0.01;
/// Seconds of the clock's measurement on a board, and cycles of it in a simulation.
const CLOCK_SECONDS: f64 = 0.2;
const CLOCK_CYCLES: u32 = 20_000;

fn trouble(error: RunError) -> DeviceError {
    match error {
        RunError::Trouble(error) => error,
        error => DeviceError::new(Trouble::Io, error.to_string()),
    }
}

/// Identity, then everything that can be tried on a machine that is the right one.
pub fn examine(mut opened: Opened, preset: Option<&str>) -> Vec<Finding> {
    let machine = match board::machine(&mut opened, preset) {
        Ok(machine) => machine,
        Err(error) => return vec![Finding::error("identity", &error)],
    };
    let Opened { transport, name, simulated } = opened;
    let patience = if simulated { Patience::SIMULATION } else { Patience::BOARD };
    let before = Snapshot::take(transport);
    let (transport, snapshot) = match before {
        Ok(both) => both,
        Err(error) => return vec![Finding::error("identity", &error)],
    };
    let mut driver = match Driver::new(transport, board::expected(&machine), name, patience) {
        Ok(driver) => driver,
        Err(error) => return vec![Finding::error("identity", &trouble(error))],
    };
    let mut findings = Vec::new();
    let mut add = |check: &str, result: Result<Finding, RunError>| {
        findings.push(result.unwrap_or_else(|error| Finding::error(check, &trouble(error))));
    };
    add("identity", identity(&mut driver, &machine.name));
    add("registers", registers(&mut driver));
    add("memory", memory(&mut driver));
    match clock(&mut driver, simulated) {
        Ok(found) => found.into_iter().for_each(|finding| add("clock", Ok(finding))),
        Err(error) => add("clock", Err(error)),
    }
    if let Err(error) = snapshot.put_back(&mut driver) {
        add("end", Err(error));
    }
    findings
}

/// Registers that the examination changes.
struct Snapshot {
    scratch: u32,
    watchdog: u32,
}

impl Snapshot {
    fn take(mut transport: AnyTransport) -> Result<(AnyTransport, Snapshot), DeviceError> {
        let (scratch, watchdog) = (transport.read32(offset("SCRATCH"))?, transport.read32(offset("WATCHDOG"))?);
        Ok((transport, Snapshot { scratch, watchdog }))
    }

    fn put_back(self, driver: &mut Driver<AnyTransport>) -> Result<(), RunError> {
        driver.write("WATCHDOG", self.watchdog)?;
        driver.write("SCRATCH", self.scratch)?;
        driver.reset()
    }
}

fn identity(driver: &mut Driver<AnyTransport>, preset: &str) -> Result<Finding, RunError> {
    let caps = Capabilities::read(|at| driver.transport_mut().read32(at))?;
    let (abi, build) = (driver.read32("ABI")?, driver.read32("BUILD_ID")?);
    let found = format!(
        "preset {preset}, map {}.{}, build {build:#x}, {} tables x {} rows x {} slots, {} MHz",
        abi >> 16,
        abi & 0xffff,
        caps.tables,
        caps.rows,
        caps.slots,
        caps.mhz
    );
    Ok(Finding::good("identity", found))
}

fn registers(driver: &mut Driver<AnyTransport>) -> Result<Finding, RunError> {
    let ones = (0..32).map(|bit| 1 << bit);
    for value in [0, u32::MAX, 0xa5a5_a5a5, 0x5a5a_5a5a].into_iter().chain(ones) {
        driver.write("SCRATCH", value)?;
        let found = driver.read32("SCRATCH")?;
        if found != value {
            let text = format!("SCRATCH reads {found:#010x} after {value:#010x}");
            let fix = "the path to the registers is broken: check width and clock of its AXI4-Lite port in the design";
            return Ok(Finding::bad("registers", Trouble::Io, text, fix));
        }
    }
    Ok(Finding::good("registers", "hold what is written"))
}

/// A tag at every power of two, all read after all are written: finds dead and folded address bits.
fn memory(driver: &mut Driver<AnyTransport>) -> Result<Finding, RunError> {
    let size = driver.transport().memory_bytes();
    let powers = (12..63).map(|bit| 1u64 << bit).take_while(|at| at + 64 <= size);
    let places: Vec<u64> = [0].into_iter().chain(powers).chain([size - 64]).collect();
    let transport = driver.transport_mut();
    let mut kept = Vec::new();
    for &at in &places {
        let mut bytes = [0; 64];
        transport.read(at, &mut bytes)?;
        kept.push(bytes);
    }
    let tag = |at: u64| -> [u8; 64] { std::array::from_fn(|i| (at >> (i % 8 * 8)) as u8 ^ (i as u8).wrapping_mul(37)) };
    let mut wrong = None;
    for &at in &places {
        transport.write(at, &tag(at))?;
    }
    for &at in &places {
        let mut bytes = [0; 64];
        transport.read(at, &mut bytes)?;
        wrong = wrong.or((bytes != tag(at)).then_some(at));
    }
    for (&at, bytes) in places.iter().zip(&kept) {
        transport.write(at, bytes)?;
    }
    Ok(match wrong {
        None => Finding::good("memory", format!("{} MiB, {} places hold what is written", size >> 20, places.len())),
        Some(at) => {
            let fix = "give the design's size with --device-memory; on a card, see that its memory is calibrated";
            Finding::bad("memory", Trouble::Io, format!("byte {at:#x} is not what was written"), fix)
        }
    })
}

/// A pass without a program ends by the watchdog, after cycles that are known: that tells the clock and tries the
/// interrupt.
fn clock(driver: &mut Driver<AnyTransport>, simulated: bool) -> Result<[Finding; 2], RunError> {
    let declared = f64::from(driver.read32("CAP_MHZ")?);
    let cycles = if simulated { CLOCK_CYCLES } else { (declared * 1e6 * CLOCK_SECONDS) as u32 };
    driver.reset()?;
    for (register, value) in [("WATCHDOG", cycles), ("PROGRAM_PACKETS", 0), ("PROGRAM_WORDS", 1)] {
        driver.write(register, value)?;
    }
    let begin = Instant::now();
    driver.write("CONTROL", 1)?;
    let limit = if simulated { Duration::from_secs(60) } else { Duration::from_secs(2) };
    let mut heard = false;
    let took = loop {
        // old interrupts say nothing
        heard |= driver.transport_mut().wait(Duration::from_millis(50))? == Event::Interrupt;
        let took = begin.elapsed();
        if driver.read32("STATUS")? & 1 == 0 || took > limit {
            break took;
        }
    };
    let ended = driver.read32("STATUS")? & 1 == 0;
    let counted = driver.counters()?.iter().find(|(name, _)| *name == "CYCLES").map_or(0, |(_, cycles)| *cycles);
    driver.reset()?;
    let interrupt = match heard && ended {
        true => Finding::good("interrupt", "arrives"),
        false => {
            let fix = "passes end by polling, a little later: check the interrupt's wire and number in the design";
            Finding::odd("interrupt", "does not arrive", fix)
        }
    };
    let measured = counted as f64 / took.as_secs_f64() / 1e6;
    let found = format!("{measured:.3} MHz measured, {declared} MHz declared");
    let off = (measured / declared - 1.0).abs();
    let clock = if !ended || counted == 0 {
        let fix = "the machine's clock stands still: check the clock and reset of the design";
        Finding::bad("clock", Trouble::Io, "no cycles pass", fix)
    } else if simulated {
        Finding::skipped("clock", format!("{found}: a simulation's clock is no clock"))
    } else if off <= CLOCK_TOLERANCE {
        Finding::good("clock", found)
    } else {
        let fix = "load the bitstream for this board, or set its clock: speeds that are told are wrong by that much";
        Finding::bad("clock", Trouble::Mismatch, found, fix)
    };
    Ok([clock, interrupt])
}
