//! The decoder on the processor: `spec::model::decoder` in `device` numerics, layer by layer, many
//! tokens at a time.
//!
//! Every layer is five jobs of the thread pool (q, k, v; attention; o; gate and up; down); norms and
//! quantisation run between them, on all threads if there is more than one token.

use super::{
    acts::Acts,
    attention::{self, Query},
    buffer::Buffer,
    head::{self, Table},
    isa::Isa,
    kv::{Cache, Geometry},
    layout::ROWS,
    linear::{self, Fused, Inputs, plain_shape},
    pool::Pool,
    shared::Shared,
    store::Store,
    tiles::Tiles,
    vector::{self, Tables},
};
use crate::engine::{Answer, Engine, EngineError, SequenceId, Step, Want, check_request};
use spec::{
    model::{ModelConfig, head::best as head_best},
    numerics::{f32ops::mul, rope::RopeTable, softmax::score_factor},
};
use std::ops::Range;

/// Tokens that pass through a layer together.
const CHUNK: usize = 128;

/// Tokens whose heads are quantised as a unit of work: neighbours in the tiles.
const UNIT_TOKENS: usize = 8;

/// One block of the model.
pub(super) struct Block {
    pub attn_norm: Vec<f32>,
    pub qkv: Fused,
    pub attn_sub_norm: Option<Vec<f32>>,
    pub o: Fused,
    pub ffn_norm: Vec<f32>,
    pub gate_up: Fused,
    pub ffn_sub_norm: Option<Vec<f32>>,
    pub down: Fused,
}

/// Activations of a chunk.
#[derive(Default)]
pub(super) struct State {
    x: Tiles,
    qkv: [Tiles; 3],
    query_codes: Vec<i8>,
    query_scales: Vec<f32>,
    mixed: Tiles,
    gated: Tiles,
    inputs: Inputs,
    head: Acts,
}

/// Buffers of a thread.
#[derive(Default)]
pub(super) struct Scratch {
    attention: attention::Scratch,
    head: Vec<f32>,
    codes: Vec<i8>,
    tiles: [Buffer<[f32; ROWS]>; 2],
}

/// A token on its way: which step it belongs to, and where in the sequence it stands.
#[derive(Clone, Copy)]
struct Item {
    step: usize,
    position: usize,
    token: u32,
    wanted: bool,
}

/// The CPU backend.
pub struct CpuEngine {
    pub(super) config: ModelConfig,
    pub(super) isa: Isa,
    pub(super) pool: Pool,
    pub(super) store: Store,
    pub(super) blocks: Vec<Block>,
    pub(super) weight_bytes: usize,
    pub(super) embed: Table,
    pub(super) head: Option<Table>,
    pub(super) final_norm: Vec<f32>,
    pub(super) tables: Tables,
    pub(super) rope: Option<(usize, RopeTable)>,
    pub(super) geometry: Geometry,
    pub(super) sequences: Vec<Option<Cache>>,
    pub(super) state: State,
    pub(super) linear_scratch: Vec<linear::Scratch>,
    pub(super) scratch: Vec<Scratch>,
}

impl Engine for CpuEngine {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn describe(&self) -> String {
        let threads = self.pool.threads();
        format!("cpu, {}, {threads} thread{}", self.isa.name(), if threads == 1 { "" } else { "s" })
    }

    fn decode_bytes(&self, context: usize) -> Option<usize> {
        Some(self.traffic(context).total())
    }

    fn new_sequence(&mut self) -> Result<SequenceId, EngineError> {
        let cache = Some(Cache::new(self.geometry));
        match self.sequences.iter().position(Option::is_none) {
            Some(free) => {
                self.sequences[free] = cache;
                Ok(SequenceId(free))
            }
            None => {
                self.sequences.push(cache);
                Ok(SequenceId(self.sequences.len() - 1))
            }
        }
    }

    fn free_sequence(&mut self, sequence: SequenceId) {
        if let Some(slot) = self.sequences.get_mut(sequence.0) {
            *slot = None;
        }
    }

    fn len(&self, sequence: SequenceId) -> usize {
        self.sequences.get(sequence.0).and_then(Option::as_ref).map_or(0, |cache| cache.len)
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        if let Some(Some(cache)) = self.sequences.get_mut(sequence.0) {
            cache.truncate(len);
        }
    }

