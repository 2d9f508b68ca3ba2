//! Drives a machine through a [`Transport`]: simulated RTL, a Zynq's AXI, a card behind PCIe.
//!
//! STATUS is the truth and the interrupt a hint: after every wait, whatever it said, the cause is cleared and STATUS
//! is read. What the device says is never trusted further than it can be checked.

use super::error::{DeviceError, Trouble};
use super::residency::Loading;
use super::stats::Stats;
use super::{LogitsArea, PassRunner, RunError};
use crate::compile::DeviceImage;
use spec::device::{Pass, PassResult};
use spec::program::{BYTES, DeviceShape, LINE};
use spec::regs::{ABI, Capabilities, MAGIC, fault, offset};
use spec::transport::{Event, Transport, TransportError, check_range};
use std::time::{Duration, Instant};

/// Bits of STATUS and IRQ_STATUS.
const BUSY: u32 = 1;
const DONE: u32 = 1 << 1;
const FAULT: u32 = 1 << 2;
const DRAINING: u32 = 1 << 3;
const STUCK: u32 = 1 << 4;
/// Bits of CONTROL.
const START: u32 = 1;
const RESET: u32 = 1 << 1;
/// Bits of SLOT_FLAGS.
const VALID: u32 = 1;
const LOGITS: u32 = 1 << 1;
const RUN: u32 = 8;
/// More interrupts than that in one wait and nothing to show for them: the line is stuck.
const STORM: u32 = 64;
/// Time between two looks at STATUS where the interrupt is of no use.
const PAUSE: Duration = Duration::from_millis(1);

