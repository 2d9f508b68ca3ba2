//! How well a model predicts a text.

use spec::numerics::math;

/// Negative logarithm of the probability that `logits` give to `target`, in nats.
pub fn nll(logits: &[f32], target: u32) -> f64 {
    let best = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    let sum: f64 = logits.iter().map(|&l| math::exp((f64::from(l) - best).max(-600.0))).sum();
    math::ln(sum) + best - f64::from(logits[target as usize])
}

/// The most probable token, the lowest id among equals; `None` if no logit is a number.
pub fn top1(logits: &[f32]) -> Option<u32> {
    let mut best: Option<usize> = None;
    for (index, logit) in logits.iter().enumerate() {
        if !logit.is_nan() && best.is_none_or(|best| *logit > logits[best]) {
            best = Some(index);
        }
    }
    best.map(|best| best as u32)
}

/// Sums over scored tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Scored tokens.
    pub tokens: usize,
    /// Sum of their negative log-likelihoods in nats.
    pub nll: f64,
    /// Sum of the squares.
    pub nll_squared: f64,
    /// How often the most probable token was the right one.
    pub hits: usize,
}

impl Score {
    /// Scores one token.
    pub fn add(&mut self, logits: &[f32], target: u32) {
        let nll = nll(logits, target);
        self.tokens += 1;
        self.nll += nll;
        self.nll_squared += nll * nll;
        self.hits += usize::from(top1(logits) == Some(target));
    }

    /// Mean negative log-likelihood in nats per token.
    pub fn mean(&self) -> f64 {
        self.nll / self.tokens.max(1) as f64
    }

    /// `exp` of the mean.
    pub fn perplexity(&self) -> f64 {
        math::exp(self.mean().clamp(-600.0, 600.0))
    }

    /// Standard error of the perplexity, tokens taken as independent.
    pub fn perplexity_error(&self) -> f64 {
        let count = self.tokens.max(2) as f64;
        let variance = (self.nll_squared / count - self.mean() * self.mean()).max(0.0) / (count - 1.0);
        self.perplexity() * variance.sqrt()
    }
}

/// A piece of a text that is evaluated on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The first token that is scored, at least 1.
    pub first_scored: usize,
}

/// llama.cpp's windows: `context` tokens each, not overlapping, the rest dropped. The first half of
/// a window is context only, as is everything before position `context / 2 + 1`. With `bos`, the first
/// token of each window is replaced by it.
pub fn halved_windows(tokens: &[u32], context: usize, bos: Option<u32>) -> Vec<Window> {
    let window = |tokens: &[u32]| {
        let mut tokens = tokens.to_vec();
        if let Some(bos) = bos {
            tokens[0] = bos;
        }
        Window { tokens, first_scored: context / 2 + 1 }
    };
    tokens.chunks_exact(context.max(2)).map(window).collect()
}

/// One document: every token after the first is scored. Documents longer than the context are cut
/// into pieces of at most `context` tokens; each begins with `bos`, if there is one.
pub fn document_windows(tokens: &[u32], context: usize, bos: Option<u32>) -> Vec<Window> {
    let body = match bos {
        Some(bos) if tokens.first() == Some(&bos) => &tokens[1..],
        _ => tokens,
    };
    let size = context.saturating_sub(usize::from(bos.is_some())).max(1);
    let window =
        |piece: &[u32]| Window { tokens: bos.into_iter().chain(piece.iter().copied()).collect(), first_scored: 1 };
    body.chunks(size).map(window).filter(|window| window.tokens.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nll_of_equal_logits_is_the_logarithm_of_their_number() {
        assert!((nll(&[2.5; 8], 3) - 8f64.ln()).abs() < 1e-12);
        assert!((nll(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
        assert!(nll(&[1000.0, 0.0], 0).abs() < 1e-9);
    }

    #[test]
    fn top1_is_the_first_of_equals_and_never_nan() {
        assert_eq!(top1(&[f32::NAN, 1.0, 2.0, 2.0]), Some(2));
        assert_eq!(top1(&[f32::NAN]), None);
    }

    #[test]
    fn perplexity_of_a_uniform_guess_is_the_vocabulary() {
        let mut score = Score::default();
        for target in 0..4 {
            score.add(&[0.0; 4], target);
        }
        assert!((score.perplexity() - 4.0).abs() < 1e-12);
        assert!(score.perplexity_error() < 1e-6);
        assert_eq!(score.hits, 1);
    }

    #[test]
    fn windows_follow_llama_cpp() {
        let tokens: Vec<u32> = (10..21).collect();
        let windows = halved_windows(&tokens, 4, Some(0));
        assert_eq!(windows.len(), 2);
        assert_eq!(windows[1], Window { tokens: vec![0, 15, 16, 17], first_scored: 3 });
        assert_eq!(halved_windows(&tokens, 4, None)[1].tokens, [14, 15, 16, 17]);
    }

    #[test]
    fn documents_are_scored_from_their_first_token_if_there_is_a_bos() {
        let windows = document_windows(&[0, 5, 6, 7], 3, Some(0));
        assert_eq!(windows[0], Window { tokens: vec![0, 5, 6], first_scored: 1 });
        assert_eq!(windows[1], Window { tokens: vec![0, 7], first_scored: 1 });
        assert_eq!(document_windows(&[5], 3, None), []);
    }
}
