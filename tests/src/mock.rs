//! A card below the system calls: nodes whose every call can fail, in front of the reference device. For faults that
//! a simulated board cannot have, and for measurements with a device that answers at once.

use crate::boards::MACHINE;
use host::device::node::{DataNode, EventNode, Ready, Window};
use host::device::xdma::{Xdma, XdmaNodes};
use sim::rng::Rng;
use spec::device::{Device, FaultKind, Pass, Slot};
use spec::program::LINE;
use spec::regs::{ABI, MAGIC, WINDOW, fault, offset};
use spec::transport::TransportError;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bus address of the card's memory.
pub const BASE: u64 = 0x10_0000;
/// Bytes in front of the machine's window.
const HEADER: u64 = host::device::residency::HEADER;

/// What goes wrong.
#[derive(Default)]
pub struct Plan {
    /// Most bytes of a transfer.
    pub most: Option<usize>,
    /// Transfers from this one on, counted from 0, for so many, end with this error number.
    pub fail: Option<(u64, u64, i32)>,
    /// Transfers that claim to have moved more than they were asked.
    pub boast: bool,
    /// No interrupt is told.
    pub silent: bool,
    /// Interrupts are told all the time.
    pub storm: bool,
    /// Registers read as all ones.
    pub vanished: bool,
    /// A pass never ends.
    pub endless: bool,
    /// A pass ends at once with arbitrary results.
    pub instant: bool,
    /// A start is taken for loading the bitstream anew.
    pub reload: bool,
    /// Somebody else runs a pass of his own after each of ours.
    pub foreign: bool,
    /// Registers, but those of the identity, read as anything.
    pub hostile: Option<Rng>,
    /// Buffers that do not lie at a page are refused.
    pub picky: bool,
    /// Bits of addresses from this one up are not connected.
    pub fold: Option<u64>,
    /// Passes without a program end by the watchdog, at this clock; 0 is one that stands still.
    pub clock_hz: Option<f64>,
    /// The event node answers with this error number.
    pub events: Option<i32>,
}

/// The card.
pub struct Card {
    device: Device,
    header: Vec<u8>,
    registers: HashMap<u32, u32>,
    pending: bool,
    /// What goes wrong.
    pub plan: Plan,
    /// Transfers so far.
    pub transfers: u64,
    /// Largest transfer.
    pub largest: usize,
    /// Soft resets.
    pub resets: u64,
    /// Passes that were started.
    pub starts: u64,
    /// Buffers of transfers that were not at a page.
    pub unaligned: u64,
    /// Signals of the thread that were open in a transfer.
    pub open_signals: u64,
}

/// A handle on it.
#[derive(Clone)]
pub struct Mock(Arc<Mutex<Card>>);

impl Mock {
    /// A card with so many bytes of memory.
    pub fn new(memory: u64) -> Mock {
        let device = Device::new(MACHINE.shape(), vec![0; (memory - HEADER) as usize]).expect("a shape of a preset");
        let identity = MACHINE.identity();
        let mut registers: HashMap<u32, u32> =
            identity.words().iter().map(|(name, word)| (offset(name), *word)).collect();
        registers.insert(offset("ID"), MAGIC);
        registers.insert(offset("ABI"), ABI);
        Mock(Arc::new(Mutex::new(Card {
            device,
            header: vec![0; HEADER as usize],
            registers,
            pending: false,
            plan: Plan::default(),
            transfers: 0,
            largest: 0,
            resets: 0,
            starts: 0,
            unaligned: 0,
            open_signals: 0,
        })))
    }

    /// The card itself.
    pub fn card(&self) -> MutexGuard<'_, Card> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver's transport on it.
    pub fn transport(&self) -> Result<Xdma, TransportError> {
        let nodes = XdmaNodes {
            window: Box::new(self.clone()),
            down: Box::new(self.clone()),
            up: Box::new(self.clone()),
            events: Box::new(self.clone()),
        };
        let bytes = self.card().device.memory().bytes().len() as u64 + HEADER;
        Xdma::new(nodes, "mock card".into(), BASE, bytes)
    }
}

impl Card {
    /// A register.
    pub fn get(&self, name: &str) -> u32 {
        self.registers.get(&offset(name)).copied().unwrap_or(0)
    }

    /// Sets a register from behind.
    pub fn set(&mut self, name: &str, value: u32) {
        self.registers.insert(offset(name), value);
    }

