//! Cycles of a pass by formula: the units take turns, the ports fill the ring of weights meanwhile.
//!
//! Constants were fitted to the RTL once; `cargo xtask explore --check` compares with those of
//! `cargo xtask bench kv260` for exact heads of 0.73B and 2B-4T.

use hw::explain::{ModelShape, attention};
use hw::preset::Machine;

/// What a memory gives.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Name, as in `sim::axi::Timing`.
    pub name: &'static str,
    /// Beats a cycle of each port; ports past the end are as the last one.
    rates: [f64; 4],
    /// Cycles from an address to its data.
    latency: f64,
}

/// Memory models: mean rates of those of the simulation.
pub const MEMORIES: [Memory; 3] = [
    Memory { name: "ideal", rates: [1.0; 4], latency: 8.0 },
    Memory { name: "measured", rates: [1.0, 0.79, 0.79, 1.0], latency: 55.0 },
    // refresh 88 of 1,950 cycles, every sixth burst of 64 beats 9 cycles late
    Memory { name: "ddr", rates: [0.932; 4], latency: 65.0 },
];

impl Memory {
    fn rate(&self, port: usize) -> f64 {
        self.rates[port % self.rates.len()]
    }

    /// Beats a cycle of the slowest port.
    fn slowest(&self, machine: &Machine) -> f64 {
        (0..machine.ports as usize).map(|port| self.rate(port)).fold(1.0, f64::min)
    }

    /// Beats of weights a cycle and port: the mean where packets go through any port, otherwise what the slowest gives.
    fn weights(&self, machine: &Machine) -> f64 {
        let all: f64 = (0..machine.ports as usize).map(|port| self.rate(port)).sum();
        if machine.frames > 0 { all / f64::from(machine.ports) } else { self.slowest(machine) }
    }
}

/// Beats of the norm stream that wait at its port, and what each further one costs while weights stream.
const NORM_QUEUE: f64 = 1024.0;
const NORM_WAIT: f64 = 4.3;
/// Sums that wait before the epilogue, in words.
const SUM_QUEUE: f64 = 512.0;
/// Cycles around one vector in the quantiser, one matrix, one job of attention and all of them (and how often the
/// memory's latency), one slot's embedding, a pass.
const VECTOR: f64 = 170.0;
const HEAD_VECTOR: f64 = 2.0;
const MATRIX: f64 = 60.0;
const TABLES: f64 = 117.0;
const JOB: f64 = 105.0;
const ATTEND: f64 = 1240.0;
const ATTEND_LATENCY: f64 = 17.5;
const EMBEDDING: f64 = 690.0;
const PASS: f64 = 700.0;
/// With two banks: what the other bank's tiles do not hide in a layer, in walks over a bank's vectors; and the share of
/// a ring of weights behind which a bank's norm before the down projection hides.
const EXPOSED: f64 = 0.29;
const HIDDEN: f64 = 0.62;
/// The same share for Sherry weights, whose tiles are shorter.
const HIDDEN_SHERRY: f64 = 0.1;
/// With two banks: what sharing the ports with weights makes of attention's time, and the share of the time of the other
/// bank's tiles before it and behind it that hides it.
const SHARED: f64 = 1.1;
const BESIDE: f64 = 0.9;
/// Share of a port that keys, values and weights together reach while they take turns.
const TURNS: f64 = 0.95;

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Slots in use; more than those of a bank use both.
    pub slots: u64,
    /// Whether they are neighbours in one sequence.
    pub run: bool,
    /// Positions before the first.
    pub context: u64,
    /// Planes of the head, 0 without one.
    pub planes: u64,
    /// Sherry weights in the layers.
    pub sherry: bool,
}

/// The machine in the middle of a pass.
struct Clock<'a> {
    machine: &'a Machine,
    /// Cycles so far.
    now: f64,
    /// Words in the ring, and how many fit.
    held: f64,
    room: f64,
    /// Words a cycle that the ports bring.
    rate: f64,
    /// Words of the pass that are still in memory.
    left: f64,
    groups: f64,
    throttle: f64,
}

