//! Building the engine: packs a model's weights for this processor.

use super::{
    CpuEngine, Isa,
    engine::{Block, State},
    head::Table,
    kv::Geometry,
    linear::{Fused, Plan},
    pack,
    pool::Pool,
    shared::Shared,
    store::Store,
    vector::Tables,
};
use crate::engine::EngineError;
use spec::{format::table::CodedMatrix, model::ModelWeights};

/// Row blocks that are packed in one go.
const UNIT_BLOCKS: usize = 8;
/// Bytes of a table that are copied in one go.
const COPY_BYTES: usize = 1 << 20;

impl CpuEngine {
    /// Packs a model for the best instruction set of this processor. `threads` counts the caller.
    pub fn new(weights: &ModelWeights, threads: usize) -> Result<Self, EngineError> {
        Self::with_isa(weights, threads, Isa::detect())
    }

    /// Packs a model for `isa`, one of [`Isa::available`].
    ///
    /// # Panics
    /// If this processor does not have `isa`.
    pub fn with_isa(weights: &ModelWeights, threads: usize, isa: Isa) -> Result<Self, EngineError> {
        assert!(Isa::available().contains(&isa), "this processor has no {}", isa.name());
        weights.validate()?;
        let mut plan = Plan::default();
        let blocks = weights
            .layers
            .iter()
            .map(|layer| Block {
                attn_norm: layer.attn_norm.clone(),
                qkv: Fused::new(isa, &[&layer.q, &layer.k, &layer.v], &mut plan),
                attn_sub_norm: layer.attn_sub_norm.clone(),
                o: Fused::new(isa, &[&layer.o], &mut plan),
                ffn_norm: layer.ffn_norm.clone(),
                gate_up: Fused::new(isa, &[&layer.gate, &layer.up], &mut plan),
                ffn_sub_norm: layer.ffn_sub_norm.clone(),
                down: Fused::new(isa, &[&layer.down], &mut plan),
            })
            .collect();
        let tables: Vec<CodedMatrix> =
            [Some(&weights.embed), weights.head.as_ref()].into_iter().flatten().map(|table| table.to_coded()).collect();
        let weight_bytes = plan.bytes;
        let placed: Vec<Table> = tables
            .iter()
            .map(|table| {
                let placed = Table::new(table, plan.bytes.next_multiple_of(64));
                plan.bytes = placed.bytes().end;
                placed
            })
            .collect();
        let mut pool = Pool::new(threads);
        let store = pack_all(&plan, &tables, &placed, &mut pool)?;
        let mut placed = placed.into_iter();
        let Some(embed) = placed.next() else { unreachable!("a model has an embedding") };
        let config = weights.config.clone();
        let geometry = Geometry { layers: config.layers, heads: config.kv_heads, dim: config.head_dim };
        let threads = pool.threads();
        Ok(CpuEngine {
            isa,
            pool,
            store,
            blocks,
            weight_bytes,
            embed,
            head: placed.next(),
            final_norm: weights.final_norm.clone(),
            tables: Tables::default(),
            rope: None,
            geometry,
            sequences: Vec::new(),
            state: State::default(),
            linear_scratch: (0..threads).map(|_| Default::default()).collect(),
            scratch: (0..threads).map(|_| Default::default()).collect(),
            config,
        })
    }
}

fn pack_all(plan: &Plan, tables: &[CodedMatrix], placed: &[Table], pool: &mut Pool) -> Result<Store, EngineError> {
    let mut store = Store::new(plan.bytes).map_err(|_| EngineError::Memory { what: "weights", bytes: plan.bytes })?;
    let shared = Shared::new(&mut store[..]);
    let units: Vec<(usize, usize)> = plan
        .jobs
        .iter()
        .enumerate()
        .flat_map(|(job, (_, shape, _))| (0..shape.blocks()).step_by(UNIT_BLOCKS).map(move |block| (job, block)))
        .collect();
    pool.run(units.len(), &|_, unit| {
        let (job, first) = units[unit];
        let (trits, shape, range) = &plan.jobs[job];
        for block in first..(first + UNIT_BLOCKS).min(shape.blocks()) {
            let start = range.start + block * shape.block_bytes();
            // SAFETY: a unit's row blocks are its own.
            let out = unsafe { shared.part(start..start + shape.block_bytes()) };
            pack::pack_block(trits, *shape, block, out);
        }
        if unit % 256 == 255 {
            crate::mmap::drop_pages(); // of what has been packed: keeps the peak at the packed size
        }
    });
    for (table, placed) in tables.iter().zip(placed) {
        let bytes = placed.bytes();
        pool.run(bytes.len().div_ceil(COPY_BYTES), &|_, unit| {
            let part = unit * COPY_BYTES..((unit + 1) * COPY_BYTES).min(bytes.len());
            // SAFETY: a unit's bytes are its own.
            let out = unsafe { shared.part(bytes.start + part.start..bytes.start + part.end) };
            out.copy_from_slice(&table.codes()[part]);
        });
    }
    crate::mmap::drop_pages();
    Ok(store)
}
