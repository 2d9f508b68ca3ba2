//! A bench for blocks that are more than streams: the caller reacts to what comes out.

use super::{Beat, BenchError, Bug, Word};
use crate::SimError;
use crate::ffi::{Library, Model, PortId};
use crate::rng::Rng;
use hw::ir::{Design, Dir, Interface, IrError};
use std::collections::VecDeque;
use std::rc::Rc;

struct Feed {
    name: String,
    valid: PortId,
    ready: PortId,
    fields: Vec<PortId>,
    queue: VecDeque<Beat>,
    offered: bool,
}

struct Tap {
    name: String,
    valid: PortId,
    ready: PortId,
    fields: Vec<PortId>,
    got: VecDeque<Beat>,
    held: Option<Beat>,
    open: bool,
}

/// A running model with a queue in front of each stream that goes in and behind each that comes out.
pub struct Rig {
    model: Model,
    library: Library,
    top: String,
    /// Which run this is, for messages.
    pub run: String,
    feeds: Vec<Feed>,
    taps: Vec<Tap>,
    /// Sources rest at random.
    pub gaps: bool,
    /// Sinks rest at random.
    pub stalls: bool,
    /// Cycles since the start.
    pub cycle: u64,
    idle_cycles: u64,
    rng: Rng,
}

/// Builds a block, with a planted bug if one is given.
pub fn library(
    build: impl FnOnce(&mut Design) -> Result<Rc<Interface>, IrError>,
    bug: Option<Bug>,
) -> Result<(Library, Rc<Interface>), SimError> {
    let mut design = Design::default();
    let top = build(&mut design)?;
    Ok((super::build(&design, &top, bug)?, top))
}

impl Rig {
    /// A started model, reset.
    pub fn new(library: &Library, top: &Interface, run: &str, seed: u64) -> Result<Rig, SimError> {
        let id = |name: &str| library.port(name);
        let names = |suffix: &str| -> Vec<String> {
            top.ports.iter().filter_map(|p| p.name.strip_suffix(suffix).map(str::to_string)).collect()
        };
        let fields = |stream: &str, dir: Dir| -> Result<Vec<PortId>, SimError> {
            let own = |p: &&hw::ir::Port| {
                let field = p.name.strip_prefix(&format!("{stream}_"));
                p.dir == dir && field.is_some_and(|f| !matches!(f.rsplit_once('_'), Some(("valid" | "ready", _))))
            };
            top.ports.iter().filter(own).map(|p| id(&p.name)).collect()
        };
        let (mut feeds, mut taps) = (Vec::new(), Vec::new());
        for name in names("_ready_o") {
            let (valid, ready) = (id(&format!("{name}_valid_i"))?, id(&format!("{name}_ready_o"))?);
            let (fields, queue) = (fields(&name, Dir::In)?, VecDeque::new());
            feeds.push(Feed { name, valid, ready, fields, queue, offered: false });
        }
        for name in names("_ready_i") {
            let (valid, ready) = (id(&format!("{name}_valid_o"))?, id(&format!("{name}_ready_i"))?);
            let (fields, got) = (fields(&name, Dir::Out)?, VecDeque::new());
            taps.push(Tap { name, valid, ready, fields, got, held: None, open: true });
        }
        let (model, rng) = (library.start(seed as u32 | 1), Rng::new(seed));
        let (library, top, run) = (library.clone(), top.name.clone(), run.to_string());
        let (gaps, stalls, cycle, idle_cycles) = (false, false, 0, 0);
        let mut rig = Rig { model, library, top, run, feeds, taps, gaps, stalls, cycle, idle_cycles, rng };
        rig.reset()?;
        Ok(rig)
    }

    /// Forgets all work and holds the reset for two cycles.
    pub fn reset(&mut self) -> Result<(), SimError> {
        for feed in &mut self.feeds {
            feed.queue.clear();
            feed.offered = false;
            self.model.set(feed.valid, 0);
        }
        for tap in &mut self.taps {
            tap.got.clear();
            tap.held = None;
        }
        self.set("rst_i", &[1])?;
        for _ in 0..2 {
            self.model.tick();
        }
        self.set("rst_i", &[0])?;
        self.model.eval();
        Ok(())
    }