    /// Turns a bit of memory.
    pub fn flip(&mut self, at: u64) {
        let byte = self.device.memory().bytes()[at as usize];
        let _ = self.device.memory_mut().write(at, &[byte ^ 1]);
    }

    /// Everything but memory at its reset value.
    pub fn reload(&mut self) {
        let constants: Vec<u32> = MACHINE.identity().words().iter().map(|(name, _)| offset(name)).collect();
        self.registers.retain(|at, _| constants.contains(at));
        self.pending = false;
    }

    /// Rings the doorbell from behind.
    pub fn write_start(&mut self) {
        if self.get("STATUS") & 5 == 0 {
            self.run();
        }
    }

    fn slot(&self, name: &str, index: usize) -> u32 {
        self.registers.get(&(offset(name) + 16 * index as u32)).copied().unwrap_or(0)
    }

    fn run(&mut self) {
        self.starts += 1;
        if self.plan.reload {
            return self.reload();
        }
        self.set("STATUS", 1);
        if self.plan.endless {
            return;
        }
        if let Some(hz) = self.plan.clock_hz.filter(|_| self.get("PROGRAM_PACKETS") == 0) {
            let cycles = self.get("WATCHDOG");
            if hz > 0.0 {
                std::thread::sleep(Duration::from_secs_f64(f64::from(cycles) / hz));
                self.set("CYCLES_LO", cycles);
                self.set("STATUS", 4);
                self.pending = true;
            }
            return;
        }
        let count = (self.get("SLOTS") as usize).min(MACHINE.shape().slots());
        let mut pass = Pass {
            program_line: self.get("PROGRAM"),
            program_words: self.get("PROGRAM_WORDS"),
            slots: Vec::new(),
            want_logits: 0,
            // the machine finds the best token of every slot
            want_best: u64::MAX,
        };
        for index in 0..count {
            let flags = self.slot("SLOT_FLAGS", index);
            pass.slots.push(Slot {
                valid: flags & 1 != 0,
                token: self.slot("SLOT_TOKEN", index),
                position: self.slot("SLOT_POSITION", index),
                cache: self.slot("SLOT_CACHE", index),
                run: (flags >> 8) as u8,
            });
            pass.want_logits |= u64::from(flags >> 1 & 1) << index;
        }
        let (mut status, mut code, mut info) = (2, fault::NONE, 0);
        if !self.plan.instant {
            match self.device.run(&pass, &mut |_| ()) {
                Ok(result) => {
                    for index in 0..count {
                        // results are those of a bank
                        let place = index % MACHINE.shape().tokens;
                        let (token, logit) =
                            result.best.get(index).copied().flatten().unwrap_or((0, f32::NEG_INFINITY));
                        self.registers.insert(offset("BEST_TOKEN") + 8 * place as u32, token);
                        self.registers.insert(offset("BEST_LOGIT") + 8 * place as u32, logit.to_bits());
                        let bytes: Vec<u8> =
                            result.logits[index].iter().flat_map(|logit| logit.to_bits().to_le_bytes()).collect();
                        let line = u64::from(self.get("LOGITS")) + place as u64 * u64::from(self.get("LOGITS_STRIDE"));
                        let _ = self.device.memory_mut().write(line * LINE, &bytes);
                    }
                }
                Err(found) => {
                    status = 4;
                    (code, info) = match found.kind {
                        FaultKind::Checksum { addr, .. } => (fault::CRC, (addr / LINE) as u32),
                        FaultKind::Address { .. } => (fault::BAD_ADDRESS, 0),
                        FaultKind::Trits { port, .. } => (fault::ILLEGAL_CODE, port as u32),
                        _ => (fault::BAD_LENGTH, 0),
                    };
                }
            }
        }
        self.set("STATUS", status);
        self.set("FAULT_CODE", code.into());
        self.set("FAULT_INFO", info);
        let number = self.get("PASS");
        self.set("DONE_PASS", if self.plan.foreign { number.wrapping_add(1000) } else { number });
        self.set("IRQ_STATUS", if status == 2 { 1 } else { 2 });
        self.pending = true;
    }

