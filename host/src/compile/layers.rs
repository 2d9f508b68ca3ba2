//! The order of a pass: embedding, layers, head.

use super::emit::{Emitter, Input, Item, Order};
use super::error::CompileError;
use super::heads::{Codes, Geometry, Late, head_groups};
use super::matrix::{Layout, Matrix, head_tiles};
use super::memory::{CacheGeometry, Heads};
use super::shortlist::Planes;
use spec::model::{Activation, ModelConfig, ModelWeights, weights::Layer};
use spec::numerics::f32ops::flush;
use spec::program::{DeviceShape, LABEL_NONE, Op, epilogue};
use std::ops::Range;

/// The matrices of a layer.
pub(super) struct LayerPlan<'a> {
    layer: &'a Layer,
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    o: Matrix<'a>,
    gated: Matrix<'a>,
    down: Matrix<'a>,
}

impl<'a> LayerPlan<'a> {
    pub fn new(c: &ModelConfig, shape: &DeviceShape, layer: &'a Layer) -> Self {
        let act = match c.activation {
            Activation::Silu => epilogue::SILU,
            Activation::Relu2 => epilogue::RELU2,
        };
        let mut q = Matrix::rotated(shape, "q", &layer.q, c.head_dim);
        let mut k = Matrix::rotated(shape, "k", &layer.k, c.head_dim);
        let mut v = Matrix::natural(shape, "v", &layer.v, epilogue::STORE);
        let heads = head_groups(shape, c, &q);
        if let Some(heads) = heads {
            q.cut(&heads, q.unit * c.group());
            if c.group() == 1 && c.head_dim.is_multiple_of(shape.rows) {
                k.cut(&heads, k.unit);
                v.cut(&heads, c.head_dim / shape.rows);
            }
        }
        LayerPlan {
            layer,
            q,
            k,
            v,
            o: Matrix::natural(shape, "o", &layer.o, epilogue::RESIDUAL),
            gated: Matrix::gated(shape, &layer.gate, &layer.up, act),
            down: Matrix::natural(shape, "down", &layer.down, epilogue::RESIDUAL),
        }
    }

    pub fn matrices(&self) -> [&Matrix<'a>; 6] {
        [&self.q, &self.k, &self.v, &self.o, &self.gated, &self.down]
    }

    /// Whether banks can share the weights of all matrices.
    pub fn fits_ring(&self, shape: &DeviceShape) -> bool {
        self.matrices().iter().all(|matrix| matrix.fits_ring(shape))
    }

    /// Attention, then the feed-forward network. Of the last layer only keys and values are for all banks: what follows
    /// them is the logits', which are those of the last bank.
    pub fn emit(
        &self,
        e: &mut Emitter<'_>,
        c: &ModelConfig,
        (heads, cache): (&Heads, &CacheGeometry),
        index: usize,
    ) -> Result<(), CompileError> {
        let map = e.map(0);
        e.label = index as u16;
        let norm = |weights: &'a [f32]| Some((weights, c.rms_eps));
        let x = Input { src: map.x, cols: c.hidden, norm: norm(&self.layer.attn_norm) };
        e.new_input();
        let last = index + 1 == c.layers;
        self.attention(e, x, &Geometry { c, heads, cache, layer: index as u64 * cache.layer }, last)?;
        let mixed = Input { src: map.q, cols: c.q_dim(), norm: self.layer.attn_sub_norm.as_deref().and_then(norm) };
        e.new_input();
        e.matrix(&self.o, mixed, map.x)?;
        e.new_input();
        e.matrix(&self.gated, Input { norm: norm(&self.layer.ffn_norm), ..x }, map.gated)?;
        let gated = Input { src: map.gated, cols: c.ffn, norm: self.layer.ffn_sub_norm.as_deref().and_then(norm) };
        e.new_input();
        e.matrix(&self.down, gated, map.x)
    }

