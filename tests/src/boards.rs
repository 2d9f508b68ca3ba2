//! Simulated boards for tests: one in a thread, with real nodes, and drivers on it.

use host::compile::{DeviceImage, Options, compile};
use host::device::board::expected;
use host::device::driver::{Driver, Patience};
use host::device::error::{DeviceError, Trouble};
use host::device::open::{Address, AnyTransport, Connection, Opened};
use host::device::{DeviceEngine, RunError};
use host::engine::{Engine, EngineError, SequenceId, Step, Want};
use hw::preset::{self, Machine};
use sim::axi::Timing;
use sim::board::{Board, Kind, Mishaps};
use spec::model::random::{self, RandomSpec};
use spec::model::{ModelConfig, ModelWeights};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The machine of all boards here.
pub static MACHINE: LazyLock<Machine> = LazyLock::new(|| preset::load("sim-tiny").expect("a built-in preset"));

/// Bytes of their memory.
pub const MEMORY: u64 = 4 << 20;

/// Both kinds of boards, with the connections to them.
pub const KINDS: [(Kind, Connection); 2] = [(Kind::Xdma, Connection::Xdma), (Kind::Axi, Connection::Axi)];

/// Short deadlines for small models.
pub const PATIENCE: Patience =
    Patience { pass: Duration::from_secs(120), reset: Duration::from_secs(120), poll: Some(Duration::from_millis(50)) };

/// A board that serves until it is dropped.
pub struct Served {
    /// Its nodes.
    pub dir: tempfile::TempDir,
    /// What goes wrong on it.
    pub mishaps: Arc<Mutex<Mishaps>>,
    connection: Connection,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Starts a board.
    pub fn new(kind: Kind, connection: Connection, timing: Timing, mishaps: Mishaps) -> Served {
        let dir = tempfile::tempdir().expect("a folder");
        let mut board = Board::new(kind, &MACHINE, dir.path(), MEMORY, timing, mishaps).expect("a board");
        let (mishaps, stop) = (board.mishaps(), Arc::new(AtomicBool::new(false)));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || board.serve(&flag).expect("the board serves"));
        Served { dir, mishaps, connection, stop, thread: Some(thread) }
    }

    /// A board without mishaps on fast memory.
    pub fn healthy((kind, connection): (Kind, Connection)) -> Served {
        Served::new(kind, connection, Timing::ideal(), Mishaps::default())
    }

    /// Changes what goes wrong.
    pub fn with(&self, change: impl FnOnce(&mut Mishaps)) {
        change(&mut self.mishaps.lock().expect("nobody panicked"));
    }

    /// Opens it as a program would.
    pub fn open(&self) -> Result<Opened, DeviceError> {
        address(self.connection, self.dir.path()).open()
    }

    /// A driver on it.
    pub fn driver(&self, patience: Patience) -> Result<Driver<AnyTransport>, RunError> {
        Driver::new(self.open()?.transport, expected(&MACHINE), "board".into(), patience)
    }

    /// A model on it.
    pub fn engine(&self, image: &DeviceImage) -> Result<BoardEngine, EngineError> {
        DeviceEngine::new(image.clone(), self.driver(PATIENCE)?)
    }

    /// Ends the board's thread, as the end of its process would, but in order.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the board's thread ends well");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A model on a board.
pub type BoardEngine = DeviceEngine<Driver<AnyTransport>>;

/// The address of a board's folder.
pub fn address(connection: Connection, dir: &Path) -> Address {
    Address { connection, device: Some(dir.into()), memory: None }
}

/// A small random model.
pub fn weights(seed: u64) -> ModelWeights {
    weights_of(seed, 50)
}

/// The same with so many words.
pub fn weights_of(seed: u64, vocab: usize) -> ModelWeights {
    let config = ModelConfig { vocab, ..random::small() };
    random::model(&config, RandomSpec { seed, ..RandomSpec::PLAIN })
}

/// It compiled for the boards here.
pub fn image(weights: &ModelWeights) -> DeviceImage {
    compile(weights, &MACHINE.shape(), Options::default()).expect("the model suits the machine")
}

/// Tokens after a prompt, by any engine, until it fails. Which token follows depends on every bit of the logits.
pub fn tokens(engine: &mut dyn Engine, prompt: &[u32], count: usize) -> (Vec<u32>, Option<EngineError>) {
    let mut out = Vec::new();
    match generate(engine, prompt, count, &mut out) {
        Ok(()) => (out, None),
        Err(error) => (out, Some(error)),
    }
}

fn generate(engine: &mut dyn Engine, prompt: &[u32], count: usize, out: &mut Vec<u32>) -> Result<(), EngineError> {
    let sequence: SequenceId = engine.new_sequence()?;
    let mut next = prompt.to_vec();
    for _ in 0..count {
        let logits = engine.forward(&[Step { sequence, tokens: &next, want: Want::Last }])?.remove(0);
        let mixed = logits.iter().fold(17u64, |mix, x| (mix ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3));
        let token = ((mixed >> 32) % logits.len() as u64) as u32;
        out.push(token);
        next = vec![token];
    }
    engine.free_sequence(sequence);
    Ok(())
}

/// The kind of trouble that an engine is in, if it is a board's.
pub fn trouble(error: &EngineError) -> Option<Trouble> {
    match error {
        EngineError::Board(error) => Some(error.trouble),
        _ => None,
    }
}
