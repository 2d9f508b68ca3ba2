//! Jobs on their way to the engine's thread: one runs, a few wait, more are refused.

use super::answer::Event;
use super::request::Ask;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// One text to generate, and where it goes.
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What to do.
    pub ask: Ask,
    /// Where the pieces go.
    pub events: Sender<Event>,
    /// Set when nobody wants it any more.
    pub cancel: Arc<AtomicBool>,
    /// When it was asked for.
    pub asked: Instant,
}

/// Why a job was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full,
    /// The server is being stopped.
    Closed,
}

/// What the engine's thread should do next.
pub enum Next {
    /// This job.
    Job(Box<Job>),
    /// Nothing came in time.
    Nothing,
    /// End: no more jobs will come.
    End,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// The cancel flag of the job that runs.
    running: Option<Arc<AtomicBool>>,
    closed: bool,
}

/// The queue.
pub struct Queue {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// A queue in which `most` jobs may wait while one runs.
    pub fn new(most: usize) -> Queue {
        Queue { most, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job, or gives it back.
    pub fn push(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        // the next job runs at once if none does
        if state.waiting.len() >= self.most + usize::from(state.running.is_none()) {
            return Err(Refused::Full);
        }
        state.waiting.push_back(job);
        self.changed.notify_all();
        Ok(())
    }

    /// Takes back a job that waits.
    pub fn withdraw(&self, id: u64) -> bool {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|job| job.id != id);
        state.waiting.len() < before
    }

    /// The next job, which counts as running until the next call.
    pub fn next(&self, wait: Option<Duration>) -> Next {
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut state = self.state();
        state.running = None;
        loop {
            if state.closed {
                return Next::End;
            }
            if let Some(job) = state.waiting.pop_front() {
                state.running = Some(job.cancel.clone());
                return Next::Job(Box::new(job));
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Next::Nothing,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Takes no more jobs; returns those that wait.
    pub fn close(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        self.changed.notify_all();
        state.waiting.drain(..).collect()
    }

    /// Ends the job that runs at its next token.
    pub fn cancel_running(&self) {
        if let Some(cancel) = &self.state().running {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Jobs that run (0 or 1) and jobs that wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (usize::from(state.running.is_some()), state.waiting.len())
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::generate::SamplerSettings;
    use tokio::sync::mpsc::{Receiver, channel};

    /// A job, and the channel of one place where its pieces come.
    pub fn job(id: u64) -> (Job, Receiver<Event>) {
        let ask = Ask {
            prompt: vec![0],
            continues: true,
            sampler: SamplerSettings::default(),
            limit: 1,
            stops: Vec::new(),
            ends: Vec::new(),
            banned: Vec::new(),
            reuse: true,
            stream: false,
            include_usage: false,
        };
        let (events, receiver) = channel(1);
        (Job { id, ask, events, cancel: Arc::default(), asked: Instant::now() }, receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64) -> Job {
        testing::job(id).0
    }

    #[track_caller]
    fn id(next: Next) -> u64 {
        match next {
            Next::Job(job) => job.id,
            _ => panic!("no job"),
        }
    }

    #[test]
    fn one_runs_and_so_many_wait() {
        let queue = Queue::new(1);
        queue.push(job(1)).unwrap();
        queue.push(job(2)).unwrap();
        assert_eq!(queue.push(job(3)), Err(Refused::Full));
        assert_eq!(id(queue.next(None)), 1);
        assert_eq!(queue.counts(), (1, 1));
        assert_eq!(queue.push(job(4)), Err(Refused::Full));
        assert!(queue.withdraw(2) && !queue.withdraw(2));
        queue.push(job(5)).unwrap();
        assert_eq!(id(queue.next(None)), 5);
        assert!(matches!(queue.next(Some(Duration::from_millis(5))), Next::Nothing));
        assert_eq!(queue.counts(), (0, 0));
    }

    #[test]
    fn without_waiting_one_still_runs() {
        let queue = Queue::new(0);
        queue.push(job(1)).unwrap();
        assert_eq!(queue.push(job(2)), Err(Refused::Full));
        assert_eq!(id(queue.next(None)), 1);
        assert_eq!(queue.push(job(2)), Err(Refused::Full));
    }

    #[test]
    fn a_closed_queue_gives_back_what_waits() {
        let queue = Queue::new(2);
        let running = job(1);
        let flag = running.cancel.clone();
        queue.push(running).unwrap();
        assert_eq!(id(queue.next(None)), 1);
        queue.push(job(2)).unwrap();
        assert_eq!(queue.close().len(), 1);
        assert_eq!(queue.push(job(3)), Err(Refused::Closed));
        queue.cancel_running();
        assert!(flag.load(Ordering::Relaxed));
        assert!(matches!(queue.next(None), Next::End));
    }
}
