//! A pass of a driver, from its registers to its results.

use super::driver::{BUSY, DONE, DRAINING, Driver, FAULT, ILLEGAL, START};
use super::error::Trouble;
use super::{LogitsArea, PassRunner, RunError};
use crate::compile::DeviceImage;
use spec::device::{Pass, PassResult};
use spec::program::{BYTES, DeviceShape, LINE};
use spec::regs::{fault, offset};
use spec::transport::{Event, Transport, check_range};
use std::time::{Duration, Instant};

/// Bits of SLOT_FLAGS.
const VALID: u32 = 1;
const LOGITS: u32 = 1 << 1;
const RUN: u32 = 8;
/// More interrupts than that in one wait and nothing to show for them: the line is stuck.
const STORM: u32 = 64;
/// Time between two looks at STATUS where the interrupt is of no use.
const PAUSE: Duration = Duration::from_millis(1);

/// Best token with its logit, and all logits.
type SlotResult = (Option<(u32, f32)>, Vec<f32>);

impl<T: Transport + Send> Driver<T> {
    fn set_slots(&mut self, pass: &Pass) -> Result<(), RunError> {
        let slot = |register: &str, index: usize| offset(register) + 16 * index as u32;
        for index in 0..self.expected.shape.slots() {
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
                // never by this driver, which has no other offsets than those of the map
                self.stats.illegal_accesses += u64::from(status & ILLEGAL != 0);
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
        // results are those of a bank
        let (slot, index) = (index, index % self.expected.shape.tokens);
        let best = |register: &str| offset(register) + 8 * index as u32;
        let token = self.transport.read32(best("BEST_TOKEN"))?;
        let logit = f32::from_bits(self.transport.read32(best("BEST_LOGIT"))?);
        let best = Some((token, logit)).filter(|_| logit > f32::NEG_INFINITY);
        if best.is_some() && token as usize >= logits.vocab {
            let text = format!("slot {slot} says token {token} of {}; the device cannot be trusted", logits.vocab);
            return Err(self.error(Trouble::Io, text));
        }
        if !wanted {
            return Ok((best, Vec::new()));
        }
        let bytes = self.read((logits.line + index as u64 * logits.stride) * LINE, 4 * logits.vocab)?;
        Ok((best, bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
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
