//! Presets: the choices a user makes, in TOML, and what follows from them.

mod board;
mod keys;
mod machine;
mod units;

pub use board::{BOARDS, Board};
pub use keys::{KEYS, Key, Legal};
pub use machine::Machine;
pub use units::{half_brams, urams};

use crate::ir::IrError;
use thiserror::Error;

/// The presets that come with the generator: `(name, text)`. The first is the default.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("kv260", include_str!("../../../presets/kv260.toml")),
    ("sim-tiny", include_str!("../../../presets/sim-tiny.toml")),
    ("odd", include_str!("../../../presets/odd.toml")),
    ("u50", include_str!("../../../presets/u50.toml")),
];

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Key path, for example `engine.tables`.
    pub key: String,
    /// What the preset says.
    pub found: String,
    /// What would be legal.
    pub legal: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}; use {}", self.key, self.found, self.legal)
    }
}

/// Why a preset is not usable.
#[derive(Debug, Error)]
pub enum PresetError {
    /// No such built-in preset or file.
    #[error("there is no preset {name}; built in are {known}, or give a path ending in .toml")]
    Unknown {
        /// The name.
        name: String,
        /// Known names.
        known: String,
    },
    /// The file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{preset}: {error}")]
    Syntax {
        /// The preset.
        preset: String,
        /// What the parser says.
        error: toml::de::Error,
    },
    /// Rules are broken, all of them listed.
    #[error("{preset}: {} rule(s) broken:{}", violations.len(), violations.iter().map(|v| format!("\n  {v}")).collect::<String>())]
    Rules {
        /// The preset.
        preset: String,
        /// Everything that is wrong.
        violations: Vec<Violation>,
    },
    /// The generator refused.
    #[error(transparent)]
    Ir(#[from] IrError),
}

/// Loads a built-in preset by name or a file by its path.
pub fn load(name: &str) -> Result<Machine, PresetError> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(n, _)| *n == name) {
        return Machine::parse(name, text);
    }
    if !name.ends_with(".toml") {
        let known = BUILT_IN.map(|(n, _)| n).join(", ");
        return Err(PresetError::Unknown { name: name.to_string(), known });
    }
    let text = std::fs::read_to_string(name).map_err(|error| PresetError::File { path: name.to_string(), error })?;
    let stem = std::path::Path::new(name).file_stem().map_or(name.into(), |s| s.to_string_lossy().into_owned());
    Machine::parse(&stem, &text)
}
