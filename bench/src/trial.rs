//! A layer of a model with few layers, in words: for work on the compiler and the units.

use crate::cases::Case;
use crate::plan::PHASES;
use crate::profile::Cause;
use crate::rig::{Outcome, Rig};
use anyhow::Result;

/// Letters of the units of a wait mask, first bit first: gather, quantiser, engine, epilogue, attention, cache writer.
const LETTERS: &str = "GQEPAK";

/// The layer's descriptors of the last pass, what was busy while which one was in issue, and causes of lost cycles.
pub fn text(rig: &Rig<'_>, case: &Case, outcome: &Outcome, layer: usize) -> Result<String> {
    let (slots, want_best) = rig.passes(case).pop().unwrap_or_default();
    let program = rig.program(case, slots.len(), want_best)?;
    let label = layer as u16;
    let mut text = String::new();
    for (index, d) in program.descriptors.iter().enumerate().filter(|(_, d)| d.label() == label) {
        text += &format!("{index:5} {d}\n");
    }
    for span in outcome.profile.spans.iter().filter(|span| span.label == label) {
        let busy = |(bit, letter): (usize, char)| if span.busy >> bit & 1 == 1 { letter } else { '.' };
        let busy: String = LETTERS.chars().enumerate().map(busy).collect();
        let (from, cycles, index, phase) = (span.from, span.to - span.from, span.index, PHASES[span.phase]);
        text += &format!("{from:8} +{cycles:<6} at {index:5} {busy} {:4} beats  {phase}\n", span.beats);
    }
    for cause in Cause::ALL {
        text += &format!("{:>10}  {}\n", outcome.profile.cause(cause), cause.name());
    }
    Ok(text)
}
