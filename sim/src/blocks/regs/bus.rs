//! The model under test: AXI4-Lite master, random machine around it, counters as they must be.

use crate::SimError;
use crate::bench::{BenchError, Cover, Word};
use crate::ffi::{Library, Model, PortId};
use crate::rng::Rng;
use hw::blocks::regs::{BUS, Regs};
use spec::regs::{COUNTERS, IDLE};
use std::collections::HashMap;

/// Cycles after which an access counts as lost.
const PATIENCE: u64 = 60;

/// Inputs that a machine drives for one cycle at a time.
pub(super) const PULSES: [&str; 2] = ["done_i", "fault_i"];

/// Ports by their names; a missing one is a mistake in the bench.
pub(crate) struct Ports(HashMap<String, PortId>);

impl Ports {
    pub(crate) fn new(library: &Library, ports: &[hw::ir::Port]) -> Result<Ports, SimError> {
        let id = |p: &hw::ir::Port| Ok((p.name.clone(), library.port(&p.name)?));
        Ok(Ports(ports.iter().map(id).collect::<Result<_, SimError>>()?))
    }

    pub(crate) fn id(&self, name: &str) -> PortId {
        *self.0.get(name).unwrap_or_else(|| panic!("the bench names a port {name} that does not exist"))
    }
}

/// One side of a channel: when to become valid, whether the other side took it.
struct Half {
    wait: u64,
    live: bool,
}

pub(super) struct Rig {
    model: Model,
    ports: Ports,
    top: String,
    pub(super) rng: Rng,
    pub(super) cycle: u64,
    /// What the counters must hold.
    pub(super) counters: Vec<u64>,
    pub(super) port_beats: Vec<u64>,
    pub(super) starts: u64,
    pub(super) resets: u64,
    pub(super) cover: Cover,
    /// Answers that wait, with what they hold.
    held: [Option<Word>; 2],
}

impl Rig {
    pub(super) fn new(library: &Library, top: &hw::ir::Interface, regs: &Regs, rng: &mut Rng) -> Result<Rig, SimError> {
        let ports = Ports::new(library, &top.ports)?;
        let (counters, port_beats) = (vec![0; COUNTERS.len()], vec![0; regs.identity.caps.ports as usize]);
        let (model, rng, cover) = (library.start(rng.bits() as u32 | 1), Rng::new(rng.bits()), Cover::default());
        let (top, held) = (top.name.clone(), [None, None]);
        Ok(Rig { model, ports, top, rng, cycle: 0, counters, port_beats, starts: 0, resets: 0, cover, held })
    }

    pub(super) fn wrong(&self, what: impl Into<String>, found: u64, expected: u64) -> BenchError {
        let (block, what) = (self.top.clone(), what.into());
        BenchError::Promise { block, run: format!("cycle {}", self.cycle), what, found, expected }
    }

    pub(super) fn expect(&self, what: impl Into<String>, found: u64, expected: u64) -> Result<(), BenchError> {
        if found == expected { Ok(()) } else { Err(self.wrong(what, found, expected)) }
    }

    pub(super) fn set(&mut self, port: &str, value: u64) {
        self.model.set(self.ports.id(port), value);
    }

    pub(super) fn set_words(&mut self, port: &str, words: &[u32]) {
        self.model.set_words(self.ports.id(port), words);
    }

    pub(super) fn get(&mut self, port: &str) -> u64 {
        self.model.eval();
        self.model.get(self.ports.id(port))
    }

    pub(super) fn words(&mut self, port: &str) -> Word {
        self.model.eval();
        self.model.words(self.ports.id(port))
    }

    /// Holds the reset for some cycles; an access in work is forgotten.
    pub(super) fn reset(&mut self) {
        for (name, _, _) in BUS.iter().filter(|p| p.2) {
            self.set(name, 0);
        }
        for name in PULSES.iter().chain(&["draining_i", "stuck_i", "core_rst_i"]) {
            self.set(name, 0);
        }
        self.set("rst_i", 1);
        for _ in 0..3 {
            self.model.tick();
        }
        self.set("rst_i", 0);
        self.model.eval();
        self.held = [None, None];
        self.counters.fill(0);
    }

    /// One cycle with random events.
    pub(super) fn step(&mut self) -> Result<(), BenchError> {
        let mut counted = Vec::new();
        let idle = self.rng.bits() & 63;
        self.set("idle_i", idle);
        for counter in COUNTERS {
            let units = ["GATHER", "QUANT", "ENGINE", "EPILOGUE", "ATTEND", "KV"];
            let unit = units.iter().position(|u| counter.name == format!("BUSY_{u}"));
            counted.push(match unit {
                Some(unit) => idle >> unit & 1 == 0,
                None if counter.name == "CYCLES" || counter.name == IDLE => true,
                None => {
                    let event = self.rng.one_in(2);
                    self.set(&format!("ev_{}_i", counter.name.to_lowercase()), u64::from(event));
                    event
                }
            });
        }
        let at_idle = spec::regs::counter(IDLE).unwrap_or(0);
        let beats = self.rng.bits();
        self.set("ev_port_beats_i", beats & (u64::MAX >> (64 - self.port_beats.len())));
        self.model.eval();
        if self.get("start_o") == 1 {
            self.starts += 1;
            let kept = self.counters[at_idle];
            self.counters.iter_mut().chain(&mut self.port_beats).for_each(|c| *c = 0);
            self.counters[at_idle] = kept;
        }
        self.resets += self.get("soft_reset_o");
        let busy = self.get("busy_o") == 1;
        self.counters[at_idle] += u64::from(!busy);
        if busy {
            counted[at_idle] = false;
            self.counters.iter_mut().zip(&counted).for_each(|(c, event)| *c += u64::from(*event));
            self.port_beats.iter_mut().enumerate().for_each(|(i, c)| *c += beats >> i & 1);
        }
        for (at, channel) in ["b", "r"].into_iter().enumerate() {
            let (valid, ready) = (self.get(&format!("s_{channel}valid_o")), self.get(&format!("s_{channel}ready_i")));
            self.expect("response", self.model.get(self.ports.id(&format!("s_{channel}resp_o"))), 0)?;
            let data = if at == 1 { self.words("s_rdata_o") } else { Vec::new() };
            if self.held[at].as_ref().is_some_and(|held| valid == 0 || *held != data) {
                return Err(self.wrong(format!("held answer on {channel}"), valid, 1));
            }
            self.held[at] = (valid == 1 && ready == 0).then_some(data);
        }
        self.model.tick();
        self.cycle += 1;
        Ok(())
    }

