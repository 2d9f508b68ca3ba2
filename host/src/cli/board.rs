//! Boards on the command line.

use super::args::{Backend, ModelArgs};
use super::exit::CliError;
use super::output::Progress;
use host::device::board::{BoardDevice, LoadOptions};
use host::device::open::{Address, Connection};
use spec::model::ModelWeights;

/// The board that the arguments name.
pub fn address(args: &ModelArgs) -> Result<Address, CliError> {
    let connection = match args.backend {
        Some(Backend::Xdma) => Connection::Xdma,
        Some(Backend::Axi) => Connection::Axi,
        _ => return Err(CliError::usage("this needs a board: choose it with --backend xdma or --backend axi")),
    };
    Ok(Address { connection, device: args.device.clone(), memory: args.device_memory })
}

/// A model on the board that the arguments name.
pub fn engine(weights: &ModelWeights, args: &ModelArgs, quiet: bool) -> Result<BoardDevice, CliError> {
    let board = address(args)?.open()?;
    let bar = Progress::bytes("uploading", quiet);
    let progress = Box::new(move |done, total| bar.set(done, total));
    let load = LoadOptions { always: args.upload, progress: Some(progress) };
    Ok(BoardDevice::on_board(weights, board, args.preset.as_deref(), load)?)
}