    /// Keys, values, queries, their codes, and attention. For one bank attention takes all heads at once, for several it
    /// takes those of a tile of queries.
    fn attention(
        &self,
        e: &mut Emitter<'_>,
        x: Input<'a>,
        g: &Geometry<'_>,
        of_last: bool,
    ) -> Result<(), CompileError> {
        let map = e.map(0);
        let of_matrix = |matrix: &Matrix<'a>, all: fn(Range<usize>) -> Codes, unit: usize| {
            let tiles = matrix.tiles(e.shape)?;
            let last = tiles.len() - 1;
            let codes = |(number, tile): (usize, Range<usize>)| match matrix.cut_at_heads() {
                true => (tile.clone(), Some(all(tile.start / unit..tile.end / unit))),
                false => (tile, (number == last).then(|| all(0..g.c.kv_heads))),
            };
            Ok::<_, CompileError>(tiles.into_iter().enumerate().map(codes).collect::<Vec<_>>())
        };
        let keys = of_matrix(&self.k, Codes::Keys, self.k.unit)?;
        let values = of_matrix(&self.v, Codes::Values, (g.c.head_dim / e.shape.rows).max(1))?;
        let queries = of_matrix(&self.q, Codes::Queries, self.q.unit * g.c.group())?;
        let all = [(&self.k, map.k, keys), (&self.v, map.v, values), (&self.q, map.q, queries)];
        // heads by heads if all are cut so, otherwise all keys, all values, all queries: of the last layer queries come behind
        // the end of the body
        let by_heads = self.k.cut_at_heads() && self.v.cut_at_heads() && !of_last;
        let mut order = Vec::new();
        for (matrix, place, tiles) in all {
            for (number, (tile, codes)) in tiles.into_iter().enumerate() {
                let rank = if by_heads { number } else { 0 };
                order.push((rank, matrix, place, tile, codes));
            }
        }
        order.sort_by_key(|(rank, ..)| *rank);
        let (mut items, mut codes) = (Vec::<Item<'_, 'a>>::new(), Vec::new());
        for (_, matrix, place, tile, of_tile) in order {
            items.extend(matrix.items(&tile, place));
            codes.resize_with(items.len(), || None);
            codes[items.len() - 1] = of_tile;
        }
        if of_last {
            let kept = items.iter().take_while(|item| !std::ptr::eq(item.matrix, &self.q)).count();
            self.heads(e, x, g, (&items[..kept], &codes[..kept]))?;
            e.end_body();
            (items, codes) = (items.split_off(kept), codes.split_off(kept));
        }
        self.heads(e, x, g, (&items, &codes))?;
        match e.banks {
            1 => g.attend(e, &Codes::Queries(0..g.c.kv_heads), 0),
            _ => Ok(()),
        }
    }

    /// Tiles of keys, values and queries, and what follows them. Codes of a tile's heads are emitted behind the bank's
    /// next tile, attention behind the one after it, so that the engine always has something to do.
    fn heads(
        &self,
        e: &mut Emitter<'_>,
        x: Input<'a>,
        g: &Geometry<'_>,
        (items, codes): (&[Item<'_, 'a>], &[Option<Codes>]),
    ) -> Result<(), CompileError> {
        let mut late = vec![Late::default(); e.banks];
        // the next bank's codes come first of all, so that nothing of this bank holds them up
        e.items(items, x, Order { ahead: 1, large_last: true }, |e, bank, number| {
            // a bank that is through goes on behind the next bank's tiles, a step a tile: attention before the next
            // bank's codes, which would hold it up, its own last codes behind those, which are ready before them
            let through = bank > e.active.start && late[bank - 1].seen >= items.len();
            let attends = through && matches!(late[bank - 1].ready, Some(Codes::Queries(_)));
            if attends {
                late[bank - 1].step(e, g, bank - 1, &None)?;
            }
            // codes of the last two tiles, and what follows them, wait until the first bank's activations of the next
            // matrix are made
            let from_last =
                if e.active.len() > 1 && bank + 1 == e.active.end { items.len() - number } else { usize::MAX };
            match from_last {
                1 => e.put_off(|e| late[bank].step(e, g, bank, &codes[number]))?,
                2 => {
                    late[bank].attend(e, g, bank)?;
                    e.put_off(|e| late[bank].codes(e, g, bank, &codes[number]))?;
                }
                _ => late[bank].step(e, g, bank, &codes[number])?,
            }
            match through && !attends {
                true => late[bank - 1].step(e, g, bank - 1, &None),
                false => Ok(()),
            }
        })?;
        // one bank's attention comes before the next matrix, which reads what it makes; codes of keys and values do not
        let queries = codes.iter().flatten().any(|codes| matches!(codes, Codes::Queries(_)));
        for bank in e.active.clone() {
            match bank + 1 == e.active.end && !(queries && e.active.len() == 1) {
                true => e.put_off(|e| late[bank].finish(e, g, bank))?,
                false => late[bank].finish(e, g, bank)?,
            }
        }
        Ok(())
    }
}

/// How the activations of the head lie in the activation buffer.
pub(super) fn head_layout(shape: &DeviceShape, hidden: usize) -> Layout {
    Layout { sherry: false, cols: hidden, seg_cols: shape.segment(false), group_cols: hidden }
}

/// Final norm and logits of the last bank: all planes that its codes need of every tile, the heaviest first.
pub(super) fn head(e: &mut Emitter<'_>, weights: &ModelWeights, planes: &Planes<'_>) -> Result<(), CompileError> {
    let c = &weights.config;
    let (q, bank) = (e.shape.rows, e.banks - 1);
    e.label = LABEL_NONE;
    e.select(false)?;
    let layout = head_layout(e.shape, c.hidden);
    e.new_input();
    let input = Input { src: e.map(0).x, cols: c.hidden, norm: Some((&weights.final_norm, c.rms_eps)) };
    e.activate(bank, input, layout, None)?;
    let segments = layout.segments();
    let all = head_tiles(e.shape, c.vocab);
    for (number, tile) in all.iter().enumerate() {
        let rows = tile.start * q..(tile.end * q).min(c.vocab);
        for plane in (0..planes.count).rev() {
            e.push_plane(&segments, tile.len(), c.hidden, || planes.rows(tile.start * q..tile.end * q, plane));
        }
        let scale = |row: usize| planes.table.scales().get(row).map(|&scale| flush(scale));
        let scales: Vec<Option<f32>> = (tile.start * q..tile.end * q).map(scale).collect();
        e.push_rows(&scales, true, None);
        e.emit(
            Op::Linear,
            &[
                ("bank", bank as u64),
                ("act", e.segment(bank) as u64),
                ("total", (tile.len() * segments.len() * planes.count) as u64),
                ("words", tile.len() as u64),
                ("segs", segments.len() as u64),
                ("planes", planes.count as u64),
                ("mode", u64::from(epilogue::LOGITS)),
                ("row_scale", 1),
                ("cols", rows.len() as u64),
                ("base", rows.start as u64),
                ("final", u64::from(number + 1 == all.len())),
            ],
        )?;
    }
    Ok(())
}
