//! The weight stream: one region of packets for each port, unpacked to 5-bit codes.

use super::head::Listed;
use super::stream::{Packets, Words};
use super::{FaultKind, Memory};
use crate::format::trit5;
use crate::program::{Descriptor, DeviceShape, LINE, PACKET, WordReader};
use std::collections::VecDeque;

const NAME: &str = "weight";
/// Runs that may wait.
const RUNS: usize = 4;

/// Words of one port.
struct Port {
    packets: Packets,
    words: WordReader,
}

/// The weight stream.
pub(super) struct WeightStream {
    sherry: bool,
    words: Words,
    /// Runs that come after this one.
    waiting: VecDeque<Descriptor>,
    ports: Vec<Port>,
    /// Words of listed groups, in the order of delivery.
    listed: VecDeque<Vec<u8>>,
    /// Words of the tile in work that come once more, and those that now do.
    held: VecDeque<Vec<u8>>,
    again: VecDeque<Vec<u8>>,
    held_sherry: bool,
}

impl WeightStream {
    pub fn new(shape: &DeviceShape) -> WeightStream {
        let port = |_| Port { packets: Packets::default(), words: WordReader::new(shape.word_layout(false)) };
        let ports = (0..shape.ports).map(port).collect();
        WeightStream {
            sherry: false,
            words: Words::default(),
            waiting: VecDeque::new(),
            ports,
            listed: VecDeque::new(),
            held: VecDeque::new(),
            again: VecDeque::new(),
            held_sherry: false,
        }
    }

    pub fn reset(&mut self) {
        self.words = Words::default();
        self.listed.clear();
        self.held.clear();
        self.again.clear();
        self.waiting.clear();
    }

    /// Whether the next word holds Sherry codes.
    pub fn sherry(&self) -> bool {
        if self.again.is_empty() { self.sherry } else { self.held_sherry }
    }

    /// Starts a run, after those before if these are not used up.
    pub fn start(&mut self, d: &Descriptor, shape: &DeviceShape) -> Result<(), FaultKind> {
        if !self.words.done() {
            if self.waiting.len() == RUNS {
                return Err(FaultKind::Stream { stream: NAME, problem: "too many runs wait" });
            }
            self.waiting.push_back(*d);
            return Ok(());
        }
        self.words.start(d.get("words"), NAME)?;
        self.sherry = d.get("sherry") == 1;
        let layout = shape.word_layout(self.sherry);
        let (addr, stride) = (u64::from(d.get("addr")), u64::from(d.get("stride")));
        for (number, port) in self.ports.iter_mut().enumerate() {
            let first = (addr + number as u64 * stride) * LINE;
            let packets = Packets::start(first, u64::from(d.get("packets")));
            *port = Port { packets, words: WordReader::new(layout) };
        }
        Ok(())
    }

    /// A run of one packet of each listed group. The ring turns its words round: the first ones of all groups,
    /// then the second ones.
    pub fn start_listed(
        &mut self,
        d: &Descriptor,
        list: &[Listed],
        memory: &Memory,
        shape: &DeviceShape,
    ) -> Result<(), FaultKind> {
        let each = d.get("each") as usize;
        let words = (each * list.len()) as u32;
        if list.is_empty() || list.len() != d.get("packets") as usize || words != d.get("words") {
            return Err(FaultKind::Program("packets or words of a run of listed groups"));
        }
        if words as usize > shape.buffer_words {
            let limit = shape.buffer_words;
            return Err(FaultKind::Range { what: "word of listed groups", at: words as usize - 1, limit });
        }
        self.words.start(words, NAME)?;
        self.sherry = d.get("sherry") == 1;
        let layout = shape.word_layout(self.sherry);
        let (addr, stride) = (u64::from(d.get("addr")), u64::from(d.get("stride")));
        let mut groups = Vec::with_capacity(list.len());
        for listed in list {
            for (number, port) in self.ports.iter_mut().enumerate() {
                let first = (addr + number as u64 * stride) * LINE + u64::from(listed.group) * PACKET;
                *port = Port { packets: Packets::start(first, 1), words: WordReader::new(layout) };
            }
            groups.push((0..each).map(|_| self.codes(memory, shape)).collect::<Result<Vec<_>, _>>()?);
        }
        self.listed = (0..each).flat_map(|word| groups.iter().map(move |group| group[word].clone())).collect();
        Ok(())
    }

    /// Words that are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The words that were held come once more, before all others.
    pub fn again(&mut self) {
        std::mem::swap(&mut self.held, &mut self.again);
    }

    /// The next word: T*Q codes, code `q*T + t` for table `t` of row `q`. With `hold` it is kept to come once more.
    pub fn next(&mut self, memory: &Memory, shape: &DeviceShape, hold: bool) -> Result<Vec<u8>, FaultKind> {
        let sherry = self.sherry();
        let codes = match self.again.pop_front() {
            Some(codes) => codes,
            None => self.fresh(memory, shape)?,
        };
        if hold {
            self.held_sherry = sherry;
            self.held.push_back(codes.clone());
        }
        Ok(codes)
    }

    fn fresh(&mut self, memory: &Memory, shape: &DeviceShape) -> Result<Vec<u8>, FaultKind> {
        self.words.take(NAME)?;
        let codes = match self.listed.pop_front() {
            Some(codes) => codes,
            None => self.codes(memory, shape)?,
        };
        if self.words.done()
            && let Some(run) = self.waiting.pop_front()
        {
            self.start(&run, shape)?;
        }
        Ok(codes)
    }

    fn codes(&mut self, memory: &Memory, shape: &DeviceShape) -> Result<Vec<u8>, FaultKind> {
        let mut codes = Vec::with_capacity(shape.tables * shape.rows);
        for (port, Port { packets, words }) in self.ports.iter_mut().enumerate() {
            codes.extend(words.next(|| match packets.next(memory, shape.beat(), NAME)? {
                byte if !self.sherry && byte >= trit5::CODES => Err(FaultKind::Trits { byte, port }),
                byte => Ok(byte),
            })?);
        }
        Ok(codes)
    }
}