/// What a machine must be to run a compiled model.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Name of the preset, for messages.
    pub preset: String,
    /// Its configuration hash.
    pub hash: u64,
    /// Its sizes.
    pub shape: DeviceShape,
}

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
    patience: Patience,
    pass: u32,
    /// Whether a pass may be at work.
    at_work: bool,
    /// Whether the interrupt has shown to be of no use.
    polling: bool,
    /// Code and details of the last pass's fault, which has not been mended.
    pub(super) last_fault: Option<(u8, u32)>,
    pub(super) stats: Stats,
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
    fn status(&mut self) -> Result<u32, RunError> {
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

    fn set_slots(&mut self, pass: &Pass) -> Result<(), RunError> {
        let slot = |register: &str, index: usize| offset(register) + 16 * index as u32;
        for index in 0..self.expected.shape.tokens {
            let given = pass.slots.get(index).copied().unwrap_or_default();
            let wanted = pass.want_logits >> index & 1 == 1;
            let flags =
                if given.valid { VALID | if wanted { LOGITS } else { 0 } | u32::from(given.run) << RUN } else { 0 };
            if given.valid {
                self.transport.write32(slot("SLOT_TOKEN", index), given.token)?;
                self.transport.write32(slot("SLOT_POSITION", index), given.position)?;
                self.transport.write32(slot("SLOT_CACHE", index), given.cache)?;
            }
            self.transport.write32(slot("SLOT_FLAGS", index), flags)?;
        }
        self.write("SLOTS", pass.slots.len() as u32)
    }

    /// Waits for the end of the pass and returns STATUS.
    fn await_end(&mut self) -> Result<u32, RunError> {
        let begin = Instant::now();
        let mut interrupts = 0;
        loop {
            let left = self.patience.pass.saturating_sub(begin.elapsed());
            let event = match self.patience.poll {
                Some(_) if self.polling => {
                    // simulated time passes in waits only
                    self.transport.wait(Duration::ZERO)?;
                    std::thread::sleep(PAUSE);
                    Event::Timeout
                }
                Some(slice) => self.transport.wait(slice.min(left))?,
                None => self.transport.wait(left)?,
            };
            if event == Event::Timeout && self.patience.poll.is_none() {
                return Err(self.late(0));
            }
            // first the cause, then STATUS: what ends between the two is seen, what ends after rises anew
            self.write("IRQ_STATUS", u32::MAX)?;
            let status = self.status()?;
            let number = self.read32("DONE_PASS")?;
            if status & BUSY == 0 && (status & FAULT != 0 || status & DONE != 0 && number == self.pass) {
                if event == Event::Timeout && !self.polling {
                    self.stats.lost_interrupts += 1;
                }
                return Ok(status);
            }
            match event {
                Event::Interrupt => {
                    interrupts += 1;
                    self.stats.spurious_interrupts += 1;
                    self.polling |= interrupts > STORM;
                }
                // a machine that neither works nor has ended was reset or reloaded by somebody
                Event::Timeout if status & (BUSY | DRAINING) == 0 => return Err(self.late(status)),
                Event::Timeout if left.is_zero() => return Err(self.late(status)),
                Event::Timeout => {}
            }
        }
    }

    /// Why a pass has not ended; the machine is reset.
    fn late(&mut self, status: u32) -> RunError {
        let looked = self.was_reset();
        match looked.and_then(|was_reset| self.reset().map(|()| was_reset)) {
            Err(error) => error,
            Ok(true) => self.error(Trouble::Lost, "the device was reset or loaded anew in the middle of a pass"),
            Ok(false) if status & BUSY == 0 => self.error(
                Trouble::Io,
                format!("the pass vanished (status {status:#x}); is another program at the device?"),
            ),
            Ok(false) => {
                let text = format!("pass {} did not end in {:?} (status {status:#x})", self.pass, self.patience.pass);
                self.error(Trouble::Io, text)
            }
        }
    }

    /// What the fault registers say; then the machine is reset.
    fn fault(&mut self) -> RunError {
        self.stats.faults += 1;
        let mut registers = || -> Result<(String, bool), RunError> {
            let (code, info) = (self.read32("FAULT_CODE")?, self.read32("FAULT_INFO")?);
            let (index, label) = (self.read32("FAULT_INDEX")?, self.read32("FAULT_LABEL")?);
            let layer = if label == 0xffff { String::new() } else { format!(", layer {label}") };
            let text = fault::text(code);
            let text = format!("{text} (fault {code}, {info:#x}) at descriptor {index}{layer}, pass {}", self.pass);
            let was_reset = self.was_reset()?;
            self.last_fault = u8::try_from(code).ok().filter(|_| !was_reset).map(|code| (code, info));
            Ok((text, was_reset))
        };
        match registers().and_then(|found| self.reset().map(|()| found)) {
            Ok((text, true)) => self.error(Trouble::Lost, format!("the device was reset or loaded anew; then {text}")),
            Ok((text, false)) => self.error(Trouble::Io, text),
            Err(error) => error,
        }
    }

    /// Best token of one slot, if any of its logits is above -infinity, and its logits if they are wanted.
    fn result(&mut self, index: usize, wanted: bool, logits: LogitsArea) -> Result<SlotResult, RunError> {
        let best = |register: &str| offset(register) + 8 * index as u32;
        let token = self.transport.read32(best("BEST_TOKEN"))?;
        let logit = f32::from_bits(self.transport.read32(best("BEST_LOGIT"))?);
        let best = Some((token, logit)).filter(|_| logit > f32::NEG_INFINITY);
        if best.is_some() && token as usize >= logits.vocab {
            let text = format!("slot {index} says token {token} of {}; the device cannot be trusted", logits.vocab);
            return Err(self.error(Trouble::Io, text));
        }
        if !wanted {
            return Ok((best, Vec::new()));
        }
        let bytes = self.read((logits.line + index as u64 * logits.stride) * LINE, 4 * logits.vocab)?;
        Ok((best, bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
    }
}

/// Best token with its logit, and all logits.
type SlotResult = (Option<(u32, f32)>, Vec<f32>);

/// Reads who the machine is and refuses any other than the expected one.
fn identify<T: Transport>(transport: &mut T, expected: &Expected, name: &str) -> Result<(), RunError> {
    let mut read = |register: &str| transport.read32(offset(register));
    let (id, abi) = (read("ID")?, read("ABI")?);
    let hash = u64::from(read("CONFIG_HASH_LO")?) | u64::from(read("CONFIG_HASH_HI")?) << 32;
    let refuse = |trouble: Trouble, what: &str, found: String, wanted: String| {
        let text = format!(
            "{name}: {what} is {found}, this program needs {wanted}; generate the matching machine with `cargo run -p hw \
             -- --preset {}`, load it, or choose its preset with --preset",
            expected.preset
        );
        Err(DeviceError::new(trouble, text).into())
    };
    if id == u32::MAX {
        let text = format!("{name}: registers read as all ones: the device is gone or its link is down");
        return Err(DeviceError::new(Trouble::Lost, text).into());
    }
    if id != MAGIC {
        return refuse(Trouble::Mismatch, "the identity register", format!("{id:#010x}"), format!("{MAGIC:#010x}"));
    }
    if abi >> 16 != ABI >> 16 || abi < ABI {
        return refuse(Trouble::Mismatch, "the register map", format!("{abi:#010x}"), format!("{ABI:#010x}"));
    }
    if hash != expected.hash {
        return refuse(
            Trouble::Mismatch,
            "the configuration",
            format!("{hash:016x}"),
            format!("{:016x}", expected.hash),
        );
    }
    let caps = Capabilities::read(|at| transport.read32(at))?;
    let sizes = |slots: u64, ports: u64| format!("{slots} slots, {ports} ports");
    let found = sizes(caps.slots.into(), caps.ports.into());
    let wanted = sizes(expected.shape.tokens as u64, expected.shape.ports as u64);
    if found != wanted {
        return refuse(Trouble::Mismatch, "the machine", found, wanted);
    }
    Ok(())
}

impl<T: Transport + Send> PassRunner for Driver<T> {
    fn shape(&self) -> &DeviceShape {
        &self.expected.shape
    }

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn memory_bytes(&self) -> u64 {
        self.window().1
    }

    fn upload(&mut self, addr: u64, bytes: &[u8]) -> Result<(), RunError> {
        self.write_memory(addr, bytes)
    }

    fn load(&mut self, image: &DeviceImage) -> Result<(), RunError> {
        self.load_image(image)
    }

    fn mend(&mut self, image: &DeviceImage) -> Result<bool, RunError> {
        self.mend_fault(image)
    }

    fn read(&mut self, addr: u64, len: usize) -> Result<Vec<u8>, RunError> {
        check_range(addr, len, self.memory_bytes())?;
        let mut bytes = vec![0; len];
        self.read_memory(addr, &mut bytes)?;
        Ok(bytes)
    }

    fn run(&mut self, pass: &Pass, logits: LogitsArea) -> Result<PassResult, RunError> {
        let begin = Instant::now();
        self.last_fault = None;
        self.set_slots(pass)?;
        self.pass = self.pass.wrapping_add(1);
        let packets = self.expected.shape.packets(u64::from(pass.program_words) * BYTES as u64);
        for (register, value) in [
            ("PASS", self.pass),
            ("PROGRAM", pass.program_line),
            ("PROGRAM_PACKETS", packets as u32),
            ("PROGRAM_WORDS", pass.program_words),
            ("LOGITS", logits.line as u32),
            ("LOGITS_STRIDE", logits.stride as u32),
        ] {
            self.write(register, value)?;
        }
        self.at_work = true;
        let started = Instant::now();
        self.write("CONTROL", START)?;
        let status = self.await_end()?;
        let ended = Instant::now();
        self.at_work = false;
        if status & FAULT != 0 {
            return Err(self.fault());
        }
        let mut result = PassResult::default();
        for (index, slot) in pass.slots.iter().enumerate() {
            let wanted = slot.valid && pass.want_logits >> index & 1 == 1;
            let asked = wanted || slot.valid && pass.want_best >> index & 1 == 1;
            let (best, logits) = match asked {
                true => self.result(index, wanted, logits)?,
                false => (None, Vec::new()),
            };
            result.best.push(best);
            result.logits.push(logits);
        }
        self.stats.pass(pass.slots.len(), ended - started, begin.elapsed());
        Ok(result)
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
