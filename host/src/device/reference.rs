//! The reference device as an engine.

use super::{DeviceEngine, LogitsArea, PassRunner, RunError};
use crate::compile::{DeviceImage, Options, compile};
use crate::engine::EngineError;
use spec::device::{Device, Done, Pass, PassResult};
use spec::model::ModelWeights;
use spec::program::{DeviceShape, ShapeError};

/// Is told after each descriptor.
pub type Tap = Box<dyn FnMut(&Done<'_>) + Send>;

/// Runs passes on [`Device`].
pub struct ReferenceRunner {
    device: Device,
    tap: Option<Tap>,
}

impl ReferenceRunner {
    /// A device with this much memory.
    pub fn new(shape: DeviceShape, memory_bytes: u64) -> Result<Self, ShapeError> {
        Ok(ReferenceRunner { device: Device::new(shape, vec![0; memory_bytes as usize])?, tap: None })
    }

    /// Listens to every descriptor from now on.
    pub fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl PassRunner for ReferenceRunner {
    fn shape(&self) -> &DeviceShape {
        self.device.shape()
    }

    fn describe(&self) -> String {
        let s = self.shape();
        format!("reference device, {} tables x {} rows x {} tokens", s.tables, s.rows, s.tokens)
    }

    fn memory_bytes(&self) -> u64 {
        self.device.memory().bytes().len() as u64
    }

    fn upload(&mut self, addr: u64, bytes: &[u8]) -> Result<(), RunError> {
        self.device.memory_mut().write(addr, bytes).map_err(|e| RunError::Device(e.to_string()))
    }

    fn read(&mut self, addr: u64, len: usize) -> Result<Vec<u8>, RunError> {
        let bytes = self.device.memory().read(addr, len).map_err(|e| RunError::Device(e.to_string()))?;
        Ok(bytes.to_vec())
    }

    fn run(&mut self, pass: &Pass, _: LogitsArea) -> Result<PassResult, RunError> {
        Ok(match &mut self.tap {
            Some(tap) => self.device.run(pass, tap)?,
            None => self.device.run(pass, &mut |_| ())?,
        })
    }
}

/// A compiled model on the reference device.
pub type ReferenceDevice = DeviceEngine<ReferenceRunner>;

impl ReferenceDevice {
    /// Compiles a model for a machine and loads it, with room for `sequences` sequences.
    pub fn compiled(
        weights: &ModelWeights,
        shape: &DeviceShape,
        options: Options,
        sequences: usize,
    ) -> Result<Self, EngineError> {
        let image = compile(weights, shape, options).map_err(|e| EngineError::Device(e.to_string()))?;
        Self::with_image(image, sequences)
    }

    /// Loads a compiled model, with room for `sequences` sequences.
    pub fn with_image(image: DeviceImage, sequences: usize) -> Result<Self, EngineError> {
        let runner = ReferenceRunner::new(image.shape.clone(), image.memory_bytes(sequences));
        DeviceEngine::new(image, runner.map_err(|e| EngineError::Device(e.to_string()))?)
    }
}
