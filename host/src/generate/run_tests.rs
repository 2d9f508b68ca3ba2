//! The loop on random models: batches, sessions, ends and interruptions.

use super::*;
use crate::engine::ReferenceEngine;
use crate::generate::sampler::SamplerSettings;
use spec::model::random::{self, RandomSpec};
use spec::model::{Activation, ModelConfig, Numerics};

fn engine() -> ReferenceEngine {
    let config = ModelConfig {
        hidden: 24,
        ffn: 40,
        heads: 2,
        kv_heads: 1,
        head_dim: 12,
        max_context: 24,
        activation: Activation::Relu2,
        ..random::small()
    };
    let spec = RandomSpec { seed: 5, coded_tables: false, ..RandomSpec::PLAIN };
    ReferenceEngine::new(random::model(&config, spec), Numerics::Device).unwrap()
}

fn sampler(seed: u64) -> Sampler {
    Sampler::new(SamplerSettings { seed, ..SamplerSettings::default() }, vec![]).unwrap()
}

fn one(engine: &mut dyn Engine, prompt: &[u32], seed: u64, limit: usize, ends: &[u32]) -> Outcome {
    let mut session = Session::new(engine).unwrap();
    let mut sampler = sampler(seed);
    let mut jobs = [Job { session: &mut session, prompt, sampler: &mut sampler, limit, ends }];
    let mut outcomes = run(engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap().0;
    session.close(engine);
    outcomes.remove(0)
}

#[test]
fn a_batch_yields_what_each_job_yields_alone() {
    let mut engine = engine();
    let prompts: [&[u32]; 3] = [&[1, 2, 3], &[7], &[9, 9, 4, 30, 12]];
    let limits = [5, 9, 2];
    let alone: Vec<Outcome> = (0..3).map(|i| one(&mut engine, prompts[i], i as u64, limits[i], &[])).collect();
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::new(&mut engine).unwrap()).collect();
    let mut samplers: Vec<Sampler> = (0..3).map(sampler).collect();
    let mut jobs: Vec<Job> = sessions
        .iter_mut()
        .zip(&mut samplers)
        .enumerate()
        .map(|(i, (session, sampler))| Job { session, prompt: prompts[i], sampler, limit: limits[i], ends: &[] })
        .collect();
    let mut seen = vec![Vec::new(); 3];
    let mut watch = |job: usize, token| {
        seen[job].push(token);
        true
    };
    let (together, timings) = run(&mut engine, &mut jobs, Control::default(), &mut watch).unwrap();
    assert_eq!(together, alone);
    assert_eq!(seen, alone.iter().map(|o| o.tokens.clone()).collect::<Vec<_>>());
    assert_eq!((timings.prompt_tokens, timings.new_tokens, timings.intervals.len()), (9, 16, 13));
}

