//! Scores many windows of text with one engine or several.

use super::exit::CliError;
use super::signals;
use host::engine::{Engine, Step, Want};
use host::generate::score::{Score, Window, top1};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Windows in one batch.
const BATCH: usize = 8;
/// Most logits held at once by one engine, as numbers.
const MAX_LOGITS: usize = 1 << 23;

/// What came of a window.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// Sums over its scored tokens.
    pub score: Score,
    /// The most probable token at each of them.
    pub top1: Vec<Option<u32>>,
}

/// Scores all windows; `progress` hears how many are done. The result does not depend on how many
/// engines share the work.
pub fn score(
    engines: &mut [Box<dyn Engine>],
    windows: &[Window],
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Scored>, CliError> {
    let groups: Vec<&[Window]> = windows.chunks(BATCH).collect();
    let results = Mutex::new(vec![None; groups.len()]);
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = |engine: &mut dyn Engine| -> Result<(), CliError> {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = groups.get(index) else { break };
            let scored = score_group(engine, group)?;
            let finished = done.fetch_add(group.len(), Ordering::Relaxed) + group.len();
            if let Ok(mut results) = results.lock() {
                results[index] = Some(scored);
                progress(finished);
            }
        }
        Ok(())
    };
    let watched = |engine: &mut dyn Engine| {
        let result = work(engine);
        stop.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = engines.iter_mut().map(|engine| scope.spawn(|| watched(engine.as_mut()))).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect::<Result<(), CliError>>()
    })?;
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(results.into_iter().flatten().flatten().collect())
}

/// One batch, a piece of each window per pass.
fn score_group(engine: &mut dyn Engine, group: &[Window]) -> Result<Vec<Scored>, CliError> {
    let vocab = engine.config().vocab;
    let longest = (MAX_LOGITS / vocab / group.len()).clamp(1, 512);
    let sequences = group.iter().map(|_| engine.new_sequence()).collect::<Result<Vec<_>, _>>()?;
    let mut scored = vec![Scored::default(); group.len()];
    let mut position = vec![0; group.len()];
    loop {
        signals::check()?;
        let mut open = Vec::new();
        let mut steps = Vec::new();
        for (index, window) in group.iter().enumerate() {
            // the last token needs no logits
            let (at, end) = (position[index], window.tokens.len() - 1);
            let silent = (window.first_scored - 1).min(end);
            let (end, want) = if at < silent { (silent, Want::Nothing) } else { (end, Want::All) };
            if at < end {
                let tokens = &window.tokens[at..end.min(at + longest)];
                steps.push(Step { sequence: sequences[index], tokens, want });
                open.push(index);
            }
        }
        if steps.is_empty() {
            break;
        }
        let results = engine.forward(&steps)?;
        let counts: Vec<usize> = steps.iter().map(|step| step.tokens.len()).collect();
        for ((index, count), logits) in open.into_iter().zip(counts).zip(results) {
            for (offset, row) in logits.chunks_exact(vocab).enumerate() {
                let next = group[index].tokens[position[index] + offset + 1];
                scored[index].score.add(row, next);
                scored[index].top1.push(top1(row));
            }
            position[index] += count;
        }
    }
    sequences.into_iter().for_each(|sequence| engine.free_sequence(sequence));
    Ok(scored)
}
