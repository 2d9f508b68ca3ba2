//! The generation loop over one sequence or a batch of independent ones.

use super::lookup::{Account, Lookup};
use super::sampler::{NoCandidate, Sampler};
use super::stats::Timings;
use crate::engine::{Answer, Engine, EngineError, SequenceId, Step, Want, check_request};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Most tokens of one sequence in one pass, so that a cancelled prefill ends soon.
pub const PREFILL_CHUNK: usize = 512;

/// A sequence of an engine with the tokens it holds.
#[derive(Debug)]
pub struct Session {
    id: SequenceId,
    tokens: Vec<u32>,
    lookup: Lookup,
}

impl Session {
    /// A new, empty sequence.
    pub fn new(engine: &mut dyn Engine) -> Result<Self, EngineError> {
        Ok(Session { id: engine.new_sequence()?, tokens: Vec::new(), lookup: Lookup::new(0) })
    }

    /// Guesses up to `most` tokens ahead from now on, by what followed the same tokens before; 0: none. The text is the
    /// same either way.
    pub fn guess(&mut self, most: usize) {
        self.lookup = Lookup::new(most);
    }

    /// Tokens whose keys and values the engine holds.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The engine's name of it.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// Frees the sequence.
    pub fn close(self, engine: &mut dyn Engine) {
        engine.free_sequence(self.id);
    }

    /// Keeps the beginning that `wanted` shares with what is there, but not all of `wanted`, so that
    /// its last token is computed and yields logits. Returns the number of kept tokens.
    pub fn keep_prefix(&mut self, engine: &mut dyn Engine, wanted: &[u32]) -> usize {
        let shared = self.tokens.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        let kept = shared.min(wanted.len().saturating_sub(1));
        self.truncate(engine, kept);
        kept
    }

    fn truncate(&mut self, engine: &mut dyn Engine, len: usize) {
        if len < self.tokens.len() {
            self.tokens.truncate(len);
            engine.truncate(self.id, len);
        }
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its text.
    Stop,
    /// A stop string appeared.
    StopString,
    /// The wanted number of tokens is there.
    Length,
    /// The context is full.
    Context,
    /// The user stopped it.
    Cancelled,
    /// The time was up.
    Timeout,
}

impl Finish {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::StopString => "stop_string",
            Finish::Length => "length",
            Finish::Context => "context",
            Finish::Cancelled => "cancelled",
            Finish::Timeout => "timeout",
        }
    }
}

/// Ends generations from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// Set to end after the current pass.
    pub cancel: Option<&'a AtomicBool>,
    /// End at this time.
    pub deadline: Option<Instant>,
}

impl Control<'_> {
    /// Whether to end now, and why.
    pub fn interrupted(&self) -> Option<Finish> {
        if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Some(Finish::Cancelled);
        }
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline).then_some(Finish::Timeout)
    }
}

/// What to generate in one sequence.
pub struct Job<'a> {
    /// The sequence; what it holds of the prompt is not computed again.
    pub session: &'a mut Session,
    /// All tokens before the first new one, at least one.
    pub prompt: &'a [u32],
    /// Chooses the tokens.
    pub sampler: &'a mut Sampler,
    /// Most new tokens.
    pub limit: usize,
    /// Tokens that end the text. They are not part of it.
    pub ends: &'a [u32],
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub finish: Finish,
}

/// Why a generation failed.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No token could be chosen.
    #[error(transparent)]
    NoCandidate(#[from] NoCandidate),
    /// A prompt without tokens, which gives no logits to choose from.
    #[error("the prompt has no tokens; give some text or token ids")]
    EmptyPrompt,
}

struct State {
    outcome: Outcome,
    done: bool,
    last: Instant,
    /// Tokens at the end of the session that were only guessed.
    guesses: Vec<u32>,
}

impl State {
    fn end(&mut self, finish: Finish) {
        (self.outcome.finish, self.done) = (finish, true);
    }
}

