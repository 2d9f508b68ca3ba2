//! Random matrices and activations for the tests of this module.

use spec::format::{
    matrix::{Encoding, TritMatrix},
    sherry, trit5,
};

/// xorshift64*: small, seeded, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// From -1 to 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Mostly random rows, some all 1, all -1 or all 0.
    pub fn matrix(&mut self, rows: usize, cols: usize, encoding: Encoding) -> TritMatrix {
        let mut bytes = vec![0; rows * encoding.row_bytes(cols)];
        let mut row = vec![0i8; cols];
        for packed in bytes.chunks_mut(encoding.row_bytes(cols)) {
            let kind = self.below(6);
            match encoding {
                Encoding::Trit5 => {
                    row.fill_with(|| if kind < 3 { kind as i8 - 1 } else { self.below(3) as i8 - 1 });
                    trit5::pack_row(&row, packed);
                }
                Encoding::Sherry => {
                    for four in row.chunks_mut(4) {
                        let code = if kind < 2 { kind * 7 } else { self.below(32) };
                        four.copy_from_slice(&sherry::decode4(code as u8));
                    }
                    sherry::pack_row(&row, packed).unwrap();
                }
            }
        }
        TritMatrix::new(rows, cols, encoding, bytes.into()).unwrap()
    }

    /// Codes in [-127, 127]: random, or all at one end.
    pub fn codes(&mut self, n: usize) -> Vec<i8> {
        match self.below(5) {
            0 => vec![127; n],
            1 => vec![-127; n],
            _ => (0..n).map(|_| (self.below(255) as i32 - 127) as i8).collect(),
        }
    }
}

/// A small model.
pub fn config() -> spec::model::ModelConfig {
    use spec::model::{ModelConfig, random};
    ModelConfig { max_context: 400, ..random::small() }
}
