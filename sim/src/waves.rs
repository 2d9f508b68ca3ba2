//! Waves of whole machines, and failures run again with them.
//!
//! `WAVES=1` writes `<target>/waves/<preset>.vcd` for the whole run of every simulated machine, `WAVES=<file>` that
//! file; a process's second machine gets `-2` behind the name, and so on. Without it nothing is slower.
//! [`replayed`] runs what failed again, with the cycles before the failure as waves.

use crate::SimError;
use crate::device::SimOptions;
use crate::toolchain::target_dir;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Cycles before a failure that a replay shows.
pub const BEFORE: u64 = 20_000;
/// Cycles after it.
pub const AFTER: u64 = 200;

/// Which waves to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waves {
    /// The file (VCD).
    pub path: PathBuf,
    /// First cycle.
    pub from_cycle: u64,
    /// The machine stops before this one.
    pub to_cycle: u64,
}

impl Waves {
    /// The whole run, if the environment asks for it.
    pub(crate) fn from_environment(preset: &str) -> Result<Option<Waves>, SimError> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let path = match std::env::var_os("WAVES") {
            None => return Ok(None),
            Some(value) if value.is_empty() || value == "0" => return Ok(None),
            Some(value) if value == "1" => file(preset)?,
            Some(value) => PathBuf::from(value),
        };
        let path = match COUNT.fetch_add(1, Ordering::Relaxed) {
            1 => path,
            n => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                path.with_file_name(format!("{stem}-{n}.vcd"))
            }
        };
        Ok(Some(Waves { path, from_cycle: 0, to_cycle: u64::MAX }))
    }

    /// How to look at them.
    pub fn viewer(&self) -> String {
        format!("gtkwave {}", self.path.display())
    }
}

/// The file of this name in the folder of waves, which is made.
fn file(name: &str) -> Result<PathBuf, SimError> {
    let folder = target_dir()?.join("waves");
    make(&folder)?;
    Ok(folder.join(format!("{name}.vcd")))
}

fn make(folder: &Path) -> Result<(), SimError> {
    std::fs::create_dir_all(folder).map_err(|error| SimError::File { path: folder.to_path_buf(), error })
}

/// A run that went wrong, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Cycle of the machine, see [`crate::device::SimDevice::cycles`].
    pub cycle: u64,
    /// What went wrong.
    pub text: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs `run`; if it fails, runs it again with the same options and the waves of the cycles before the failure, and
/// says in the error where they lie. `run` starts a machine with the options it is given and does the same each
/// time. `name` is the file's.
///
/// A traced model is another translation: where registers without reset decide, its run may differ, and the error
/// says so.
pub fn replayed<T>(
    name: &str,
    options: &SimOptions,
    mut run: impl FnMut(&SimOptions) -> Result<T, Failure>,
) -> Result<T, String> {
    let failure = match run(options) {
        Ok(value) => return Ok(value),
        Err(failure) => failure,
    };
    let asked = options.waves.is_some() || std::env::var_os("WAVES").is_some_and(|v| !v.is_empty() && v != "0");
    if asked {
        return Err(format!("{failure} (cycle {}, seed {})", failure.cycle, options.seed));
    }
    let path = match file(&format!("{name}-failure")) {
        Ok(path) => path,
        Err(error) => return Err(format!("{failure} (no waves: {error})")),
    };
    let from_cycle = failure.cycle.saturating_sub(BEFORE);
    let waves = Waves { path, from_cycle, to_cycle: failure.cycle + AFTER };
    let traced = SimOptions { waves: Some(waves.clone()), ..options.clone() };
    // the machine stops behind the failure, which a test may take for another one
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&traced)));
    let again = again.unwrap_or_else(|_| Err(failure.clone()));
    let note = match again {
        Err(again) if waves.path.is_file() => {
            let same = if again.text == failure.text || again.cycle >= failure.cycle { "" } else { " (differs!)" };
            format!("run again{same}, cycles {from_cycle} to {}: {}", waves.to_cycle, waves.viewer())
        }
        Err(again) => format!("run again it failed in another way: {again}"),
        Ok(_) => "run again with waves it did not fail: a register without reset may decide".to_string(),
    };
    Err(format!("{failure}\n  cycle {}, seed {}; {note}", failure.cycle, options.seed))
}
