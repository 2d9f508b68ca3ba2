//! The steps of a layer, as jobs of the thread pool.

use super::{
    CpuEngine,
    attention::{self, Query},
    engine::{Block, Item, State},
    gate,
    heads::Heads,
    kv::Cache,
    layout::ROWS,
    linear::Fused,
    shared::Shared,
    tiles::Tiles,
    vector,
};
use std::ops::Range;

/// From this many tokens on, the heads of q, k and v are units of work.
const HEAD_TOKENS: usize = 16;

impl CpuEngine {
    /// Queries, keys and values of the chunk: queries to the state, keys and values to the caches.
    pub(super) fn project_qkv(&mut self, layer: usize, items: &[Item], caches: &mut [Cache]) {
        let c = &self.config;
        let block = &self.blocks[layer];
        let norm = Some((block.attn_norm.as_slice(), c.rms_eps));
        let State { x, qkv, query_codes, query_scales, inputs, .. } = &mut self.state;
        block.qkv.quantize(self.isa, &mut self.pool, x, norm, inputs, &mut self.linear_scratch);
        let Some((_, rope)) = &self.rope else { return };
        query_codes.resize(items.len() * c.q_dim(), 0);
        query_scales.resize(items.len() * c.heads, 0.0);
        let heads = Heads {
            isa: self.isa,
            layer,
            items,
            rope,
            dim: c.head_dim,
            codes: Shared::new(query_codes),
            scales: Shared::new(query_scales),
            writers: caches.iter_mut().map(Cache::writer).collect(),
        };
        let stride = Tiles::stride_of(items.len());
        let (linear, scratch) = (Shared::new(&mut self.linear_scratch), Shared::new(&mut self.scratch));
        let (isa, store, inputs) = (self.isa, &self.store, &*inputs);
        let (dim, all) = (c.head_dim, c.heads + 2 * c.kv_heads);
        let place = |head: usize| match head {
            _ if head < c.heads => (0, head),
            _ if head < c.heads + c.kv_heads => (1, head - c.heads),
            _ => (2, head - c.heads - c.kv_heads),
        };
        if dim.is_multiple_of(ROWS) && items.len() >= HEAD_TOKENS {
            // a head is quantised as soon as it is there, and never leaves the cache
            self.pool.run(all, &|thread, unit| {
                let (part, head) = place(unit);
                let blocks = head * dim / ROWS..(head + 1) * dim / ROWS;
                // SAFETY: every thread has its own scratch.
                let (linear, own) = unsafe { (linear.one(thread), scratch.one(thread)) };
                let tiles = &mut own.tiles[0];
                tiles.resize(blocks.len() * stride);
                block.qkv.rows(isa, store, part, blocks, inputs, linear, (tiles, stride), false);
                // SAFETY: a unit is a head, of all tokens.
                unsafe { heads.take((part, head), 0..items.len(), (tiles, stride, 0), &mut own.heads) };
            });
            return;
        }
        for (out, rows) in qkv.iter_mut().zip([c.q_dim(), c.kv_dim(), c.kv_dim()]) {
            out.resize(items.len(), rows);
        }
        let out = qkv.each_mut().map(|tiles| Shared::new(tiles.data_mut()));
        let units = units(&block.qkv, 0..3, items.len(), self.pool.threads());
        self.pool.run(units.len(), &|thread, unit| {
            let (part, blocks) = units[unit].clone();
            // SAFETY: every thread has its own scratch, a unit's row blocks are its own.
            let (linear, out) =
                unsafe { (linear.one(thread), out[part].part(blocks.start * stride..blocks.end * stride)) };
            block.qkv.rows(isa, store, part, blocks, inputs, linear, (out, stride), false);
        });
        self.pool.run(items.len(), &|thread, token| {
            // SAFETY: every thread has its own scratch.
            let own = unsafe { scratch.one(thread) };
            for unit in 0..all {
                let (part, head) = place(unit);
                let tiles = (qkv[part].data(), stride, head * dim);
                // SAFETY: a unit is a token.
                unsafe { heads.take((part, head), token..token + 1, tiles, &mut own.heads) };
            }
        });
    }

