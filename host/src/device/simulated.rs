//! The RTL of a preset in Verilator as an engine.

use super::driver::{Driver, Patience};
use super::residency::device_bytes;
use super::{DeviceEngine, RunError};
use crate::compile::{Options, compile};
use crate::engine::{Engine, EngineError, Step, Want};
use hw::preset::Machine;
use sim::axi::Timing;
use sim::compile::Speed;
use sim::device::{SimDevice, SimOptions};
use spec::model::ModelWeights;

/// A compiled model on simulated RTL.
pub type SimulatedDevice = DeviceEngine<Driver<SimDevice>>;

pub use super::board::expected;

impl SimulatedDevice {
    /// Compiles a model for a preset, builds the preset's RTL (or finds it in the cache) and loads the model, with
    /// room for `sequences` sequences.
    pub fn simulated(
        weights: &ModelWeights,
        machine: &Machine,
        options: Options,
        sequences: usize,
        timing: Timing,
    ) -> Result<Self, EngineError> {
        Self::with(Speed::Full, weights, machine, options, sequences, timing)
    }

    /// Runs a prompt and some tokens of a model, so that the machine is compiled for what they need, unless that was
    /// done before. Worth its two minutes where minutes are simulated.
    pub fn record_profile(weights: &ModelWeights, machine: &Machine) -> Result<(), EngineError> {
        if sim::device::is_profiled(machine).map_err(|error| RunError::Device(error.to_string()))? {
            return Ok(());
        }
        let options = Options { context: Some(64), shortlist: None };
        let mut device = Self::with(Speed::Recording, weights, machine, options, 1, Timing::measured())?;
        let sequence = device.new_sequence()?;
        for tokens in [&[7; 16][..], &[8], &[9]] {
            device.forward(&[Step { sequence, tokens, want: Want::Last }])?;
        }
        Ok(())
    }

    fn with(
        speed: Speed,
        weights: &ModelWeights,
        machine: &Machine,
        options: Options,
        sequences: usize,
        timing: Timing,
    ) -> Result<Self, EngineError> {
        let image =
            compile(weights, &machine.shape(), options).map_err(|error| EngineError::Device(error.to_string()))?;
        let memory_bytes = device_bytes(&image, sequences);
        let options = SimOptions { memory_bytes, timing, seed: 1, speed, waves: None };
        let device = SimDevice::new(machine, &options).map_err(|error| RunError::Device(error.to_string()))?;
        let name = format!("RTL of preset {} in Verilator", machine.name);
        DeviceEngine::new(image, Driver::new(device, expected(machine), name, Patience::SIMULATION)?)
    }
}
