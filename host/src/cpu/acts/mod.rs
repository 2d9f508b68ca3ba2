//! int8 activations in the forms that the kernels read.

mod writer;

pub use writer::Writer;

use super::{
    isa::Isa,
    layout::{Code, Shape},
    shared::Shared,
};

/// 64 bytes on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [i8; 64]);

/// Which columns are summed before a multiplier is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Columns in a group; the last group may be shorter.
    pub size: usize,
}

/// A run of slots that belongs to one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First slot of the row block.
    pub slot: usize,
    /// Slots.
    pub count: usize,
}

/// Activations of several tokens for matrices of one layout, width and grouping.
#[derive(Default)]
pub struct Acts {
    tokens: usize,
    key: Option<(Code, usize, usize)>,
    row_lines: usize,
    tile_rows: usize,
    rows: Vec<Line>,
    tiles: Vec<(usize, usize)>,
    words: Vec<i32>,
    spans: Vec<Span>,
    sums: Vec<i32>,
}

/// Most tokens of a tile of the tile unit.
pub const TILE_ROWS: usize = 16;

/// From this many tokens on, the tile unit beats the vector unit.
pub const AMX_TOKENS: usize = 5;

impl Acts {
    /// Most tokens that a vector kernel of `isa` multiplies at a time.
    pub const fn max_tile(isa: Isa) -> usize {
        match isa {
            Isa::Avx512 | Isa::Amx => 16,
            _ => 4,
        }
    }

    /// Makes room for `tokens` rows of `shape.cols` codes. `group` is the number of columns that share
    /// a multiplier, `shape.cols` if there are no multipliers. The codes follow by [`Acts::writer`].
    pub fn begin(&mut self, isa: Isa, shape: Shape, group: usize, tokens: usize) {
        let group = group.clamp(1, shape.cols);
        self.tokens = tokens;
        self.key = Some((shape.code, shape.cols, group));
        self.row_lines = (shape.slots() * 4).div_ceil(64);
        self.tile_rows = if self.uses_tiles(isa) { tokens.div_ceil(tokens.div_ceil(TILE_ROWS)) } else { 0 };
        self.rows.resize(tokens.next_multiple_of(TILE_ROWS) * self.row_lines, Line([0; 64]));
        self.sums.resize(shape.cols.div_ceil(group) * tokens, 0);
        self.words.clear();
        self.tiles.clear();
        self.plan_spans(shape, group);
        if self.tile_rows == 0 {
            self.plan_tiles(Self::max_tile(isa));
            let entries: usize = self.spans.iter().map(|s| s.count).sum();
            self.words.resize(entries * tokens, 0);
        }
    }

    /// Writes the codes of tokens, several at the same time.
    pub fn writer(&mut self) -> Writer<'_> {
        let (code, cols, group) = self.key.unwrap_or((Code::Two, 1, 1));
        Writer {
            code,
            cols,
            group,
            tokens: self.tokens,
            row_lines: self.row_lines,
            tile_rows: self.tile_rows,
            spans: &self.spans,
            tiles: &self.tiles,
            rows: Shared::new(&mut self.rows),
            sums: Shared::new(&mut self.sums),
            words: Shared::new(&mut self.words),
        }
    }

    /// All at once: `codes` are `[tokens, shape.cols]`.
    pub fn prepare(&mut self, isa: Isa, shape: Shape, group: usize, tokens: usize, codes: &[i8]) {
        assert_eq!(codes.len(), tokens * shape.cols, "activations");
        self.begin(isa, shape, group, tokens);
        let writer = self.writer();
        for (token, codes) in codes.chunks_exact(shape.cols).enumerate() {
            // SAFETY: one thread, one token after the other.
            unsafe { writer.token(token, codes) };
        }
    }

    /// Whether `isa` multiplies these activations with the tile unit.
    pub fn uses_tiles(&self, isa: Isa) -> bool {
        let suits = self.key.is_some_and(|(code, cols, group)| group == cols && isa.reads(code));
        isa == Isa::Amx && suits && self.tokens >= AMX_TOKENS
    }

    /// Tokens of a tile of the tile unit; 0 if the codes lie token by token.
    pub fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// Codes of token tile `tile` for the tile unit: `[row_lines][16 tokens]` lines, of which
    /// [`Acts::tile_rows`] tokens count. Sixty-four inputs of a tile lie together, so that the unit
    /// loads one KiB in order.
    pub fn tile(&self, tile: usize) -> &[Line] {
        assert!(self.tile_rows > 0, "codes in tiles");
        &self.rows[tile * TILE_ROWS * self.row_lines..(tile + 1) * TILE_ROWS * self.row_lines]
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Panics unless these activations were prepared for such matrices.
    pub fn check(&self, shape: Shape, group: usize) {
        let want = (shape.code, shape.cols, group.clamp(1, shape.cols));
        assert_eq!(self.key, Some(want), "activations prepared for another matrix");
    }

    /// Token tiles: first token and count.
    pub fn tiles(&self) -> &[(usize, usize)] {
        &self.tiles
    }

    /// Slots of each group.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Words of a tile, `[slots of all spans][tokens of the tile]`.
    pub fn words(&self, tile: (usize, usize)) -> &[i32] {
        let entries: usize = self.spans.iter().map(|s| s.count).sum();
        &self.words[entries * tile.0..entries * (tile.0 + tile.1)]
    }

    /// Sums of the codes, `[groups, tokens]`.
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Codes in slot order, `[tokens, row_lines]`, zero padded.
    pub fn rows(&self) -> &[Line] {
        assert!(self.tile_rows == 0, "codes token by token");
        &self.rows[..self.tokens * self.row_lines]
    }

    /// Lines of a row.
    pub fn row_lines(&self) -> usize {
        self.row_lines
    }

    fn plan_spans(&mut self, shape: Shape, group: usize) {
        self.spans.clear();
        if group == shape.cols {
            self.spans.push(Span { slot: 0, count: shape.slots() });
            return;
        }
        let unit = shape.code.unit_slots();
        for start in (0..shape.cols).step_by(group) {
            let end = (start + group).min(shape.cols);
            let (first, last) = (start / (4 * unit) * unit, end.div_ceil(4 * unit) * unit);
            self.spans.push(Span { slot: first, count: last - first });
        }
    }

    fn plan_tiles(&mut self, max: usize) {
        let count = self.tokens.div_ceil(max).max(1);
        let mut first = 0;
        for tile in 0..count {
            let end = self.tokens * (tile + 1) / count;
            self.tiles.push((first, end - first));
            first = end;
        }
    }
}
