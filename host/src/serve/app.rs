//! What connections and the engine's thread share.

use super::Settings;
use super::answer::Event;
use super::error::ApiError;
use super::guard::Keys;
use super::metrics::{Gauges, Metrics, count};
use super::model::ModelInfo;
use super::queue::{Job, Queue, Refused};
use super::request::Ask;
use super::stream::Events;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc};

/// Pieces of text that may wait for a client; a few tokens' worth of memory.
const PIECES: usize = 32;

/// What the server can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing: the model is being loaded.
    Loading,
    /// Everything.
    Ready,
    /// No generations: the device failed, and why.
    Faulted(String),
    /// Nothing more.
    Stopping,
}

impl Health {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Health::Loading => "loading",
            Health::Ready => "ready",
            Health::Faulted(_) => "faulted",
            Health::Stopping => "stopping",
        }
    }

    /// What keeps it from generating.
    pub fn error(&self) -> Option<ApiError> {
        match self {
            Health::Ready => None,
            Health::Loading => Some(ApiError::unavailable("loading", "the model is being loaded", 2)),
            Health::Faulted(why) => Some(ApiError::unavailable("device_lost", format!("the device failed: {why}"), 5)),
            Health::Stopping => Some(ApiError::stopping()),
        }
    }
}

/// What connections and the engine's thread share.
pub struct App {
    /// Limits and habits.
    pub settings: Settings,
    /// API keys.
    pub keys: Keys,
    /// Whether only this machine reaches the server.
    pub loopback: bool,
    /// The model, once it is loaded.
    pub model: OnceLock<ModelInfo>,
    /// Jobs for the engine's thread.
    pub queue: Queue,
    /// What is counted.
    pub metrics: Metrics,
    /// One permit for each connection.
    pub connections: Arc<Semaphore>,
    health: Mutex<Health>,
    jobs: AtomicU64,
}

impl App {
    /// A server whose model is being loaded.
    pub fn new(settings: Settings, keys: Keys, loopback: bool) -> App {
        App {
            keys,
            loopback,
            model: OnceLock::new(),
            queue: Queue::new(settings.queue),
            metrics: Metrics::default(),
            connections: Arc::new(Semaphore::new(settings.connections)),
            health: Mutex::new(Health::Loading),
            jobs: AtomicU64::new(0),
            settings,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server can do now.
    pub fn health(&self) -> Health {
        self.lock().clone()
    }

    /// Changes that and tells the log. A server that stops does not become ready again.
    pub fn set_health(&self, health: Health) {
        let mut now = self.lock();
        if *now == Health::Stopping || *now == health {
            return;
        }
        match &health {
            Health::Faulted(why) => (self.settings.log)(&format!("faulted: {why}")),
            other => (self.settings.log)(other.name()),
        }
        *now = health;
    }

    /// The model, or the reason why there is none yet.
    pub fn model(&self) -> Result<&ModelInfo, ApiError> {
        self.model.get().ok_or_else(|| Health::Loading.error().unwrap_or_else(ApiError::stopping))
    }

    /// The model, if it can generate now.
    pub fn ready(&self) -> Result<&ModelInfo, ApiError> {
        match self.health().error() {
            None => self.model(),
            Some(error) => Err(error),
        }
    }

    /// Hands a job to the engine's thread. Dropping what is returned cancels it.
    pub fn submit(self: &Arc<Self>, ask: Ask) -> Result<(u64, Events<Ticket>), ApiError> {
        let (events, receiver) = mpsc::channel::<Event>(PIECES);
        let id = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = Ticket { app: self.clone(), id, cancel: Arc::new(AtomicBool::new(false)) };
        let job = Job { id, ask, events, cancel: ticket.cancel.clone(), asked: Instant::now() };
        match self.queue.push(job) {
            Ok(()) => Ok((id, Events { receiver, _ticket: ticket })),
            Err(Refused::Closed) => Err(ApiError::stopping()),
            Err(Refused::Full) => {
                count(&self.metrics.queue_full);
                let text = format!("one generation runs and {} wait, which is all that may", self.settings.queue);
                Err(ApiError::unavailable("queue_full", text, 1))
            }
        }
    }

    /// The page of metrics.
    pub fn metrics_page(&self) -> String {
        let (running, waiting) = self.queue.counts();
        let connections = self.settings.connections.saturating_sub(self.connections.available_permits());
        self.metrics.print(&Gauges { state: self.health().name(), running, waiting, connections })
    }
}

/// Cancels its job when dropped: the answer is complete, or nobody waits for it.
pub struct Ticket {
    app: Arc<App>,
    id: u64,
    cancel: Arc<AtomicBool>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if self.app.queue.withdraw(self.id) {
            self.app.metrics.end("cancelled");
        }
    }
}
