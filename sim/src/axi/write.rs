//! The write side of a port.

use super::{Counters, OPEN, Shared};
use crate::SimError;
use crate::ffi::{Library, Model, PortId};
use std::collections::VecDeque;

/// A burst whose data is to come.
struct Burst {
    id: u64,
    offset: u64,
    left: u64,
    error: bool,
}

/// An answer to be given.
struct Answer {
    id: u64,
    ready_at: u64,
    response: u64,
}

pub(super) struct WritePort {
    awid: PortId,
    awaddr: PortId,
    awlen: PortId,
    awsize: PortId,
    awburst: PortId,
    awvalid: PortId,
    awready: PortId,
    wdata: PortId,
    wstrb: PortId,
    wlast: PortId,
    wvalid: PortId,
    wready: PortId,
    bid: PortId,
    bresp: PortId,
    bvalid: PortId,
    bready: PortId,
    /// Bytes of a beat.
    beat: u64,
    queue: VecDeque<Burst>,
    answers: VecDeque<Answer>,
    held: Option<[u64; 3]>,
    offered: bool,
    /// A beat of data, and its strobes.
    data: Vec<u8>,
    strobes: Vec<u8>,
    /// Data and strobes that were offered and not taken.
    waiting: bool,
    waiting_data: Vec<u8>,
    waiting_strobes: Vec<u8>,
}

impl WritePort {
    pub(super) fn new(library: &Library, prefix: &str) -> Result<WritePort, SimError> {
        let port = |name: &str| super::port_of(library, prefix, name);
        let wdata = port("wdata_o")?;
        let beat = library.width(wdata) as usize / 8;
        let strobes = beat.div_ceil(8);
        Ok(WritePort {
            awid: port("awid_o")?,
            awaddr: port("awaddr_o")?,
            awlen: port("awlen_o")?,
            awsize: port("awsize_o")?,
            awburst: port("awburst_o")?,
            awvalid: port("awvalid_o")?,
            awready: port("awready_i")?,
            wdata,
            wstrb: port("wstrb_o")?,
            wlast: port("wlast_o")?,
            wvalid: port("wvalid_o")?,
            wready: port("wready_i")?,
            bid: port("bid_i")?,
            bresp: port("bresp_i")?,
            bvalid: port("bvalid_i")?,
            bready: port("bready_o")?,
            beat: beat as u64,
            queue: VecDeque::with_capacity(OPEN),
            answers: VecDeque::with_capacity(OPEN),
            held: None,
            offered: false,
            data: vec![0; beat],
            strobes: vec![0; strobes],
            waiting: false,
            waiting_data: vec![0; beat],
            waiting_strobes: vec![0; strobes],
        })
    }

    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.answers.clear();
        self.held = None;
        self.offered = false;
        self.waiting = false;
    }

    pub(super) fn step(
        &mut self,
        model: &mut Model,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Result<(), String> {
        self.answer(model, shared);
        let ready = !self.queue.is_empty() && !shared.refreshing() && !shared.stalls();
        model.set(self.wready, u64::from(ready));
        if model.get(self.wvalid) == 1 {
            self.take(ready, model, shared)?;
            counters.write_beats += u64::from(ready);
        } else if self.waiting {
            return Err("write data was withdrawn".into());
        }
        let ready = self.queue.len() + self.answers.len() < OPEN && !shared.stalls();
        model.set(self.awready, u64::from(ready));
        if model.get(self.awvalid) == 1 {
            let fields = [self.awid, self.awaddr, self.awlen].map(|p| model.get(p));
            if self.held.is_some_and(|held| held != fields) {
                return Err("a write address changed before it was taken".into());
            }
            self.held = (!ready).then_some(fields);
            if ready {
                let [id, address, length] = fields;
                let (size, kind) = (model.get(self.awsize), model.get(self.awburst));
                let offset = shared.burst(address, length + 1, self.beat, size, kind)?;
                let error = shared.error_in(offset, (length + 1) * self.beat);
                self.queue.push_back(Burst { id, offset, left: length + 1, error });
                counters.write_bursts += 1;
            }
        } else if self.held.is_some() {
            return Err("a write address was withdrawn".into());
        }
        Ok(())
    }

    /// A beat of data on the channel, taken if `ready`.
    fn take(&mut self, ready: bool, model: &Model, shared: &mut Shared) -> Result<(), String> {
        model.get_bytes(self.wdata, &mut self.data);
        match self.beat {
            0..=64 => {
                let bits = model.get(self.wstrb).to_le_bytes();
                self.strobes.iter_mut().zip(bits).for_each(|(strobes, byte)| *strobes = byte);
            }
            _ => model.get_bytes(self.wstrb, &mut self.strobes),
        }
        if self.waiting && (self.waiting_data != self.data || self.waiting_strobes != self.strobes) {
            return Err("write data changed before it was taken".into());
        }
        self.waiting = !ready;
        if !ready {
            self.waiting_data.copy_from_slice(&self.data);
            self.waiting_strobes.copy_from_slice(&self.strobes);
            return Ok(());
        }
        let Some(burst) = self.queue.front_mut() else { return Ok(()) };
        if (model.get(self.wlast) == 1) != (burst.left == 1) {
            return Err(format!("wlast is wrong with {} beats left", burst.left));
        }
        for (at, byte) in self.data.iter().enumerate() {
            if self.strobes[at / 8] >> (at % 8) & 1 == 1 && !burst.error {
                shared.bytes[burst.offset as usize + at] = *byte;
            }
        }
        burst.offset += self.beat;
        burst.left -= 1;
        if burst.left == 0 {
            let (id, response) = (burst.id, if burst.error { 2 } else { 0 });
            self.queue.pop_front();
            let ready_at = shared.latency();
            self.answers.push_back(Answer { id, ready_at, response });
        }
        Ok(())
    }

    fn answer(&mut self, model: &mut Model, shared: &mut Shared) {
        if !self.offered {
            let count = self.answers.len();
            let from = if shared.timing.reorder && count > 0 { shared.rng.below(count as u64) as usize } else { 0 };
            let can = |at: &usize| {
                let answer = &self.answers[*at];
                let first = !self.answers.iter().take(*at).any(|earlier| earlier.id == answer.id);
                first && answer.ready_at <= shared.cycle
            };
            let chosen = match shared.timing.reorder {
                true => (0..count).map(|turn| (from + turn) % count).find(can),
                false => (count > 0 && can(&0)).then_some(0),
            };
            match chosen.and_then(|at| self.answers.remove(at)) {
                Some(answer) => {
                    model.set(self.bid, answer.id);
                    model.set(self.bresp, answer.response);
                    model.set(self.bvalid, 1);
                    self.offered = true;
                }
                None => {
                    model.set(self.bvalid, 0);
                    if shared.timing.noise {
                        let bits = shared.rng.bits();
                        model.set(self.bid, bits);
                        model.set(self.bresp, bits >> 8);
                    }
                }
            }
        }
        if self.offered && model.get(self.bready) == 1 {
            self.offered = false;
        }
    }
}
