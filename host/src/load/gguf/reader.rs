//! The GGUF container: header, metadata, tensor directory. Every count is checked against the bytes
//! that are left before anything is allocated, every sum and product for overflow.

use super::types::GgmlType;
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
    let mut cursor = Cursor { path, file, at: 0 };
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

/// A place in the file.
struct Cursor<'a> {
    path: &'a Path,
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn limit(&self, what: &str, found: String, expected: &str) -> LoadError {
        LoadError::Limit { path: self.path.into(), what: what.into(), found, expected: expected.into() }
    }

    fn left(&self) -> u64 {
        (self.file.len() - self.at) as u64
    }

    fn take(&mut self, bytes: u64, what: &str) -> Result<&'a [u8], LoadError> {
        if bytes > self.left() {
            return Err(LoadError::Truncated {
                path: self.path.into(),
                what: what.into(),
                offset: self.at as u64,
                needed: bytes,
                available: self.left(),
            });
        }
        let end = self.at + bytes as usize;
        let taken = &self.file[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, what)?);
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, LoadError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, LoadError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things of at least `each` bytes, which must be there.
    fn count(&mut self, what: &str, each: u64, limit: u64) -> Result<u64, LoadError> {
        let offset = self.at as u64;
        let count = self.u64(what)?;
        if count > limit {
            return Err(self.limit(what, count.to_string(), &format!("at most {limit}")));
        }
        let needed = count.saturating_mul(each);
        if needed > self.left() {
            let (path, available) = (self.path.into(), self.left());
            return Err(LoadError::Truncated { path, what: what.into(), offset, needed, available });
        }
        Ok(count)
    }

    fn text(&mut self, what: &str, longest: usize) -> Result<String, LoadError> {
        let length = self.count(&format!("the length of {what}"), 1, longest as u64)?;
        let offset = self.at as u64;
        let bytes = self.take(length, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(error) => {
                let offset = offset + error.valid_up_to() as u64;
                Err(LoadError::Utf8 { path: self.path.into(), what: what.into(), offset })
            }
        }
    }

    fn value(&mut self, key: &str) -> Result<Value, LoadError> {
        let what = format!("the value of {}", shorten(key));
        match self.u32(&what)? {
            8 => Ok(Value::Text(self.text(&what, u32::MAX as usize)?)),
            9 => self.list(key, &what),
            kind => self.scalar(kind, key, &what),
        }
    }

    fn list(&mut self, key: &str, what: &str) -> Result<Value, LoadError> {
        let kind = self.u32(what)?;
        if kind == 8 {
            let count = self.count(what, 8, u64::MAX)?;
            let texts = (0..count).map(|_| self.text(what, u32::MAX as usize));
            return texts.collect::<Result<_, _>>().map(Value::Texts);
        }
        let Some(width) = scalar_bytes(kind) else { return Err(self.wrong_kind(key, kind)) };
        let count = self.count(what, width, u64::MAX)?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(match self.scalar(kind, key, what)? {
                Value::Unsigned(n) => n as f64,
                Value::Signed(n) => n as f64,
                Value::Float(x) => x,
                Value::Bool(b) => f64::from(u8::from(b)),
                _ => return Err(self.wrong_kind(key, kind)),
            });
        }
        Ok(Value::Numbers(numbers))
    }

    fn scalar(&mut self, kind: u32, key: &str, what: &str) -> Result<Value, LoadError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>(what)?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array(what)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array(what)?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array(what)?))),
            4 => Value::Unsigned(u64::from(self.u32(what)?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array(what)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array(what)?))),
            7 => match self.array::<1>(what)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(self.limit(what, other.to_string(), "0 or 1, a truth value")),
            },
            10 => Value::Unsigned(self.u64(what)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            _ => return Err(self.wrong_kind(key, kind)),
        })
    }

    fn wrong_kind(&self, key: &str, kind: u32) -> LoadError {
        LoadError::KeyValue {
            path: self.path.into(),
            key: shorten(key),
            found: format!("a value of type {kind}"),
            expected: "type 0 to 12, and no lists of lists".into(),
        }
    }
}

fn scalar_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
