//! The read side of a port.

use super::{Counters, OPEN, Shared, Timing};
use crate::SimError;
use crate::ffi::{Library, Model, PortId};
use std::collections::VecDeque;

/// A burst in work.
struct Burst {
    id: u64,
    /// Place of its next beat.
    offset: u64,
    left: u64,
    ready_at: u64,
    silent: bool,
    drop_last: bool,
    started: bool,
}

pub(super) struct ReadPort {
    arid: PortId,
    araddr: PortId,
    arlen: PortId,
    arsize: PortId,
    arburst: PortId,
    arvalid: PortId,
    arready: PortId,
    rid: PortId,
    rdata: PortId,
    rresp: PortId,
    rlast: PortId,
    rvalid: PortId,
    rready: PortId,
    /// Bytes of a beat.
    beat: u64,
    queue: VecDeque<Burst>,
    /// Address that was offered and not taken.
    held: Option<[u64; 3]>,
    /// A beat stands on the channel.
    offered: bool,
    /// Bursts so far, and beats.
    bursts: u64,
    beats: u64,
    /// Percent of cycles lost now, and how far the next loss is.
    loss: u64,
    lost: u64,
    /// The next beat waits until then.
    pause: u64,
    /// A beat passed in this cycle.
    moved: bool,
}

impl ReadPort {
    pub(super) fn new(library: &Library, prefix: &str) -> Result<ReadPort, SimError> {
        let port = |name: &str| super::port_of(library, prefix, name);
        let rdata = port("rdata_i")?;
        Ok(ReadPort {
            arid: port("arid_o")?,
            araddr: port("araddr_o")?,
            arlen: port("arlen_o")?,
            arsize: port("arsize_o")?,
            arburst: port("arburst_o")?,
            arvalid: port("arvalid_o")?,
            arready: port("arready_i")?,
            rid: port("rid_i")?,
            rdata,
            rresp: port("rresp_i")?,
            rlast: port("rlast_i")?,
            rvalid: port("rvalid_i")?,
            rready: port("rready_o")?,
            beat: u64::from(library.width(rdata) / 8),
            queue: VecDeque::with_capacity(OPEN),
            held: None,
            offered: false,
            bursts: 0,
            beats: 0,
            loss: 0,
            lost: 0,
            pause: 0,
            moved: false,
        })
    }

