//! Drivers and monitors of a model's streams.

use super::{Beat, BenchError, Cover, Word};
use crate::SimError;
use crate::axi::{Memory, Timing};
use crate::ffi::{Library, Model, PortId};
use crate::rng::Rng;
use hw::ir::{Dir, Interface};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

struct Driver {
    name: String,
    valid: PortId,
    ready: PortId,
    fields: Vec<PortId>,
    queue: VecDeque<Beat>,
    offered: bool,
    /// Cycles that a long gap still lasts.
    gap_left: u64,
    first_taken: Option<u64>,
}

struct Monitor {
    name: String,
    valid: PortId,
    /// Absent on streams that cannot be stalled.
    ready: Option<PortId>,
    fields: Vec<PortId>,
    expected: VecDeque<Beat>,
    /// Cycles that a long stall still lasts.
    stall_left: u64,
    seen: usize,
    held: Option<Beat>,
    first_given: Option<u64>,
}

/// How often streams rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) gaps: bool,
    pub(crate) stalls: bool,
}

/// Whether a stream rests in this cycle: often for a single cycle, sometimes for many.
fn rests(rng: &mut Rng, left: &mut u64) -> bool {
    match *left {
        0 if rng.one_in(60) => *left = rng.within(1, 80),
        0 => return rng.one_in(3),
        _ => *left -= 1,
    }
    true
}

/// A model with a driver for each stream that goes in and a monitor for each that comes out.
pub struct Bench {
    model: Model,
    block: String,
    pub(crate) run: String,
    drivers: Vec<Driver>,
    monitors: Vec<Monitor>,
    /// Inputs that belong to no stream: high, or random while sinks stall.
    throttles: Vec<PortId>,
    events: Vec<(String, PortId)>,
    memory: Option<Rc<RefCell<Memory>>>,
    reset: Option<PortId>,
    flow: Flow,
    rng: Rng,
    cycle: u64,
    /// Cycles after the last beat.
    pub(crate) settle: u64,
}

impl Bench {
    pub(crate) fn new(
        library: &Library,
        top: &Interface,
        steady: &[(&str, Word)],
        run: &str,
        flow: Flow,
        seed: u64,
    ) -> Result<Bench, SimError> {
        let id = |name: &str| library.port(name);
        let mut bench = Bench {
            model: library.start(seed as u32 | 1),
            block: top.name.clone(),
            run: run.to_string(),
            drivers: Vec::new(),
            monitors: Vec::new(),
            throttles: Vec::new(),
            events: Vec::new(),
            memory: None,
            reset: id("rst_i").ok(),
            flow,
            rng: Rng::new(seed),
            cycle: 0,
            settle: 20,
        };
        let names = |suffix: &str| -> Vec<String> {
            top.ports.iter().filter_map(|p| p.name.strip_suffix(suffix).map(str::to_string)).collect()
        };
        let (mut sinks, sources) = (names("_valid_i"), names("_valid_o"));
        sinks.retain(|name| id(&format!("{name}_ready_o")).is_ok()); // others are plain inputs
        let fields = |stream: &str, dir: Dir| -> Result<Vec<PortId>, SimError> {
            let prefix = format!("{stream}_");
            let own = |p: &&hw::ir::Port| {
                let field = p.name.strip_prefix(&prefix).map(|f| f.trim_end_matches("_i").trim_end_matches("_o"));
                p.dir == dir && field.is_some_and(|f| f != "valid" && f != "ready")
            };
            top.ports.iter().filter(own).map(|p| id(&p.name)).collect()
        };
        for name in &sinks {
            let (valid, ready) = (id(&format!("{name}_valid_i"))?, id(&format!("{name}_ready_o"))?);
            let (fields, queue) = (fields(name, Dir::In)?, VecDeque::new());
            let name = name.clone();
            bench.drivers.push(Driver {
                name,
                valid,
                ready,
                fields,
                queue,
                offered: false,
                gap_left: 0,
                first_taken: None,
            });
        }
        for name in &sources {
            let (valid, ready) = (id(&format!("{name}_valid_o"))?, id(&format!("{name}_ready_i")).ok());
            let (fields, expected, name) = (fields(name, Dir::Out)?, VecDeque::new(), name.clone());
            let (seen, held, first_given) = (0, None, None);
            bench.monitors.push(Monitor {
                name,
                valid,
                ready,
                fields,
                expected,
                stall_left: 0,
                seen,
                held,
                first_given,
            });
        }
        for port in &top.ports {
            let in_stream = sinks.iter().chain(&sources).any(|s| port.name.starts_with(&format!("{s}_")));
            let steady = steady.iter().any(|(name, _)| *name == port.name);
            if port.dir == Dir::In && !in_stream && !steady && port.name != "clk_i" && port.name != "rst_i" {
                bench.throttles.push(id(&port.name)?);
            }
            if port.name.starts_with("ev_") {
                let name = port.name.trim_end_matches("_o").to_string();
                bench.events.push((name, id(&port.name)?));
            }
        }
        for (name, value) in steady {
            bench.model.set_words(id(name)?, value);
        }
        Ok(bench)
    }

