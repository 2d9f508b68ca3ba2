//! A machine in Verilator with a model in its memory, and the passes of a case.

use crate::cases::{Case, Head, Kind};
use crate::plan::Plan;
use crate::profile::Profile;
use anyhow::{Context, Result, anyhow, ensure};
use host::compile::{DeviceImage, Program};
use host::device::SimulatedDevice;
use host::device::driver::{Driver, Patience};
use host::device::residency::device_bytes;
use host::device::simulated::expected;
use host::device::{LogitsArea, PassRunner};
use host::load::{LoadOptions, NoProgress, load_model};
use hw::preset::Machine;
use sim::axi::{Counters, Timing};
use sim::compile::Speed;
use sim::device::{SimDevice, SimOptions};
use spec::device::{Pass, Slot};
use spec::model::random::Rng;
use spec::program::{LINE, PACKET, stream};
use spec::regs::IDLE;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// What a case took.
pub struct Outcome {
    /// Cycles from doorbells to the ends of passes.
    pub cycles: u64,
    /// Passes.
    pub passes: u64,
    /// Registers of the counters, added up over the passes.
    pub counters: Vec<(&'static str, u64)>,
    /// What the memory saw at each port.
    pub ports: Vec<Counters>,
    /// Bytes of packets of weights that the programs name.
    pub weight_bytes: u64,
    /// Where the cycles went.
    pub profile: Profile,
    /// Best tokens of the last pass.
    pub best: Vec<Option<(u32, f32)>>,
    /// Seconds that the simulation took.
    pub seconds: f64,
}

/// A machine with a model.
pub struct Rig<'a> {
    image: &'a DeviceImage,
    driver: Driver<SimDevice>,
    profile: Arc<Mutex<Profile>>,
    /// Keep the stretches of the last pass, not of the first one.
    pub last_shown: bool,
}

/// Compiles the machine for what a model of a few million weights needs of it, unless that was done before: a quarter
/// more cycles a second.
pub fn record_profile(machine: &Machine) -> Result<()> {
    let path = crate::root().join("models/tercet-stories-5m");
    let model = load_model(&path, &LoadOptions::default(), &NoProgress).context("the shipped model")?;
    Ok(SimulatedDevice::record_profile(&model.weights, machine)?)
}

/// Sequences that a machine's memory has room for.
const SEQUENCES: usize = 8;

impl<'a> Rig<'a> {
    /// Builds the machine (or finds it in the cache) and loads the model and random caches.
    pub fn new(machine: &Machine, image: &'a DeviceImage) -> Result<Rig<'a>> {
        let sequences = SEQUENCES.min(image.shape.tokens);
        let memory_bytes = device_bytes(image, sequences);
        let timing = Timing::ideal();
        let options = SimOptions { memory_bytes, timing, seed: 1, speed: Speed::Full, waves: None };
        let device = SimDevice::new(machine, &options).context("building the machine in Verilator")?;
        let profile = Arc::new(Mutex::new(Profile::default()));
        let name = format!("RTL of preset {} in Verilator", machine.name);
        let driver = Driver::new(device, expected(machine), name, Patience::SIMULATION)?;
        let mut rig = Rig { image, driver, profile, last_shown: false };
        for section in &image.sections {
            rig.driver.upload(section.line * LINE, &section.bytes)?;
        }
        for sequence in 0..sequences {
            rig.fill_cache(sequence)?;
        }
        Ok(rig)
    }

    /// Codes and scales that some earlier tokens could have left.
    fn fill_cache(&mut self, sequence: usize) -> Result<()> {
        let cache = self.image.cache;
        let mut rng = Rng::new(sequence as u64 + 1);
        let codes: Vec<u8> = (0..(cache.scale_off * LINE) as usize).map(|_| (rng.next_u64() % 255) as u8).collect();
        let scales = 0.01f32.to_le_bytes().repeat(2 * cache.context);
        for head in 0..cache.lines / cache.kv_stride {
            let at = (self.image.sequence_line(sequence) + head * cache.kv_stride) * LINE;
            self.driver.upload(at, &codes)?;
            self.driver.upload(at + cache.scale_off * LINE, &scales)?;
        }
        Ok(())
    }

    fn profile(&self) -> Result<MutexGuard<'_, Profile>> {
        self.profile.lock().map_err(|_| anyhow!("the profile is lost: a thread that held it panicked"))
    }

    /// The compiled model.
    pub fn image(&self) -> &DeviceImage {
        self.image
    }

    /// Another memory model, begun anew: results do not depend on what ran before.
    pub fn restart(&mut self, timing: Timing) {
        self.driver.transport_mut().restart_memory(timing, 1);
    }

