//! Embedding rows and rotary factors as gather reads them.

use super::memory::Heads;
use spec::format::table::CodedMatrix;
use spec::model::ModelConfig;
use spec::numerics::{f32ops::flush, rope::RopeTable};
use spec::program::DeviceShape;

/// Port beats of an embedding row: one with the scale, then the codes.
pub(super) fn embed_beats(c: &ModelConfig, shape: &DeviceShape) -> usize {
    1 + c.hidden.div_ceil(shape.beat())
}

/// Rows of the embedding.
pub(super) fn embed(table: &CodedMatrix, shape: &DeviceShape, beats: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.rows() * beats * shape.beat());
    for row in 0..table.rows() {
        let start = out.len();
        out.extend_from_slice(&flush(table.scales()[row]).to_le_bytes());
        out.resize(start + shape.beat(), 0);
        out.extend_from_slice(table.row(row));
        out.resize(start + beats * shape.beat(), 0);
    }
    out
}

/// Port beats of the rotary factors of a position.
pub(super) fn rope_beats(heads: &Heads, shape: &DeviceShape) -> usize {
    (8 * heads.rope_words * shape.rows).div_ceil(shape.beat())
}

/// Cosine and sine of every element of every position.
pub(super) fn rope(c: &ModelConfig, shape: &DeviceShape, context: usize, beats: usize) -> Vec<u8> {
    let table = RopeTable::new(c, context);
    let mut out = Vec::with_capacity(context * beats * shape.beat());
    for position in 0..context {
        let start = out.len();
        for (cos, sin) in table.cos(position).iter().zip(table.sin(position)) {
            out.extend_from_slice(&cos.to_le_bytes());
            out.extend_from_slice(&sin.to_le_bytes());
        }
        out.resize(start + beats * shape.beat(), 0);
    }
    out
}
