//! What is wrong with a board, and what to type to mend it.
//!
//! * [`system`]: nodes, rights, modules, link, memory set aside.
//! * [`machine`]: identity, registers, clock, interrupt, memory.
//! * [`manifest`]: whether the bitstream is the one that its kit describes.

pub mod machine;
pub mod manifest;
pub mod system;

use super::error::{DeviceError, Trouble};
use super::open::Address;
use std::path::Path;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but not as it should.
    Odd,
    /// Does not work.
    Bad(Trouble),
    /// Could not be checked, or does not apply.
    Skipped,
}

impl Verdict {
    /// A word for people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Odd => "odd",
            Verdict::Bad(_) => "bad",
            Verdict::Skipped => "skipped",
        }
    }
}

/// A check and what came of it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to type, or to do, if something is wrong.
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn good(check: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { check: check.into(), verdict: Verdict::Good, found: found.into(), fix: None }
    }

    pub(crate) fn skipped(check: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Skipped, ..Finding::good(check, found) }
    }

    pub(crate) fn odd(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Odd, fix: Some(fix.into()), ..Finding::good(check, found) }
    }

    pub(crate) fn bad(
        check: impl Into<String>,
        trouble: Trouble,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Bad(trouble), fix: Some(fix.into()), ..Finding::good(check, found) }
    }

    /// An error as a finding; its text says what to do.
    pub(crate) fn error(check: impl Into<String>, error: &DeviceError) -> Finding {
        let (found, fix) = error.text.split_once("; ").unwrap_or((&error.text, "see docs/board.md"));
        Finding::bad(check, error.trouble, found, fix)
    }
}

/// Looks at everything, from the outside in. What is behind something broken is not looked at. `kit` is the manifest of the
/// bitstream's kit, if it is not where the board's loader has it.
pub fn examine(address: &Address, preset: Option<&str>, kit: Option<&Path>) -> Vec<Finding> {
    let mut findings = system::examine(address);
    let broken = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Bad(_)));
    if broken {
        findings.push(Finding::skipped("machine", "not looked at before the rest is mended"));
        return findings;
    }
    match address.open() {
        Ok(mut board) => {
            let shown = manifest::Shown::read(&mut board.transport);
            findings.extend(machine::examine(board, preset));
            findings.push(match shown {
                Ok(shown) => manifest::check(address, kit, shown),
                Err(error) => Finding::error("manifest", &error),
            });
        }
        Err(error) => findings.push(Finding::error("open", &error)),
    }
    findings
}

/// The first trouble among findings.
pub fn trouble(findings: &[Finding]) -> Option<Trouble> {
    findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Bad(trouble) => Some(trouble),
        _ => None,
    })
}
