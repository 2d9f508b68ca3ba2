//! What a bitstream needs besides the machine's Verilog: scripts, block design, constraints, device tree, manifest.
//!
//! [`write()`] puts it beside the Verilog, in the folder `kit`. The scripts themselves stand in `bitstreams/tcl` and are the
//! same for every preset; what differs goes into `settings.tcl`, which is made here from the preset and from [`board`].
//! Nothing here has been through place and route: a manifest says `generated` until a tool says otherwise.

pub mod board;
mod constraints;
mod core_file;
mod device_tree;
mod manifest;
mod settings;
mod wrapper;

use crate::ir::{Interface, IrError};
use crate::output::{OutputError, Written};
use crate::preset::Machine;
use board::Shell;
use std::path::Path;
use thiserror::Error;

pub use manifest::EVIDENCE;
pub use settings::VIVADO;

/// Why there is no kit.
#[derive(Debug, Error)]
pub enum KitError {
    /// The machine or its Verilog is wrong.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The machine cannot be built.
    #[error(transparent)]
    Ir(#[from] IrError),
    /// Nothing is known about the board.
    #[error("preset {preset} is for board {board}, for which there is no kit; presets kv260 and u50 have one")]
    NoBoard {
        /// The preset.
        preset: String,
        /// Its board.
        board: &'static str,
    },
    /// The board has not what the machine asks for.
    #[error("preset {preset}: {key} = {found}; board {board} takes {legal}")]
    DoesNotFit {
        /// The preset.
        preset: String,
        /// The key that decides it.
        key: &'static str,
        /// What it says.
        found: u32,
        /// The board.
        board: &'static str,
        /// What would be legal.
        legal: String,
    },
}

/// A file of a kit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitFile {
    /// Its name in the folder.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

impl KitFile {
    fn new(name: impl Into<String>, text: impl Into<String>) -> KitFile {
        KitFile { name: name.into(), text: text.into(), executable: false }
    }

    fn program(name: impl Into<String>, text: impl Into<String>) -> KitFile {
        KitFile { executable: true, ..KitFile::new(name, text) }
    }
}

/// A machine on its board.
#[derive(Clone, Copy, Debug)]
pub struct Kit<'a> {
    machine: &'a Machine,
    top: &'a Interface,
    shell: Shell,
}

impl<'a> Kit<'a> {
    /// The kit of a machine whose top module has these ports.
    pub fn new(machine: &'a Machine, top: &'a Interface) -> Result<Kit<'a>, KitError> {
        let board = machine.board.name;
        let Some(shell) = board::shell(board) else {
            return Err(KitError::NoBoard { preset: machine.name.clone(), board });
        };
        let rule = |ok: bool, key: &'static str, found: u32, legal: String| match ok {
            true => Ok(()),
            false => Err(KitError::DoesNotFit { preset: machine.name.clone(), key, found, board, legal }),
        };
        let (ports, bits, mhz) = (machine.ports, machine.port_bits, machine.mhz);
        match shell {
            Shell::Zynq(zynq) => {
                let most = zynq.slaves.len() as u32;
                rule(ports <= most, "memory.ports", ports, format!("at most {most} ports"))?;
                let widths = format!("32, 64 or {} bits", zynq.port_bits);
                rule(bits <= zynq.port_bits, "memory.port_bits", bits, widths)?;
            }
            Shell::Card(card) => {
                rule(ports <= card.ports, "memory.ports", ports, format!("at most {} ports", card.ports))?;
                rule(mhz <= card.most_mhz, "clock.mhz", mhz, format!("at most {} MHz", card.most_mhz))?;
            }
        }
        Ok(Kit { machine, top, shell })
    }

    /// The name of the bitstream, and the one under which a board's loader knows it.
    pub fn application(&self) -> String {
        spec::nodes::application(&self.machine.name)
    }

    /// Files that depend on nothing but the preset's memory, clock and board, with those that are always the same.
    pub fn files(&self) -> Vec<KitFile> {
        let design = match self.shell {
            Shell::Zynq(_) => include_str!("../../../bitstreams/tcl/bd_zynq.tcl"),
            Shell::Card(_) => include_str!("../../../bitstreams/tcl/bd_card.tcl"),
        };
        let mut files = vec![
            KitFile::new("build.tcl", include_str!("../../../bitstreams/tcl/build.tcl")),
            KitFile::new("lib.tcl", include_str!("../../../bitstreams/tcl/lib.tcl")),
            KitFile::new("package_ip.tcl", include_str!("../../../bitstreams/tcl/package_ip.tcl")),
            KitFile::new("bd.tcl", design),
            KitFile::new("settings.tcl", self.settings()),
            KitFile::new("registers.tcl", self.registers()),
            KitFile::new("constraints.xdc", self.constraints()),
            KitFile::new("ooc.xdc", self.constraints_alone()),
            KitFile::new("tercet_ip.v", self.wrapper()),
            KitFile::new("60-tercet.rules", include_str!("../../../share/tercet/60-tercet.rules")),
            KitFile::new("tercet-check@.service", include_str!("../../../share/tercet/tercet-check@.service")),
            KitFile::new("tercet.sysusers", include_str!("../../../share/tercet/tercet.sysusers")),
        ];
        match self.shell {
            Shell::Zynq(zynq) => {
                let name = self.application();
                files.push(KitFile::new("tercet.dts", self.overlay(zynq)));
                files.push(KitFile::new("shell.json", device_tree::SHELL));
                files.push(KitFile::new(format!("{name}.bif"), self.boot_image()));
                files.push(KitFile::program("install.sh", include_str!("../../../bitstreams/sh/install.sh")));
            }
            Shell::Card(_) => {
                files.push(KitFile::new("program.tcl", include_str!("../../../bitstreams/tcl/program.tcl")));
                files.push(KitFile::program("load.sh", include_str!("../../../bitstreams/sh/load.sh")));
            }
        }
        files
    }

    /// Line that says where a generated file comes from.
    fn origin(&self, comment: &str) -> String {
        let name = &self.machine.name;
        format!(
            "{comment} Generated by Tercet from preset {name}: cargo run -p hw -- --preset {name} --kit\n\
             {comment} Do not edit: facts about boards are in hw/src/kit/board.rs.\n"
        )
    }
}

/// Writes the Verilog of a machine to `dir`, its kit to `dir/kit`, and `dir/tercet.core`. Returns what was written of the
/// Verilog, and the number of the kit's files.
pub fn write(machine: &Machine, dir: &Path) -> Result<(Written, usize), KitError> {
    // refused before anything is written
    let top = machine.build(&mut crate::ir::Design::default())?;
    let kit = Kit::new(machine, &top)?;
    let written = crate::output::write(machine, dir)?;
    let mut files = kit.files();
    files.push(KitFile::new("manifest.json", kit.manifest(&files, &written)));
    for file in &files {
        crate::output::place(&dir.join("kit").join(&file.name), &file.text, file.executable)?;
    }
    crate::output::place(&dir.join("tercet.core"), &kit.core_file(&written), false)?;
    Ok((written, files.len()))
}