    /// Puts a memory behind the AXI4 ports with these prefixes.
    pub(crate) fn attach(
        &mut self,
        library: &Library,
        memory: Rc<RefCell<Memory>>,
        prefixes: &[String],
    ) -> Result<(), SimError> {
        let mut behind = memory.borrow_mut();
        behind.detach();
        *behind.timing_mut() = if self.flow.gaps { Timing::harsh() } else { Timing::ideal() };
        for prefix in prefixes {
            behind.attach(library, prefix)?;
            let names =
                ["arready", "rid", "rdata", "rresp", "rlast", "rvalid", "awready", "wready", "bid", "bresp", "bvalid"];
            let own: Vec<PortId> = names.iter().filter_map(|n| library.port(&format!("{prefix}_{n}_i")).ok()).collect();
            self.throttles.retain(|port| !own.contains(port));
        }
        drop(behind);
        self.memory = Some(memory);
        Ok(())
    }

    /// Adds beats to an input stream.
    pub fn send(&mut self, stream: &str, beats: &[Beat]) {
        if let Some(driver) = self.drivers.iter_mut().find(|d| d.name == stream) {
            driver.queue.extend(beats.iter().cloned());
        }
    }

    /// Adds beats that must come out of an output stream.
    pub fn expect(&mut self, stream: &str, beats: &[Beat]) {
        if let Some(monitor) = self.monitors.iter_mut().find(|m| m.name == stream) {
            monitor.expected.extend(beats.iter().cloned());
        }
    }

    /// Forgets all work and holds the reset for a few cycles.
    pub fn reset(&mut self) {
        for driver in &mut self.drivers {
            driver.queue.clear();
            driver.offered = false;
            self.model.set(driver.valid, 0);
        }
        for monitor in &mut self.monitors {
            monitor.expected.clear();
            monitor.held = None;
        }
        if let Some(reset) = self.reset {
            self.model.set(reset, 1);
            for _ in 0..2 {
                self.model.tick();
            }
            self.model.set(reset, 0);
        }
        if let Some(memory) = &self.memory {
            memory.borrow_mut().reset();
        }
        self.model.eval();
    }