/// Runs all jobs to their end. `on_token` sees each new token (job, token) at once and returns
/// whether the job goes on. Every job yields exactly what it would yield alone.
pub fn run(
    engine: &mut dyn Engine,
    jobs: &mut [Job<'_>],
    control: Control<'_>,
    on_token: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<(Vec<Outcome>, Timings), GenerateError> {
    let begin = Instant::now();
    for job in jobs.iter_mut() {
        if job.prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        check_request(engine.config(), 0, job.prompt).map_err(EngineError::from)?;
        job.session.keep_prefix(engine, job.prompt);
        job.sampler.restart(job.prompt);
    }
    let outcome = Outcome { tokens: Vec::new(), finish: Finish::Length };
    let state = |job: &Job| State { outcome: outcome.clone(), done: job.limit == 0, last: begin, guesses: Vec::new() };
    let mut states: Vec<State> = jobs.iter().map(state).collect();
    let mut timings = Timings::default();
    let mut answers = prefill(engine, jobs, &mut states, control, &mut timings)?;
    timings.prefill = begin.elapsed();
    let (vocab, context) = (engine.config().vocab, engine.config().max_context);
    let mut account = Account::default();
    while states.iter().any(|state| !state.done) {
        let interrupted = control.interrupted();
        let mut all_right = 0;
        for (index, (job, state)) in jobs.iter_mut().zip(&mut states).enumerate().filter(|(_, (_, s))| !s.done) {
            let guesses = std::mem::take(&mut state.guesses);
            let known = job.session.tokens.len() - guesses.len();
            let mut right = 0;
            if let Some(finish) = interrupted {
                state.end(finish);
            }
            // one token, and one more for each guess that it confirms
            let answer = std::mem::take(&mut answers[index]);
            for row in 0..(answer.logits.len() / vocab).max(1) {
                if state.done {
                    break;
                }
                let token = match answer.logits.get(row * vocab..(row + 1) * vocab) {
                    Some(logits) => job.sampler.sample(logits)?,
                    None => job.sampler.accept(answer.best)?,
                };
                let now = Instant::now();
                if state.outcome.tokens.is_empty() {
                    timings.first_token.get_or_insert(now - begin);
                } else {
                    timings.intervals.push(now - state.last);
                }
                state.last = now;
                if job.ends.contains(&token) {
                    state.end(Finish::Stop);
                    break;
                }
                state.outcome.tokens.push(token);
                if !on_token(index, token) {
                    state.end(Finish::StopString);
                } else if state.outcome.tokens.len() >= job.limit {
                    state.end(Finish::Length);
                } else if known + right >= context {
                    state.end(Finish::Context);
                } else if guesses.get(right) == Some(&token) {
                    right += 1;
                    continue;
                }
                break;
            }
            job.session.truncate(engine, known + right);
            job.session.lookup.judge(guesses.len(), right);
            all_right += right;
        }
        account.right(all_right);
        decode(engine, jobs, &mut states, &mut answers, &mut account)?;
    }
    timings.total = begin.elapsed();
    timings.new_tokens = states.iter().map(|state| state.outcome.tokens.len()).sum();
    Ok((states.into_iter().map(|state| state.outcome).collect(), timings))
}

/// Computes the rest of every prompt, a chunk of each sequence per pass.
fn prefill(
    engine: &mut dyn Engine,
    jobs: &mut [Job<'_>],
    states: &mut [State],
    control: Control<'_>,
    timings: &mut Timings,
) -> Result<Vec<Answer>, GenerateError> {
    let mut answers = vec![Answer::default(); jobs.len()];
    loop {
        let left = |job: &Job| job.prompt.len() - job.session.tokens.len();
        let open: Vec<usize> = (0..jobs.len()).filter(|&i| !states[i].done && left(&jobs[i]) > 0).collect();
        if open.is_empty() {
            return Ok(answers);
        }
        if let Some(finish) = control.interrupted() {
            for state in states.iter_mut().filter(|state| !state.done) {
                (state.outcome.finish, state.done) = (finish, true);
            }
            return Ok(answers);
        }
        let step = |&i: &usize| {
            let job = &jobs[i];
            let tokens = &job.prompt[job.session.tokens.len()..][..left(job).min(PREFILL_CHUNK)];
            let want = if tokens.len() == left(job) { want(job.sampler) } else { Want::Nothing };
            Step { sequence: job.session.id, tokens, want }
        };
        let steps: Vec<Step> = open.iter().map(step).collect();
        let results = engine.answer(&steps)?;
        let counts: Vec<usize> = steps.iter().map(|step| step.tokens.len()).collect();
        for ((i, count), result) in open.into_iter().zip(counts).zip(results) {
            let job = &mut jobs[i];
            let known = job.session.tokens.len();
            job.session.tokens.extend_from_slice(&job.prompt[known..known + count]);
            timings.prompt_tokens += count;
            answers[i] = result;
        }
    }
}

/// What a sampler chooses from.
fn want(sampler: &Sampler) -> Want {
    if sampler.needs_only_best() { Want::Best } else { Want::Last }
}

/// The last token of every open job in one pass, and guesses of what follows.
fn decode(
    engine: &mut dyn Engine,
    jobs: &mut [Job<'_>],
    states: &mut [State],
    answers: &mut [Answer],
    account: &mut Account,
) -> Result<(), GenerateError> {
    let context = engine.config().max_context;
    let open: Vec<usize> = (0..jobs.len()).filter(|&i| !states[i].done).collect();
    let sequences = open.len();
    let most = if account.allows() { usize::MAX } else { 0 };
    let mut free = engine.pass_tokens().map_or(usize::MAX, |all| all.saturating_sub(open.len()));
    let mut due: Vec<(usize, Vec<u32>)> = Vec::new();
    for i in open {
        let (job, state) = (&mut jobs[i], &mut states[i]);
        let Some(&last) = state.outcome.tokens.last() else { continue };
        let left = job.limit - state.outcome.tokens.len();
        let room =
            free.min(most).min(left.saturating_sub(1)).min((context - job.session.tokens.len()).saturating_sub(1));
        let Session { tokens, lookup, .. } = &mut *job.session;
        tokens.push(last);
        state.guesses = lookup.guess(tokens, room);
        tokens.pop();
        free -= state.guesses.len();
        due.push((i, [&[last], state.guesses.as_slice()].concat()));
    }
    let steps: Vec<Step> = due
        .iter()
        .map(|(i, tokens)| {
            let want = if tokens.len() > 1 { Want::All } else { want(jobs[*i].sampler) };
            Step { sequence: jobs[*i].session.id, tokens, want }
        })
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    let tokens = due.iter().map(|(_, tokens)| tokens.len()).sum();
    let start = Instant::now();
    let results = engine.answer(&steps)?;
    account.pass(start.elapsed(), sequences, tokens);
    for ((i, tokens), result) in due.into_iter().zip(results) {
        jobs[i].session.tokens.extend(tokens);
        answers[i] = result;
    }
    Ok(())
}

/// The time limit that begins now.
pub fn deadline(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
