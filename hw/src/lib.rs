//! The hardware side of Tercet: a generator that turns a preset into Verilog.
//!
//! * [`ir`]: typed expressions, modules and the Verilog printer.
//! * [`width`]: how wide a sum, an index or a count must be.
//! * [`blocks`]: the parts of the accelerator, one file each.
//! * [`preset`]: the choices that a user makes and what follows from them.
//! * [`explain`]: what a preset costs and how fast it can be.
//! * [`output`]: writing a design to disk.
//! * [`kit`]: what builds a bitstream of it: scripts, block design, constraints, device tree.
#![forbid(unsafe_code)]

pub mod blocks;
pub mod explain;
pub mod ir;
pub mod kit;
pub mod output;
pub mod preset;
pub mod top;
pub mod width;
