//! Profiles of running models, by which Clang lays out their code again.
//!
//! A simulated machine is half a megabyte of code that runs once a cycle and skips most of it: what is skipped belongs
//! out of the way. A model that was compiled with [`Speed::Recording`] counts while it runs and writes its counts when it
//! is dropped; from then on [`Speed::Full`] takes them into account for the same Verilog, ports and tools. Measured
//! on the kv260 machine: a quarter more cycles a second.
//!
//! [`Speed::Recording`]: crate::compile::Speed::Recording
//! [`Speed::Full`]: crate::compile::Speed::Full

use crate::SimError;
use crate::compile::run;
use crate::toolchain::Toolchain;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a model's counts are.
pub(crate) struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The profile of the model with this key; `None` if the compiler knows no such thing.
    pub(crate) fn of(tools: &Toolchain, cache: &Path, top: &str, key: &str) -> Option<Profile> {
        tools.is_clang().then(|| Profile { folder: cache.join(format!("profile-{top}-{key}")) })
    }

    /// What a compiler that puts counters in is told.
    pub(crate) fn record(&self) -> String {
        format!("-fprofile-generate={}", self.folder.display())
    }

    fn merged(&self) -> PathBuf {
        self.folder.join("merged.profdata")
    }

    fn counts(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "profraw")).collect()
    }

    /// What a compiler that knows the counts is told, if there are any; merges them first.
    pub(crate) fn guide(&self, tools: &Toolchain, top: &str) -> Result<Option<String>, SimError> {
        let merged = self.merged();
        let counts = self.counts();
        if !merged.exists() && !counts.is_empty() {
            let asked = Command::new(&tools.cxx).arg("-print-prog-name=llvm-profdata").output();
            let merger = asked.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
            let other = self.folder.join(format!("merging-{}", std::process::id()));
            run(Command::new(merger).arg("merge").args(&counts).arg("-o").arg(&other), top)?;
            fs::rename(&other, &merged).map_err(|error| SimError::File { path: merged.clone(), error })?;
        }
        Ok(merged.exists().then(|| format!("-fprofile-use={}", merged.display())))
    }

    /// Whether there are counts.
    pub(crate) fn exists(&self) -> bool {
        self.merged().exists() || !self.counts().is_empty()
    }
}
