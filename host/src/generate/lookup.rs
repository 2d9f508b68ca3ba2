//! Guesses of the next tokens by looking up what followed the same words before, in prompt and text.
//!
//! A pass over several tokens costs an accelerator what one token costs, and a CPU less than so many single ones: so
//! guesses ride along with the token that is due anyway. Each is kept only if the sampler chooses it from the logits of
//! the tokens before it, so the text is the one that single steps give, whatever the sampler's settings.
//!
//! Where a text does not repeat, wrong guesses cost time. So they begin short, grow while they come true, pause for
//! longer and longer while they do not, and an [`Account`] of what they cost and saved stops them before they have cost
//! more than a hundredth of the time so far.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Tokens at the end of the text that must have occurred before.
const MATCH: usize = 3;
/// Most steps without a guess after wrong ones.
const LONGEST_PAUSE: usize = 128;

/// Guesses the continuation of one growing text.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Most guesses at once; 0: none.
    most: usize,
    /// Guesses at once now.
    length: usize,
    /// Steps until the next guess, and how many there were after the last wrong one.
    wait: usize,
    pause: usize,
    /// The end of the last occurrence of each row of [`MATCH`] tokens.
    ends: HashMap<[u32; MATCH], usize>,
    /// Tokens of the text that `ends` knows.
    known: Vec<u32>,
}

impl Lookup {
    /// Guesses up to `most` tokens at once; 0: never any.
    pub fn new(most: usize) -> Lookup {
        Lookup { most, length: most.min(2), ..Lookup::default() }
    }

    /// Enters new tokens of the text; forgets what is no longer its beginning.
    fn learn(&mut self, text: &[u32]) {
        if !text.starts_with(&self.known) {
            self.ends.clear();
            self.known.clear();
        }
        // the row at the very end is what will be looked up
        let from = self.known.len().max(MATCH);
        for end in from..text.len() {
            let row = std::array::from_fn(|at| text[end - MATCH + at]);
            self.ends.insert(row, end);
        }
        let known = self.known.len();
        self.known.extend_from_slice(&text[known..text.len().saturating_sub(1).max(known)]);
    }

    /// What may follow `text`, at most `room` tokens.
    pub fn guess(&mut self, text: &[u32], room: usize) -> Vec<u32> {
        if self.most == 0 || text.len() < MATCH {
            return Vec::new();
        }
        self.learn(text);
        if self.wait > 0 {
            self.wait -= 1;
            return Vec::new();
        }
        let row: [u32; MATCH] = std::array::from_fn(|at| text[text.len() - MATCH + at]);
        let Some(&from) = self.ends.get(&row) else { return Vec::new() };
        let length = self.length.min(self.most).min(room);
        // a text that repeats itself goes on into its own end
        let period = text.len() - from;
        (0..length).map(|at| text[from + at % period]).collect()
    }

    /// How many of the guesses came true.
    pub fn judge(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        if right == guessed {
            self.length = (2 * self.length).min(self.most);
            self.pause = 0;
        } else if right > 0 {
            self.length = right.clamp(1, self.most);
            self.pause = 0;
        } else {
            self.length = 1;
            self.pause = (2 * self.pause).clamp(4, LONGEST_PAUSE);
            self.wait = self.pause;
        }
    }
}

/// Share of the time so far that guesses may have lost.
const LOSS: f64 = 0.01;
/// Passes without guesses before the first guess.
const SAMPLES: usize = 4;
/// Passes of one size whose shortest time counts: others may have been held up by other programs.
const RECENT: usize = 8;

/// What guesses have cost and saved. Times decide only when to guess, never what the text is.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Sequences in a pass now.
    sequences: usize,
    /// Seconds of the last passes by their tokens.
    times: HashMap<usize, VecDeque<f64>>,
    /// Seconds of all passes.
    spent: f64,
    /// Seconds that right guesses saved, less those that guesses cost.
    gain: f64,
}

impl Account {
    /// Whether guesses have paid so far, or lost little.
    pub fn allows(&self) -> bool {
        let samples = self.times.get(&self.sequences).map_or(0, VecDeque::len);
        samples >= SAMPLES && self.gain >= -LOSS * self.spent
    }