    /// Whether a beat passed in the last cycle.
    pub(super) fn moved(&self) -> bool {
        self.moved
    }

    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.held = None;
        self.offered = false;
        (self.loss, self.lost, self.pause) = (0, 0, 0);
    }

    pub(super) fn step(
        &mut self,
        port: usize,
        model: &mut Model,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Result<(), String> {
        if !self.offered {
            match self.choose(port, shared) {
                Some(at) => self.offer(at, port, model, shared),
                None => {
                    counters.read_waits += u64::from(!self.queue.is_empty());
                    self.rest(model, shared);
                }
            }
        }
        self.moved = self.offered && model.get(self.rready) == 1;
        if self.moved {
            self.offered = false;
            counters.read_beats += 1;
        }
        let ready = self.queue.len() < OPEN && !shared.stalls();
        model.set(self.arready, u64::from(ready));
        if model.get(self.arvalid) == 1 {
            let fields = [self.arid, self.araddr, self.arlen].map(|p| model.get(p));
            if self.held.is_some_and(|held| held != fields) {
                return Err("a read address changed before it was taken".into());
            }
            self.held = (!ready).then_some(fields);
            if ready {
                self.accept(port, fields, model, shared)?;
                counters.read_bursts += 1;
            }
        } else if self.held.is_some() {
            return Err("a read address was withdrawn".into());
        }
        Ok(())
    }

    fn accept(&mut self, port: usize, fields: [u64; 3], model: &Model, shared: &mut Shared) -> Result<(), String> {
        let [id, address, length] = fields;
        let (size, kind) = (model.get(self.arsize), model.get(self.arburst));
        let offset = shared.burst(address, length + 1, self.beat, size, kind)?;
        let ready_at = shared.latency();
        let is = |fault: Option<(usize, u64)>| fault == Some((port, self.bursts));
        let (silent, drop_last) = (is(shared.faults.silent), is(shared.faults.drop_last));
        self.queue.push_back(Burst { id, offset, left: length + 1, ready_at, silent, drop_last, started: false });
        self.bursts += 1;
        Ok(())
    }

    /// The burst that gives a beat now.
    fn choose(&mut self, port: usize, shared: &mut Shared) -> Option<usize> {
        if let Some((low, high)) = shared.timing.loss.get(port).copied() {
            if shared.cycle.is_multiple_of(Timing::WINDOW) {
                self.loss = shared.rng.within(low, high.max(low));
            }
            self.lost += self.loss;
            if self.lost >= 100 {
                self.lost -= 100;
                return None;
            }
        }
        if self.queue.is_empty() || self.pause > shared.cycle || shared.refreshing() {
            return None;
        }
        let at = self.pick(shared)?;
        if let (false, Some((one_in, cycles))) = (self.queue[at].started, shared.timing.bank_miss) {
            self.queue[at].started = true;
            if shared.rng.one_in(one_in.max(1)) {
                self.pause = shared.cycle + cycles;
                return None;
            }
        }
        if let Some((_, cycles)) = shared.timing.shared {
            if shared.budget < cycles {
                return None;
            }
            shared.budget -= cycles;
        }
        Some(at)
    }

    /// The first burst, or with reordering one that is the first of its id.
    fn pick(&self, shared: &mut Shared) -> Option<usize> {
        let silent = shared.faults.silent.is_some();
        let can = |at: usize| {
            let burst = &self.queue[at];
            let first = !self.queue.iter().take(at).any(|earlier| earlier.id == burst.id);
            first && !(burst.silent && silent) && burst.ready_at <= shared.cycle
        };
        if !shared.timing.reorder {
            return can(0).then_some(0);
        }
        if !shared.timing.interleave
            && let Some(open) = self.queue.iter().position(|burst| burst.started)
        {
            return can(open).then_some(open);
        }
        let count = self.queue.len();
        let from = shared.rng.below(count as u64) as usize;
        (0..count).map(|turn| (from + turn) % count).find(|at| can(*at))
    }

    fn offer(&mut self, at: usize, port: usize, model: &mut Model, shared: &mut Shared) {
        let burst = &mut self.queue[at];
        burst.started = true;
        let (from, to) = (burst.offset as usize, (burst.offset + self.beat) as usize);
        model.set_bytes(self.rdata, &shared.bytes[from..to]);
        if let Some((_, _, bit)) = shared.faults.flip.filter(|(p, beat, _)| (*p, *beat) == (port, self.beats)) {
            let mut bytes = shared.bytes[from..to].to_vec();
            bytes[bit / 8 % self.beat as usize] ^= 1 << (bit % 8);
            model.set_bytes(self.rdata, &bytes);
        }
        model.set(self.rid, burst.id);
        model.set(self.rresp, if shared.error_in(burst.offset, self.beat) { 2 } else { 0 });
        model.set(self.rlast, u64::from(burst.left == 1 && !burst.drop_last));
        model.set(self.rvalid, 1);
        burst.offset += self.beat;
        burst.left -= 1;
        if burst.left == 0 {
            self.queue.remove(at);
        }
        self.beats += 1;
        self.offered = true;
    }

    fn rest(&self, model: &mut Model, shared: &mut Shared) {
        model.set(self.rvalid, 0);
        if shared.timing.noise {
            let bits = shared.rng.bits();
            model.set(self.rid, bits);
            model.set(self.rlast, bits >> 8);
            model.set(self.rresp, bits >> 16);
            model.set(self.rdata, bits);
        }
    }
}
