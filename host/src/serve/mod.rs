//! An HTTP server in front of an engine, with the endpoints of OpenAI's API: one generation at a time, a short queue,
//! and a limit for everything that a client can make large or slow. `docs/server.md` describes it for users.
//!
//! * `listen`: connections, their number and their end; `io`: how long one may block.
//! * `routes`: the endpoints; `guard`: who may ask; `body`, `fields`, `request`, `messages`, `unsupported`: what is asked.
//! * `queue`: jobs on their way; `worker`: the engine's thread, which also opens a lost device again.
//! * `answer`, `stream`, `error`: the forms of answers.
//! * `app`: what all of them share; `metrics`: what is counted; `model`: what is served.
//!
//! Handlers run on a small tokio runtime and never touch the engine. The engine's thread never waits for a client
//! longer than [`Settings::client_timeout`], and looks at a job's cancel flag before every pass.

mod answer;
mod app;
mod body;
mod error;
mod fields;
mod guard;
mod io;
mod listen;
mod messages;
mod metrics;
mod model;
mod queue;
mod request;
mod routes;
mod stream;
mod unsupported;
mod worker;

pub use listen::listen;
pub use model::{Reopen, Served};

use app::App;
use guard::Keys;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// Limits and habits of a server.
#[derive(Clone)]
pub struct Settings {
    /// API keys; without any, everybody may ask.
    pub keys: Vec<String>,
    /// Generations that may wait while one runs.
    pub queue: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Longest generation.
    pub deadline: Duration,
    /// Longest time in which a request must have come, and in which a piece of an answer must have been taken.
    pub client_timeout: Duration,
    /// Time for the generation that runs when the server is stopped.
    pub grace: Duration,
    /// Time between comments in a stream in which nothing else comes.
    pub ping: Duration,
    /// Time between the first attempts to open a lost device again; doubles up to 32 times that.
    pub retry: Duration,
    /// Told of changes of state, in one line each; never of texts.
    pub log: fn(&str),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keys: Vec::new(),
            queue: 2,
            max_body: 1 << 20,
            connections: 64,
            deadline: Duration::from_secs(600),
            client_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            ping: Duration::from_secs(15),
            retry: Duration::from_secs(1),
            log: |_| {},
        }
    }
}

/// Why a server ended by itself.
#[derive(Debug, Error)]
pub enum Ended<E> {
    /// The model could not be loaded.
    #[error("the model could not be loaded")]
    Load(E),
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The engine's thread panicked.
    #[error("the engine's thread ended with an internal error")]
    Panicked,
}

/// Serves until `stop` says so, then ends what runs and gives the engine back. It listens at once, and answers that it
/// is loading until `load`, which runs on the engine's thread, has the model.
pub fn run<E: Send + 'static>(
    listener: TcpListener,
    mut settings: Settings,
    load: impl FnOnce() -> Result<Served, E> + Send + 'static,
    stop: &dyn Fn() -> bool,
) -> Result<(), Ended<E>> {
    let failed = |what| move |error| Ended::System { what, error };
    let address = listener.local_addr().map_err(failed("the listening address"))?;
    let keys = Keys::new(std::mem::take(&mut settings.keys));
    let app = Arc::new(App::new(settings, keys, address.ip().to_canonical().is_loopback()));
    // two threads answer, however many cores compute; the others only make tokens of prompts
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(4).enable_all().build();
    let runtime = runtime.map_err(failed("starting the server's threads"))?;
    let shared = app.clone();
    let engine = thread::Builder::new().name("engine".into()).spawn(move || worker::run(&shared, load));
    let engine = engine.map_err(failed("starting the engine's thread"))?;
    let ended = runtime.block_on(listen::serve(listener, &app, &|| stop() || engine.is_finished()));
    runtime.shutdown_background();
    ended.map_err(failed("accepting connections"))?;
    if !engine.is_finished() && app.model.get().is_none() {
        // stopped while the model was loading: nothing runs that would have to end in order
        return Ok(());
    }
    match engine.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Load(error)),
        Err(_) => Err(Ended::Panicked),
    }
}
