//! Linear streams: packets in, words out.

use super::{FaultKind, Memory};
use crate::program::{Descriptor, DeviceShape, LINE, PACKET, check_packet};
use std::collections::VecDeque;

/// A row of packets that is read in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Packets {
    addr: u64,
    left: u64,
    bytes: VecDeque<u8>,
}

impl Packets {
    pub fn start(addr: u64, packets: u64) -> Packets {
        Packets { addr, left: packets, bytes: VecDeque::new() }
    }

    /// The next byte.
    pub fn next(&mut self, memory: &Memory, beat: usize, stream: &'static str) -> Result<u8, FaultKind> {
        while self.bytes.is_empty() {
            if self.left == 0 {
                return Err(FaultKind::Stream { stream, problem: "more words than packets" });
            }
            let addr = self.addr;
            let payload = check_packet(memory.read(addr, PACKET as usize)?, beat);
            let payload = payload.map_err(|(found, expected)| FaultKind::Checksum { addr, found, expected })?;
            self.bytes.extend(payload);
            self.addr += PACKET;
            self.left -= 1;
        }
        Ok(self.bytes.pop_front().unwrap_or(0))
    }
}

/// The words that a run still has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words(u32);

impl Words {
    /// Begins a run; the last one must have been used up.
    pub fn start(&mut self, words: u32, stream: &'static str) -> Result<(), FaultKind> {
        if self.0 != 0 {
            return Err(FaultKind::Stream { stream, problem: "a run starts before the last one was used up" });
        }
        self.0 = words;
        Ok(())
    }

    /// Whether the run is used up.
    pub fn done(self) -> bool {
        self.0 == 0
    }

    pub fn take(&mut self, stream: &'static str) -> Result<(), FaultKind> {
        self.0 = self.0.checked_sub(1).ok_or(FaultKind::Stream { stream, problem: "no word left in its run" })?;
        Ok(())
    }
}

/// A stream of words of whole bytes.
pub(super) struct LinearStream {
    word: usize,
    words: Words,
    packets: Packets,
}

impl LinearStream {
    pub fn new(word: usize) -> LinearStream {
        LinearStream { word, words: Words::default(), packets: Packets::default() }
    }

    pub fn reset(&mut self) {
        self.words = Words::default();
    }

    pub fn start(&mut self, d: &Descriptor) -> Result<(), FaultKind> {
        self.words.start(d.get("words"), "row, norm or mult")?;
        self.packets = Packets::start(u64::from(d.get("addr")) * LINE, u64::from(d.get("packets")));
        Ok(())
    }

    /// The next word.
    pub fn next(&mut self, memory: &Memory, shape: &DeviceShape, stream: &'static str) -> Result<Vec<u8>, FaultKind> {
        self.words.take(stream)?;
        (0..self.word).map(|_| self.packets.next(memory, shape.beat(), stream)).collect()
    }

    /// The next word as binary32.
    pub fn next_f32(
        &mut self,
        memory: &Memory,
        shape: &DeviceShape,
        stream: &'static str,
    ) -> Result<Vec<f32>, FaultKind> {
        let bytes = self.next(memory, shape, stream)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}
