//! Where the cycles of a pass go: each counts once, in one phase and for one cause.

use crate::plan::{ATTENTION, PHASES, Plan};
use sim::device::Activity;
use spec::program::wait;

/// Why a cycle passed. The first that applies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The engine used a word of weights.
    Engine,
    /// The engine waited for weights: memory.
    Weights,
    /// The engine waited for its tables.
    Tables,
    /// The engine waited for room for its sums: epilogue.
    Sums,
    /// Attention worked, the engine had nothing to do.
    Attention,
    /// The engine's pipeline filled or ran empty.
    Pipeline,
    /// The quantiser worked, engine and attention had nothing to do.
    Quantiser,
    /// The epilogue finished a result that others waited for.
    Epilogue,
    /// Keys and values were written.
    Cache,
    /// Embedding and rotary factors were read.
    Gather,
    /// No unit worked: descriptors, start, end.
    Sequencer,
}

impl Cause {
    /// All causes, in the order in which they apply.
    pub const ALL: [Cause; 11] = [
        Cause::Engine,
        Cause::Weights,
        Cause::Tables,
        Cause::Sums,
        Cause::Attention,
        Cause::Pipeline,
        Cause::Quantiser,
        Cause::Epilogue,
        Cause::Cache,
        Cause::Gather,
        Cause::Sequencer,
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Engine => "engine works",
            Cause::Weights => "waits for weights",
            Cause::Tables => "waits for tables",
            Cause::Sums => "waits for epilogue",
            Cause::Attention => "attention",
            Cause::Pipeline => "engine fills, drains",
            Cause::Quantiser => "norm, quantise",
            Cause::Epilogue => "epilogue tail",
            Cause::Cache => "cache write",
            Cause::Gather => "embedding",
            Cause::Sequencer => "sequencer",
        }
    }

    fn of(now: &Activity) -> Cause {
        let busy = |unit: u32| now.idle & unit == 0;
        match () {
            () if now.beat => Cause::Engine,
            () if now.starved => Cause::Weights,
            () if now.tables => Cause::Tables,
            () if now.sums => Cause::Sums,
            () if busy(wait::ATTEND) => Cause::Attention,
            () if busy(wait::ENGINE) => Cause::Pipeline,
            () if busy(wait::QUANT) => Cause::Quantiser,
            () if busy(wait::EPILOGUE) => Cause::Epilogue,
            () if busy(wait::KV) => Cause::Cache,
            () if busy(wait::GATHER) => Cause::Gather,
            () => Cause::Sequencer,
        }
    }
}

/// A stretch of cycles in which the same units were busy and the same phase ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First cycle, counted from the start of the pass.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// Phase.
    pub phase: usize,
    /// Number of the descriptor in issue, and its label.
    pub index: usize,
    pub label: u16,
    /// Busy units, bits of a wait mask.
    pub busy: u32,
    /// Beats that all ports brought.
    pub beats: u64,
}

/// Stretches that are kept, of one pass.
const SPANS: usize = 20_000;

/// Counts of one pass or of several added up.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    plan: Plan,
    /// Cycles of each phase and cause.
    cycles: [[u64; Cause::ALL.len()]; PHASES.len()],
    /// Beats of all ports in each phase.
    pub beats: [u64; PHASES.len()],
    /// Stretches of one pass.
    pub spans: Vec<Span>,
    /// Number of that pass; 0 is the first.
    pub shown: usize,
    passes: usize,
    words: u64,
    linear: usize,
    start: Option<u64>,
}

impl Profile {
    /// Begins another pass.
    pub fn begin(&mut self, plan: Plan) {
        self.plan = plan;
        self.passes += 1;
        (self.words, self.linear, self.start) = (0, 0, None);
    }

    /// One cycle; those in which no pass runs do not count.
    pub fn see(&mut self, now: &Activity) {
        if !now.running {
            return;
        }
        let start = *self.start.get_or_insert(now.cycle);
        self.words += u64::from(now.beat);
        while self.plan.last_word(self.linear).is_some_and(|last| self.words > last) {
            self.linear += 1;
        }
        let cause = Cause::of(now);
        let index = now.index as usize;
        let phase = match cause {
            Cause::Engine | Cause::Weights | Cause::Tables | Cause::Sums | Cause::Pipeline => {
                self.plan.linear(self.linear).unwrap_or(self.plan.phase(index))
            }
            Cause::Attention => ATTENTION,
            Cause::Quantiser => self.plan.quant_before(index),
            Cause::Epilogue => self.plan.linear_before(index),
            Cause::Cache | Cause::Gather | Cause::Sequencer => self.plan.phase(index),
        };
        self.cycles[phase][cause as usize] += 1;
        let beats = u64::from(now.ports.count_ones());
        self.beats[phase] += beats;
        if self.passes != self.shown + 1 {
            return;
        }
        let (at, busy, label) = (now.cycle - start, !now.idle & wait::ALL, self.plan.label(index));
        let full = self.spans.len() >= SPANS;
        match self.spans.last_mut() {
            Some(span) if span.phase == phase && span.busy == busy && span.index == index => {
                span.to = at + 1;
                span.beats += beats;
            }
            _ if !full => self.spans.push(Span { from: at, to: at + 1, phase, index, label, busy, beats }),
            _ => {}
        }
    }

    /// Cycles of a phase for a cause.
    pub fn cycles(&self, phase: usize, cause: Cause) -> u64 {
        self.cycles[phase][cause as usize]
    }

    /// Cycles for a cause in all phases.
    pub fn cause(&self, cause: Cause) -> u64 {
        self.cycles.iter().map(|causes| causes[cause as usize]).sum()
    }

    /// Cycles of a phase.
    pub fn phase(&self, phase: usize) -> u64 {
        self.cycles[phase].iter().sum()
    }

    /// All cycles.
    pub fn total(&self) -> u64 {
        self.cycles.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(cycle: u64, index: u32, busy: u32) -> Activity {
        let idle = wait::ALL & !busy;
        let (beat, starved, tables, sums, waiting, running) = (false, false, false, false, true, true);
        Activity { cycle, index, idle, beat, starved, tables, sums, waiting, running, ports: 3 }
    }

    /// Every cycle between doorbell and end counts once, whatever happens in it.
    #[test]
    fn causes_add_up() {
        let mut profile = Profile::default();
        profile.begin(Plan::default());
        for cycle in 0..100u32 {
            let mut now = activity(cycle.into(), 1, 1 << (cycle % 6));
            now.beat = cycle % 7 == 0;
            now.starved = cycle % 5 == 0;
            profile.see(&now);
        }
        assert_eq!(profile.total(), 100);
        assert_eq!(Cause::ALL.iter().map(|&cause| profile.cause(cause)).sum::<u64>(), 100);
        assert_eq!((0..PHASES.len()).map(|phase| profile.phase(phase)).sum::<u64>(), 100);
        assert_eq!(profile.cause(Cause::Engine), 15);
        assert_eq!(profile.beats.iter().sum::<u64>(), 200);
        assert_eq!(Cause::ALL.map(|cause| cause as usize), std::array::from_fn(|at| at));
    }
}
