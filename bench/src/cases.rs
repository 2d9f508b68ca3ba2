//! What is measured.

use std::fmt;

/// The memory models, in the order of columns; the first one's results are the headline figures.
pub const MEMORIES: [&str; 3] = ["measured", "ideal", "ddr"];

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

impl Kind {
    /// Name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Decode { .. } => "decode",
            Kind::Prefill { .. } => "prefill",
            Kind::Batch { .. } => "batch",
        }
    }
}

/// How the head chooses tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Every logit exactly: all planes of all rows.
    Exact,
    /// A plane that ranks all rows, all planes of the best groups of rows.
    Shortlist,
}

impl Head {
    /// Name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Head::Exact => "exact",
            Head::Shortlist => "shortlist",
        }
    }
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Shape of the model.
    pub shape: &'static str,
    /// Whether weights are Sherry codes.
    pub sherry: bool,
    /// The head.
    pub head: Head,
    /// What runs.
    pub kind: Kind,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = if self.head == Head::Exact { String::new() } else { format!("-{}", self.head.name()) };
        let shape = format!("{}{}{head}", self.shape, if self.sherry { "-sherry" } else { "" });
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

    /// Whether the model in memory is the same.
    pub fn same_model(&self, other: &Case) -> bool {
        (self.shape, self.sherry) == (other.shape, other.sherry)
    }

    /// Whether it runs with memory models other than the first one, too: the first token and eight sequences of every model;
    /// of 0.73B contexts and a prompt as well. Other prompts do not: the engine binds there, whatever the memory.
    pub fn compared(&self) -> bool {
        let first = self.shape == "0.73b";
        match self.kind {
            Kind::Decode { context } => context == 0 || (first && context <= 1024),
            Kind::Batch { sequences, .. } => sequences == 8,
            Kind::Prefill { tokens } => first && tokens == 64 && !self.sherry && self.head == Head::Exact,
        }
    }

    /// Whether a layer of it is drawn.
    pub fn pictured(&self) -> bool {
        let drawn = [Kind::Decode { context: 512 }, Kind::Prefill { tokens: 64 }];
        self.shape == "0.73b" && !self.sherry && self.head == Head::Exact && drawn.contains(&self.kind)
    }
}

/// All cases; `quick`: those of the short form.
pub fn all(quick: bool) -> Vec<Case> {
    let of = |shape, sherry, kind| Case { shape, sherry, head: Head::Exact, kind };
    let decode = |context| Kind::Decode { context };
    let prefill = |tokens| Kind::Prefill { tokens };
    if quick {
        let short = Case { head: Head::Shortlist, ..of("0.73b", false, decode(0)) };
        let exact = [decode(0), decode(512), prefill(64)].map(|kind| of("0.73b", false, kind));
        return [exact.to_vec(), vec![short]].concat();
    }
    let four = |kind| of("0.73b-4p", false, kind);
    let mut cases = [decode(0), decode(512), decode(1024), prefill(64), prefill(128)].map(four).to_vec();
    let of_eight = Kind::Batch { sequences: 8, context: 0 };
    cases.extend([decode(0), prefill(64), of_eight].map(|kind| of("2b4t-4p", false, kind)));
    for (shape, sherry) in [("0.73b", false), ("0.73b", true), ("2b4t", false), ("2b4t", true), ("falcon3-1b", false)] {
        let contexts: &[usize] = if sherry { &[0, 512] } else { &[0, 512, 1024, 2048] };
        cases.extend(contexts.iter().map(|&context| of(shape, sherry, decode(context))));
        let short = |&context: &usize| Case { head: Head::Shortlist, ..of(shape, sherry, decode(context)) };
        cases.extend(contexts.iter().map(short));
        let batches: &[usize] = if sherry { &[] } else { &[2, 4, 8] };
        let batch = |&sequences: &usize| of(shape, sherry, Kind::Batch { sequences, context: 0 });
        cases.extend(batches.iter().map(batch));
        if !sherry {
            cases.push(Case { head: Head::Shortlist, ..of(shape, sherry, prefill(64)) });
        }
        let lengths: &[usize] = if sherry { &[64] } else { &[64, 128, 512] };
        cases.extend(lengths.iter().map(|&tokens| of(shape, sherry, prefill(tokens))));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_model_is_compared_in_decode() {
        let all = all(false);
        for group in all.chunk_by(Case::same_model) {
            let first = |case: &&Case| case.kind == Kind::Decode { context: 0 } && case.compared();
            let heads: HashSet<&str> = group.iter().filter(first).map(|case| case.head.name()).collect();
            assert!(heads.contains("exact"), "{}", group[0]);
        }
        let prompts =
            all.iter().filter(|case| case.compared() && matches!(case.kind, Kind::Prefill { .. })).map(Case::to_string);
        assert_eq!(prompts.collect::<Vec<_>>(), ["prefill-0.73b-64"]);
    }

    #[test]
    fn names_are_unique_and_the_quick_ones_are_among_them() {
        let names: Vec<String> = all(false).iter().map(Case::to_string).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(all(true).iter().all(|case| names.contains(&case.to_string())));
    }
}