    pub(super) fn attend(&mut self, layer: usize, items: &[Item], caches: &[Cache]) {
        let c = &self.config;
        let (dim, kv_heads, group) = (c.head_dim, c.kv_heads, c.group());
        let State { query_codes, query_scales, mixed, .. } = &mut self.state;
        mixed.resize(items.len(), c.q_dim());
        let stride = mixed.stride();
        let (codes, scales, out) = (&*query_codes, &*query_scales, Shared::new(mixed.data_mut()));
        let most = attention::most_queries(self.isa, dim);
        let runs = runs(items, (most / group).max(1));
        let scratch = Shared::new(&mut self.scratch);
        let (isa, tables) = (self.isa, &self.tables);
        self.pool.run(runs.len() * kv_heads, &|thread, unit| {
            // SAFETY: every thread has its own scratch.
            let scratch = unsafe { scratch.one(thread) };
            // the last runs of a prefill see most positions: start with them
            let run = runs[runs.len() - 1 - unit / kv_heads].clone();
            let kv_head = unit % kv_heads;
            let cache = &caches[items[run.start].step];
            let mut all = run.flat_map(|token| (kv_head * group..(kv_head + 1) * group).map(move |head| (token, head)));
            let mut places = [(0, 0); attention::QUERIES];
            let mut queries = [Query { codes: &[], scale: 0.0, visible: 0 }; attention::QUERIES];
            loop {
                let mut count = 0;
                for (token, head) in all.by_ref().take(most) {
                    places[count] = (token, head);
                    queries[count] = Query {
                        codes: &codes[(head * items.len() + token) * dim..][..dim],
                        scale: scales[head * items.len() + token],
                        visible: items[token].position + 1,
                    };
                    count += 1;
                }
                if count == 0 {
                    break;
                }
                let (queries, place) = (&queries[..count], (layer, kv_head));
                attention::attend(isa, tables, cache, place, queries, &mut scratch.attention, |q, result| {
                    let (token, head) = places[q];
                    // SAFETY: the result of a token and head belongs to one unit.
                    unsafe { set_rows(&out, stride, token, head * dim, result) };
                });
            }
        });
    }

    pub(super) fn project_o(&mut self, layer: usize) {
        let block = &self.blocks[layer];
        let norm = block.attn_sub_norm.as_deref().map(|weight| (weight, self.config.rms_eps));
        let State { mixed, inputs, .. } = &mut self.state;
        block.o.quantize(self.isa, &mut self.pool, mixed, norm, inputs, &mut self.linear_scratch);
        self.add_rows(layer, |block| &block.o);
    }

    pub(super) fn project_gate_up(&mut self, layer: usize, tokens: usize) {
        let block = &self.blocks[layer];
        let norm = Some((block.ffn_norm.as_slice(), self.config.rms_eps));
        let State { x, gated, inputs, .. } = &mut self.state;
        block.gate_up.quantize(self.isa, &mut self.pool, x, norm, inputs, &mut self.linear_scratch);
        gated.resize(tokens, self.config.ffn);
        let stride = gated.stride();
        let out = Shared::new(gated.data_mut());
        let units = units(&block.gate_up, 0..1, tokens, self.pool.threads());
        let (linear, scratch) = (Shared::new(&mut self.linear_scratch), Shared::new(&mut self.scratch));
        let (isa, store, inputs, tables) = (self.isa, &self.store, &*inputs, &self.tables);
        let activation = self.config.activation;
        self.pool.run(units.len(), &|thread, unit| {
            let blocks = units[unit].1.clone();
            // SAFETY: every thread has its own scratch, a unit's row blocks are its own.
            let (linear, own, out) = unsafe {
                (linear.one(thread), scratch.one(thread), out.part(blocks.start * stride..blocks.end * stride))
            };
            if tokens > 1 && block.gate_up.is_pair() {
                let how = (activation, tables);
                return block.gate_up.gated_rows(isa, store, blocks, inputs, linear, how, (out, stride));
            }
            let [gates, ups] = &mut own.tiles;
            for (part, tiles) in [&mut *gates, &mut *ups].into_iter().enumerate() {
                tiles.resize(blocks.len() * stride);
                block.gate_up.rows(isa, store, part, blocks.clone(), inputs, linear, (tiles, stride), false);
            }
            gate::gate(isa, activation, tables, gates, ups, out);
        });
    }