#[test]
fn greedy_needs_no_logits() {
    let mut engine = engine();
    // nothing is banned by an id outside the vocabulary, but then logits are asked for
    let mut greedy = |banned: Vec<u32>| {
        let settings = SamplerSettings { temperature: 0.0, ..SamplerSettings::default() };
        let mut sampler = Sampler::new(settings, banned).unwrap();
        let asks = sampler.needs_only_best();
        let mut session = Session::new(&mut engine).unwrap();
        let mut jobs = [Job { session: &mut session, prompt: &[1, 2, 3], sampler: &mut sampler, limit: 12, ends: &[] }];
        let outcome = run(&mut engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap().0.remove(0);
        session.close(&mut engine);
        (asks, outcome)
    };
    let ((best, without), (all, with)) = (greedy(vec![]), greedy(vec![u32::MAX]));
    assert!(best && !all);
    assert_eq!(without, with);
}

#[test]
fn a_session_computes_only_what_is_new() {
    let mut engine = engine();
    let mut session = Session::new(&mut engine).unwrap();
    let mut turn = |engine: &mut ReferenceEngine, prompt: &[u32]| {
        let mut sampler = sampler(3);
        let mut jobs = [Job { session: &mut session, prompt, sampler: &mut sampler, limit: 3, ends: &[] }];
        let (outcomes, timings) = run(engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap();
        (outcomes[0].tokens.clone(), timings.prompt_tokens)
    };
    let (first, computed) = turn(&mut engine, &[1, 2, 3, 4]);
    assert_eq!(computed, 4);
    let longer: Vec<u32> = [1, 2, 3, 4].into_iter().chain(first.iter().copied()).chain([8, 9]).collect();
    // the last token of the first turn was never computed
    let (second, computed) = turn(&mut engine, &longer);
    assert_eq!(computed, 3);
    assert_eq!(second, one(&mut engine, &longer, 3, 3, &[]).tokens);
    let (again, computed) = turn(&mut engine, &longer);
    assert_eq!((again, computed), (second, 1));
    let (other, computed) = turn(&mut engine, &[1, 2, 5]);
    assert_eq!(computed, 1);
    assert_eq!(other, one(&mut engine, &[1, 2, 5], 3, 3, &[]).tokens);
}

#[test]
fn ends_limits_and_the_context_are_respected() {
    let mut engine = engine();
    let free = one(&mut engine, &[1, 2], 1, 10, &[]);
    assert_eq!((free.tokens.len(), free.finish), (10, Finish::Length));
    let end = free.tokens[4];
    let first = free.tokens.iter().position(|&t| t == end).unwrap();
    let ended = one(&mut engine, &[1, 2], 1, 10, &[end]);
    assert_eq!((&ended.tokens[..], ended.finish), (&free.tokens[..first], Finish::Stop));
    // 24 positions hold the prompt and all new tokens but the last, which needs none
    let full = one(&mut engine, &[1; 20], 1, 100, &[]);
    assert_eq!((full.tokens.len(), full.finish), (5, Finish::Context));
    assert_eq!(one(&mut engine, &[1; 24], 1, 100, &[]).tokens.len(), 1);
    assert!(one(&mut engine, &[1], 1, 0, &[]).tokens.is_empty());
}

#[test]
fn bad_prompts_are_refused() {
    let mut engine = engine();
    let mut session = Session::new(&mut engine).unwrap();
    for (prompt, text) in [
        (&[][..], "the prompt has no tokens"),
        (&[50][..], "token id 50: expected less than the vocabulary's 50"),
        (&[1; 25][..], "25 tokens after 0 do not fit the context of 24"),
    ] {
        let mut sampler = sampler(1);
        let mut jobs = [Job { session: &mut session, prompt, sampler: &mut sampler, limit: 1, ends: &[] }];
        let error = run(&mut engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn a_run_can_be_cancelled_and_timed() {
    let mut engine = engine();
    let cancel = AtomicBool::new(false);
    let mut session = Session::new(&mut engine).unwrap();
    let mut go = |engine: &mut ReferenceEngine, control, cancel_after: usize| {
        let mut sampler = sampler(1);
        let mut jobs = [Job { session: &mut session, prompt: &[1, 2], sampler: &mut sampler, limit: 9, ends: &[] }];
        let mut count = 0;
        let mut watch = |_, _| {
            count += 1;
            cancel.store(count == cancel_after, Ordering::Relaxed);
            true
        };
        run(engine, &mut jobs, control, &mut watch).unwrap().0.remove(0)
    };
    let cancelled = go(&mut engine, Control { cancel: Some(&cancel), deadline: None }, 4);
    assert_eq!((cancelled.tokens.len(), cancelled.finish), (4, Finish::Cancelled));
    cancel.store(false, Ordering::Relaxed);
    let late = go(&mut engine, Control { cancel: None, deadline: deadline(Some(Duration::ZERO)) }, 0);
    assert_eq!((late.tokens.len(), late.finish), (0, Finish::Timeout));
}

/// Guesses change nothing but the number of passes: with and without sampling, alone and in a batch, up to limits,
/// ends and the full context, and a session goes on afterwards as if there had been none.
#[test]
fn guesses_change_no_text() {
    let mut engine = engine();
    let prompts: [&[u32]; 3] = [&[1, 2, 3, 1, 2, 3, 1, 2], &[7, 7, 7, 7], &[9, 4, 30]];
    let settings = |seed: u64, temperature: f32| SamplerSettings { seed, temperature, ..SamplerSettings::default() };
    let mut go = |guesses: usize, temperature: f32, limit: usize, ends: &[u32]| {
        let mut sessions: Vec<Session> = (0..3).map(|_| Session::new(&mut engine).unwrap()).collect();
        let mut samplers: Vec<Sampler> =
            (0..3).map(|seed| Sampler::new(settings(seed, temperature), vec![]).unwrap()).collect();
        sessions.iter_mut().for_each(|session| session.guess(guesses));
        let mut jobs: Vec<Job> = sessions
            .iter_mut()
            .zip(&mut samplers)
            .zip(prompts)
            .map(|((session, sampler), prompt)| Job { session, prompt, sampler, limit, ends })
            .collect();
        let outcomes = run(&mut engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap().0;
        let held: Vec<(Vec<u32>, usize)> =
            sessions.iter().map(|session| (session.tokens().to_vec(), engine.len(session.id()))).collect();
        sessions.into_iter().for_each(|session| session.close(&mut engine));
        (outcomes, held)
    };
    for temperature in [0.0, 0.8, 3.0] {
        for limit in [1, 2, 7, 100] {
            let plain = go(0, temperature, limit, &[]);
            for guesses in [1, 3, 16] {
                assert_eq!(go(guesses, temperature, limit, &[]), plain, "{guesses} guesses, limit {limit}");
            }
            let last = plain.0[0].tokens.last().copied().unwrap();
            assert_eq!(go(5, temperature, limit, &[last]), go(0, temperature, limit, &[last]));
        }
    }
}

/// Counts passes. Those of several tokens take no time, so that guesses always pay.
struct Counted(ReferenceEngine, usize);

impl Engine for Counted {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn pass_tokens(&self) -> Option<usize> {
        Some(4)
    }
    fn new_sequence(&mut self) -> Result<SequenceId, EngineError> {
        self.0.new_sequence()
    }
    fn free_sequence(&mut self, sequence: SequenceId) {
        self.0.free_sequence(sequence);
    }
    fn len(&self, sequence: SequenceId) -> usize {
        self.0.len(sequence)
    }
    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        self.0.truncate(sequence, len);
    }
    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Answer>, EngineError> {
        self.1 += 1;
        let tokens: usize = steps.iter().map(|step| step.tokens.len()).sum();
        assert!(tokens <= 4 || self.1 == 1, "{tokens} tokens in a pass of 4");
        if tokens == 1 {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.0.answer(steps)
    }
}

/// A text of one token over and over needs fewer passes, never more tokens than a pass takes.
#[test]
fn guesses_save_passes() {
    let passes = |guesses: usize| {
        let mut engine = Counted(engine(), 0);
        let mut session = Session::new(&mut engine).unwrap();
        session.guess(guesses);
        // all tokens but one are banned: the text repeats
        let banned = (0..50).filter(|&token| token != 7).collect();
        let settings = SamplerSettings { temperature: 0.0, ..SamplerSettings::default() };
        let mut sampler = Sampler::new(settings, banned).unwrap();
        let mut jobs =
            [Job { session: &mut session, prompt: &[1, 7, 7, 7, 7], sampler: &mut sampler, limit: 16, ends: &[] }];
        let outcome = run(&mut engine, &mut jobs, Control::default(), &mut |_, _| true).unwrap().0.remove(0);
        assert_eq!(outcome.tokens, [7; 16]);
        engine.1
    };
    // the prompt, four single tokens, then three and four at a time; a pass that was held up may add some
    assert_eq!(passes(0), 16);
    assert!((8..16).contains(&passes(8)));
}
