//! Drives a machine through a [`Transport`]: simulated RTL, a Zynq's AXI, a card behind PCIe.

use super::{LogitsArea, PassRunner, RunError};
use spec::device::{Pass, PassResult};
use spec::program::{BYTES, DeviceShape, LINE};
use spec::regs::{ABI, COUNTERS, Capabilities, MAGIC, fault, offset};
use spec::transport::{Event, Transport, TransportError};
use std::time::{Duration, Instant};

/// Bits of STATUS and IRQ_STATUS.
const DONE: u32 = 1 << 1;
const FAULT: u32 = 1 << 2;
const DRAINING: u32 = 1 << 3;
/// Bits of CONTROL.
const START: u32 = 1;
const RESET: u32 = 1 << 1;
/// Bits of SLOT_FLAGS.
const VALID: u32 = 1;
const LOGITS: u32 = 1 << 1;
const RUN: u32 = 8;

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

/// A machine behind a transport.
pub struct Driver<T> {
    transport: T,
    expected: Expected,
    name: String,
    /// Longest time that a pass may take.
    deadline: Duration,
    pass: u32,
}

impl From<TransportError> for RunError {
    fn from(error: TransportError) -> Self {
        RunError::Device(error.to_string())
    }
}

impl<T: Transport + Send> Driver<T> {
    /// Checks that the machine is the expected one and resets it. `name` is for people.
    pub fn new(mut transport: T, expected: Expected, name: String, deadline: Duration) -> Result<Self, RunError> {
        let mut read = |name: &str| transport.read32(offset(name));
        let (id, abi) = (read("ID")?, read("ABI")?);
        let hash = u64::from(read("CONFIG_HASH_LO")?) | u64::from(read("CONFIG_HASH_HI")?) << 32;
        let refuse = |what: &str, found: String, wanted: String| {
            let text = format!(
                "{name}: {what} is {found}, this program needs {wanted}; generate the matching machine with `cargo run -p hw \
                 -- --preset {}`",
                expected.preset
            );
            Err(RunError::Device(text))
        };
        if id != MAGIC {
            return refuse("the identity register", format!("{id:#010x}"), format!("{MAGIC:#010x}"));
        }
        if abi >> 16 != ABI >> 16 {
            return refuse("the register map", format!("{abi:#010x}"), format!("{ABI:#010x}"));
        }
        if hash != expected.hash {
            return refuse("the configuration", format!("{hash:016x}"), format!("{:016x}", expected.hash));
        }
        let caps = Capabilities::read(|at| transport.read32(at))?;
        if caps.slots as usize != expected.shape.tokens || caps.ports as usize != expected.shape.ports {
            let found = format!("{} slots, {} ports", caps.slots, caps.ports);
            return refuse(
                "the machine",
                found,
                format!("{} slots, {} ports", expected.shape.tokens, expected.shape.ports),
            );
        }
        let mut driver = Driver { transport, expected, name, deadline, pass: 0 };
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

    fn write(&mut self, register: &str, value: u32) -> Result<(), RunError> {
        Ok(self.transport.write32(offset(register), value)?)
    }

    fn read32(&mut self, register: &str) -> Result<u32, RunError> {
        Ok(self.transport.read32(offset(register))?)
    }

    /// Soft reset, and everything that outlives a pass.
    pub fn reset(&mut self) -> Result<(), RunError> {
        self.write("CONTROL", RESET)?;
        let start = Instant::now();
        while self.read32("STATUS")? & DRAINING != 0 {
            if start.elapsed() > self.deadline {
                return Err(RunError::Device(format!("{}: the soft reset does not end", self.name)));
            }
        }
        let (base, bytes) = (self.transport.memory_base(), self.transport.memory_bytes());
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

    /// What the fault registers say; then the machine is reset.
    fn fault(&mut self) -> RunError {
        let mut registers = || -> Result<String, RunError> {
            let (code, info) = (self.read32("FAULT_CODE")?, self.read32("FAULT_INFO")?);
            let (index, label) = (self.read32("FAULT_INDEX")?, self.read32("FAULT_LABEL")?);
            let layer = if label == 0xffff { String::new() } else { format!(", layer {label}") };
            let text = fault::text(code);
            Ok(format!("{}: {text} (code {code}, {info:#x}) at descriptor {index}{layer}", self.name))
        };
        match registers().and_then(|text| self.reset().map(|()| text)) {
            Ok(text) => RunError::Device(text),
            Err(error) => error,
        }
    }

    /// Performance counters of the last pass, by name.
    pub fn counters(&mut self) -> Result<Vec<(&'static str, u64)>, RunError> {
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        COUNTERS
            .iter()
            .map(|counter| Ok((counter.name, wide(self.read32(counter.low)?, self.read32(counter.high)?))))
            .collect()
    }
}

impl<T: Transport + Send> PassRunner for Driver<T> {
    fn shape(&self) -> &DeviceShape {
        &self.expected.shape
    }

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn memory_bytes(&self) -> u64 {
        self.transport.memory_bytes()
    }

    fn upload(&mut self, addr: u64, bytes: &[u8]) -> Result<(), RunError> {
        Ok(self.transport.write(addr, bytes)?)
    }

    fn read(&mut self, addr: u64, len: usize) -> Result<Vec<u8>, RunError> {
        let mut bytes = vec![0; len];
        self.transport.read(addr, &mut bytes)?;
        Ok(bytes)
    }

    fn run(&mut self, pass: &Pass, logits: LogitsArea) -> Result<PassResult, RunError> {
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
            ("CONTROL", START),
        ] {
            self.write(register, value)?;
        }
        let event = self.transport.wait(self.deadline)?;
        let status = self.read32("STATUS")?;
        self.write("IRQ_STATUS", u32::MAX)?;
        if status & FAULT != 0 {
            return Err(self.fault());
        }
        if event == Event::Timeout || status & DONE == 0 || self.read32("DONE_PASS")? != self.pass {
            let text = format!("{}: the pass did not end in {:?} (status {status:#x})", self.name, self.deadline);
            self.reset()?;
            return Err(RunError::Device(text));
        }
        let mut result = PassResult::default();
        for (index, slot) in pass.slots.iter().enumerate() {
            let wanted = slot.valid && pass.want_logits >> index & 1 == 1;
            let best = |register: &str| offset(register) + 8 * index as u32;
            let asked = wanted || slot.valid && pass.want_best >> index & 1 == 1;
            result.best.push(match asked {
                true => {
                    let token = self.transport.read32(best("BEST_TOKEN"))?;
                    let logit = f32::from_bits(self.transport.read32(best("BEST_LOGIT"))?);
                    Some((token, logit)).filter(|_| logit > f32::NEG_INFINITY)
                }
                false => None,
            });
            result.logits.push(match wanted {
                true => {
                    let at = (logits.line + index as u64 * logits.stride) * LINE;
                    let bytes = self.read(at, 4 * logits.vocab)?;
                    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
                }
                false => Vec::new(),
            });
        }
        Ok(result)
    }
}