    pub(super) fn project_down(&mut self, layer: usize) {
        let block = &self.blocks[layer];
        let norm = block.ffn_sub_norm.as_deref().map(|weight| (weight, self.config.rms_eps));
        let State { gated, inputs, .. } = &mut self.state;
        block.down.quantize(self.isa, &mut self.pool, gated, norm, inputs, &mut self.linear_scratch);
        self.add_rows(layer, |block| &block.down);
    }

    /// Adds the outputs of a layer to the residual stream.
    fn add_rows(&mut self, layer: usize, which: impl Fn(&Block) -> &Fused) {
        let fused = which(&self.blocks[layer]);
        let State { x, inputs, .. } = &mut self.state;
        let (stride, units) = (x.stride(), units(fused, 0..1, x.tokens(), self.pool.threads()));
        let x = Shared::new(x.data_mut());
        let (linear, scratch) = (Shared::new(&mut self.linear_scratch), Shared::new(&mut self.scratch));
        let (isa, store, inputs) = (self.isa, &self.store, &*inputs);
        self.pool.run(units.len(), &|thread, unit| {
            let blocks = units[unit].1.clone();
            // SAFETY: every thread has its own scratch, a unit's row blocks are its own.
            let (linear, own, x) = unsafe {
                (linear.one(thread), scratch.one(thread), x.part(blocks.start * stride..blocks.end * stride))
            };
            if fused.is_single(0) {
                return fused.rows(isa, store, 0, blocks, inputs, linear, (x, stride), true);
            }
            let tiles = &mut own.tiles[0];
            tiles.resize(blocks.len() * stride);
            fused.rows(isa, store, 0, blocks, inputs, linear, (tiles, stride), false);
            vector::add_to(isa, x.as_flattened_mut(), tiles.as_flattened());
        });
    }
}

/// Units of work: a layer and some of its row blocks.
fn units(fused: &Fused, parts: Range<usize>, tokens: usize, threads: usize) -> Vec<(usize, Range<usize>)> {
    let part_units = |part| {
        let (blocks, step) = (fused.blocks(part), fused.unit_blocks(part, tokens, threads));
        (0..blocks).step_by(step).map(move |first| (part, first..(first + step).min(blocks)))
    };
    parts.flat_map(part_units).collect()
}

/// Sets the rows of a token from `row` on.
///
/// # Safety
/// Nobody else touches these rows.
unsafe fn set_rows(out: &Shared<'_, [f32; ROWS]>, stride: usize, token: usize, row: usize, values: &[f32]) {
    let block = |row: usize| row / ROWS * stride + token;
    if let (true, (tiles, [])) = (row.is_multiple_of(ROWS), values.as_chunks()) {
        // SAFETY: whole tiles of this token and these rows.
        unsafe { out.scatter(block(row), stride, tiles.iter().copied()) };
        return;
    }
    for (row, &value) in (row..).zip(values) {
        let tile = out.pointer(block(row), 1, 1).cast::<f32>();
        // SAFETY: an element of a tile; a tile may belong to several units, an element does not.
        unsafe { tile.add(row % ROWS).write(value) };
    }
}

/// Runs of at most `longest` neighbouring tokens of one sequence.
fn runs(items: &[Item], longest: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if items[run.start].step == item.step && run.len() < longest => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}