    /// Sets an input.
    pub fn set(&mut self, port: &str, value: &[u32]) -> Result<(), SimError> {
        let id = self.library.port(port)?;
        self.model.set_words(id, value);
        Ok(())
    }

    /// An output, as it was in the last cycle.
    pub fn get(&self, port: &str) -> Result<Word, SimError> {
        Ok(self.model.words(self.library.port(port)?))
    }

    /// Adds a beat to a stream that goes in.
    pub fn send(&mut self, stream: &str, beat: Beat) {
        if let Some(feed) = self.feeds.iter_mut().find(|f| f.name == stream) {
            feed.queue.push_back(beat);
        }
    }

    /// Beats of a stream that are still to go in.
    pub fn waiting(&self, stream: &str) -> usize {
        self.feeds.iter().find(|f| f.name == stream).map_or(0, |f| f.queue.len())
    }

    /// The next beat that came out of a stream.
    pub fn take(&mut self, stream: &str) -> Option<Beat> {
        self.taps.iter_mut().find(|t| t.name == stream)?.got.pop_front()
    }

    /// Whether a stream may give a beat in the next cycles; it may always if nothing is said.
    pub fn open(&mut self, stream: &str, open: bool) {
        if let Some(tap) = self.taps.iter_mut().find(|t| t.name == stream) {
            tap.open = open;
        }
    }

    /// One clock cycle.
    pub fn step(&mut self) -> Result<(), SimError> {
        for feed in &mut self.feeds {
            let rest = self.gaps && self.rng.one_in(2);
            feed.offered |= !feed.queue.is_empty() && !rest;
            self.model.set(feed.valid, feed.offered.into());
            for (at, field) in feed.fields.iter().enumerate() {
                match feed.queue.front() {
                    Some(beat) if feed.offered => self.model.set_words(*field, &beat[at]),
                    _ => self.model.set_words(*field, &[self.rng.bits() as u32; 64]), // must not matter
                }
            }
        }
        for tap in &mut self.taps {
            let rest = self.stalls && self.rng.one_in(2);
            self.model.set(tap.ready, u64::from(tap.open && !rest));
        }
        self.model.eval();
        let mut moved = false;
        for tap in &mut self.taps {
            let (valid, ready) = (self.model.get(tap.valid) == 1, self.model.get(tap.ready) == 1);
            let beat: Beat = tap.fields.iter().map(|f| self.model.words(*f)).collect();
            if tap.held.as_ref().is_some_and(|held| !valid || *held != beat) {
                let (block, run, stream) = (self.top.clone(), self.run.clone(), tap.name.clone());
                return Err(BenchError::Law { block, run, cycle: self.cycle, stream }.into());
            }
            tap.held = (valid && !ready).then(|| beat.clone());
            if valid && ready {
                tap.got.push_back(beat);
                moved = true;
            }
        }
        for feed in &mut self.feeds {
            if feed.offered && self.model.get(feed.ready) == 1 {
                feed.queue.pop_front();
                feed.offered = false;
                moved = true;
            }
        }
        self.model.tick();
        self.cycle += 1;
        self.idle_cycles = if moved { 0 } else { self.idle_cycles + 1 };
        if self.idle_cycles > 2000 {
            let missing = self.feeds.iter().map(|f| f.queue.len()).sum();
            let (block, run) = (self.top.clone(), self.run.clone());
            return Err(BenchError::Stuck { block, run, cycles: self.idle_cycles, missing }.into());
        }
        Ok(())
    }

    /// Says that something that came out is not what it should be.
    pub fn compare<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        index: usize,
        found: &T,
        expected: &T,
    ) -> Result<(), SimError> {
        if found == expected {
            return Ok(());
        }
        let difference = format!("{found:x?}, expected {expected:x?}");
        let (block, run, stream) = (self.top.clone(), self.run.clone(), what.to_string());
        Err(BenchError::Value { block, run, cycle: self.cycle, stream, index, difference }.into())
    }
}
