//! What is measured.

use std::fmt;

/// What a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One token after so many others.
    Decode {
        /// Positions before it.
        context: usize,
    },
    /// A prompt in chunks, with the first new token at its end.
    Prefill {
        /// Its tokens.
        tokens: usize,
    },
    /// One token each of several sequences.
    Batch {
        /// Sequences.
        sequences: usize,
        /// Positions before each.
        context: usize,
    },
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Shape of the model.
    pub shape: &'static str,
    /// Whether weights are Sherry codes.
    pub sherry: bool,
    /// What runs.
    pub kind: Kind,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = format!("{}{}", self.shape, if self.sherry { "-sherry" } else { "" });
        match self.kind {
            Kind::Decode { context } => write!(f, "decode-{shape}-{context}"),
            Kind::Prefill { tokens } => write!(f, "prefill-{shape}-{tokens}"),
            Kind::Batch { sequences, context } => write!(f, "batch-{shape}-{sequences}x{context}"),
        }
    }
}

impl Case {
    /// Tokens that the case yields or takes.
    pub fn tokens(&self) -> usize {
        match self.kind {
            Kind::Decode { .. } => 1,
            Kind::Prefill { tokens } => tokens,
            Kind::Batch { sequences, .. } => sequences,
        }
    }
}

/// All cases; `quick`: those of the short form.
pub fn all(quick: bool) -> Vec<Case> {
    let of = |shape, sherry, kind| Case { shape, sherry, kind };
    if quick {
        return vec![
            of("0.73b", false, Kind::Decode { context: 0 }),
            of("0.73b", false, Kind::Decode { context: 512 }),
            of("0.73b", false, Kind::Prefill { tokens: 64 }),
        ];
    }
    let mut cases = vec![of("0.73b", false, Kind::Prefill { tokens: 8 })];
    for (shape, sherry) in [("0.73b", false), ("0.73b", true), ("2b4t", false), ("2b4t", true), ("falcon3-1b", false)] {
        let contexts: &[usize] = if sherry { &[0, 512] } else { &[0, 512, 1024, 2048] };
        cases.extend(contexts.iter().map(|&context| of(shape, sherry, Kind::Decode { context })));
        let lengths: &[usize] = if sherry { &[64] } else { &[64, 128, 512] };
        cases.extend(lengths.iter().map(|&tokens| of(shape, sherry, Kind::Prefill { tokens })));
        let batches: &[usize] = if sherry { &[] } else { &[2, 4, 8] };
        cases.extend(batches.iter().map(|&sequences| of(shape, sherry, Kind::Batch { sequences, context: 0 })));
    }
    cases
}
