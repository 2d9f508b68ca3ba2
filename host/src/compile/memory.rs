//! Where things lie: vectors on the chip, caches in memory.

use super::error::{CompileError, at_most, multiple};
use super::matrix::Matrix;
use spec::model::ModelConfig;
use spec::program::{DeviceShape, LINE};

/// Sizes of heads in words and beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Pairs of engine words of a rotated head.
    pub rope_words: usize,
    /// Column words of a query or key.
    pub q_words: usize,
    /// Column words of a value.
    pub v_words: usize,
    /// Port beats of a key.
    pub k_beats: usize,
    /// Port beats of a value.
    pub v_beats: usize,
}

impl Heads {
    /// Checks heads against the machine.
    pub(super) fn new(c: &ModelConfig, shape: &DeviceShape) -> Result<Heads, CompileError> {
        let (lanes, beat) = (shape.lanes(), shape.beat());
        multiple("head_dim", c.head_dim, lanes, "choose a preset with fewer rows")?;
        let rope_words = (c.head_dim / 2).div_ceil(shape.rows);
        let columns = 2 * rope_words * shape.rows;
        let advice = "choose a preset with wider heads";
        at_most("columns of a head, its halves filled up to words", columns, shape.max_head_dim, advice)?;
        at_most("rows of a rotated head", columns, shape.tile_rows, "choose a preset with a larger tile")?;
        at_most("query heads that share keys", c.group(), 255, "no preset takes more")?;
        let (k_beats, v_beats) = (columns.div_ceil(beat), c.head_dim.div_ceil(beat));
        at_most("port beats of a head", k_beats.max(v_beats), 255, "choose a preset with wider ports")?;
        let heads = Heads { rope_words, q_words: columns / lanes, v_words: c.head_dim / lanes, k_beats, v_beats };
        let queries = c.heads * heads.q_words;
        at_most("words of queries", queries, shape.query_words, "choose a preset with a larger query memory")?;
        Ok(heads)
    }
}

/// Places of a bank in the vector memory, in column words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorMap {
    /// Residual stream.
    pub x: usize,
    /// Queries; the result of attention takes their place.
    pub q: usize,
    /// Keys.
    pub k: usize,
    /// Values.
    pub v: usize,
    /// Gated product, in the place of queries, keys and values.
    pub gated: usize,
    /// Normed input of layers with a norm of their own.
    pub norm: usize,
    /// Sums of planes of a tile.
    pub planes: usize,
    /// Words in use, by each bank.
    pub words: usize,
}

impl VectorMap {
    /// All places so many words further.
    pub(super) fn moved(self, by: usize) -> VectorMap {
        let VectorMap { x, q, k, v, gated, norm, planes, words } = self;
        let [x, q, k, v, gated, norm, planes] = [x, q, k, v, gated, norm, planes].map(|place| place + by);
        VectorMap { x, q, k, v, gated, norm, planes, words }
    }

    /// Lays the vectors out.
    pub(super) fn new(
        c: &ModelConfig,
        shape: &DeviceShape,
        heads: &Heads,
        matrices: &[&Matrix<'_>],
    ) -> Result<VectorMap, CompileError> {
        let written = |columns: usize| columns.next_multiple_of(shape.rows) / shape.lanes();
        let x = written(c.hidden);
        let (q, k, v) = (c.heads * heads.q_words, c.kv_heads * heads.q_words, written(c.kv_dim()));
        let (attention, gated) = (q + k + v, written(c.ffn));
        let own_norm = matrices.iter().flat_map(|m| &m.parts).filter(|part| part.linear.input_norm.is_some());
        let norm = own_norm.map(|part| part.linear.cols().div_ceil(shape.lanes())).max().unwrap_or(0);
        let mut planes = 0;
        for matrix in matrices.iter().filter(|m| m.many_rounds()) {
            let tiles = matrix.tiles(shape)?;
            planes = tiles.iter().map(|tile| tile.len() * shape.runs()).max().unwrap_or(0).max(planes);
        }
        let scratch = x + attention.max(gated);
        let words = scratch + norm + planes;
        if words > shape.vm_words {
            let (found, limit) = (words, shape.vm_words);
            return Err(CompileError::VectorMemory { found, limit, x, attention, gated, norm, planes });
        }
        Ok(VectorMap { x: 0, q: x, k: x + q, v: x + q + k, gated: x, norm: scratch, planes: scratch + norm, words })
    }
}

/// How the cache of a sequence is laid out, in lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheGeometry {
    /// Positions of a sequence.
    pub context: usize,
    /// From keys to values of a head.
    pub v_off: u64,
    /// From keys to scales of a head.
    pub scale_off: u64,
    /// From a head to the next.
    pub kv_stride: u64,
    /// From a layer to the next.
    pub layer: u64,
    /// Lines of a sequence.
    pub lines: u64,
}

impl CacheGeometry {
    pub(super) fn new(c: &ModelConfig, shape: &DeviceShape, heads: &Heads, context: usize) -> CacheGeometry {
        let lines = |bytes: usize| (context as u64 * bytes as u64).div_ceil(LINE);
        let v_off = lines(heads.k_beats * shape.beat());
        let scale_off = v_off + lines(heads.v_beats * shape.beat());
        let kv_stride = scale_off + lines(8);
        let layer = kv_stride * c.kv_heads as u64;
        CacheGeometry { context, v_off, scale_off, kv_stride, layer, lines: layer * c.layers as u64 }
    }
}