    fn answer(&mut self, steps: &[Step<'_>]) -> Result<Vec<Answer>, EngineError> {
        let items = self.plan(steps)?;
        let mut caches: Vec<Cache> = steps.iter().filter_map(|s| self.sequences[s.sequence.0].take()).collect();
        let mut results = vec![Vec::new(); steps.len()];
        let reserved = caches.iter_mut().zip(steps).try_for_each(|(cache, step)| {
            let len = cache.len + step.tokens.len();
            let bytes = self.geometry.page_bytes() * len.div_ceil(super::kv::PAGE);
            cache.reserve(len).map_err(|_| EngineError::Memory { what: "keys and values", bytes })
        });
        if reserved.is_ok() {
            for chunk in items.chunks(CHUNK) {
                self.run(chunk, &mut caches);
                self.logits(chunk, &mut results);
            }
            for (cache, step) in caches.iter_mut().zip(steps) {
                cache.len += step.tokens.len();
            }
        }
        for (cache, step) in caches.into_iter().zip(steps) {
            self.sequences[step.sequence.0] = Some(cache);
        }
        let answer = |(logits, step): (Vec<f32>, &Step<'_>)| match step.want {
            Want::Best => Answer { best: head_best(&logits), logits: Vec::new() },
            _ => Answer { logits, best: None },
        };
        reserved.map(|()| results.into_iter().zip(steps).map(answer).collect())
    }
}

impl CpuEngine {
    /// Checks a request and lists its tokens.
    fn plan(&mut self, steps: &[Step<'_>]) -> Result<Vec<Item>, EngineError> {
        let mut items = Vec::new();
        let mut longest = 0;
        for (index, step) in steps.iter().enumerate() {
            let twice = steps[..index].iter().any(|other| other.sequence == step.sequence);
            let cache = self.sequences.get(step.sequence.0).and_then(Option::as_ref).filter(|_| !twice);
            let past = cache.ok_or(EngineError::Sequence(step.sequence.0))?.len;
            check_request(&self.config, past, step.tokens)?;
            longest = longest.max(past + step.tokens.len());
            items.extend(step.tokens.iter().enumerate().map(|(i, &token)| {
                let last = i + 1 == step.tokens.len();
                let wanted = step.want == Want::All || matches!(step.want, Want::Last | Want::Best) && last;
                Item { step: index, position: past + i, token, wanted }
            }));
        }
        if self.rope.as_ref().is_none_or(|(positions, _)| *positions < longest) {
            let positions = longest.next_power_of_two().max(512).min(self.config.max_context);
            self.rope = Some((positions, RopeTable::new(&self.config, positions)));
        }
        Ok(items)
    }

    /// Runs a chunk through all blocks; leaves the residual stream in `state.x`.
    fn run(&mut self, items: &[Item], caches: &mut [Cache]) {
        let hidden = self.config.hidden;
        self.state.x.resize(items.len(), hidden);
        let mut row = vec![0.0; hidden];
        for (index, item) in items.iter().enumerate() {
            self.embed.read_row(&self.store, item.token as usize, &mut row);
            self.state.x.set_token(index, &row);
        }
        for layer in 0..self.blocks.len() {
            self.project_qkv(layer, items.len());
            self.store_heads(layer, items, caches);
            self.attend(layer, items, caches);
            self.project_o(layer);
            self.project_gate_up(layer, items.len());
            self.project_down(layer);
        }
    }

    fn project_qkv(&mut self, layer: usize, tokens: usize) {
        let block = &self.blocks[layer];
        let norm = Some((block.attn_norm.as_slice(), self.config.rms_eps));
        let State { x, qkv, inputs, .. } = &mut self.state;
        block.qkv.quantize(self.isa, &mut self.pool, x, norm, inputs, &mut self.linear_scratch);
        for (out, rows) in qkv.iter_mut().zip([self.config.q_dim(), self.config.kv_dim(), self.config.kv_dim()]) {
            out.resize(tokens, rows);
        }
        let stride = qkv[0].stride();
        let out = qkv.each_mut().map(|tiles| Shared::new(tiles.data_mut()));
        let units = units(&block.qkv, 0..3, tokens, self.pool.threads());
        let linear = Shared::new(&mut self.linear_scratch);
        let (isa, store, inputs) = (self.isa, &self.store, &*inputs);
        self.pool.run(units.len(), &|thread, unit| {
            let (part, blocks) = units[unit].clone();
            // SAFETY: every thread has its own scratch, a unit's row blocks are its own.
            let (linear, out) =
                unsafe { (linear.one(thread), out[part].part(blocks.start * stride..blocks.end * stride)) };
            block.qkv.rows(isa, store, part, blocks, inputs, linear, (out, stride), false);
        });
    }

    /// RoPE, quantisation of the heads, and the new keys and values into the caches.
    fn store_heads(&mut self, layer: usize, items: &[Item], caches: &mut [Cache]) {
        let c = &self.config;
        let Some((_, rope)) = &self.rope else { return };
        let (dim, heads, kv_heads) = (c.head_dim, c.heads, c.kv_heads);
        let State { qkv, query_codes, query_scales, .. } = &mut self.state;
        query_codes.resize(items.len() * c.q_dim(), 0);
        query_scales.resize(items.len() * heads, 0.0);
        let (query_codes, query_scales) = (Shared::new(query_codes), Shared::new(query_scales));
        let writers: Vec<_> = caches.iter_mut().map(Cache::writer).collect();
        let scratch = Shared::new(&mut self.scratch);
        let isa = self.isa;
        let factor = score_factor(dim);
        self.pool.run(items.len().div_ceil(UNIT_TOKENS), &|thread, unit| {
            let tokens = unit * UNIT_TOKENS..items.len().min((unit + 1) * UNIT_TOKENS);
            // SAFETY: every thread has its own scratch.
            let scratch = unsafe { scratch.one(thread) };
            for head in 0..heads + 2 * kv_heads {
                let (part, head) = match head {
                    _ if head < heads => (0, head),
                    _ if head < heads + kv_heads => (1, head - heads),
                    _ => (2, head - heads - kv_heads),
                };
                for token in tokens.clone() {
                    let item = items[token];
                    let angles = (part < 2).then(|| (rope.cos(item.position), rope.sin(item.position)));
                    if part == 0 {
                        // SAFETY: a unit's tokens are its own.
                        let codes =
                            unsafe { query_codes.part((token * heads + head) * dim..(token * heads + head + 1) * dim) };
                        let scale =
                            vector::head_codes(isa, &qkv[0], (token, head * dim), angles, &mut scratch.head, codes);
                        // SAFETY: as above.
                        unsafe { query_scales.set(token * heads + head, mul(scale, factor)) };
                        continue;
                    }
                    let codes = &mut scratch.codes;
                    codes.resize(dim, 0);
                    let scale =
                        vector::head_codes(isa, &qkv[part], (token, head * dim), angles, &mut scratch.head, codes);
                    let place = (layer, head, item.position);
                    // SAFETY: positions of a sequence are different, and each belongs to one unit.
                    unsafe {
                        match part {
                            1 => writers[item.step].push_key(place, codes, scale),
                            _ => writers[item.step].push_value(place, codes, scale),
                        }
                    }
                }
            }
        });
    }

    fn attend(&mut self, layer: usize, items: &[Item], caches: &[Cache]) {
        let c = &self.config;
        let (dim, kv_heads, group) = (c.head_dim, c.kv_heads, c.group());
        let q_dim = c.q_dim();
        let State { query_codes, query_scales, mixed, .. } = &mut self.state;
        mixed.resize(items.len(), q_dim);
        let stride = mixed.stride();
        let (codes, scales, out) = (&*query_codes, &*query_scales, Shared::new(mixed.data_mut()));
        let runs = runs(items, (attention::QUERIES / group).max(1));
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
                for (token, head) in all.by_ref().take(attention::QUERIES) {
                    places[count] = (token, head);
                    queries[count] = Query {
                        codes: &codes[token * q_dim + head * dim..][..dim],
                        scale: scales[token * (q_dim / dim) + head],
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

    fn project_o(&mut self, layer: usize) {
        let block = &self.blocks[layer];
        let norm = block.attn_sub_norm.as_deref().map(|weight| (weight, self.config.rms_eps));
        let State { mixed, inputs, .. } = &mut self.state;
        block.o.quantize(self.isa, &mut self.pool, mixed, norm, inputs, &mut self.linear_scratch);
        self.add_rows(layer, |block| &block.o);
    }

    fn project_gate_up(&mut self, layer: usize, tokens: usize) {
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
            let [gate, up] = &mut own.tiles;
            for (part, tiles) in [&mut *gate, &mut *up].into_iter().enumerate() {
                tiles.resize(blocks.len() * stride);
                block.gate_up.rows(isa, store, part, blocks.clone(), inputs, linear, (tiles, stride), false);
            }
            vector::gate(isa, activation, tables, gate, up, out);
        });
    }

    fn project_down(&mut self, layer: usize) {
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

    /// Appends the wanted logits of a chunk to the results of their steps.
    fn logits(&mut self, items: &[Item], results: &mut [Vec<f32>]) {
        let hidden = self.config.hidden;
        let table = self.head.as_ref().unwrap_or(&self.embed);
        let wanted: Vec<usize> = (0..items.len()).filter(|&i| items[i].wanted).collect();
        if wanted.is_empty() {
            return;
        }
        let acts = &mut self.state.head;
        acts.begin(self.isa, plain_shape(table.rows(), hidden), hidden, wanted.len());
        let mut scales = Vec::with_capacity(wanted.len());
        let (mut codes, mut work, mut buffer) = (vec![0; hidden], vec![0.0; hidden], Vec::new());
        let writer = acts.writer();
        for (row, &item) in wanted.iter().enumerate() {
            let x = self.state.x.token(item, &mut buffer);
            let norm = (self.final_norm.as_slice(), self.config.rms_eps);
            scales.push(vector::norm_quantize(self.isa, x, norm, &mut work, &mut codes));
            // SAFETY: one thread.
            unsafe { writer.token(row, &codes) };
        }
        let mut all = vec![0.0; wanted.len() * table.rows()];
        let out = Shared::new(&mut all);
        let acts = &self.state.head;
        self.pool.run(table.rows().div_ceil(head::UNIT_ROWS), &|_, unit| {
            let first = unit * head::UNIT_ROWS;
            let rows = first..(first + head::UNIT_ROWS).min(table.rows());
            // SAFETY: a unit's rows are its own.
            unsafe { table.logits(self.isa, &self.store, rows, acts, &scales, &out) };
        });
        if let [item] = wanted[..]
            && results[items[item].step].is_empty()
        {
            results[items[item].step] = all;
            return;
        }
        for (&item, logits) in wanted.iter().zip(all.chunks_exact(table.rows())) {
            results[items[item].step].extend_from_slice(logits);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu::testing::config, engine::ReferenceEngine};
    use spec::model::{
        Activation, Numerics,
        random::{self, RandomSpec, WeightKind},
    };

    const PLAIN: RandomSpec = RandomSpec::PLAIN;

    fn every_kind() -> Vec<(ModelConfig, RandomSpec)> {
        let silu = config();
        let relu2 = ModelConfig { activation: Activation::Relu2, heads: 4, kv_heads: 4, ..config() };
        let odd = ModelConfig { hidden: 100, ffn: 204, heads: 9, kv_heads: 3, head_dim: 6, vocab: 131, ..config() };
        let wide = ModelConfig { hidden: 192, ffn: 400, heads: 10, kv_heads: 1, head_dim: 32, ..config() };
        vec![
            (relu2.clone(), PLAIN),
            (silu.clone(), RandomSpec { kind: WeightKind::Row, sub_norms: false, tied: false, ..PLAIN }),
            (silu.clone(), RandomSpec { kind: WeightKind::Group(10), coded_tables: false, ..PLAIN }),
            (relu2.clone(), RandomSpec { kind: WeightKind::Shard, ..PLAIN }),
            (silu, RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
            (relu2, RandomSpec { kind: WeightKind::TwoPlanes, input_norms: true, ..PLAIN }),
            (odd.clone(), PLAIN),
            (odd, RandomSpec { kind: WeightKind::TwoPlanes, tied: false, ..PLAIN }),
            (wide.clone(), PLAIN),
            (wide, RandomSpec { kind: WeightKind::Group(64), ..PLAIN }),
        ]
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    fn step(sequence: SequenceId, tokens: &[u32], want: Want) -> Step<'_> {
        Step { sequence, tokens, want }
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_reference() {
        for (index, (config, spec)) in every_kind().into_iter().enumerate() {
            let weights = random::model(&config, spec);
            let tokens: Vec<u32> = (0..150u32).map(|i| (i * 37 + 11) % config.vocab as u32).collect();
            let mut reference = ReferenceEngine::new(weights.clone(), Numerics::Device).unwrap();
            let id = reference.new_sequence().unwrap();
            let want = reference.forward(&[step(id, &tokens, Want::All)]).unwrap().remove(0);
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let at = format!("{} model {index} {threads} threads", isa.name());
                    let mut engine = CpuEngine::with_isa(&weights, threads, isa).unwrap();
                    let id = engine.new_sequence().unwrap();
                    let whole = engine.forward(&[step(id, &tokens, Want::All)]).unwrap().remove(0);
                    assert!(bits(&whole) == bits(&want), "{at}");
                    let cut = 1 + index * 7;
                    engine.truncate(id, cut);
                    let mut first = cut;
                    for count in [1, 1, 2, 3, 5, 9] {
                        let some = &tokens[first..first + count];
                        let last = engine.forward(&[step(id, some, Want::Last)]).unwrap().remove(0);
                        engine.truncate(id, first);
                        let best = engine.answer(&[step(id, some, Want::Best)]).unwrap().remove(0);
                        assert_eq!((best.best, best.logits.len()), (head_best(&last), 0), "{at}");
                        first += count;
                        let row = (first - 1) * config.vocab..first * config.vocab;
                        assert!(bits(&last) == bits(&want[row]), "{at} after {first} tokens");
                    }
                }
            }
        }
    }

    #[test]
    fn sequences_in_a_batch_do_not_touch_each_other() {
        let config = config();
        let weights = random::model(&config, PLAIN);
        let tokens: Vec<u32> = (0..300u32).map(|i| (i * 13 + 5) % 50).collect();
        let mut engine = CpuEngine::new(&weights, 2).unwrap();
        let mut alone = |tokens: &[u32]| {
            let id = engine.new_sequence().unwrap();
            let logits = engine.forward(&[step(id, tokens, Want::Last)]).unwrap().remove(0);
            engine.free_sequence(id);
            logits
        };
        let (a, b, c) = (alone(&tokens[..290]), alone(&tokens[5..7]), alone(&tokens[9..40]));
        let ids: Vec<_> = (0..3).map(|_| engine.new_sequence().unwrap()).collect();
        let parts = [&tokens[..290], &tokens[5..7], &tokens[9..40]];
        let steps = [
            step(ids[0], &parts[0][..289], Want::Nothing),
            step(ids[1], &parts[1][..1], Want::Nothing),
            step(ids[2], &parts[2][..30], Want::All),
        ];
        let got = engine.forward(&steps).unwrap();
        assert_eq!((got[0].len(), got[1].len(), got[2].len()), (0, 0, 30 * 50));
        let last: Vec<_> = ids.iter().zip(parts).map(|(&id, p)| step(id, &p[p.len() - 1..], Want::Last)).collect();
        assert_eq!(engine.forward(&last).unwrap(), [a, b, c]);
        assert_eq!(engine.len(ids[0]), 290);
    }

    #[test]
    fn bad_requests_change_nothing() {
        let weights = random::model(&config(), PLAIN);
        let mut engine = CpuEngine::new(&weights, 1).unwrap();
        let id = engine.new_sequence().unwrap();
        engine.forward(&[step(id, &[1, 2, 3], Want::Nothing)]).unwrap();
        assert!(matches!(engine.forward(&[step(id, &[50], Want::Last)]), Err(EngineError::Request(_))));
        assert!(matches!(engine.forward(&[step(id, &[1; 398], Want::Last)]), Err(EngineError::Request(_))));
        let twice = [step(id, &[1], Want::Last), step(id, &[2], Want::Last)];
        assert!(matches!(engine.forward(&twice), Err(EngineError::Sequence(0))));
        assert!(matches!(engine.forward(&[step(SequenceId(7), &[1], Want::Last)]), Err(EngineError::Sequence(7))));
        assert_eq!(engine.len(id), 3);
        assert_eq!(engine.forward(&[]).unwrap(), Vec::<Vec<f32>>::new());
        assert_eq!(engine.forward(&[step(id, &[], Want::Last)]).unwrap(), [Vec::<f32>::new()]);
        engine.free_sequence(id);
        assert_eq!(engine.len(id), 0);
    }
}