    /// What a pass of so many tokens takes.
    fn price(&self, tokens: usize) -> f64 {
        let least = |all: &VecDeque<f64>| all.iter().copied().fold(f64::INFINITY, f64::min);
        self.times.get(&tokens).map_or(0.0, least)
    }

    /// A pass over so many sequences with so many tokens, those guessed among them.
    pub fn pass(&mut self, took: Duration, sequences: usize, tokens: usize) {
        if sequences != self.sequences {
            self.sequences = sequences;
            self.times.clear();
        }
        let times = self.times.entry(tokens).or_default();
        if times.len() == RECENT {
            times.pop_front();
        }
        times.push_back(took.as_secs_f64());
        let price = self.price(tokens);
        self.spent += price;
        if tokens > sequences {
            self.gain -= price - self.price(sequences);
        }
    }

    /// Guesses of the last pass that came true, of all its sequences.
    pub fn right(&mut self, count: usize) {
        self.gain += self.price(self.sequences) * count as f64 / self.sequences.max(1) as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_that_do_not_pay_stop() {
        let ms = Duration::from_millis;
        let mut account = Account::default();
        assert!(!account.allows());
        (0..4).for_each(|_| account.pass(ms(10), 1, 1));
        assert!(account.allows());
        // a guess doubles a pass and is wrong: nothing more before a hundred passes have gone by
        account.pass(ms(20), 1, 2);
        account.right(0);
        assert!(!account.allows());
        (0..93).for_each(|_| account.pass(ms(10), 1, 1));
        assert!(!account.allows());
        // one that was held up is no measure
        account.pass(ms(500), 1, 1);
        (0..2).for_each(|_| account.pass(ms(10), 1, 1));
        assert!(account.allows());
        // right ones pay for wrong ones later
        account.pass(ms(12), 1, 5);
        account.right(4);
        (0..3).for_each(|_| account.pass(ms(20), 1, 2));
        assert!(account.allows());
        // another number of sequences is another price
        account.pass(ms(30), 2, 2);
        assert!(!account.allows());
    }

    #[test]
    fn what_followed_before_is_guessed() {
        let mut lookup = Lookup::new(4);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 5, 6, 1, 2, 3], 9), [4, 5]);
        lookup.judge(2, 2);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 5, 6, 1, 2, 3], 9), [4, 5, 6, 1]);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 5, 6, 1, 2, 3], 1), [4]);
        assert_eq!(lookup.guess(&[9, 9, 1, 2], 9), [0u32; 0]);
        assert_eq!(Lookup::new(0).guess(&[1, 1, 1, 1, 1], 9), [0u32; 0]);
    }

    #[test]
    fn a_short_period_goes_on() {
        let mut lookup = Lookup::new(8);
        lookup.length = 5;
        assert_eq!(lookup.guess(&[7, 8, 7, 8, 7, 8, 7], 9), [8, 7, 8, 7, 8]);
        assert_eq!(lookup.guess(&[5, 5, 5, 5], 9), [5; 5]);
    }

    #[test]
    fn the_last_occurrence_counts_and_other_texts_are_forgotten() {
        let mut lookup = Lookup::new(1);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 1), [5]);
        assert_eq!(lookup.guess(&[8, 1, 2, 3], 1), [0u32; 0]);
    }

    /// Wrong guesses become rare: at most one in [`LONGEST_PAUSE`] steps.
    #[test]
    fn wrong_guesses_pause() {
        let mut lookup = Lookup::new(8);
        let text = [1, 2, 3, 4, 1, 2, 3];
        let mut wrong = 0;
        for _ in 0..2000 {
            let guesses = lookup.guess(&text, 8).len();
            lookup.judge(guesses, 0);
            wrong += guesses;
        }
        assert!(wrong < 2 + 6 + 2000 / LONGEST_PAUSE + 1, "{wrong}");
        lookup.wait = 0;
        let guesses = lookup.guess(&text, 8).len();
        lookup.judge(guesses, guesses);
        assert_eq!(lookup.pause, 0);
    }
}
