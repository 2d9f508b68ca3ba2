//! Activations between layers: `[row block][token][16 rows]`, so that whoever computes a row block
//! writes one contiguous piece, and no power-of-two stride lets tokens evict each other.

use super::{buffer::Buffer, layout::ROWS};

/// A matrix of activations in tiles. With one token it is simply a vector.
#[derive(Default)]
pub struct Tiles {
    tokens: usize,
    stride: usize,
    rows: usize,
    data: Buffer<[f32; ROWS]>,
}

impl Tiles {
    /// Tiles from one row block to the next, for so many tokens: an odd number.
    pub fn stride_of(tokens: usize) -> usize {
        tokens | 1
    }

    /// Makes room; the contents are unspecified.
    pub fn resize(&mut self, tokens: usize, rows: usize) {
        self.tokens = tokens;
        self.stride = Self::stride_of(tokens);
        self.rows = rows;
        self.data.resize(rows.div_ceil(ROWS) * self.stride);
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tiles from one row block to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Rows of a token.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All tiles; those of row block `b` start at `b * stride`.
    pub fn data(&self) -> &[[f32; ROWS]] {
        &self.data
    }

    /// All tiles; those of row block `b` start at `b * stride`.
    pub fn data_mut(&mut self) -> &mut [[f32; ROWS]] {
        &mut self.data
    }

    /// A token's rows, copied to `buffer` if they do not lie together.
    pub fn token<'a>(&'a self, token: usize, buffer: &'a mut Vec<[f32; ROWS]>) -> &'a [f32] {
        if self.stride == 1 {
            return &self.data.as_flattened()[..self.rows];
        }
        self.copy_token(token, buffer);
        &buffer.as_flattened()[..self.rows]
    }

    /// Copies a token's rows; the last tile may hold more than them.
    pub fn copy_token(&self, token: usize, out: &mut Vec<[f32; ROWS]>) {
        out.resize(self.rows.div_ceil(ROWS), [0.0; ROWS]);
        for (out, tiles) in out.iter_mut().zip(self.data.chunks_exact(self.stride)) {
            *out = tiles[token];
        }
    }

    /// Sets a token's rows.
    pub fn set_token(&mut self, token: usize, values: &[f32]) {
        for (tile, values) in self.data[token..].iter_mut().step_by(self.stride).zip(values.chunks(ROWS)) {
            tile[..values.len()].copy_from_slice(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for (tokens, rows) in [(1, 5), (1, 32), (4, 16), (7, 50)] {
            let mut tiles = Tiles::default();
            tiles.resize(tokens, rows);
            let value = |token: usize, row: usize| (token * 100 + row) as f32;
            for token in 0..tokens {
                tiles.set_token(token, &(0..rows).map(|row| value(token, row)).collect::<Vec<_>>());
            }
            let mut buffer = Vec::new();
            for token in 0..tokens {
                let got = tiles.token(token, &mut buffer);
                assert!(got.len() == rows && got.iter().enumerate().all(|(row, &x)| x == value(token, row)));
            }
        }
    }
}
