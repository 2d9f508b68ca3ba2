//! What can be wrong with a model on disk.

use crate::mmap::FileError;
use spec::{format::FormatError, model::config::ConfigError, model::weights::WeightsError};
use std::path::PathBuf;
use thiserror::Error;

/// How the bytes of a tensor lie in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Begins before the previous tensor ends.
    Overlap,
    /// Begins after the previous tensor ends (and its padding, where the format has any).
    Gap,
    /// Does not begin at a multiple of its alignment.
    Misaligned,
    /// Ends beyond the end of the file.
    PastEnd,
    /// The last tensor ends before the file does.
    TrailingBytes,
    /// Ends before it begins.
    Reversed,
}

impl Placement {
    fn text(self) -> &'static str {
        match self {
            Placement::Overlap => "overlaps the tensor before it",
            Placement::Gap => "leaves a gap after the tensor before it",
            Placement::Misaligned => "is misaligned",
            Placement::PastEnd => "ends beyond the file (the file is cut short or its header is wrong)",
            Placement::TrailingBytes => "is the last tensor, but bytes follow it",
            Placement::Reversed => "ends before it begins",
        }
    }
}

/// A model that cannot be loaded. Every message names the file, the place, what was found and what
/// was expected.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The path is neither a model folder nor a model file.
    #[error("{}: is no model: {found}; expected {expected}", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file that the model needs is not in its folder.
    #[error("{}: no {name}; {help}", path.display())]
    MissingFile {
        /// The folder.
        path: PathBuf,
        /// The missing file.
        name: String,
        /// How to get it.
        help: &'static str,
    },
    /// The file ends inside something.
    #[error("{}: cut short: {what} at byte {offset} needs {needed} bytes, {available} are left; download it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// Where it begins.
        offset: u64,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// A count, length or number is outside what the format, or we, allow.
    #[error("{}: {what} is {found}, expected {expected}", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// What is out of range.
        what: String,
        /// Its value.
        found: String,
        /// The range.
        expected: String,
    },
    /// Text is not UTF-8.
    #[error("{}: {what} is not UTF-8 (byte {offset})", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// What is not text.
        what: String,
        /// Byte of the file, or of the text, that begins no character.
        offset: u64,
    },
    /// Text is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A name appears twice.
    #[error("{}: {kind} {name:?} appears twice", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// What it names: a key, a tensor, a token.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A tensor's name breaks the rules.
    #[error("{}: tensor name {name:?} is not allowed: {rule}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The name, shortened.
        name: String,
        /// The broken rule.
        rule: &'static str,
    },
    /// A tensor has an element type that is unknown or of no use here.
    #[error("{}: {tensor}: element type {found}, expected {expected}", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// Types that would be accepted.
        expected: String,
    },
    /// A tensor's shape and byte count disagree.
    #[error("{}: {tensor}: {found} bytes, but its shape and type make {expected}", path.display())]
    ByteCount {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Bytes from shape and type.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A tensor's bytes are not where they may be.
    #[error("{}: {tensor} {}: it has bytes {begin}..{end}, expected {expected}", path.display(), placement.text())]
    Place {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        placement: Placement,
        /// Its first byte.
        begin: u64,
        /// One past its last byte.
        end: u64,
        /// Where it should begin or end, or the alignment it should have.
        expected: u64,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{}: {tensor}: shape {found:?}, expected {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape, or shapes, that the configuration asks for.
        expected: String,
    },
    /// Tensors of the model are missing.
    #[error("{}: {count} tensors are missing, for example {}; download all files of the model", path.display(), first.join(", "))]
    MissingTensors {
        /// The file or folder.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first few.
        first: Vec<String>,
    },
    /// Tensors are there that this model should not have.
    #[error("{}: {count} tensors belong to no part of a {family} model, for example {}; the model needs features that are not supported", path.display(), first.join(", "))]
    UnknownTensors {
        /// The file or folder.
        path: PathBuf,
        /// Family that the configuration names.
        family: String,
        /// How many.
        count: usize,
        /// The first few.
        first: Vec<String>,
    },
    /// A code stands for no trit.
    #[error("{}: {tensor}: illegal code {code} in row {row}, column {col}: expected {expected}; the file is damaged", path.display())]
    TritCode {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Row of the weight.
        row: usize,
        /// Column of the weight.
        col: usize,
        /// The code.
        code: u8,
        /// Legal codes.
        expected: &'static str,
    },
    /// A number has a value that it must not have.
    #[error("{}: {tensor}: element {index} is {value}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Place of the number.
        index: usize,
        /// The number.
        value: f32,
        /// What would be allowed.
        expected: &'static str,
    },
    /// A matrix of a model whose weights should be ternary values is not.
    #[error("{}: {tensor} is not ternary: row {row} has magnitudes {first} and {second}; {help}", path.display())]
    NotTernary {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// A row that no scale layout explains.
        row: usize,
        /// One magnitude.
        first: f32,
        /// Another one.
        second: f32,
        /// What to do.
        help: &'static str,
    },
    /// A key is not there.
    #[error("{}: no key {key}; expected {expected}", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it should hold.
        expected: String,
    },
    /// A key holds a value of another type or out of range.
    #[error("{}: {key} = {found}: expected {expected}", path.display())]
    KeyValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value, shortened.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A key asks for a kind of model that is not supported.
    #[error("{}: {key} = {found} is not supported; supported: {supported}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// Values that are supported.
        supported: &'static str,
    },
    /// The index of a sharded model and its files disagree.
    #[error("{}: {tensor} should be in {file}, but {problem}", path.display())]
    ShardIndex {
        /// The index.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// File that the index names.
        file: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The configuration breaks a rule of the engine.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The rule.
        source: ConfigError,
    },
    /// The weights do not fit together.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file or folder.
        path: PathBuf,
        /// The rule.
        source: WeightsError,
    },
    /// Bytes do not fit a format of ours.
    #[error("{}: {tensor}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The rule.
        source: FormatError,
    },
    /// There is no tokenizer.
    #[error("{}: has no tokenizer; add its {expected}, or give token ids", path.display())]
    NoTokenizer {
        /// The file or folder.
        path: PathBuf,
        /// What is missing.
        expected: &'static str,
    },
    /// The tokenizer cannot be read.
    #[error("{}: tokenizer: {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tokenizer has ids that the model has no embedding for.
    #[error("{}: tokenizer: token {token:?} has id {id}, the model has ids below {vocab}; take both from the same model", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// Size of the model's vocabulary.
        vocab: usize,
    },
    /// Not enough memory.
    #[error("{}: no memory for {bytes} bytes of {tensor}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        tensor: String,
        /// Its size.
        bytes: usize,
    },
}

impl LoadError {
    /// The exit code of the command line: 65 bad data, 66 missing or unreadable input, 71 memory,
    /// 77 permission.
    pub fn exit_code(&self) -> u8 {
        match self {
            LoadError::File(error) => error.exit_code(),
            LoadError::NotAModel { .. } | LoadError::MissingFile { .. } | LoadError::NoTokenizer { .. } => 66,
            LoadError::Memory { .. } => 71,
            _ => 65,
        }
    }
}

/// Shortens text from a file for a message.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => text.into(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
