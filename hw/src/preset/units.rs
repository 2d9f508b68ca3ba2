//! Units of a machine with their sizes, and the memory blocks that they take.

use super::Machine;
use crate::blocks::attend::Attend;
use crate::blocks::balance::Balance;
use crate::blocks::epilogue::Epilogue;
use crate::blocks::head::HeadOut;
use crate::blocks::matrix::Matrix;
use crate::blocks::quantize::Quantize;
use crate::blocks::unpack5::Unpack5;
use crate::blocks::vmem::Vmem;
use crate::blocks::weights::Weights;
use crate::ir::RamStyle;

/// UltraRAMs of a memory: each holds 4,096 words of 72 bits.
pub fn urams(width: u32, depth: u64) -> u64 {
    u64::from(width.div_ceil(72)) * depth.div_ceil(4096)
}

/// Halves of block RAMs (18 kilobits) of a memory, in the shape that needs fewest.
pub fn half_brams(width: u32, depth: u64) -> u64 {
    let shapes = [(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)];
    shapes.iter().map(|(bits, words)| u64::from(width.div_ceil(*bits)) * depth.div_ceil(*words)).min().unwrap_or(0)
}

impl Machine {
    /// The unpacker behind a port.
    pub fn unpacker(&self) -> Unpack5 {
        Unpack5 { bytes: self.port_bits / 8, codes: self.engine.tables * self.engine.rows / self.ports }
    }

    /// Bytes of a word of codes in the ring: one cycle's food of the engine.
    pub fn word_bytes(&self) -> u64 {
        (5 * u64::from(self.engine.tables * self.engine.rows)).div_ceil(8)
    }

    /// Words of the weight ring.
    pub fn buffer_words(&self) -> u64 {
        self.buffer_kib * 1024 / self.word_bytes()
    }

    /// The weight streams.
    pub fn weights(&self) -> Weights {
        let codes = self.engine.tables * self.engine.rows;
        Weights { bits: self.port_bits, ports: self.ports, codes, buffer_words: self.buffer_words() }
    }

    /// What shares packets of weights out among the ports, if they are to.
    pub fn balance(&self) -> Option<Balance> {
        (self.frames > 0).then_some(Balance { bits: self.port_bits, ports: self.ports, frames: self.frames })
    }

    /// The matrix unit.
    pub fn matrix(&self) -> Matrix {
        Matrix::new(self.engine, self.banks, self.vector_tokens, self.lanes())
    }

    /// The vector memory.
    pub fn vmem(&self, tap: bool) -> Vmem {
        Vmem {
            lanes: self.lanes(),
            vtokens: self.vector_tokens,
            groups: self.token_groups(),
            words: self.vector_words(),
            banks: self.banks,
            style: self.vector_style(),
            tap,
        }
    }

    /// The epilogue.
    pub fn epilogue(&self) -> Epilogue {
        Epilogue {
            rows: self.engine.rows,
            tokens: self.engine.tokens,
            banks: self.banks,
            lanes: self.lanes(),
            vtokens: self.vector_tokens,
            acc: self.engine.psum().acc,
            addr: self.vmem(false).addr_width(),
            half: self.row_codes() / 2,
        }
    }

    /// The quantiser.
    pub fn quantize(&self) -> Quantize {
        Quantize {
            lanes: self.lanes(),
            vtokens: self.vector_tokens,
            groups: self.token_groups(),
            banks: self.banks,
            max_cols: self.engine.cols,
            vm_words: self.vector_words(),
            style: self.norm_style(),
        }
    }

    /// The output head.
    pub fn head(&self) -> HeadOut {
        let (tokens, vtokens) = (self.engine.tokens, self.vector_tokens);
        let (rows, list) = (self.engine.rows, self.shortlist);
        HeadOut { rows, list, tokens, lanes: self.lanes(), vtokens, port: self.port_bits }
    }

    /// Attention.
    pub fn attend(&self) -> Attend {
        Attend {
            tokens: self.engine.tokens,
            banks: self.banks,
            vtokens: self.vector_tokens,
            lanes: self.lanes(),
            beat_bytes: self.port_bits / 8,
            queries: self.queries,
            units: self.units,
            max_context: self.max_context,
            full_blocks: self.full_blocks,
            max_head_dim: self.row_codes(),
            heads: self.shape().max_heads() as u32,
            query_words: self.query_words(),
            vm_words: self.vector_words(),
        }
    }

    /// UltraRAMs by the key that decides them: weight ring, vector memory, activation buffer and
    /// quantiser, scores and scales.
    pub fn uram_users(&self) -> [(&'static str, u64); 4] {
        let ultra = |style: RamStyle, width, depth| if style == RamStyle::Ultra { urams(width, depth) } else { 0 };
        let (codes, vmem, buffer) = (self.engine.tables * self.engine.rows, self.vmem(false), self.matrix().buffer());
        let of_bank = |depth: &u64| ultra(vmem.style, 32 * vmem.lanes, *depth);
        let vector = u64::from(vmem.vtokens) * vmem.bank_depths().iter().map(of_bank).sum::<u64>();
        let kept = self.quantize().kept();
        let kept = if kept.ultra { urams(kept.width, kept.depth) } else { 0 };
        let unit: u64 = self.attend().deep_memories().into_iter().map(|(w, d, style)| ultra(style, w, d)).sum();
        [
            ("memory.buffer_kib", urams(5 * codes, self.buffer_words())),
            ("vector.columns", vector),
            ("engine.max_cols", ultra(buffer.style(), buffer.word(), buffer.depth()) + kept),
            ("attention.max_context", u64::from(self.units) * unit),
        ]
    }

    /// UltraRAMs of the machine.
    pub fn urams(&self) -> u64 {
        self.uram_users().iter().map(|(_, n)| n).sum()
    }
}