    /// One clock cycle. Returns whether a beat moved.
    pub fn step(&mut self, cover: &mut Cover) -> Result<bool, BenchError> {
        for driver in &mut self.drivers {
            let rest = self.flow.gaps && !driver.offered && rests(&mut self.rng, &mut driver.gap_left);
            driver.offered |= !driver.queue.is_empty() && !rest;
            cover.count("gap", rest && !driver.queue.is_empty());
            self.model.set(driver.valid, u64::from(driver.offered));
            for (at, field) in driver.fields.iter().enumerate() {
                match driver.queue.front() {
                    Some(beat) if driver.offered => self.model.set_words(*field, &beat[at]),
                    _ => self.model.set_words(*field, &[self.rng.bits() as u32; 8]), // must not matter
                }
            }
        }
        let stalls = self.flow.stalls;
        for port in &self.throttles {
            self.model.set(*port, u64::from(!(stalls && self.rng.one_in(2))));
        }
        for monitor in &mut self.monitors {
            if let Some(ready) = monitor.ready {
                let stall = stalls && rests(&mut self.rng, &mut monitor.stall_left);
                self.model.set(ready, u64::from(!stall));
            }
        }
        if let Some(memory) = &self.memory {
            let (block, run) = (&self.block, &self.run);
            let wrong = |error| BenchError::Axi { block: block.clone(), run: run.clone(), error };
            memory.borrow_mut().step(&mut self.model).map_err(wrong)?;
        }
        self.model.eval();
        let mut moved = false;
        for at in 0..self.monitors.len() {
            moved |= self.observe(at, cover)?;
        }
        for driver in &mut self.drivers {
            let ready = self.model.get(driver.ready) == 1;
            cover.count("back_pressure", driver.offered && !ready);
            if driver.offered && ready {
                driver.queue.pop_front();
                driver.offered = false;
                driver.first_taken.get_or_insert(self.cycle);
                moved = true;
            }
        }
        for (name, port) in &self.events {
            cover.count(name, self.model.get(*port) == 1);
        }
        self.model.tick();
        self.cycle += 1;
        Ok(moved)
    }

    fn observe(&mut self, at: usize, cover: &mut Cover) -> Result<bool, BenchError> {
        let monitor = &mut self.monitors[at];
        let valid = self.model.get(monitor.valid) == 1;
        let ready = monitor.ready.is_none_or(|port| self.model.get(port) == 1);
        let beat: Beat = monitor.fields.iter().map(|f| self.model.words(*f)).collect();
        let (block, run, cycle, stream) = (&self.block, &self.run, self.cycle, &monitor.name);
        let law = |broken: bool| match broken {
            true => Err(BenchError::Law { block: block.clone(), run: run.clone(), cycle, stream: stream.clone() }),
            false => Ok(()),
        };
        law(monitor.held.as_ref().is_some_and(|held| !valid || *held != beat))?;
        cover.count("stall", valid && !ready);
        monitor.held = (valid && !ready).then(|| beat.clone());
        if !(valid && ready) {
            return Ok(false);
        }
        let expected = monitor.expected.pop_front();
        if expected.as_ref() != Some(&beat) {
            let difference = match expected {
                Some(expected) => format!("{beat:x?}, expected {expected:x?}"),
                None => format!("{beat:x?}, expected nothing more"),
            };
            let (block, run, stream) = (block.clone(), run.clone(), stream.clone());
            return Err(BenchError::Value { block, run, cycle, stream, index: monitor.seen, difference });
        }
        monitor.seen += 1;
        monitor.first_given.get_or_insert(cycle);
        Ok(true)
    }

    /// Beats that are still to be sent or expected.
    pub fn missing(&self) -> usize {
        let expected: usize = self.monitors.iter().map(|m| m.expected.len()).sum();
        expected + self.drivers.iter().map(|d| d.queue.len()).sum::<usize>()
    }

    /// Runs until all work is done and a few cycles more, in which nothing may come.
    pub fn finish(&mut self, cover: &mut Cover) -> Result<u64, BenchError> {
        const PATIENCE: u64 = 8000;
        let (start, mut last_move) = (self.cycle, self.cycle);
        while self.missing() > 0 {
            if self.step(cover)? {
                last_move = self.cycle;
            } else if self.cycle - last_move > PATIENCE {
                let (block, run) = (self.block.clone(), self.run.clone());
                return Err(BenchError::Stuck { block, run, cycles: PATIENCE, missing: self.missing() });
            }
        }
        let taken = self.cycle - start;
        for _ in 0..self.settle {
            self.step(cover)?;
        }
        Ok(taken)
    }

    /// Cycle at which a stream's first beat moved.
    pub(crate) fn first_beat(&self, stream: &str) -> Option<u64> {
        let driven = self.drivers.iter().find(|d| d.name == stream).and_then(|d| d.first_taken);
        driven.or_else(|| self.monitors.iter().find(|m| m.name == stream)?.first_given)
    }

    /// An output that belongs to no stream.
    pub(crate) fn output(&self, port: PortId) -> u64 {
        self.model.get(port)
    }
}