impl Clock<'_> {
    /// The units work on something else for so many cycles.
    fn wait(&mut self, cycles: f64) {
        let filled = (self.rate * cycles).min(self.room - self.held).min(self.left);
        self.held += filled;
        self.left -= filled;
        self.now += cycles;
    }

    /// The engine works, `words` of weights in `cycles` if they are there.
    fn work(&mut self, words: f64, cycles: f64) {
        let starved = (words - self.held) / self.rate;
        let took = cycles.max(if self.held + self.left < words { cycles } else { starved });
        let come = (self.rate * took).min(self.left);
        self.left -= come;
        self.held = (self.held + come - words).clamp(0.0, self.room);
        self.now += took;
    }

    /// Norm and codes of vectors of `cols` columns, all groups.
    fn quantise(&mut self, cols: u64) {
        let words = cols.div_ceil(self.machine.lanes().into()) as f64;
        let streaming = self.held < self.room - 1.0 && self.left > 0.0;
        let late = if streaming { (words - NORM_QUEUE).max(0.0) * self.throttle } else { 0.0 };
        // the second walk of a group goes beside the first one of the next; codes to tables take a cycle more a segment
        let group = words * 25.0 / 24.0;
        self.wait(VECTOR + late + group * self.groups + words);
    }

    /// One activation against matrices of these rows; `mask` of tiles as the compiler cuts them.
    fn multiply(&mut self, rows: &[u64], cols: u64, planes: u64, sherry: bool) {
        let e = &self.machine.engine;
        let shape = self.machine.shape();
        let segments = cols.div_ceil(group(sherry) * u64::from(e.tables)) as f64 * planes as f64;
        let per_word = self.groups * f64::from(e.rows / self.machine.lanes());
        let mut backlog = 0.0f64;
        self.wait(TABLES);
        for rows in rows {
            let all = rows.div_ceil(e.rows.into());
            // tiles of layers are those of machines whose banks share weights, tiles of the head are not
            let tiles = match self.machine.banks {
                2.. if planes == 1 => all.div_ceil(shape.shared_tile(all as usize, 1, segments as usize) as u64),
                _ => rows.div_ceil(e.tile_rows),
            };
            for _ in 0..tiles {
                let words = rows.div_ceil(tiles * u64::from(e.rows)) as f64;
                self.work(words * segments, words * (segments - 1.0));
                backlog = (backlog - words * (segments - 1.0) / per_word).max(0.0);
                // the last segment's sums leave as fast as the epilogue takes them
                let all = backlog + words;
                let made = words.max((all - SUM_QUEUE) * per_word);
                self.now += made;
                let come = (self.rate * made).min(self.room - self.held).min(self.left);
                self.held += come;
                self.left -= come;
                backlog = (all - made / per_word).clamp(0.0, SUM_QUEUE);
            }
        }
        self.wait(MATRIX + backlog * per_word);
    }
}

/// Cycles of a pass of a model.
pub fn cycles(machine: &Machine, model: &ModelShape, memory: &Memory, pass: Pass) -> f64 {
    let e = &machine.engine;
    let (codes, group) = (u64::from(e.tables * e.rows), group(pass.sherry));
    let all = |matrices: &[(u64, u64)]| matrices.iter().map(|&matrix| words_of(machine, matrix, group)).sum::<u64>();
    let (layer, kept) = (all(&matrices(model)), all(&[(2 * model.kv, model.hidden)]));
    // without logits the last layer ends with its keys and values
    let words = (model.layers - 1) * layer + if pass.planes > 0 { layer } else { kept };
    let head = pass.planes * words_of(machine, (model.vocab, model.hidden), 3);
    let port_bytes = f64::from(machine.port_bits / 8);
    let per_word = |sherry: bool| {
        let bits = if sherry { 5.0 } else { 4.8 };
        codes as f64 * bits / 8.0 / f64::from(machine.ports) * 4096.0 / (4096.0 - port_bytes)
    };
    let weights = memory.weights(machine);
    let mut clock = Clock {
        machine,
        now: 0.0,
        held: 0.0,
        room: machine.buffer_words() as f64,
        rate: weights * port_bytes / per_word(pass.sherry),
        left: words as f64,
        groups: pass.slots.div_ceil(machine.vector_tokens.into()) as f64,
        throttle: NORM_WAIT / memory.slowest(machine),
    };
    clock.wait(EMBEDDING * pass.slots as f64);
    let wide = pass.slots > u64::from(e.tokens);
    for _ in 1..model.layers {
        if wide {
            shared_layer(&mut clock, model, memory, pass);
            continue;
        }
        clock.quantise(model.hidden);
        clock.multiply(&[model.kv, model.kv, model.q], model.hidden, 1, pass.sherry);
        rest_of_layer(&mut clock, model, memory, pass);
    }
    clock.quantise(model.hidden);
    if wide {
        // the other bank's products, while the ring holds their weights
        clock.wait(kept as f64);
    }
    clock.multiply(&[model.kv, model.kv], model.hidden, 1, pass.sherry);
    if pass.planes > 0 {
        // results of the last bank alone
        let before = if wide { u64::from(e.tokens) } else { 0 };
        let last = Pass { slots: pass.slots - before, context: pass.context + before, ..pass };
        clock.groups = last.slots.div_ceil(machine.vector_tokens.into()) as f64;
        clock.multiply(&[model.q], model.hidden, 1, pass.sherry);
        rest_of_layer(&mut clock, model, memory, last);
        clock.rate = weights * port_bytes / per_word(false);
        clock.left += head as f64;
        clock.quantise(model.hidden);
        clock.multiply(&[model.vocab], model.hidden, pass.planes, false);
    }
    clock.now + PASS
}

/// Matrices of a layer: rows and columns.
fn matrices(model: &ModelShape) -> [(u64, u64); 4] {
    [
        (model.q + 2 * model.kv, model.hidden),
        (model.hidden, model.q),
        (2 * model.ffn, model.hidden),
        (model.hidden, model.ffn),
    ]
}

/// Columns of a group of weights.
fn group(sherry: bool) -> u64 {
    if sherry { 4 } else { 3 }
}

