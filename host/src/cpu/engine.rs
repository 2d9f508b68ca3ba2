//! The decoder on the processor: `spec::model::decoder` in `device` numerics, layer by layer, many
//! tokens at a time.
//!
//! Every layer is five jobs of the thread pool (q, k, v; attention; o; gate and up; down), see [`super::layer`];
//! norms and quantisation run between them, on all threads if there is more than one token. Tokens whose logits nobody
//! wants stop behind q, k and v of the last layer.

use super::{
    acts::Acts,
    attention,
    buffer::Buffer,
    head::{self, Table},
    heads,
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
    numerics::rope::RopeTable,
};

/// Tokens that pass through a layer together.
const CHUNK: usize = 128;

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
    pub x: Tiles,
    pub qkv: [Tiles; 3],
    /// `[heads][tokens][head_dim]`
    pub query_codes: Vec<i8>,
    /// `[heads][tokens]`, times the score factor
    pub query_scales: Vec<f32>,
    pub mixed: Tiles,
    pub gated: Tiles,
    pub inputs: Inputs,
    head: Acts,
}

/// Buffers of a thread.
#[derive(Default)]
pub(super) struct Scratch {
    pub attention: attention::Scratch,
    pub heads: heads::Scratch,
    pub tiles: [Buffer<[f32; ROWS]>; 2],
}

/// A token on its way: which step it belongs to, and where in the sequence it stands.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub step: usize,
    pub position: usize,
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
                let kept = self.run(chunk, &mut caches);
                self.logits(&kept, &mut results);
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

    /// Runs a chunk through all blocks; leaves the residual stream of the tokens whose logits are wanted in `state.x` and
    /// returns them. The others stop behind their keys and values of the last block.
    fn run(&mut self, items: &[Item], caches: &mut [Cache]) -> Vec<Item> {
        let hidden = self.config.hidden;
        self.state.x.resize(items.len(), hidden);
        let mut row = vec![0.0; hidden];
        for (index, item) in items.iter().enumerate() {
            self.embed.read_row(&self.store, item.token as usize, &mut row);
            self.state.x.set_token(index, &row);
        }
        let mut items = items.to_vec();
        for layer in 0..self.blocks.len() {
            self.project_qkv(layer, &items, caches);
            if layer + 1 == self.blocks.len() {
                self.keep_wanted(&mut items);
                if items.is_empty() {
                    break;
                }
            }
            self.attend(layer, &items, caches);
            self.project_o(layer);
            self.project_gate_up(layer, items.len());
            self.project_down(layer);
        }
        items
    }

    /// Goes on with the tokens whose logits are wanted: their residual stream and queries move together.
    fn keep_wanted(&mut self, items: &mut Vec<Item>) {
        let (all, dim, heads) = (items.len(), self.config.head_dim, self.config.heads);
        let wanted: Vec<usize> = (0..all).filter(|&index| items[index].wanted).collect();
        if wanted.len() == all {
            return;
        }
        let State { x, query_codes, query_scales, .. } = &mut self.state;
        let mut rows = vec![Vec::new(); wanted.len()];
        wanted.iter().zip(&mut rows).for_each(|(&token, row)| x.copy_token(token, row));
        x.resize(wanted.len(), self.config.hidden);
        rows.iter().enumerate().for_each(|(token, row)| x.set_token(token, row.as_flattened()));
        for (to, from) in (0..heads).flat_map(|head| wanted.iter().map(move |token| head * all + token)).enumerate() {
            query_codes.copy_within(from * dim..(from + 1) * dim, to * dim);
            query_scales[to] = query_scales[from];
        }
        items.retain(|item| item.wanted);
    }

    /// Appends the logits of tokens to the results of their steps.
    fn logits(&mut self, items: &[Item], results: &mut [Vec<f32>]) {
        let hidden = self.config.hidden;
        let table = self.head.as_ref().unwrap_or(&self.embed);
        if items.is_empty() {
            return;
        }
        let acts = &mut self.state.head;
        acts.begin(self.isa, plain_shape(table.rows(), hidden), hidden, items.len());
        let mut scales = Vec::with_capacity(items.len());
        let (mut codes, mut work, mut buffer) = (vec![0; hidden], vec![0.0; hidden], Vec::new());
        let writer = acts.writer();
        for token in 0..items.len() {
            let x = self.state.x.token(token, &mut buffer);
            let norm = (self.final_norm.as_slice(), self.config.rms_eps);
            scales.push(vector::norm_quantize(self.isa, x, norm, &mut work, &mut codes));
            // SAFETY: one thread.
            unsafe { writer.token(token, &codes) };
        }
        let mut all = vec![0.0; items.len() * table.rows()];
        let out = Shared::new(&mut all);
        let acts = &self.state.head;
        self.pool.run(table.rows().div_ceil(head::UNIT_ROWS), &|_, unit| {
            let first = unit * head::UNIT_ROWS;
            let rows = first..(first + head::UNIT_ROWS).min(table.rows());
            // SAFETY: a unit's rows are its own.
            unsafe { table.logits(self.isa, &self.store, rows, acts, &scales, &out) };
        });
        if let [item] = items
            && results[item.step].is_empty()
        {
            results[item.step] = all;
            return;
        }
        for (item, logits) in items.iter().zip(all.chunks_exact(table.rows())) {
            results[item.step].extend_from_slice(logits);
        }
    }
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
        let mut reference = ReferenceEngine::new(weights.clone(), Numerics::Device).unwrap();
        let id = reference.new_sequence().unwrap();
        assert_eq!(got[2], reference.forward(&[step(id, &parts[2][..30], Want::All)]).unwrap()[0]);
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
