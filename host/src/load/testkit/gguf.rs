//! For tests: GGUF files.

use super::{Matrix, Tiny, text};
use half::f16;

/// Metadata and tensors, and how to lay them out.
#[derive(Clone, Debug)]
pub struct Builder {
    keys: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
    /// Alignment of the data.
    pub alignment: usize,
    /// Version in the header.
    pub version: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { keys: Vec::new(), tensors: Vec::new(), alignment: 32, version: 3 }
    }
}

fn string(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

impl Builder {
    /// Adds a key with a value of type `kind`, given as bytes.
    pub fn raw(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        self.keys.push([string(key).as_slice(), &kind.to_le_bytes(), value].concat());
        self
    }

    /// Adds a u32.
    pub fn integer(&mut self, key: &str, value: u32) -> &mut Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    /// Adds an f32.
    pub fn float(&mut self, key: &str, value: f32) -> &mut Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, 8, &string(value))
    }

    /// Adds a list of values of type `kind`, each given as bytes.
    pub fn list(&mut self, key: &str, kind: u32, values: &[Vec<u8>]) -> &mut Self {
        let head = [kind.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes()].concat();
        self.raw(key, 9, &[head, values.concat()].concat())
    }

    /// Adds a list of texts.
    pub fn texts(&mut self, key: &str, values: &[String]) -> &mut Self {
        self.list(key, 8, &values.iter().map(|value| string(value)).collect::<Vec<_>>())
    }

    /// Adds a tensor; `shape` is slowest first, as everywhere but in the file.
    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: u32, bytes: Vec<u8>) -> &mut Self {
        let dims = shape.iter().rev().map(|&dim| dim as u64).collect();
        self.tensors.push((name.into(), dims, kind, bytes));
        self
    }

    /// Gives the tensor `name` another type and other bytes.
    pub fn replace(&mut self, name: &str, kind: u32, bytes: Vec<u8>) -> &mut Self {
        if let Some(tensor) = self.tensors.iter_mut().find(|tensor| tensor.0 == name) {
            (tensor.2, tensor.3) = (kind, bytes);
        }
        self
    }

    /// Gives the tensor `name` another shape.
    pub fn reshape(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        if let Some(tensor) = self.tensors.iter_mut().find(|tensor| tensor.0 == name) {
            tensor.1 = shape.iter().rev().map(|&dim| dim as u64).collect();
        }
        self
    }

    /// Keeps the tensors whose name `keep` likes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> &mut Self {
        self.tensors.retain(|tensor| keep(&tensor.0));
        self
    }

    /// Adds a tensor of f32.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> &mut Self {
        self.tensor(name, shape, 0, super::safetensors::encode("F32", values))
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let offsets = self.tensors.iter().scan(0, |at, (_, _, _, bytes)| {
            let offset = *at;
            *at += bytes.len().next_multiple_of(self.alignment);
            Some(offset as u64)
        });
        let offsets: Vec<u64> = offsets.collect();
        self.build_at(&offsets)
    }

    /// The file with these offsets in its directory, right or wrong.
    pub fn build_at(&self, offsets: &[u64]) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.keys.len() as u64).to_le_bytes());
        file.extend(self.keys.concat());
        for ((name, dims, kind, _), offset) in self.tensors.iter().zip(offsets) {
            file.extend(string(name));
            file.extend((dims.len() as u32).to_le_bytes());
            file.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend(offset.to_le_bytes());
        }
        for (_, _, _, bytes) in &self.tensors {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
            file.extend(bytes);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file
    }
}

/// Ternary formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ternary {
    /// Type 34.
    Tq1_0,
    /// Type 35.
    Tq2_0,
    /// Type 36.
    I2S,
    /// Type 1, ternary values.
    F16,
}

/// A matrix in a ternary format: type number and bytes.
pub fn encode(format: Ternary, matrix: &Matrix) -> (u32, Vec<u8>) {
    let code = |trit: &i8| (trit + 1) as u8;
    let d = f16::from_f32(matrix.scale).to_le_bytes();
    match format {
        Ternary::F16 => (1, super::safetensors::encode("F16", &matrix.values())),
        Ternary::Tq2_0 => {
            let block = |trits: &[i8]| {
                let byte = |m: usize| {
                    let first = 128 * (m / 32) + m % 32;
                    (0..4).fold(0, |byte, part| byte | code(&trits[first + 32 * part]) << (2 * part))
                };
                (0..64).map(byte).chain(d).collect::<Vec<u8>>()
            };
            (35, matrix.trits.chunks(256).flat_map(block).collect())
        }
        Ternary::Tq1_0 => {
            let byte = |trits: &[i8], first: usize, stride: usize, digits: usize| {
                let digit = |n: usize| if n < digits { u32::from(code(&trits[first + stride * n])) } else { 0 };
                let value = (0..5).fold(0, |value, n| value * 3 + digit(n));
                (value * 256).div_ceil(243) as u8
            };
            let block = |trits: &[i8]| {
                let long = (0..32).map(|m| byte(trits, m, 32, 5));
                let short = (0..16).map(|m| byte(trits, 160 + m, 16, 5));
                let rest = (0..4).map(|m| byte(trits, 240 + m, 4, 4));
                long.chain(short).chain(rest).chain(d).collect::<Vec<u8>>()
            };
            (34, matrix.trits.chunks(256).flat_map(block).collect())
        }
        Ternary::I2S => {
            let run = |trits: &[i8]| {
                let byte = |m: usize| (0..4).fold(0, |byte, part| byte << 2 | code(&trits[m + 32 * part]));
                (0..32).map(byte).collect::<Vec<u8>>()
            };
            let mut bytes: Vec<u8> = matrix.trits.chunks(128).flat_map(run).collect();
            bytes.extend(matrix.scale.to_le_bytes());
            bytes.extend([0xaa; 28]); // never initialised by the writer
            (36, bytes)
        }
    }
}

