//! Bytes and cycles of matrices and of attention, by formula.

use crate::blocks::table_build::{DENSE_ENTRIES, SHERRY_ENTRIES, TableBuild};
use crate::preset::Machine;
use spec::format::planes;

/// Shape of a known model: what its matrices are.
pub struct ModelShape {
    /// Name for people.
    pub name: &'static str,
    /// Blocks.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width of the feed-forward network.
    pub ffn: u64,
    /// Width of all query heads.
    pub q: u64,
    /// Width of all key (or value) heads.
    pub kv: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Vocabulary.
    pub vocab: u64,
}

/// Models whose budget is printed.
pub const MODELS: [ModelShape; 3] = [
    ModelShape {
        name: "BitNet 0.73B",
        layers: 24,
        hidden: 1536,
        ffn: 4096,
        q: 1536,
        kv: 1536,
        head_dim: 96,
        vocab: 32_002,
    },
    ModelShape {
        name: "BitNet 2B-4T",
        layers: 30,
        hidden: 2560,
        ffn: 6912,
        q: 2560,
        kv: 640,
        head_dim: 128,
        vocab: 128_256,
    },
    ModelShape { name: "story model", layers: 6, hidden: 256, ffn: 768, q: 256, kv: 128, head_dim: 64, vocab: 2_048 },
];

/// Cost of one pass over matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights that are read.
    pub bytes: u64,
    /// Cycles in which the ports bring them.
    pub memory_cycles: u64,
    /// Cycles of the engine, table builds that are not hidden included.
    pub engine_cycles: u64,
}

impl Cost {
    /// Cycles of a pass in which the ports and the engine overlap.
    pub fn cycles(&self) -> u64 {
        self.memory_cycles.max(self.engine_cycles)
    }

    pub(super) fn add(self, other: Cost) -> Cost {
        Cost {
            bytes: self.bytes + other.bytes,
            memory_cycles: self.memory_cycles + other.memory_cycles,
            engine_cycles: self.engine_cycles + other.engine_cycles,
        }
    }

    fn times(self, n: u64) -> Cost {
        Cost { bytes: n * self.bytes, memory_cycles: n * self.memory_cycles, engine_cycles: n * self.engine_cycles }
    }
}

/// Cost of a matrix of `rows` x `cols`, dense or Sherry, for up to `tokens` tokens.
pub fn matrix(machine: &Machine, rows: u64, cols: u64, sherry: bool) -> Cost {
    let e = &machine.engine;
    let (group, entries) = if sherry { (4, SHERRY_ENTRIES) } else { (3, DENSE_ENTRIES) };
    let segments = cols.div_ceil(group * u64::from(e.tables));
    let words = rows.div_ceil(u64::from(e.rows));
    let shape = machine.shape();
    let of_port = shape.weight_bytes(words * segments, sherry);
    let build = u64::from(e.row().passes() * entries + TableBuild::SET_GAP);
    let tiles = rows.div_ceil(e.tile_rows);
    let per_segment = (words / tiles).max(build);
    Cost {
        bytes: of_port * u64::from(machine.ports),
        memory_cycles: of_port.div_ceil(shape.beat() as u64),
        engine_cycles: tiles * segments * per_segment + build + u64::from(e.latency()),
    }
}

/// Cost of all layers of a model, q, k, v and gate, up each fused.
pub fn layers(machine: &Machine, model: &ModelShape, sherry: bool) -> Cost {
    let one = [
        (model.q + 2 * model.kv, model.hidden),
        (model.hidden, model.q),
        (2 * model.ffn, model.hidden),
        (model.hidden, model.ffn),
    ];
    one.iter()
        .fold(Cost::default(), |sum, (rows, cols)| sum.add(matrix(machine, *rows, *cols, sherry)))
        .times(model.layers)
}

/// Cost of ranking the head's rows.
pub fn head(machine: &Machine, model: &ModelShape) -> Cost {
    let segment = machine.shape().segment(false) as u64;
    let ranked = planes::ranked(model.hidden.div_ceil(segment) as usize) as u64;
    matrix(machine, model.vocab, model.hidden.min(ranked * segment), false)
}

/// What attention costs, all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCost {
    /// Bytes that a position takes in the cache, keys, values and scales: written once, read for each later token.
    pub position_bytes: u64,
    /// Beats of all ports together that bring the cache of the context.
    pub beats: u64,
    /// Cycles of the units, their own or those of the ports that they read through.
    pub cycles: u64,
}

/// Attention over `context` positions of so many queries that share a key/value head. A unit takes keys through one
/// port and values through another, a beat a cycle each, but at most one row in as many cycles as its block has
/// queries; the keys of a block come while the values of the block before do.
pub fn attention(machine: &Machine, model: &ModelShape, context: u64, queries: u64) -> CacheCost {
    let (bytes, rows) = (u64::from(machine.port_bits / 8), u64::from(machine.engine.rows));
    let k_beats = (2 * (model.head_dim / 2).next_multiple_of(rows)).div_ceil(bytes);
    let v_beats = model.head_dim.div_ceil(bytes);
    let heads = model.kv / model.head_dim;
    let block = machine.attend().block_at(context.saturating_sub(1)).into();
    let (blocks, queries) = (queries.div_ceil(block), queries.min(block));
    let scales = (8 * context).div_ceil(bytes);
    let front = scales + context * k_beats.max(queries);
    let back = context * v_beats.max(queries);
    let jobs = heads.div_ceil(machine.units.into()) * blocks;
    let beats = heads * blocks * (scales + context * (k_beats + v_beats));
    let through = beats.div_ceil(machine.ports.min(2 * machine.units).into());
    CacheCost {
        position_bytes: model.layers * heads * ((k_beats + v_beats) * bytes + 8),
        beats: model.layers * beats,
        cycles: model.layers * through.max(front + (jobs - 1) * front.max(back) + back),
    }
}
