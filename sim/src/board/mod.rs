//! A board as a process of its own: the RTL in Verilator behind nodes named as those of real drivers.
//!
//! Under the folder of an XDMA card: `xdma0_user` (registers), `xdma0_h2c_0` and `xdma0_c2h_0` (memory, by positional
//! I/O), `xdma0_events_0` (the interrupt). Under that of a Zynq: `uio0` and `udmabuf0` with their attributes below
//! `sys/class`. What differs from real nodes: the window is a mailbox ([`shared`]); the data nodes are files; the
//! events of `uio0` are read from the pipe `uio0_irq`; a sync of the cache is a request in the mailbox.

mod nodes;
mod serve;
pub mod shared;

pub use nodes::Nodes;
pub use serve::{Board, Mishaps};

use crate::SimError;
use spec::transport::TransportError;
use std::path::PathBuf;
use thiserror::Error;

/// What a board looks like to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A card behind AMD's XDMA driver.
    Xdma,
    /// Zynq's programmable logic: UIO and u-dma-buf.
    Axi,
}

/// Why a board does not come up or stops.
#[derive(Debug, Error)]
pub enum BoardError {
    /// The RTL.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// The running RTL.
    #[error(transparent)]
    Device(#[from] TransportError),
    /// A node.
    #[error("{path}: {error}")]
    Node {
        /// The node.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}