    /// One cycle with a pulse on `port`.
    pub(super) fn pulse(&mut self, ports: &[&str]) -> Result<(), BenchError> {
        ports.iter().for_each(|port| self.set(port, 1));
        self.step()?;
        ports.iter().for_each(|port| self.set(port, 0));
        Ok(())
    }

    fn delay(&mut self) -> u64 {
        if self.rng.one_in(2) { 0 } else { self.rng.below(7) }
    }

    /// A write (offset, data, strobes) and a read, whatever is given, at the same time with random delays.
    pub(super) fn access(&mut self, write: Option<(u32, u32, u32)>, read: Option<u32>) -> Result<u32, BenchError> {
        let mut half = |live: bool| Half { wait: self.delay(), live };
        let (mut aw, mut w, mut b) = (half(write.is_some()), half(write.is_some()), half(write.is_some()));
        let (mut ar, mut r) = (half(read.is_some()), half(read.is_some()));
        self.cover.count("address_first", aw.wait < w.wait);
        self.cover.count("data_first", w.wait < aw.wait);
        let (address, data, strobes) = write.unwrap_or_default();
        let (mut answer, start) = (0, self.cycle);
        let (mut asked_w, mut asked_r) = (self.cycle, self.cycle);
        while b.live || r.live {
            if self.cycle - start > PATIENCE {
                return Err(self.wrong("cycles of an access", PATIENCE, 0));
            }
            let noise = self.rng.bits();
            let shown = |rig: &mut Rig, half: &mut Half, valid: &str| {
                let now = half.live && half.wait == 0;
                half.wait = half.wait.saturating_sub(1);
                rig.set(valid, u64::from(now));
                now
            };
            let show_aw = shown(self, &mut aw, "s_awvalid_i");
            self.set("s_awaddr_i", if show_aw { u64::from(address) } else { noise & 0xffff });
            let show_w = shown(self, &mut w, "s_wvalid_i");
            self.set("s_wdata_i", if show_w { data.into() } else { noise >> 32 });
            self.set("s_wstrb_i", if show_w { strobes.into() } else { noise & 15 });
            let show_ar = shown(self, &mut ar, "s_arvalid_i");
            let offset = read.unwrap_or_default();
            self.set("s_araddr_i", if show_ar { u64::from(offset) } else { noise & 0xffff });
            let (take_b, take_r) = (b.live && self.rng.one_in(2), r.live && self.rng.one_in(2));
            self.set("s_bready_i", u64::from(take_b));
            self.set("s_rready_i", u64::from(take_r));

            let taken = |rig: &mut Rig, show: bool, ready: &str| show && rig.get(ready) == 1;
            if taken(self, show_aw, "s_awready_o") {
                (aw.live, asked_w) = (false, self.cycle);
            }
            if taken(self, show_w, "s_wready_o") {
                (w.live, asked_w) = (false, self.cycle);
            }
            if taken(self, show_ar, "s_arready_o") {
                (ar.live, asked_r) = (false, self.cycle);
            }
            let (valid_b, valid_r) = (self.get("s_bvalid_o") == 1, self.get("s_rvalid_o") == 1);
            if valid_b && (aw.live || w.live || !b.live) || valid_r && (ar.live || !r.live) {
                return Err(self.wrong("answers without a question", 1, 0));
            }
            let late = |live: bool, asked: u64, valid: bool, cycle: u64| {
                live && !valid && cycle > asked + u64::from(Regs::LATENCY)
            };
            let (waits_b, waits_r) = (b.live && !aw.live && !w.live, r.live && !ar.live);
            if late(waits_b, asked_w, valid_b, self.cycle) || late(waits_r, asked_r, valid_r, self.cycle) {
                return Err(self.wrong("cycles to an answer over the promised", 1, 0));
            }
            self.cover.count("answer_stalled", valid_b && !take_b || valid_r && !take_r);
            b.live &= !(valid_b && take_b);
            if valid_r && take_r {
                answer = self.words("s_rdata_o")[0];
                r.live = false;
            }
            self.step()?;
            for valid in ["s_awvalid_i", "s_wvalid_i", "s_arvalid_i", "s_bready_i", "s_rready_i"] {
                self.set(valid, 0);
            }
        }
        Ok(answer)
    }

    pub(super) fn read(&mut self, offset: u32) -> Result<u32, BenchError> {
        self.access(None, Some(offset))
    }
}
