//! A model on an open board.

use super::driver::{Driver, Expected, Patience};
use super::error::{DeviceError, Trouble};
use super::open::{AnyTransport, Opened};
use super::residency::OnProgress;
use super::{DeviceEngine, RunError};
use crate::compile::{Options, compile};
use crate::engine::EngineError;
use hw::preset::{self, BUILT_IN, Machine};
use spec::model::ModelWeights;
use spec::regs::{MAGIC, offset};
use spec::transport::Transport;

/// A compiled model on a board.
pub type BoardDevice = DeviceEngine<Driver<AnyTransport>>;

/// What a driver must find in a machine of this preset.
pub fn expected(machine: &Machine) -> Expected {
    let (preset, hash) = (machine.name.clone(), machine.identity().config_hash);
    Expected { preset, hash, shape: machine.shape() }
}

/// The preset of a board: the named one, or the built-in one whose hash the board shows. Whether it really fits is for
/// the driver to say.
pub fn machine(board: &mut Opened, named: Option<&str>) -> Result<Machine, DeviceError> {
    let load = |name: &str| {
        preset::load(name).map_err(|error| DeviceError::new(Trouble::Mismatch, format!("--preset: {error}")))
    };
    if let Some(name) = named {
        return load(name);
    }
    let mut read = |register: &str| board.transport.read32(offset(register)).map_err(DeviceError::from);
    let (id, low, high) = (read("ID")?, read("CONFIG_HASH_LO")?, read("CONFIG_HASH_HI")?);
    let hash = u64::from(low) | u64::from(high) << 32;
    let mut known = Vec::new();
    for (name, _) in BUILT_IN {
        let machine = load(name)?;
        // the driver explains what is wrong with other identities better
        if id != MAGIC || machine.identity().config_hash == hash {
            return Ok(machine);
        }
        known.push(format!("{name} {:016x}", machine.identity().config_hash));
    }
    let text = format!(
        "{}: the configuration is {hash:016x}, this program knows {}; give the preset's file with --preset, or generate and load \
         a machine of this version with `cargo run -p hw -- --preset NAME`",
        board.name,
        known.join(", ")
    );
    Err(DeviceError::new(Trouble::Mismatch, text))
}

/// How a model goes to a board.
#[derive(Default)]
pub struct LoadOptions {
    /// Write it even if it is there.
    pub always: bool,
    /// Groups of rows of the head's shortlist (0: as many as the machine keeps); `None`: the exact head alone.
    pub shortlist: Option<usize>,
    /// Is told how far the upload is.
    pub progress: Option<OnProgress>,
}

impl BoardDevice {
    /// Compiles a model for the machine of an open board and loads it.
    pub fn on_board(
        weights: &ModelWeights,
        mut board: Opened,
        preset: Option<&str>,
        load: LoadOptions,
    ) -> Result<Self, EngineError> {
        let machine = machine(&mut board, preset)?;
        let Opened { transport, name, simulated } = board;
        let name = format!("{name}, machine {}", machine.name);
        let patience = if simulated { Patience::SIMULATION } else { Patience::BOARD };
        // who the machine is comes before the work for it
        let mut driver = Driver::new(transport, expected(&machine), name, patience)?;
        driver.loading_mut().always = load.always;
        driver.loading_mut().progress = load.progress;
        let context = weights.config.max_context.min(machine.max_context as usize);
        let options = Options { context: Some(context), shortlist: load.shortlist };
        let image = compile(weights, &machine.shape(), options)
            .map_err(|error| RunError::Trouble(DeviceError::new(Trouble::Mismatch, error.to_string())))?;
        DeviceEngine::new(image, driver)
    }
}
