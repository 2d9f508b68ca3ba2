//! The GGUF container: header, metadata, tensor directory. Every count is checked against the bytes
//! that are left before anything is allocated, every sum and product for overflow.

use super::{cursor::Cursor, types::GgmlType};
use crate::load::{
    error::{LoadError, Placement, shorten},
    safetensors::{MAX_DIM, MAX_DIMS, check_name},
};
use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    path::Path,
};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned integers of any width.
    Unsigned(u64),
    /// Signed integers of any width.
    Signed(i64),
    /// Both widths of floating point.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of numbers or truth values.
    Numbers(Vec<f64>),
}

impl Value {
    /// The value, or what it is a list of, for messages.
    pub fn describe(&self) -> String {
        match self {
            Value::Unsigned(n) => n.to_string(),
            Value::Signed(n) => n.to_string(),
            Value::Float(x) => x.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Text(text) => format!("{:?}", shorten(text)),
            Value::Texts(list) => format!("a list of {} texts", list.len()),
            Value::Numbers(list) => format!("a list of {} numbers", list.len()),
        }
    }
}

/// What the directory says about a tensor, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Element type.
    pub kind: GgmlType,
    /// Dimensions, slowest first (the file has them the other way round).
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// A checked header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Entry>,
}

/// Most keys, and most tensors.
const MAX_ENTRIES: u64 = 1 << 16;
/// Longest metadata key.
const MAX_KEY_BYTES: usize = 256;
/// Bytes of the shortest metadata entry and of the shortest directory entry.
const MIN_KEY_BYTES: u64 = 8 + 4 + 1;
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// Reads and checks the header of the file `file`; `path` is for messages.
pub fn parse(path: &Path, file: &[u8]) -> Result<Header, LoadError> {
    let mut cursor = Cursor::new(path, file);
    let magic = cursor.take(4, "the magic number")?;
    if magic != b"GGUF" {
        return Err(cursor.limit("the magic number", format!("{magic:02x?}"), "\"GGUF\""));
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        other => {
            let swapped = matches!(other.swap_bytes(), 1..=3);
            let expected = if swapped { "2 or 3, little endian; this file is big endian" } else { "2 or 3" };
            return Err(cursor.limit("the version", other.to_string(), expected));
        }
    }
    let tensor_count = cursor.count("the number of tensors", MIN_TENSOR_BYTES, MAX_ENTRIES)?;
    let key_count = cursor.count("the number of keys", MIN_KEY_BYTES, MAX_ENTRIES)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..key_count {
        let key = cursor.text("a key", MAX_KEY_BYTES)?;
        let value = cursor.value(&key)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(LoadError::Duplicate { path: path.into(), kind: "key", name: shorten(&key) });
        }
    }
    let alignment = alignment(path, &metadata)?;
    let tensors = directory(&mut cursor, tensor_count, alignment)?;
    Ok(Header { metadata, tensors })
}

fn alignment(path: &Path, metadata: &BTreeMap<String, Value>) -> Result<u64, LoadError> {
    match metadata.get("general.alignment") {
        None => Ok(32),
        Some(Value::Unsigned(n)) if n.is_power_of_two() && (8..=1 << 16).contains(n) => Ok(*n),
        Some(other) => Err(LoadError::KeyValue {
            path: path.into(),
            key: "general.alignment".into(),
            found: other.describe(),
            expected: "a power of two from 8 to 65536".into(),
        }),
    }
}

fn directory(cursor: &mut Cursor, count: u64, alignment: u64) -> Result<BTreeMap<String, Entry>, LoadError> {
    let path = cursor.path;
    let mut entries: Vec<(String, GgmlType, Vec<usize>, u64, u64)> = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let name = cursor.text("a tensor name", MAX_KEY_BYTES)?;
        check_name(path, &name)?;
        if !names.insert(name.clone()) {
            return Err(LoadError::Duplicate { path: path.into(), kind: "tensor", name });
        }
        let dims = cursor.u32("a number of dimensions")?;
        if dims == 0 || dims as usize > MAX_DIMS {
            return Err(cursor.limit(&format!("{name}: number of dimensions"), dims.to_string(), "1 to 4"));
        }
        let mut shape = Vec::new();
        for _ in 0..dims {
            let dim = cursor.u64("a dimension")?;
            if !(1..=MAX_DIM).contains(&dim) {
                return Err(cursor.limit(&format!("{name}: dimension"), dim.to_string(), "1 to 16777216"));
            }
            shape.push(dim as usize);
        }
        let kind = cursor.u32("a tensor type")?;
        let kind = GgmlType::from_id(kind).ok_or_else(|| LoadError::Dtype {
            path: path.into(),
            tensor: name.clone(),
            found: GgmlType::describe(kind),
            expected: GgmlType::SUPPORTED.into(),
        })?;
        let offset = cursor.u64("a tensor offset")?;
        let columns = shape[0] as u64;
        let others = shape[1..].iter().try_fold(1u64, |product, dim| product.checked_mul(*dim as u64));
        let bytes = others.and_then(|rows| kind.bytes(rows, columns));
        shape.reverse();
        let Some(bytes) = bytes else {
            let expected = format!("rows of a multiple of {} and fewer than 2^64 bytes", kind.row_multiple());
            return Err(LoadError::Shape { path: path.into(), tensor: name, found: shape, expected });
        };
        entries.push((name, kind, shape, offset, bytes));
    }
    if entries.is_empty() {
        return Err(cursor.limit("the number of tensors", "0".into(), "at least 1"));
    }

    // tensors follow each other, each padded to the alignment
    entries.sort_by_key(|(_, _, _, offset, bytes)| (*offset, *bytes));
    let file_bytes = cursor.file.len() as u64;
    let align = |offset: u64| offset.checked_next_multiple_of(alignment);
    let data_start = align(cursor.at as u64).unwrap_or(u64::MAX);
    let mut expected = data_start;
    let mut tensors = BTreeMap::new();
    let last = entries.len() - 1;
    for (index, (name, kind, shape, offset, bytes)) in entries.into_iter().enumerate() {
        let begin = data_start.saturating_add(offset);
        let end = begin.saturating_add(bytes);
        let place = |placement, expected| LoadError::Place {
            path: path.into(),
            tensor: name.clone(),
            placement,
            begin,
            end,
            expected,
        };
        if !offset.is_multiple_of(alignment) {
            return Err(place(Placement::Misaligned, alignment));
        }
        if end > file_bytes {
            return Err(place(Placement::PastEnd, file_bytes));
        }
        if begin < expected {
            return Err(place(Placement::Overlap, expected));
        }
        if begin > expected {
            return Err(place(Placement::Gap, expected));
        }
        expected = align(end).unwrap_or(u64::MAX);
        if index == last && expected < file_bytes {
            return Err(place(Placement::TrailingBytes, file_bytes));
        }
        tensors.insert(name, Entry { kind, shape, range: begin as usize..end as usize });
    }
    Ok(tensors)
}