/// Rows of a q or k matrix in the order that llama.cpp stores them for interleaved rotation.
pub fn interleave(matrix: &Matrix, heads: usize) -> Matrix {
    let width = matrix.rows / heads;
    let half = width / 2;
    let mut trits = Vec::with_capacity(matrix.trits.len());
    for head in 0..heads {
        for pair in 0..half {
            for side in 0..2 {
                let row = head * width + side * half + pair;
                trits.extend(&matrix.trits[row * matrix.cols..][..matrix.cols]);
            }
        }
    }
    Matrix { trits, ..matrix.clone() }
}

/// A whole model of architecture `arch` without a tokenizer.
pub fn model(tiny: &Tiny, arch: &str, format: Ternary) -> Builder {
    let c = &tiny.config;
    let mut file = Builder::default();
    file.text("general.architecture", arch);
    for (key, value) in [
        ("context_length", c.max_context),
        ("embedding_length", c.hidden),
        ("block_count", c.layers),
        ("feed_forward_length", c.ffn),
        ("attention.head_count", c.heads),
        ("attention.head_count_kv", c.kv_heads),
        ("rope.dimension_count", c.head_dim),
        ("vocab_size", c.vocab),
    ] {
        file.integer(&format!("{arch}.{key}"), value as u32);
    }
    file.float(&format!("{arch}.attention.layer_norm_rms_epsilon"), 1e-5);
    file.float(&format!("{arch}.rope.freq_base"), 10_000.0);
    let table = [c.vocab, c.hidden];
    file.tensor("token_embd.weight", &table, 1, super::safetensors::encode("F16", &tiny.embed));
    file.floats("output_norm.weight", &[c.hidden], &tiny.final_norm);
    if let Some(head) = &tiny.head {
        file.tensor("output.weight", &table, 30, super::safetensors::encode("BF16", head));
    }
    let llama = arch == "llama";
    let linears = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let heads = [Some(c.heads), Some(c.kv_heads), None, None, None, None, None];
    for (layer, (block, norms)) in tiny.blocks.iter().zip(&tiny.norms).enumerate() {
        let names = ["attn_norm", "ffn_norm", "attn_sub_norm", "ffn_sub_norm"];
        for (name, norm) in names.iter().zip(norms).take(if llama { 2 } else { 4 }) {
            file.floats(&format!("blk.{layer}.{name}.weight"), &[norm.len()], norm);
        }
        for ((name, matrix), heads) in linears.iter().zip(block).zip(heads) {
            let stored = heads.filter(|_| llama).map_or(matrix.clone(), |heads| interleave(matrix, heads));
            let (kind, bytes) = encode(format, &stored);
            file.tensor(&format!("blk.{layer}.{name}.weight"), &[matrix.rows, matrix.cols], kind, bytes);
        }
    }
    file
}

/// Adds the byte-level tokenizer of [`text`] to a file.
pub fn add_tokenizer(file: &mut Builder) {
    let tokens = text::tokens();
    let kinds: Vec<Vec<u8>> =
        (0..tokens.len()).map(|id| if id < 4 { 3i32 } else { 1 }.to_le_bytes().to_vec()).collect();
    file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "llama-bpe");
    file.texts("tokenizer.ggml.tokens", &tokens).list("tokenizer.ggml.token_type", 5, &kinds);
    file.texts("tokenizer.ggml.merges", &text::merges());
    file.integer("tokenizer.ggml.bos_token_id", 1).integer("tokenizer.ggml.eos_token_id", 2);
    file.text("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}");
}

/// Adds the SentencePiece tokenizer of [`text`] to a file.
pub fn add_sentence_pieces(file: &mut Builder) {
    let pieces = text::sentence_pieces();
    let tokens: Vec<String> = pieces.iter().map(|piece| piece.0.clone()).collect();
    let scores: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.1.to_le_bytes().to_vec()).collect();
    let kinds: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.2.to_le_bytes().to_vec()).collect();
    file.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", &tokens);
    file.list("tokenizer.ggml.scores", 6, &scores).list("tokenizer.ggml.token_type", 5, &kinds);
    file.integer("tokenizer.ggml.bos_token_id", 1).integer("tokenizer.ggml.eos_token_id", 2);
}
