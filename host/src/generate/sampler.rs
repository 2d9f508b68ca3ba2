//! Choice of the next token from logits.
//!
//! The stages run in this order, which is llama.cpp's: repeat penalty, top-k, top-p, min-p,
//! temperature, draw. Equal logits are ordered by token id, exponentials come from
//! [`spec::numerics::math`] and random numbers from [`Rng`], so the same logits, settings and seed
//! give the same token on every machine.

use spec::model::random::Rng;
use spec::numerics::math;
use std::cmp::Ordering;
use thiserror::Error;

/// How tokens are chosen. The defaults are llama.cpp's.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerSettings {
    /// Divides the logits before the draw; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most probable tokens that reach this probability together; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than this share of the best one; 0 keeps all.
    pub min_p: f32,
    /// Weakens tokens that occurred lately: positive logits are divided by it, others multiplied; 1 is off.
    pub repeat_penalty: f32,
    /// How many of the latest tokens count for the penalty; `None` is all of them.
    pub repeat_last_n: Option<usize>,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Default for SamplerSettings {
    fn default() -> Self {
        SamplerSettings {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: Some(64),
            seed: 1,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{name} = {found}: expected {expected}")]
pub struct SettingError {
    /// The setting, as llama.cpp spells its flag.
    pub name: &'static str,
    /// Its value.
    pub found: f32,
    /// Its range.
    pub expected: &'static str,
}

impl SamplerSettings {
    /// Checks every setting.
    pub fn validate(&self) -> Result<(), SettingError> {
        let rule = |name, found: f32, ok: bool, expected| {
            if ok { Ok(()) } else { Err(SettingError { name, found, expected }) }
        };
        let t = self.temperature;
        rule("--temp", t, t.is_finite() && t >= 0.0, "0 (always the most probable token) or more")?;
        rule("--top-p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "more than 0, at most 1 (off)")?;
        rule("--min-p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 (off) to 1")?;
        let r = self.repeat_penalty;
        rule("--repeat-penalty", r, r.is_finite() && r > 0.0, "more than 0; 1 is off, 1.1 is mild")
    }
}

/// No token can be chosen: every logit is NaN or minus infinity.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no logit is a number: the model's data is damaged or its scales are far too large; get the file again")]
pub struct NoCandidate;

/// A token and its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Token id.
    pub token: u32,
    /// Its logit, finite.
    pub logit: f32,
}

/// Best first; equal logits by token id. A strict order as long as no logit is NaN.
fn better(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Chooses the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    settings: SamplerSettings,
    rng: Rng,
    banned: Vec<u32>,
    history: Vec<u32>,
    penalized: Vec<bool>,
}

impl Sampler {
    /// A sampler at the start of its random numbers. `banned` tokens are never chosen.
    pub fn new(settings: SamplerSettings, banned: Vec<u32>) -> Result<Self, SettingError> {
        settings.validate()?;
        let rng = Rng::new(settings.seed);
        Ok(Sampler { settings, rng, banned, history: Vec::new(), penalized: Vec::new() })
    }

    /// What it was made with.
    pub fn settings(&self) -> &SamplerSettings {
        &self.settings
    }

    /// Forgets which tokens occurred, and takes these as the past: the prompt.
    pub fn restart(&mut self, past: &[u32]) {
        self.history.clear();
        self.history.extend_from_slice(past);
    }

    /// Whether it always takes the token with the largest logit, so that it needs no logits.
    pub fn needs_only_best(&self) -> bool {
        let s = &self.settings;
        let unchanged = s.repeat_penalty == 1.0 || s.repeat_last_n == Some(0);
        s.temperature == 0.0 && unchanged && self.banned.is_empty()
    }

    /// Takes the token with the largest logit, which the engine found, and remembers it.
    pub fn accept(&mut self, best: Option<u32>) -> Result<u32, NoCandidate> {
        let token = best.ok_or(NoCandidate)?;
        self.history.push(token);
        Ok(token)
    }

    /// Chooses the next token and remembers it.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, NoCandidate> {
        let mut candidates = self.candidates(logits);
        let token = if self.settings.temperature == 0.0 {
            candidates.iter().min_by(|a, b| better(a, b)).ok_or(NoCandidate)?.token
        } else {
            let s = &self.settings;
            keep_top_k(&mut candidates, s.top_k);
            if candidates.is_empty() {
                return Err(NoCandidate);
            }
            keep_top_p(&mut candidates, s.top_p);
            keep_min_p(&mut candidates, s.min_p);
            draw(&candidates, s.temperature, self.rng.next_u64())
        };
        self.history.push(token);
        Ok(token)
    }

    /// All tokens that may be chosen, with the repeat penalty applied. NaN counts as minus infinity.
    fn candidates(&mut self, logits: &[f32]) -> Vec<Candidate> {
        let penalty = self.settings.repeat_penalty;
        let window = self.settings.repeat_last_n.unwrap_or(usize::MAX).min(self.history.len());
        let recent = &self.history[self.history.len() - window..];
        let penalized = &mut self.penalized;
        if penalty != 1.0 {
            penalized.clear();
            penalized.resize(logits.len(), false);
            recent.iter().filter_map(|&t| penalized.get_mut(t as usize).map(|p| *p = true)).for_each(drop);
        }
        let adjusted = |(id, &logit): (usize, &f32)| {
            let repeated = penalty != 1.0 && penalized[id];
            let logit = match repeated {
                true if logit > 0.0 => logit / penalty,
                true => logit * penalty,
                false => logit,
            };
            let allowed = !logit.is_nan() && logit > f32::NEG_INFINITY && !self.banned.contains(&(id as u32));
            // + 0.0 turns -0 into 0, which are the same logit but not the same in `total_cmp`
            allowed.then(|| Candidate { token: id as u32, logit: logit.min(f32::MAX) + 0.0 })
        };
        logits.iter().enumerate().filter_map(adjusted).collect()
    }
}

/// Sorts the candidates, best first, and keeps the first `k`; all if `k` is 0.
pub fn keep_top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k > 0 && k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, better);
        candidates.truncate(k);
    }
    candidates.sort_unstable_by(better);
}

