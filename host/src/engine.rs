//! The seam between text generation and the machine that computes logits. The CPU backend, the
//! simulated accelerator and a board all answer to [`Engine`], with identical bits.

use spec::model::decoder::{Decoder, ForwardError, Sequence};
use spec::model::{ModelConfig, ModelWeights, Numerics, head, weights::WeightsError};
use thiserror::Error;

/// Names a sequence of an engine: its keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub usize);

/// What a step should return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: the tokens only extend the sequence.
    Nothing,
    /// The token with the largest logit after the last token, and no logits: less to move.
    Best,
    /// Logits after the last token: `[vocab]`.
    Last,
    /// Logits after every token: `[tokens, vocab]`.
    All,
}

/// What a step gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The wanted logits, row after row; empty for [`Want::Nothing`] and [`Want::Best`].
    pub logits: Vec<f32>,
    /// For [`Want::Best`] the token with the largest logit, the lowest of equals; `None` if no logit is a number.
    pub best: Option<u32>,
}

/// Tokens to append to one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its next tokens: many for a prefill, one for a decode step.
    pub tokens: &'a [u32],
    /// What to return.
    pub want: Want,
}

/// Why an engine could not serve a request.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The request itself is at fault; the sequences are unchanged.
    #[error(transparent)]
    Request(#[from] ForwardError),
    /// The model's weights do not fit its configuration.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A sequence that was never made, was freed, or is named twice in a batch.
    #[error("sequence {0} is not one of this engine's, or is named twice in a batch")]
    Sequence(usize),
    /// Memory for weights, keys or values could not be had.
    #[error("{bytes} bytes for {what} could not be allocated; use a smaller context (-c) or model")]
    Memory {
        /// What the memory is for.
        what: &'static str,
        /// Bytes asked for.
        bytes: usize,
    },
    /// The accelerator, or the compilation for it, failed.
    #[error("{0}")]
    Device(String),
    /// A board is gone, busy, not what the program needs, or failed.
    #[error(transparent)]
    Board(#[from] crate::device::error::DeviceError),
}

/// A machine that holds one model and computes its logits.
pub trait Engine: Send {
    /// The model's shape.
    fn config(&self) -> &ModelConfig;

    /// What computes, for people and `--json`: backend, instruction set, threads.
    fn describe(&self) -> String;

    /// Bytes of memory that a decode step of one sequence reads after `context` tokens, if known.
    fn decode_bytes(&self, _context: usize) -> Option<usize> {
        None
    }

    /// Tokens that one pass takes for the price of one, if the machine has such a number: guesses beyond it would cost
    /// another pass.
    fn pass_tokens(&self) -> Option<usize> {
        None
    }

    /// A new, empty sequence.
    fn new_sequence(&mut self) -> Result<SequenceId, EngineError>;

    /// Forgets a sequence and frees its memory. Unknown sequences are ignored.
    fn free_sequence(&mut self, sequence: SequenceId);

    /// Tokens in a sequence; 0 for an unknown one.
    fn len(&self, sequence: SequenceId) -> usize;

    /// Forgets the tokens of a sequence from `len` on.
    fn truncate(&mut self, sequence: SequenceId, len: usize);

    /// One pass over several independent sequences, each named once: what each step wants. An error
    /// changes no sequence.
    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Answer>, EngineError>;

    /// As [`Engine::answer`], only the logits.
    fn forward(&mut self, steps: &[Step<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        Ok(self.answer(steps)?.into_iter().map(|answer| answer.logits).collect())
    }
}

/// The plain reference decoder behind [`Engine`]: slow, for checks and for `--numerics float`.
pub struct ReferenceEngine {
    decoder: Decoder,
    numerics: Numerics,
    sequences: Vec<Option<Sequence>>,
}

impl ReferenceEngine {
    /// Checks the weights and prepares them.
    pub fn new(weights: ModelWeights, numerics: Numerics) -> Result<Self, EngineError> {
        Ok(ReferenceEngine { decoder: Decoder::new(weights, numerics)?, numerics, sequences: Vec::new() })
    }

    fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        self.sequences.get(id.0)?.as_ref()
    }
}

impl Engine for ReferenceEngine {
    fn config(&self) -> &ModelConfig {
        self.decoder.config()
    }

    fn describe(&self) -> String {
        let numerics = match self.numerics {
            Numerics::Float => "float",
            Numerics::Device => "device",
        };
        format!("reference model, {numerics} numerics, 1 thread")
    }

    fn new_sequence(&mut self) -> Result<SequenceId, EngineError> {
        let sequence = Some(self.decoder.new_sequence());
        match self.sequences.iter().position(Option::is_none) {
            Some(free) => {
                self.sequences[free] = sequence;
                Ok(SequenceId(free))
            }
            None => {
                self.sequences.push(sequence);
                Ok(SequenceId(self.sequences.len() - 1))
            }
        }
    }

    fn free_sequence(&mut self, id: SequenceId) {
        if let Some(slot) = self.sequences.get_mut(id.0) {
            *slot = None;
        }
    }

    fn len(&self, id: SequenceId) -> usize {
        self.sequence(id).map_or(0, Sequence::len)
    }

    fn truncate(&mut self, id: SequenceId, len: usize) {
        if let Some(Some(sequence)) = self.sequences.get_mut(id.0) {
            sequence.truncate(len);
        }
    }

    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Answer>, EngineError> {
        let config = self.decoder.config();
        for (index, step) in steps.iter().enumerate() {
            let twice = steps[..index].iter().any(|other| other.sequence == step.sequence);
            let sequence = self.sequence(step.sequence).filter(|_| !twice);
            let sequence = sequence.ok_or(EngineError::Sequence(step.sequence.0))?;
            check_request(config, sequence.len(), step.tokens)?;
        }
        let mut all = Vec::with_capacity(steps.len());
        for step in steps {
            let slot = self.sequences.get_mut(step.sequence.0).and_then(Option::as_mut);
            let sequence = slot.ok_or(EngineError::Sequence(step.sequence.0))?;
            let mut logits = self.decoder.forward(sequence, step.tokens)?;
            let mut answer = Answer::default();
            match step.want {
                Want::Nothing => {}
                Want::Best => answer.best = logits.last().and_then(|logits| head::best(logits)),
                Want::Last => answer.logits = logits.pop().unwrap_or_default(),
                Want::All => answer.logits = logits.concat(),
            }
            all.push(answer);
        }
        Ok(all)
    }
}

/// Checks that tokens are in the vocabulary and fit the context after `past` others.
pub fn check_request(config: &ModelConfig, past: usize, tokens: &[u32]) -> Result<(), ForwardError> {
    if let Some(&token) = tokens.iter().find(|&&token| token as usize >= config.vocab) {
        return Err(ForwardError::Token { token, vocab: config.vocab });
    }
    if tokens.len() > config.max_context.saturating_sub(past) {
        return Err(ForwardError::Context { tokens: tokens.len(), past, max: config.max_context });
    }
    Ok(())
}
