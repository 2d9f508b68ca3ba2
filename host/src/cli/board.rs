//! Boards on the command line.

use super::args::{Backend, HeadArg, ModelArgs};
use super::exit::CliError;
use super::output::Progress;
use clap::Args;
use host::device::board::{BoardDevice, LoadOptions, expected, machine};
use host::device::driver::{Driver, Patience};
use host::device::error::DeviceError;
use host::device::open::{Address, AnyTransport, Connection, Opened};
use spec::model::ModelWeights;
use std::path::PathBuf;

/// A board, for commands that need nothing else.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Board")]
pub struct BoardArgs {
    /// How it is connected: xdma or axi
    #[arg(long, value_enum, default_value = "xdma")]
    pub backend: Backend,
    /// A node, or a folder with nodes [default: /dev/xdma0 or the UIO device called tercet*]
    #[arg(long, value_name = "PATH")]
    pub device: Option<PathBuf>,
    /// Memory of a card, as its design says [default: 0:8589934592]
    #[arg(long, value_name = "ADDRESS:BYTES", value_parser = super::args::memory_range)]
    pub device_memory: Option<(u64, u64)>,
    /// Its preset: built in or a path ending in .toml [default: the one that the board says it is]
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
}

impl BoardArgs {
    /// The board that the arguments name.
    pub fn address(&self) -> Result<Address, CliError> {
        address(self.backend, self.device.as_ref(), self.device_memory)
    }

    /// The machine of that board, and what is known about it.
    pub fn driver(&self) -> Result<Driver<AnyTransport>, CliError> {
        let mut board = self.address()?.open()?;
        let machine = machine(&mut board, self.preset.as_deref())?;
        let Opened { transport, name, simulated } = board;
        let patience = if simulated { Patience::SIMULATION } else { Patience::BOARD };
        let driver = Driver::new(transport, expected(&machine), format!("{name}, machine {}", machine.name), patience);
        Ok(driver.map_err(host::engine::EngineError::from)?)
    }
}

fn address(backend: Backend, device: Option<&PathBuf>, memory: Option<(u64, u64)>) -> Result<Address, CliError> {
    let connection = match backend {
        Backend::Xdma => Connection::Xdma,
        Backend::Axi => Connection::Axi,
        _ => return Err(CliError::usage("this needs a board: choose it with --backend xdma or --backend axi")),
    };
    if memory.is_some() && connection == Connection::Axi {
        return Err(CliError::usage("--device-memory is for --backend xdma; u-dma-buf tells its own"));
    }
    Ok(Address { connection, device: device.cloned(), memory })
}

/// A model on the board that the arguments name.
pub fn engine(weights: &ModelWeights, args: &ModelArgs, quiet: bool) -> Result<BoardDevice, CliError> {
    let backend = args.backend.unwrap_or(Backend::Cpu);
    let board: Result<Opened, DeviceError> = address(backend, args.device.as_ref(), args.device_memory)?.open();
    let bar = Progress::bytes("uploading", quiet);
    let progress = Box::new(move |done, total| bar.set(done, total));
    let shortlist = (args.head == HeadArg::Shortlist).then_some(0);
    let load = LoadOptions { always: args.upload, shortlist, progress: Some(progress) };
    let mut device = BoardDevice::on_board(weights, board?, args.preset.as_deref(), load)?;
    // the bar goes with the upload
    device.runner_mut().loading_mut().progress = None;
    Ok(device)
}
