//! Servers in this process: of the shipped model, and of an engine whose every pass a test can hold up or let fail.

use super::client::{Answer, connect, exchange, request};
use host::cpu::CpuEngine;
use host::device::error::{DeviceError, Trouble};
use host::engine::{Answer as Computed, Engine, EngineError, SequenceId, Step, Want};
use host::load::turns::Turns;
use host::load::{LoadOptions, NoProgress, Tokenizer, TokenizerSource, load_model};
use host::serve::{Ended, Served, Settings};
use serde_json::Value;
use spec::model::{ModelConfig, ModelWeights};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

struct Shipped {
    weights: ModelWeights,
    tokenizer: TokenizerSource,
}

static SHIPPED: LazyLock<Shipped> = LazyLock::new(|| {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tercet-stories-5m"));
    let model = load_model(path, &LoadOptions::default(), &NoProgress).unwrap();
    Shipped { weights: model.weights, tokenizer: model.tokenizer.unwrap() }
});

/// The shipped model's tokenizer.
pub fn tokenizer() -> Tokenizer {
    Tokenizer::new(&SHIPPED.tokenizer, SHIPPED.weights.config.vocab).unwrap()
}

/// What a test decides about an engine while it runs.
pub struct Gate {
    /// Passes that may still begin.
    permits: AtomicUsize,
    /// Passes that have begun.
    pub passes: AtomicUsize,
    /// Whether the device is lost.
    pub lost: AtomicBool,
    /// Times it was opened again.
    pub opened: AtomicUsize,
}

/// Passes without end.
pub const OPEN: usize = usize::MAX / 2;

impl Gate {
    /// Lets so many passes begin.
    pub fn permit(&self, passes: usize) {
        self.permits.store(passes, Ordering::SeqCst);
    }

    fn enter(&self) -> Result<(), EngineError> {
        let take = |permits: usize| permits.checked_sub(1);
        while self.permits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            sleep(Duration::from_millis(1));
        }
        self.passes.fetch_add(1, Ordering::SeqCst);
        match self.lost.load(Ordering::SeqCst) {
            true => Err(DeviceError::new(Trouble::Lost, "the card was pulled").into()),
            false => Ok(()),
        }
    }
}

/// An engine that says the tokens of a script for ever, after passing the gate.
struct Scripted {
    config: ModelConfig,
    script: Vec<u32>,
    len: usize,
    gate: Arc<Gate>,
}

impl Engine for Scripted {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn describe(&self) -> String {
        "scripted".into()
    }

    fn new_sequence(&mut self) -> Result<SequenceId, EngineError> {
        Ok(SequenceId(0))
    }

    fn free_sequence(&mut self, _: SequenceId) {}

    fn len(&self, _: SequenceId) -> usize {
        self.len
    }

    fn truncate(&mut self, _: SequenceId, len: usize) {
        self.len = len;
    }

    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Computed>, EngineError> {
        self.gate.enter()?;
        let answer = |step: &Step| {
            self.len += step.tokens.len();
            let token = self.script[self.len % self.script.len()];
            let mut logits = vec![0.0; if step.want == Want::Last { self.config.vocab } else { 0 }];
            logits.iter_mut().skip(token as usize).take(1).for_each(|logit| *logit = 99.0);
            Computed { logits, best: Some(token) }
        };
        Ok(steps.iter().map(answer).collect())
    }
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub gate: Arc<Gate>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Ended<String>>>>,
}

/// Settings with times for tests.
pub fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings { grace: ms(200), retry: ms(20), client_timeout: Duration::from_secs(20), ..Settings::default() }
}

impl Server {
    /// Serves what `load` gives.
    pub fn start(
        settings: Settings,
        load: impl FnOnce(Arc<Gate>) -> Result<Served, String> + Send + 'static,
    ) -> Server {
        let gate = Arc::new(Gate {
            permits: AtomicUsize::new(OPEN),
            passes: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
        });
        let listener = host::serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, own) = (stop.clone(), gate.clone());
        let run = move || host::serve::run(listener, settings, || load(own), &|| flag.load(Ordering::SeqCst));
        Server { address, gate, stop, thread: Some(std::thread::spawn(run)) }
    }

    /// The shipped model, ready.
    pub fn shipped(settings: Settings) -> Server {
        let load = |_| {
            let engine = Box::new(CpuEngine::new(&SHIPPED.weights, 1).map_err(|error| error.to_string())?);
            let (name, tokenizer) = ("stories".into(), tokenizer());
            Ok(Served { name, tokenizer, turns: Turns::Plain, engine, reopen: None, lookup: 0 })
        };
        Server::start(settings, load).ready()
    }

    /// An engine that repeats a text for ever, with room for 100,000 tokens, ready.
    pub fn scripted(settings: Settings, text: &str) -> Server {
        let script = tokenizer().encode(text, false).unwrap();
        let load = move |gate: Arc<Gate>| {
            let config = ModelConfig { max_context: 100_000, ..SHIPPED.weights.config.clone() };
            let own = gate.clone();
            let engine = move || -> Box<dyn Engine> {
                Box::new(Scripted { config: config.clone(), script: script.clone(), len: 0, gate: own.clone() })
            };
            let first = engine();
            let reopen = move || {
                gate.opened.fetch_add(1, Ordering::SeqCst);
                if gate.lost.load(Ordering::SeqCst) { Err("still no card".to_string()) } else { Ok(engine()) }
            };
            let (name, tokenizer, reopen) = ("scripted".into(), tokenizer(), Some(Box::new(reopen) as _));
            Ok(Served { name, tokenizer, turns: Turns::Plain, engine: first, reopen, lookup: 0 })
        };
        Server::start(settings, load).ready()
    }

    fn ready(self) -> Server {
        self.until("ready", || self.get("/health").status == 200);
        self
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}: waited in vain; {}", self.get("/metrics").body);
            sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a line of the metrics is there.
    #[track_caller]
    pub fn until_metric(&self, line: &str) {
        self.until(line, || self.metric(line));
    }

    /// Whether a line of the metrics is there.
    pub fn metric(&self, line: &str) -> bool {
        self.get("/metrics").ok().body.lines().any(|found| found == format!("tercet_{line}"))
    }

    /// An answer to GET.
    pub fn get(&self, path: &str) -> Answer {
        exchange(self.address, &request("GET", path, "", b""))
    }

    /// An answer to POST.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        exchange(self.address, &request("POST", path, "", body.to_string().as_bytes()))
    }

    /// A connection on which a request was sent.
    pub fn begin(&self, path: &str, body: &Value) -> TcpStream {
        let mut stream = connect(self.address);
        stream.write_all(&request("POST", path, "", body.to_string().as_bytes())).unwrap();
        stream
    }

    /// The same, but the server may have closed it already.
    pub fn begin_any(&self, path: &str, body: &Value) -> TcpStream {
        let mut stream = connect(self.address);
        let _ = stream.write_all(&request("POST", path, "", body.to_string().as_bytes()));
        stream
    }

    /// Asks it to stop, as a signal would.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Waits for its end.
    pub fn join(mut self) -> Result<(), Ended<String>> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        self.gate.permit(OPEN);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