/// Of sorted candidates, keeps the shortest beginning whose probability reaches `p`.
pub fn keep_top_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 || candidates.is_empty() {
        return;
    }
    let weights = weights(candidates, 1.0);
    let goal = f64::from(p) * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let reaches = |weight: &f64| {
        sum += weight;
        sum >= goal
    };
    let last = weights.iter().position(reaches).unwrap_or(weights.len() - 1);
    candidates.truncate(last + 1);
}

/// Of sorted candidates, drops those less probable than `share` of the first.
pub fn keep_min_p(candidates: &mut Vec<Candidate>, share: f32) {
    if share <= 0.0 {
        return;
    }
    let keep = weights(candidates, 1.0).iter().take_while(|&&weight| weight >= f64::from(share)).count();
    candidates.truncate(keep.max(1));
}

/// `exp((logit - best) / temperature)` of sorted candidates: probabilities without their divisor.
pub fn weights(sorted: &[Candidate], temperature: f32) -> Vec<f64> {
    let best = sorted.first().map_or(0.0, |c| f64::from(c.logit));
    let weight = |c: &Candidate| match (f64::from(c.logit) - best) / f64::from(temperature) {
        x if x < -600.0 => 0.0,
        x => math::exp(x),
    };
    sorted.iter().map(weight).collect()
}

/// One of the sorted candidates, at least one, by 53 of the `random` bits.
fn draw(sorted: &[Candidate], temperature: f32, random: u64) -> u32 {
    let weights = weights(sorted, temperature);
    let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
    let goal = unit * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    for (candidate, weight) in sorted.iter().zip(&weights) {
        sum += weight;
        if sum > goal {
            return candidate.token;
        }
    }
    sorted[0].token
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
