//! Tercet's RTL as something that Rust can run.
//!
//! * [`toolchain`]: finds Verilator and a C++ compiler.
//! * [`compile`]: Verilog to a shared library, cached by content.
//! * [`ffi`]: the loaded library; here and in `board::shared` is all unsafe code.
//! * [`waves`]: waves of whole machines, and failures run again with them.
//! * [`axi`]: a memory behind AXI4 ports, with the habits of real ones.
//! * [`mod@bench`]: stream drivers, monitors, scoreboard and coverage for block tests.
//! * [`board`]: a board as a process of its own, with the nodes of a real one.
//! * [`blocks`]: the blocks with their oracles from `spec`.
//! * [`mutate`]: planted bugs that the benches must catch.
#![deny(unsafe_code)]

pub mod axi;
pub mod bench;
pub mod blocks;
pub mod board;
pub mod compile;
pub mod device;
pub mod ffi;
pub mod mutate;
pub(crate) mod profile;
pub mod rng;
pub(crate) mod shim;
pub mod toolchain;
pub mod waves;

use std::path::PathBuf;
use thiserror::Error;

/// Why a model could not be built or used.
#[derive(Debug, Error)]
pub enum SimError {
    /// No Verilator.
    #[error(
        "no Verilator 5 found ({looked}); install the pinned one with `cargo xtask tools`, or set TERCET_VERILATOR"
    )]
    NoVerilator {
        /// Where it was looked for.
        looked: String,
    },
    /// No C++ compiler.
    #[error("no C++ compiler found: neither clang++ nor g++ is on the PATH")]
    NoCompiler,
    /// The build folder of this program is not known.
    #[error("{program} does not lie in a cargo target folder (no CACHEDIR.TAG above it)")]
    NoTargetFolder {
        /// This program.
        program: PathBuf,
    },
    /// A tool could not be started or failed.
    #[error("{tool} failed on {top}: {text}")]
    Tool {
        /// The tool.
        tool: String,
        /// The module that was to be built.
        top: String,
        /// What it printed.
        text: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The built library cannot be loaded.
    #[error("{path}: {error}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        error: libloading::Error,
    },
    /// A module has no such port.
    #[error("module {top} has no port {port}")]
    NoSuchPort {
        /// The module.
        top: String,
        /// The port.
        port: String,
    },
    /// Waves of a model that was built without them.
    #[error("module {top} was built without waves")]
    NoWaves {
        /// The module.
        top: String,
    },
    /// The generator refused.
    #[error(transparent)]
    Ir(#[from] hw::ir::IrError),
    /// A bench found a difference.
    #[error("{0}")]
    Bench(#[from] bench::BenchError),
}
