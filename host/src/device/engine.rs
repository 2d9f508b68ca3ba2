//! Sequences, slots and passes on any device.
//!
//! A pass takes up to P tokens, or those of all banks: neighbouring tokens of one sequence (a run) and, in the slots
//! that are left, runs of other sequences. The head runs only in passes with a token whose logits are wanted.

use super::{LogitsArea, PassRunner, RunError};
use crate::compile::DeviceImage;
use crate::engine::{Answer, Engine, EngineError, SequenceId, Step, Want, check_request};
use spec::device::{Pass, PassResult, Slot};
use spec::model::ModelConfig;

/// A token on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    step: usize,
    position: usize,
    token: u32,
    wanted: bool,
    /// Its best token is wanted, but no logits.
    best: bool,
}

/// A compiled model on a device.
pub struct DeviceEngine<R> {
    image: DeviceImage,
    runner: R,
    /// Tokens of each sequence's cache; `None` for free ones.
    sequences: Vec<Option<usize>>,
}

impl From<RunError> for EngineError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Trouble(error) => EngineError::Board(error),
            error => EngineError::Device(error.to_string()),
        }
    }
}

impl<R: PassRunner> DeviceEngine<R> {
    /// Loads a compiled model into a device.
    pub fn new(image: DeviceImage, mut runner: R) -> Result<Self, EngineError> {
        if *runner.shape() != image.shape {
            let (model, device) = (image.shape.hash(), runner.shape().hash());
            let message = format!("the model was compiled for machine {model}, this is machine {device}");
            return Err(EngineError::Device(message));
        }
        let sequences = image.sequences(runner.memory_bytes());
        if sequences == 0 {
            let bytes = image.memory_bytes(1) as usize;
            return Err(EngineError::Memory { what: "the model and one sequence on the device", bytes });
        }
        runner.load(&image)?;
        Ok(DeviceEngine { image, runner, sequences: vec![None; sequences] })
    }

    /// The compiled model.
    pub fn image(&self) -> &DeviceImage {
        &self.image
    }

    /// The device.
    pub fn runner(&self) -> &R {
        &self.runner
    }

    /// The device, for taps and counters.
    pub fn runner_mut(&mut self) -> &mut R {
        &mut self.runner
    }

    /// Gives the device back.
    pub fn into_runner(self) -> R {
        self.runner
    }

    /// Checks a request and lists its tokens.
    fn plan(&self, steps: &[Step<'_>]) -> Result<Vec<Item>, EngineError> {
        let mut items = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let twice = steps[..index].iter().any(|other| other.sequence == step.sequence);
            let known = self.sequences.get(step.sequence.0).copied().flatten().filter(|_| !twice);
            let past = known.ok_or(EngineError::Sequence(step.sequence.0))?;
            check_request(&self.image.config, past, step.tokens)?;
            items.extend(step.tokens.iter().enumerate().map(|(i, &token)| {
                let last = i + 1 == step.tokens.len();
                let wanted = step.want == Want::All || step.want == Want::Last && last;
                let best = step.want == Want::Best && last;
                Item { step: index, position: past + i, token, wanted, best }
            }));
        }
        Ok(items)
    }

    /// How many of the first items a pass takes. One on all banks computes the head for the last bank alone.
    fn take(&self, items: &[Item]) -> usize {
        let one = self.image.shape.tokens.min(items.len());
        let early = items[..one].iter().any(|item| item.wanted || item.best);
        if self.image.wide.is_none() || early { one } else { self.image.shape.slots().min(items.len()) }
    }

    /// The pass of some items.
    fn pass(&self, items: &[Item], steps: &[Step<'_>]) -> Pass {
        let mut slots: Vec<Slot> = items
            .iter()
            .map(|item| Slot {
                valid: true,
                token: item.token,
                position: item.position as u32,
                cache: self.image.sequence_line(steps[item.step].sequence.0) as u32,
                run: 0,
            })
            .collect();
        let mut first = 0;
        for bank in items.chunks(self.image.shape.tokens) {
            for run in bank.chunk_by(|a, b| a.step == b.step) {
                slots[first].run = run.len() as u8;
                first += run.len();
            }
        }
        let slots_where = |is: fn(&Item) -> bool| {
            items.iter().zip(0..).fold(0, |all, (item, slot)| all | u64::from(is(item)) << slot)
        };
        let (want_logits, want_best) = (slots_where(|item| item.wanted), slots_where(|item| item.best));
        let program = self.image.program(slots.len(), want_logits, want_best);
        let (program_line, program_words) = (program.line as u32, program.descriptors.len() as u32);
        Pass { program_line, program_words, slots, want_logits, want_best }
    }

    /// Carries out one pass.
    pub fn run(&mut self, pass: &Pass) -> Result<PassResult, EngineError> {
        let image = &self.image;
        let area = LogitsArea { line: image.logits_line, stride: image.logits_lines, vocab: image.config.vocab };
        match self.runner.run(pass, area) {
            Err(_) if self.runner.mend(&self.image)? => Ok(self.runner.run(pass, area)?),
            result => Ok(result?),
        }
    }
}

impl<R: PassRunner> Engine for DeviceEngine<R> {
    fn config(&self) -> &ModelConfig {
        &self.image.config
    }

    fn describe(&self) -> String {
        self.runner.describe()
    }

    fn pass_tokens(&self) -> Option<usize> {
        Some(self.image.shape.tokens)
    }

    fn new_sequence(&mut self) -> Result<SequenceId, EngineError> {
        let free = self.sequences.iter().position(Option::is_none);
        let bytes = self.image.memory_bytes(self.sequences.len() + 1) as usize;
        let free = free.ok_or(EngineError::Memory { what: "one more sequence on the device", bytes })?;
        self.sequences[free] = Some(0);
        Ok(SequenceId(free))
    }

    fn free_sequence(&mut self, sequence: SequenceId) {
        if let Some(slot) = self.sequences.get_mut(sequence.0) {
            *slot = None;
        }
    }

    fn len(&self, sequence: SequenceId) -> usize {
        self.sequences.get(sequence.0).copied().flatten().unwrap_or(0)
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        if let Some(Some(old)) = self.sequences.get_mut(sequence.0) {
            *old = len.min(*old);
        }
    }

    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Answer>, EngineError> {
        let items = self.plan(steps)?;
        let mut answers = vec![Answer::default(); steps.len()];
        let mut left = &items[..];
        while !left.is_empty() {
            let (some, rest) = left.split_at(self.take(left));
            left = rest;
            let pass = self.pass(some, steps);
            let result = self.run(&pass)?;
            for (item, (logits, best)) in some.iter().zip(result.logits.into_iter().zip(result.best)) {
                let answer = &mut answers[item.step];
                match item {
                    Item { wanted: true, .. } => answer.logits.extend(logits),
                    Item { best: true, .. } => answer.best = best.map(|(token, _)| token),
                    _ => {}
                }
            }
        }
        for step in steps {
            if let Some(Some(len)) = self.sequences.get_mut(step.sequence.0) {
                *len += step.tokens.len();
            }
        }
        Ok(answers)
    }
}