    fn slot(&self, index: usize, position: usize, sequence: usize, run: usize) -> Slot {
        let token = ((7 * (position + 3 * index) + 3) % self.image.config.vocab) as u32;
        let cache = self.image.sequence_line(sequence) as u32;
        Slot { valid: true, token, position: position as u32, cache, run: run as u8 }
    }

    /// The program of a pass of a case.
    pub fn program(&self, case: &Case, slots: usize, want_best: u64) -> Result<&Program> {
        match case.head {
            Head::Shortlist => {
                self.image.narrow.shortlist.as_ref().context("this model has no shortlist")?;
                Ok(self.image.program(slots, 0, want_best))
            }
            // logits, so that the head is the exact one
            _ => Ok(self.image.program(slots, want_best, 0)),
        }
    }

    /// Slots of each pass, and those whose best token is wanted.
    pub fn passes(&self, case: &Case) -> Vec<(Vec<Slot>, u64)> {
        let bank = self.image.shape.tokens;
        let p = if self.image.wide.is_some() { self.image.shape.slots() } else { bank };
        match case.kind {
            Kind::Decode { context } => vec![(vec![self.slot(0, context, 0, 1)], 1)],
            Kind::Batch { sequences, context } => {
                let slots = (0..sequences).map(|s| self.slot(s, context, s, 1)).collect();
                vec![(slots, (1 << sequences) - 1)]
            }
            Kind::Prefill { tokens } => (0..tokens)
                .step_by(p)
                .map(|first| {
                    let n = p.min(tokens - first);
                    let run = |i: usize| if i.is_multiple_of(bank) { bank.min(n - i) } else { 0 };
                    let slots = (0..n).map(|i| self.slot(0, first + i, 0, run(i))).collect();
                    (slots, if first + n == tokens { 1 << (n - 1) } else { 0 })
                })
                .collect(),
        }
    }

    /// Runs a case.
    pub fn run(&mut self, case: &Case) -> Result<Outcome> {
        let image = self.image;
        let area = LogitsArea { line: image.logits_line, stride: image.logits_lines, vocab: image.config.vocab };
        let ports = image.shape.ports;
        let passes = self.passes(case);
        let mut fresh = Profile::default();
        fresh.shown = if self.last_shown { passes.len() - 1 } else { 0 };
        *self.profile()? = fresh;
        let seen = self.profile.clone();
        let start = Instant::now();
        let before: Vec<Counters> = (0..ports).map(|port| self.driver.transport().port_counters(port)).collect();
        let mut outcome = Outcome {
            cycles: 0,
            passes: 0,
            counters: Vec::new(),
            ports: Vec::new(),
            weight_bytes: 0,
            profile: Profile::default(),
            best: Vec::new(),
            seconds: 0.0,
        };
        for (slots, want_best) in passes {
            let program = self.program(case, slots.len(), want_best)?;
            let weights = program
                .descriptors
                .iter()
                .filter(|d| d.op() == Some(spec::program::Op::Stream) && d.get("stream") == stream::WEIGHT);
            outcome.weight_bytes += weights.map(|d| u64::from(d.get("packets")) * PACKET * ports as u64).sum::<u64>();
            self.profile()?.begin(Plan::new(&program.descriptors));
            let (program_line, program_words) = (program.line as u32, program.descriptors.len() as u32);
            let pass = Pass { program_line, program_words, slots, want_logits: 0, want_best };
            let seen = seen.clone();
            self.driver.transport_mut().observe(Some(Box::new(move |now| {
                if let Ok(mut profile) = seen.lock() {
                    profile.see(now);
                }
            })));
            let result = self.driver.run(&pass, area);
            self.driver.transport_mut().observe(None);
            outcome.best = result.with_context(|| case.to_string())?.best;
            let counters = self.driver.counters()?;
            // what passed between passes is the simulation's own business
            for (at, (name, value)) in counters.into_iter().filter(|(name, _)| *name != IDLE).enumerate() {
                match outcome.counters.get_mut(at) {
                    Some((_, sum)) => *sum += value,
                    None => outcome.counters.push((name, value)),
                }
                if name == "CYCLES" {
                    outcome.cycles += value;
                }
            }
            outcome.passes += 1;
        }
        outcome.profile = self.profile()?.clone();
        let (seen, counted) = (outcome.profile.total(), outcome.cycles);
        ensure!(seen == counted, "{case}: causes add up to {seen} cycles, the machine counted {counted}");
        for (port, before) in before.iter().enumerate() {
            let after = self.driver.transport().port_counters(port);
            outcome.ports.push(Counters {
                read_bursts: after.read_bursts - before.read_bursts,
                read_beats: after.read_beats - before.read_beats,
                read_waits: after.read_waits - before.read_waits,
                write_bursts: after.write_bursts - before.write_bursts,
                write_beats: after.write_beats - before.write_beats,
            });
        }
        outcome.seconds = start.elapsed().as_secs_f64();
        Ok(outcome)
    }
}
