//! The weight stream: one region of packets for each port, unpacked to 5-bit codes.

use super::stream::{Packets, Words};
use super::{FaultKind, Memory};
use crate::format::{code3, trit5};
use crate::program::{Descriptor, DeviceShape, LINE};
use std::collections::VecDeque;

const NAME: &str = "weight";

/// Codes of one port.
#[derive(Default)]
struct Port {
    packets: Packets,
    trits: VecDeque<i8>,
    bits: u32,
    held: u32,
}

/// The weight stream.
pub(super) struct WeightStream {
    sherry: bool,
    words: Words,
    ports: Vec<Port>,
}

impl WeightStream {
    pub fn new(shape: &DeviceShape) -> WeightStream {
        let ports = (0..shape.ports).map(|_| Port::default()).collect();
        WeightStream { sherry: false, words: Words::default(), ports }
    }

    pub fn reset(&mut self) {
        self.words = Words::default();
    }

    /// Whether the run holds Sherry codes.
    pub fn sherry(&self) -> bool {
        self.sherry
    }

    pub fn start(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        self.words.start(d.get("words"), NAME)?;
        self.sherry = d.get("sherry") == 1;
        let (addr, stride) = (u64::from(d.get("addr")), u64::from(d.get("stride")));
        for (number, port) in self.ports.iter_mut().enumerate() {
            let first = (addr + number as u64 * stride) * LINE;
            *port = Port { packets: Packets::start(first, u64::from(d.get("packets"))), ..Port::default() };
        }
        Ok(())
    }

    /// The next word: T*Q codes, code `q*T + t` for table `t` of row `q`.
    pub fn next(&mut self, memory: &Memory, shape: &DeviceShape) -> Result<Vec<u8>, FaultKind> {
        self.words.take(NAME)?;
        let mut codes = Vec::with_capacity(shape.tables * shape.rows);
        for (number, port) in self.ports.iter_mut().enumerate() {
            for _ in 0..shape.port_codes() {
                codes.push(if self.sherry {
                    port.sherry(memory, shape.beat())?
                } else {
                    port.dense(memory, shape.beat(), number)?
                });
            }
        }
        Ok(codes)
    }
}

impl Port {
    fn dense(&mut self, memory: &Memory, beat: usize, port: usize) -> Result<u8, FaultKind> {
        while self.trits.len() < code3::TRITS_PER_CODE {
            let byte = self.packets.next(memory, beat, NAME)?;
            if byte >= trit5::CODES {
                return Err(FaultKind::Trits { byte, port });
            }
            self.trits.extend(trit5::DECODE[byte as usize]);
        }
        let mut next = || self.trits.pop_front().unwrap_or(0);
        Ok(code3::encode3([next(), next(), next()]))
    }

    fn sherry(&mut self, memory: &Memory, beat: usize) -> Result<u8, FaultKind> {
        if self.held < 5 {
            self.bits |= u32::from(self.packets.next(memory, beat, NAME)?) << self.held;
            self.held += 8;
        }
        let code = (self.bits & 31) as u8;
        self.bits >>= 5;
        self.held -= 5;
        Ok(code)
    }
}
