//! The order of a pass: embedding, layers, head.

use super::emit::{Emitter, Input};
use super::error::CompileError;
use super::matrix::{Layout, Matrix, tiles};
use super::memory::{CacheGeometry, Heads};
use super::packets::Trits;
use super::shortlist::Planes;
use spec::format::{planes, table::CodedMatrix};
use spec::model::{Activation, ModelConfig, ModelWeights, weights::Layer};
use spec::numerics::{f32ops::flush, softmax::score_factor};
use spec::program::{DeviceShape, LABEL_NONE, Op, epilogue, quant, wait};

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
        LayerPlan {
            layer,
            q: Matrix::rotated(shape, "q", &layer.q, c.head_dim),
            k: Matrix::rotated(shape, "k", &layer.k, c.head_dim),
            v: Matrix::natural(shape, "v", &layer.v, epilogue::STORE),
            o: Matrix::natural(shape, "o", &layer.o, epilogue::RESIDUAL),
            gated: Matrix::gated(shape, &layer.gate, &layer.up, act),
            down: Matrix::natural(shape, "down", &layer.down, epilogue::RESIDUAL),
        }
    }

    pub fn matrices(&self) -> [&Matrix<'a>; 6] {
        [&self.q, &self.k, &self.v, &self.o, &self.gated, &self.down]
    }

    /// Attention, then the feed-forward network.
    pub fn emit(
        &self,
        e: &mut Emitter<'_>,
        c: &ModelConfig,
        heads: &Heads,
        cache: &CacheGeometry,
        index: usize,
    ) -> Result<(), CompileError> {
        let map = e.map;
        e.label = index as u16;
        let norm = |weights: &'a [f32]| Some((weights, c.rms_eps));
        let x = Input { src: map.x, cols: c.hidden, norm: norm(&self.layer.attn_norm) };
        e.new_input();
        for (matrix, place) in [(&self.q, map.q), (&self.k, map.k), (&self.v, map.v)] {
            e.matrix(matrix, x, place)?;
        }
        self.heads(e, c, heads, cache, index as u64 * cache.layer)?;
        let mixed = Input { src: map.q, cols: c.q_dim(), norm: self.layer.attn_sub_norm.as_deref().and_then(norm) };
        e.new_input();
        e.matrix(&self.o, mixed, map.x)?;
        e.new_input();
        e.matrix(&self.gated, Input { norm: norm(&self.layer.ffn_norm), ..x }, map.gated)?;
        let gated = Input { src: map.gated, cols: c.ffn, norm: self.layer.ffn_sub_norm.as_deref().and_then(norm) };
        e.new_input();
        e.matrix(&self.down, gated, map.x)
    }

    /// Queries, keys and values of all heads, and attention.
    fn heads(
        &self,
        e: &mut Emitter<'_>,
        c: &ModelConfig,
        heads: &Heads,
        cache: &CacheGeometry,
        layer: u64,
    ) -> Result<(), CompileError> {
        let map = e.map;
        let vectors = |mode: u32, src: usize, words: usize, count: usize| {
            let place = [("src", src as u64), ("words", words as u64), ("vectors", count as u64)];
            [&[("mode", u64::from(mode))][..], &place].concat()
        };
        let mut query = vectors(quant::QUERY, map.q, heads.q_words, c.heads);
        query.push(("factor", u64::from(score_factor(c.head_dim).to_bits())));
        e.emit(Op::Quant, wait::EPILOGUE | wait::ATTEND, &query)?;
        let (k_beats, v_beats) = (heads.k_beats, heads.v_beats);
        for (mode, src, words, beats, offset) in
            [(quant::KEY, map.k, heads.q_words, k_beats, 0), (quant::VALUE, map.v, heads.v_words, v_beats, cache.v_off)]
        {
            let mut fields = vectors(mode, src, words, c.kv_heads);
            fields.extend([
                ("kv_off", layer + offset),
                ("kv_stride", cache.kv_stride),
                ("row_beats", beats as u64),
                ("scale_off", layer + cache.scale_off),
            ]);
            e.emit(Op::Quant, wait::EPILOGUE, &fields)?;
        }
        e.emit(
            Op::Attend,
            wait::QUANT | wait::KV,
            &[
                ("kv_off", layer),
                ("v_off", cache.v_off),
                ("scale_off", layer + cache.scale_off),
                ("kv_stride", cache.kv_stride),
                ("kv_heads", c.kv_heads as u64),
                ("group", c.group() as u64),
                ("q_words", heads.q_words as u64),
                ("k_beats", k_beats as u64),
                ("v_beats", v_beats as u64),
                ("v_words", heads.v_words as u64),
                ("dst", map.q as u64),
            ],
        )
    }
}

/// How the activations of the head lie in the activation buffer.
pub(super) fn head_layout(shape: &DeviceShape, hidden: usize) -> Layout {
    Layout { sherry: false, cols: hidden, seg_cols: shape.segment(false), group_cols: hidden }
}

/// Final norm and logits: five planes of every tile, the heaviest first.
pub(super) fn head(e: &mut Emitter<'_>, weights: &ModelWeights, table: &CodedMatrix) -> Result<(), CompileError> {
    let c = &weights.config;
    let q = e.shape.rows;
    e.label = LABEL_NONE;
    e.select(false)?;
    let layout = head_layout(e.shape, c.hidden);
    e.new_input();
    let input = Input { src: e.map.x, cols: c.hidden, norm: Some((&weights.final_norm, c.rms_eps)) };
    e.activate(input, layout, None)?;
    let segments = layout.segments();
    let trits = Planes::new(table);
    let all = tiles(c.vocab.div_ceil(q), 1, e.shape.tile_words());
    for (number, tile) in all.iter().enumerate() {
        let rows = tile.start * q..(tile.end * q).min(c.vocab);
        for plane in (0..planes::PLANES).rev() {
            let trits = trits.rows(tile.start * q..tile.end * q, plane);
            e.push_plane(&Trits { rows: &trits, cols: c.hidden, segments: &segments });
        }
        let scale = |row: usize| table.scales().get(row).map(|&scale| flush(scale));
        let scales: Vec<Option<f32>> = (tile.start * q..tile.end * q).map(scale).collect();
        e.push_rows(&scales, true, None);
        e.emit(
            Op::Linear,
            wait::QUANT,
            &[
                ("words", tile.len() as u64),
                ("segs", segments.len() as u64),
                ("planes", planes::PLANES as u64),
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
