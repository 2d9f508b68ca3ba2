//! The fields of descriptors as data.

use super::Op;

/// A field of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The operation that has it.
    pub op: Op,
    /// Its name; the command port of the unit has the same.
    pub name: &'static str,
    /// Its word.
    pub word: usize,
    /// Its lowest bit.
    pub low: u32,
    /// Its width in bits.
    pub width: u32,
    /// What it says.
    pub meaning: &'static str,
}

impl Field {
    /// Ones in the field's width.
    pub const fn mask(&self) -> u32 {
        if self.width >= 32 { u32::MAX } else { (1 << self.width) - 1 }
    }
}

const fn f(op: Op, name: &'static str, word: usize, low: u32, width: u32, meaning: &'static str) -> Field {
    Field { op, name, word, low, width, meaning }
}

use Op::{Attend, Gather, Linear, Quant, Stream};

/// All fields. "Column words" are words of L columns, see docs/architecture/machine.md.
pub const FIELDS: &[Field] = &[
    f(Stream, "stream", 1, 0, 2, "which stream: weight, row, norm, mult"),
    f(Stream, "sherry", 1, 2, 1, "weights: Sherry codes instead of five trits a byte"),
    f(Stream, "addr", 2, 0, 32, "line of the first packet (of port 0)"),
    f(Stream, "stride", 3, 0, 32, "weights: lines from a port's region to the next port's"),
    f(Stream, "packets", 4, 0, 32, "packets (of each port)"),
    f(Stream, "words", 5, 0, 32, "words that the stream delivers; the rest of the last packet is dropped"),
    f(Stream, "listed", 1, 3, 1, "weights: a packet of each group that the head listed, in the order of its list"),
    f(
        Stream,
        "each",
        6,
        0,
        16,
        "listed: words of a group; delivered are the first ones of all groups, then the second ones",
    ),
    f(Gather, "embed", 1, 0, 32, "line of the embedding's first row"),
    f(Gather, "embed_beats", 2, 0, 16, "port beats of an embedding row: one with the scale, then the codes"),
    f(Gather, "words", 2, 16, 16, "column words of a row"),
    f(Gather, "rope", 3, 0, 32, "line of the rotary factors of position 0"),
    f(Gather, "rope_beats", 4, 0, 16, "port beats of a position's rotary factors"),
    f(Gather, "dst", 5, 0, 16, "column word of the vector memory"),
    f(Gather, "bank", 5, 16, 1, "bank of slots"),
    f(Quant, "mode", 1, 0, 3, "where results go: act, query, key, value, norm"),
    f(Quant, "norm", 1, 3, 1, "weights of the norm stream and its RMS factor"),
    f(Quant, "sherry", 1, 4, 1, "act: tables of four columns"),
    f(Quant, "src", 2, 0, 16, "column word of the first vector"),
    f(Quant, "words", 2, 16, 16, "column words of a vector"),
    f(Quant, "vectors", 3, 0, 16, "vectors that follow each other (heads)"),
    f(Quant, "dst", 3, 16, 16, "norm: column word of the result; query: query word of the first vector"),
    f(Quant, "count", 4, 0, 32, "norm: elements of a vector as binary32"),
    f(Quant, "eps", 5, 0, 32, "norm: epsilon as binary32"),
    f(Quant, "factor", 6, 0, 32, "query: multiplies the scales, binary32"),
    f(Quant, "cols", 7, 0, 20, "act: columns"),
    f(Quant, "seg_cols", 8, 0, 16, "act: columns of a segment"),
    f(Quant, "group_cols", 9, 0, 20, "act: columns of a group; a group ends its segment"),
    f(Quant, "kv_off", 10, 0, 32, "key, value: lines from a sequence's cache to the codes of this layer's head 0"),
    f(Quant, "kv_stride", 11, 0, 32, "key, value: lines from a head to the next"),
    f(Quant, "row_beats", 12, 0, 16, "key, value: port beats of a position's codes"),
    f(Quant, "scale_off", 13, 0, 32, "key, value: lines from a sequence's cache to the scales of this layer's head 0"),
    f(Quant, "act", 14, 0, 16, "act: first segment in the activation buffer"),
    f(Quant, "first", 14, 16, 12, "query: number of the first vector's head"),
    f(Quant, "bank", 14, 28, 1, "bank of slots"),
    f(Linear, "words", 1, 0, 16, "words of Q rows in the tile"),
    f(Linear, "segs", 1, 16, 16, "segments of a plane"),
    f(Linear, "planes", 2, 0, 3, "planes; the first weighs 3^(planes-1), the last 1"),
    f(Linear, "grouped", 2, 3, 1, "sums of a segment are multiplied by the mult stream"),
    f(Linear, "sherry", 2, 4, 1, "tables of four columns"),
    f(Linear, "mode", 2, 5, 3, "epilogue: store, residual, silu, relu2, rope, logits, rank, pick"),
    f(Linear, "accumulate", 2, 8, 1, "epilogue: add the vector memory at `acc` first"),
    f(Linear, "bias", 2, 9, 1, "epilogue: Q biases of the row stream"),
    f(Linear, "row_scale", 2, 10, 1, "epilogue: Q scales of the row stream instead of `scale_a`, `scale_b`"),
    f(Linear, "rope_words", 2, 16, 8, "rope: pairs of words in a head"),
    f(Linear, "scale_a", 3, 0, 32, "scale of all rows (of the first of a pair), binary32"),
    f(Linear, "scale_b", 4, 0, 32, "scale of the second of a pair, binary32"),
    f(Linear, "dst", 5, 0, 16, "column word of the result"),
    f(Linear, "acc", 5, 16, 16, "accumulate: column word of the other summand"),
    f(Linear, "cols", 6, 0, 20, "columns of the result; what is beyond is zero"),
    f(Linear, "base", 7, 0, 20, "logits, rank: number of the tile's first row"),
    f(Linear, "final", 7, 20, 1, "logits, rank: the last tile of the head"),
    f(Linear, "bank", 7, 21, 1, "bank of slots"),
    f(Linear, "hold", 7, 22, 1, "the tile's weights stay in the ring, to come once more for another bank"),
    f(Linear, "again", 7, 23, 1, "behind this tile all weights that stay come once more"),
    f(Linear, "keep", 8, 0, 8, "rank: groups that are listed"),
    f(Linear, "act", 8, 8, 16, "first segment in the activation buffer"),
    f(Linear, "total", 9, 0, 32, "words of weights: words * segs * planes"),
    f(Attend, "kv_off", 1, 0, 32, "lines from a sequence's cache to the keys of this layer's head 0"),
    f(Attend, "v_off", 2, 0, 32, "lines from keys to values of a head"),
    f(Attend, "scale_off", 3, 0, 32, "lines from a sequence's cache to the scales of this layer's head 0"),
    f(Attend, "kv_stride", 4, 0, 32, "lines from a head to the next, codes and scales alike"),
    f(Attend, "kv_heads", 5, 0, 16, "key/value heads, from those that the offsets name"),
    f(Attend, "group", 5, 16, 8, "query heads that share a key/value head"),
    f(Attend, "q_words", 6, 0, 16, "words of L codes of a query"),
    f(Attend, "k_beats", 6, 16, 8, "port beats of a key"),
    f(Attend, "v_beats", 6, 24, 8, "port beats of a value"),
    f(Attend, "v_words", 7, 0, 16, "words of L columns of a head of the result"),
    f(Attend, "dst", 7, 16, 16, "column word of the result"),
    f(Attend, "first", 8, 0, 12, "number of the first query head"),
    f(Attend, "bank", 8, 12, 1, "bank of slots"),
    f(Attend, "q_first", 8, 16, 16, "query word of the first query head"),
];

/// The field of an operation with this name.
pub fn field(op: Op, name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|f| f.op == op && f.name == name)
}

/// The fields of an operation.
pub fn fields_of(op: Op) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |f| f.op == op)
}
