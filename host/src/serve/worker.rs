//! The engine's thread: loads the model, runs one job after the other, and opens a lost device again.

use super::answer::{Event, Summary};
use super::app::{App, Health};
use super::error::ApiError;
use super::metrics::count;
use super::model::{ModelInfo, Reopen, Served};
use super::queue::{Job, Next};
use crate::engine::{Engine, EngineError};
use crate::generate::{Control, Finish, GenerateError, Job as Generation, Reply, Sampler, Session, run as generate};
use axum::http::StatusCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

/// How often a full channel is tried again.
const POLL: Duration = Duration::from_millis(5);

/// An engine and the one sequence on it, whose beginning the next request may share.
struct Device {
    engine: Box<dyn Engine>,
    session: Session,
}

impl Device {
    fn new(mut engine: Box<dyn Engine>, lookup: usize) -> Result<Device, EngineError> {
        let mut session = Session::new(engine.as_mut())?;
        session.guess(lookup);
        Ok(Device { engine, session })
    }
}

struct Worker<'a> {
    app: &'a App,
    model: &'a ModelInfo,
    device: Option<Device>,
    reopen: Option<Reopen>,
    lookup: usize,
    /// When to open the device again, and how long to wait if that fails.
    again: (Instant, Duration),
}

/// How a job ended that did not come to its end.
enum Broken {
    /// Its client is gone, or too slow.
    Reader(&'static str),
    /// The client is told why; metrics have a word for it.
    Failed(&'static str, ApiError),
    /// The device is lost.
    Device(EngineError),
}

/// Runs until the queue is closed. An error of `load` ends it.
pub fn run<E>(app: &App, load: impl FnOnce() -> Result<Served, E>) -> Result<(), E> {
    let (info, engine, reopen, lookup) = ModelInfo::split(load()?);
    let model = app.model.get_or_init(|| info);
    let again = (Instant::now(), app.settings.retry);
    let mut worker = Worker { app, model, device: None, reopen, lookup, again };
    worker.install(Ok(engine));
    loop {
        let waits = worker.device.is_none() && worker.reopen.is_some();
        match app.queue.next(waits.then(|| worker.again.0.saturating_duration_since(Instant::now()))) {
            Next::Job(job) => worker.job(*job),
            Next::Nothing => worker.reopen(),
            Next::End => return Ok(()),
        }
    }
}

impl Worker<'_> {
    /// Takes an engine into use.
    fn install(&mut self, engine: Result<Box<dyn Engine>, String>) {
        match engine.and_then(|engine| Device::new(engine, self.lookup).map_err(|error| error.to_string())) {
            Ok(device) => {
                self.device = Some(device);
                self.app.set_health(Health::Ready);
            }
            Err(error) => self.app.set_health(Health::Faulted(error)),
        }
    }

    /// The device failed: it is given back at once, as its nodes have only one user, and soon opened again.
    fn lose(&mut self, error: &EngineError) {
        self.device = None;
        count(&self.app.metrics.device_errors);
        self.app.set_health(Health::Faulted(error.to_string()));
        self.again = (Instant::now(), self.app.settings.retry);
    }

    fn reopen(&mut self) {
        let Some(reopen) = &mut self.reopen else { return };
        let engine = reopen();
        self.install(engine);
        if self.device.is_some() {
            count(&self.app.metrics.device_resets);
        }
        let (_, wait) = self.again;
        self.again = (Instant::now() + wait, (2 * wait).min(32 * self.app.settings.retry));
    }

    /// Runs a job and sees to it that its client learns how it ended.
    fn job(&mut self, job: Job) {
        self.app.metrics.begin(job.asked.elapsed());
        let (end, last) = match self.generate(&job) {
            Ok(summary) => (summary.finish, Some(Event::Done(Box::new(summary)))),
            Err(Broken::Reader(end)) => (end, None),
            Err(Broken::Failed(end, error)) => (end, Some(Event::Failed(error))),
            Err(Broken::Device(error)) => {
                self.lose(&error);
                let text = format!("the device failed: {error}");
                ("device_lost", Some(Event::Failed(ApiError::unavailable("device_lost", text, 5))))
            }
        };
        let undelivered = last.and_then(|last| deliver(&job, last, self.app.settings.client_timeout).err());
        self.app.metrics.end(undelivered.unwrap_or(end));
    }

    fn generate(&mut self, job: &Job) -> Result<Summary, Broken> {
        let Some(Device { engine, session }) = &mut self.device else {
            let error = self.app.health().error().unwrap_or_else(|| ApiError::internal("there is no engine"));
            return Err(Broken::Failed("refused", error));
        };
        let (engine, ask) = (engine.as_mut(), &job.ask);
        let internal = |error: String| Broken::Failed("error", ApiError::internal(error));
        let mut sampler =
            Sampler::new(ask.sampler.clone(), ask.banned.clone()).map_err(|error| internal(error.to_string()))?;
        let before = if ask.continues { ask.prompt.as_slice() } else { &[] };
        let mut reply = Reply::new(Some(&self.model.tokenizer), before, &ask.stops);
        let cached = session.keep_prefix(engine, if ask.reuse { &ask.prompt } else { &[] });
        let settings = &self.app.settings;
        let deadline = Instant::now().checked_add(settings.deadline);
        let mut broken = None;
        let mut show = |text: String| match text.is_empty() {
            true => Ok(()),
            false => deliver(job, Event::Text(text), settings.client_timeout).map_err(Broken::Reader),
        };
        let mut on_token = |_, token| {
            let text = reply.push(token).map_err(|error| internal(error.to_string()));
            broken = text.and_then(&mut show).err();
            broken.is_none() && reply.stopped_by().is_none()
        };
        let control = Control { cancel: Some(&job.cancel), deadline };
        let (limit, ends) = (ask.limit, ask.ends.as_slice());
        let mut jobs = [Generation { session, prompt: &ask.prompt, sampler: &mut sampler, limit, ends }];
        let result = generate(engine, &mut jobs, control, &mut on_token);
        let (mut outcomes, timings) = match result {
            Ok(result) => result,
            Err(GenerateError::Engine(error @ (EngineError::Board(_) | EngineError::Device(_)))) => {
                return Err(Broken::Device(error));
            }
            Err(error) => {
                // nobody knows what the sequence holds now
                session.keep_prefix(engine, &[]);
                return Err(internal(error.to_string()));
            }
        };
        let Some(outcome) = outcomes.pop() else { return Err(internal("no outcome".into())) };
        let finish = match outcome.finish {
            Finish::Stop | Finish::StopString => "stop",
            Finish::Length | Finish::Context => "length",
            Finish::Cancelled => "cancelled",
            Finish::Timeout => "timeout",
        };
        let (prompt, new, seed) = (ask.prompt.len(), outcome.tokens.len(), ask.sampler.seed);
        let summary = Summary { finish, prompt, cached, new, seed, timings };
        self.app.metrics.work(&summary);
        if let Some(broken) = broken {
            return Err(broken);
        }
        match outcome.finish {
            Finish::Cancelled if self.app.health() == Health::Stopping => {
                Err(Broken::Failed("cancelled", ApiError::stopping()))
            }
            Finish::Cancelled => Err(Broken::Reader("cancelled")),
            Finish::Timeout => {
                let text = format!("the text was not finished after {} s", settings.deadline.as_secs_f64());
                let error = ApiError::new(StatusCode::GATEWAY_TIMEOUT, "generation_timeout", text);
                Err(Broken::Failed("timeout", error))
            }
            _ => {
                let rest = reply.finish().map_err(|error| internal(error.to_string()))?;
                show(rest).map(|()| summary)
            }
        }
    }
}

/// Hands an event to the client's connection, which takes it within `wait`. Otherwise says what went wrong.
fn deliver(job: &Job, mut event: Event, wait: Duration) -> Result<(), &'static str> {
    let begin = Instant::now();
    loop {
        event = match job.events.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err("cancelled"),
            Err(TrySendError::Full(event)) => event,
        };
        if job.cancel.load(Ordering::Relaxed) {
            return Err("cancelled");
        }
        if begin.elapsed() >= wait {
            return Err("slow_reader");
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::queue::testing::job;

    #[test]
    fn a_client_has_so_long_to_take_a_piece() {
        let (job, mut receiver) = job(1);
        let wait = Duration::from_millis(40);
        let piece = || Event::Text("x".into());
        assert_eq!(deliver(&job, piece(), wait), Ok(()));
        let begin = Instant::now();
        assert_eq!(deliver(&job, piece(), wait), Err("slow_reader"));
        assert!(begin.elapsed() >= wait && begin.elapsed() < 100 * wait);
        // one that takes it in time is none of those
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(10));
                receiver.blocking_recv()
            });
            assert_eq!(deliver(&job, piece(), 100 * wait), Ok(()));
        });
        // one that goes away meanwhile is not waited for
        job.cancel.store(true, Ordering::Relaxed);
        assert_eq!(deliver(&job, piece(), 1000 * wait), Err("cancelled"));
        job.cancel.store(false, Ordering::Relaxed);
        drop(receiver);
        assert_eq!(deliver(&job, piece(), wait), Err("cancelled"));
    }
}