/// Words of weights of a matrix.
fn words_of(machine: &Machine, (rows, cols): (u64, u64), group: u64) -> u64 {
    let e = &machine.engine;
    rows.div_ceil(e.rows.into()) * cols.div_ceil(group * u64::from(e.tables))
}

/// A layer on two banks that share weights.
fn shared_layer(clock: &mut Clock<'_>, model: &ModelShape, memory: &Memory, pass: Pass) {
    let (machine, e) = (clock.machine, &clock.machine.engine);
    let (shape, group, layer) = (machine.shape(), group(pass.sherry), matrices(model));
    // the ring gives each word to both banks
    let both: u64 = layer.iter().map(|&matrix| words_of(machine, matrix, group)).sum();
    clock.work(both as f64, 2.0 * both as f64);
    // tiles whose words are fewer than the cycles of a segment's tables wait for them, in each bank
    for (rows, cols) in layer {
        let (words, segments) = (rows.div_ceil(e.rows.into()), cols.div_ceil(group * u64::from(e.tables)));
        let tiles = words.div_ceil(shape.shared_tile(words as usize, 1, segments as usize) as u64);
        clock.wait(2.0 * (tiles * segments) as f64 * (TABLES - words as f64 / tiles as f64).max(0.0));
    }
    let columns = (model.q + model.hidden + model.ffn).div_ceil(machine.lanes().into());
    let groups = f64::from(machine.token_groups());
    clock.wait(EXPOSED * columns as f64 * groups);
    let words = model.ffn.div_ceil(machine.lanes().into()) as f64;
    let norm = VECTOR + words * (groups * 25.0 / 24.0 + 1.0);
    let hidden = if pass.sherry { HIDDEN_SHERRY } else { HIDDEN };
    clock.wait(2.0 * (norm - hidden * clock.room).max(0.0));
    let (jobs, unit, _) = attention_of(machine, model, pass);
    let around = 2.0 * (ATTEND + ATTEND_LATENCY * memory.latency);
    let beside: u64 = layer[..2].iter().map(|&matrix| words_of(machine, matrix, group)).sum();
    clock.wait((SHARED * (around + JOB * jobs + unit) - BESIDE * beside as f64).max(0.0));
}

/// A layer on one bank, from its queries on.
fn rest_of_layer(clock: &mut Clock<'_>, model: &ModelShape, memory: &Memory, pass: Pass) {
    let machine = clock.machine;
    // keys and values become codes beside the queries' products
    let heads = model.q / model.head_dim;
    let head_words = model.head_dim.div_ceil(machine.lanes().into()) as f64;
    clock.wait((head_words + HEAD_VECTOR) * heads as f64 * clock.groups);
    attend(clock, model, memory, pass);
    clock.quantise(model.q);
    clock.multiply(&[model.hidden], model.q, 1, pass.sherry);
    clock.quantise(model.hidden);
    clock.multiply(&[2 * model.ffn], model.hidden, 1, pass.sherry);
    clock.quantise(model.ffn);
    clock.multiply(&[model.hidden], model.ffn, 1, pass.sherry);
}

/// Attention of one layer: jobs of a unit, its cycles for them, and beats of keys and values.
fn attention_of(machine: &Machine, model: &ModelShape, pass: Pass) -> (f64, f64, f64) {
    let group = model.q / model.kv;
    let (runs, queries) = if pass.run { (1, pass.slots * group) } else { (pass.slots, group) };
    let seen = if pass.run { pass.context + pass.slots.div_ceil(2) } else { pass.context + 1 }.max(1);
    let blocks = runs * queries.div_ceil(machine.attend().block_at(seen - 1).into());
    let jobs = (model.kv / model.head_dim).div_ceil(machine.units.into()) * blocks;
    let one = attention(machine, model, seen, queries);
    let share = runs as f64 / model.layers as f64;
    (jobs as f64, one.cycles as f64 * share, one.beats as f64 * share)
}

/// Attention of one layer: jobs one after the other, keys and values through the same ports as the weights that still
/// have room in the ring.
fn attend(clock: &mut Clock<'_>, model: &ModelShape, memory: &Memory, pass: Pass) {
    let machine = clock.machine;
    let (jobs, unit, beats) = attention_of(machine, model, pass);
    let beats = beats / f64::from(machine.ports);
    let room = (clock.room - clock.held).min(clock.left);
    let waits = ATTEND + ATTEND_LATENCY * memory.latency + JOB * jobs;
    let (rate, took) = if clock.groups <= 1.0 {
        // heads go to whichever unit is free, weights to whichever port
        let rate = memory.weights(machine);
        (rate, waits + unit / rate)
    } else {
        // keys and values have their ports; weights that come meanwhile wait for the slower ones among them
        let rate = TURNS * memory.slowest(machine);
        let weights = room / clock.rate * rate;
        let spare = (waits * rate).min(weights);
        (rate, waits + unit.max((beats + weights - spare) / rate))
    };
    let filled = ((took - beats / rate).max(0.0) * clock.rate).min(room);
    clock.held += filled;
    clock.left -= filled;
    clock.now += took;
}