    fn transfer(&mut self, buffer: *const u8, len: usize) -> io::Result<usize> {
        let number = self.transfers;
        self.transfers += 1;
        self.largest = self.largest.max(len);
        self.unaligned += u64::from(!(buffer as usize).is_multiple_of(4096));
        if !self.plan.instant {
            self.open_signals += u64::from(!signals_blocked());
        }
        if let Some((first, count, errno)) = self.plan.fail
            && (first..first.saturating_add(count)).contains(&number)
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if self.plan.picky && !(buffer as usize).is_multiple_of(4096) {
            return Err(io::Error::from_raw_os_error(22));
        }
        if self.plan.boast {
            return Ok(len + 1);
        }
        Ok(self.plan.most.map_or(len, |most| most.min(len)))
    }

    fn bytes(&mut self, address: u64, len: usize) -> io::Result<(bool, u64)> {
        let at = address.checked_sub(BASE).ok_or(io::ErrorKind::InvalidInput)?;
        let at = self.plan.fold.map_or(at, |size| at % size);
        let (header, at) = if at < HEADER { (true, at) } else { (false, at - HEADER) };
        let size = if header { HEADER } else { self.device.memory().bytes().len() as u64 };
        match at + len as u64 <= size {
            true => Ok((header, at)),
            false => Err(io::Error::from_raw_os_error(5)),
        }
    }
}

/// Whether this thread takes no signals, from the kernel's account of it.
fn signals_blocked() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or("0").trim();
    // SIGINT, SIGCHLD and SIGWINCH
    let wanted = 1 << 1 | 1 << 16 | 1 << 27;
    u64::from_str_radix(mask, 16).unwrap_or(0) & wanted == wanted
}

impl Window for Mock {
    fn read32(&mut self, at: u32) -> u32 {
        let mut card = self.card();
        if card.plan.vanished {
            return u32::MAX;
        }
        let identity = at < offset("SCRATCH") || (offset("CAP_TABLES")..=offset("CAP_MHZ")).contains(&at);
        if let Some(rng) = card.plan.hostile.as_mut().filter(|_| !identity) {
            // small numbers and bits now and then: plausible lies go further
            return match rng.below(4) {
                0 => rng.bits() as u32,
                1 => 1 << rng.below(32),
                2 => rng.below(8) as u32,
                _ => u32::MAX,
            };
        }
        card.registers.get(&at).copied().unwrap_or(0)
    }

    fn write32(&mut self, at: u32, value: u32) {
        assert!(at < WINDOW && at.is_multiple_of(4), "the driver checks offsets");
        let mut card = self.card();
        if card.plan.vanished {
            return;
        }
        if at == offset("CONTROL") {
            if value & 2 != 0 {
                card.resets += 1;
                card.set("STATUS", 0);
            } else if value & 1 != 0 {
                card.write_start();
            }
        } else if at == offset("IRQ_STATUS") {
            let left = card.get("IRQ_STATUS") & !value;
            card.set("IRQ_STATUS", left);
        } else if at >= offset("SCRATCH") && !(offset("CAP_TABLES")..=offset("CAP_MHZ")).contains(&at) {
            card.registers.insert(at, value);
        }
    }
}

impl DataNode for Mock {
    fn read_at(&self, address: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut card = self.card();
        let count = card.transfer(bytes.as_ptr(), bytes.len())?;
        let len = count.min(bytes.len());
        let (header, at) = card.bytes(address, len)?;
        let from = if header { &card.header[..] } else { card.device.memory().bytes() };
        bytes[..len].copy_from_slice(&from[at as usize..][..len]);
        Ok(count)
    }

    fn write_at(&self, address: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut card = self.card();
        let count = card.transfer(bytes.as_ptr(), bytes.len())?;
        let len = count.min(bytes.len());
        let (header, at) = card.bytes(address, len)?;
        if header {
            card.header[at as usize..][..len].copy_from_slice(&bytes[..len]);
        } else {
            let _ = card.device.memory_mut().write(at, &bytes[..len]);
        }
        Ok(count)
    }
}

impl EventNode for Mock {
    fn enable(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<Ready> {
        let (event, error) = {
            let card = self.card();
            (card.plan.storm || card.pending && !card.plan.silent, card.plan.events)
        };
        match (error, event) {
            (Some(number), _) => Err(io::Error::from_raw_os_error(number)),
            (None, true) => Ok(Ready::Event),
            (None, false) => {
                std::thread::sleep(timeout);
                Ok(Ready::Nothing)
            }
        }
    }

    fn take(&mut self) -> io::Result<u32> {
        let mut card = self.card();
        card.pending = false;
        Ok(1)
    }
}
