//! The safetensors container: eight bytes of header length, a JSON header, the tensors' bytes.
//!
//! Stricter than the format's own reader, which this file does not use: names and keys appear once,
//! the header has at most 16 MiB, tensors are aligned to their element size, follow each other
//! without overlap or gap, and the last one ends exactly where the file ends.

use super::{
    error::{LoadError, Placement, shorten},
    json::{Object, parse_object},
};
use safetensors::Dtype;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, ops::Range, path::Path};

/// Longest header.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Longest name of a tensor.
pub const MAX_NAME_BYTES: usize = 128;
/// Largest dimension of a tensor.
pub const MAX_DIM: u64 = 1 << 24;
/// Most dimensions of a tensor.
pub const MAX_DIMS: usize = 4;

/// What the header says about a tensor, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// Reads and checks the header of the file `file`; `path` is for messages.
pub fn parse(path: &Path, file: &[u8]) -> Result<BTreeMap<String, Entry>, LoadError> {
    let truncated = |what: &str, offset: u64, needed, available: usize| LoadError::Truncated {
        path: path.into(),
        what: what.into(),
        offset,
        needed,
        available: available as u64,
    };
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(truncated("the header length", 0, 8, file.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(LoadError::Limit {
            path: path.into(),
            what: "the header length".into(),
            found: length.to_string(),
            expected: format!("at most {MAX_HEADER_BYTES} bytes; is this a safetensors file?"),
        });
    }
    let header_bytes = length as usize;
    let Some(header) = rest.get(..header_bytes) else {
        return Err(truncated("the header", 8, length, rest.len()));
    };
    let object = parse_object(path, header)?;
    let data_start = 8 + header_bytes;
    let mut entries = BTreeMap::new();
    for (name, value) in &object {
        if name == "__metadata__" {
            check_metadata(path, value)?;
            continue;
        }
        check_name(path, name)?;
        entries.insert(name.clone(), parse_entry(path, name, value, data_start)?);
    }
    check_places(path, &entries, data_start, file.len())?;
    Ok(entries)
}

fn check_metadata(path: &Path, value: &Value) -> Result<(), LoadError> {
    let text_only = value.as_object().is_some_and(|map| map.values().all(Value::is_string));
    if text_only {
        return Ok(());
    }
    Err(LoadError::KeyValue {
        path: path.into(),
        key: "__metadata__".into(),
        found: shorten(&value.to_string()),
        expected: "an object of texts".into(),
    })
}

/// Checks the name of a tensor: length and characters.
pub fn check_name(path: &Path, name: &str) -> Result<(), LoadError> {
    let rule = match () {
        () if name.is_empty() || name.len() > MAX_NAME_BYTES => "1 to 128 bytes",
        () if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b)) => {
            "letters, digits and . _ - / : only"
        }
        () => return Ok(()),
    };
    Err(LoadError::Name { path: path.into(), name: shorten(name), rule })
}

fn parse_entry(path: &Path, name: &str, value: &Value, data_start: usize) -> Result<Entry, LoadError> {
    let wrong = |key: &str, found: &Value, expected: &str| LoadError::KeyValue {
        path: path.into(),
        key: format!("{name}{key}"),
        found: shorten(&found.to_string()),
        expected: expected.into(),
    };
    let map = value.as_object().ok_or_else(|| wrong("", value, "an object"))?;
    let prefix = format!("{name}.");
    let object = Object { path, prefix: &prefix, map };
    if let Some(key) = map.keys().find(|key| !["dtype", "shape", "data_offsets"].contains(&key.as_str())) {
        return Err(wrong(&format!(".{}", shorten(key)), &map[key], "only dtype, shape and data_offsets"));
    }

    let text = object.text("dtype")?.ok_or_else(|| object.missing("dtype", "an element type"))?;
    let dtype = Dtype::deserialize(Value::from(text)).ok().filter(|dtype| dtype.bitsize() % 8 == 0);
    let dtype = dtype.ok_or_else(|| LoadError::Dtype {
        path: path.into(),
        tensor: name.into(),
        found: shorten(text),
        expected: "BOOL, U8, I8, F16, BF16, F32 or another type of whole bytes".into(),
    })?;

    let numbers = |key: &str, expected: &str| -> Result<Vec<u64>, LoadError> {
        let value = object.get(key).ok_or_else(|| object.missing(key, expected))?;
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect());
        list.ok_or_else(|| object.wrong(key, value, expected))
    };
    let dims = numbers("shape", "a list of dimensions")?;
    if dims.len() > MAX_DIMS || dims.iter().any(|dim| !(1..=MAX_DIM).contains(dim)) {
        let expected = format!("at most {MAX_DIMS} dimensions, each from 1 to {MAX_DIM}");
        return Err(object.wrong("shape", &map["shape"], expected));
    }
    let bytes = dims.iter().try_fold((dtype.bitsize() / 8) as u64, |bytes, dim| bytes.checked_mul(*dim));
    let bytes = bytes.ok_or_else(|| object.wrong("shape", &map["shape"], "fewer than 2^64 bytes"))?;

    let offsets = numbers("data_offsets", "[begin, end]")?;
    let &[begin, end] = offsets.as_slice() else {
        return Err(object.wrong("data_offsets", &map["data_offsets"], "[begin, end]"));
    };
    let place = |placement, expected| LoadError::Place {
        path: path.into(),
        tensor: name.into(),
        placement,
        begin,
        end,
        expected,
    };
    let found = end.checked_sub(begin).ok_or_else(|| place(Placement::Reversed, begin))?;
    if found != bytes {
        return Err(LoadError::ByteCount { path: path.into(), tensor: name.into(), expected: bytes, found });
    }
    let in_file = |offset: u64| usize::try_from(offset).ok()?.checked_add(data_start);
    let (Some(first), Some(last)) = (in_file(begin), in_file(end)) else {
        return Err(place(Placement::PastEnd, u64::MAX));
    };
    Ok(Entry { dtype, shape: dims.iter().map(|&dim| dim as usize).collect(), range: first..last })
}

/// Checks that the tensors tile the file from `data_start` to its end.
fn check_places(
    path: &Path,
    entries: &BTreeMap<String, Entry>,
    data_start: usize,
    file_bytes: usize,
) -> Result<(), LoadError> {
    let mut order: Vec<(&String, &Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    let mut end = data_start;
    let place = |(name, entry): (&String, &Entry), placement, expected: usize| LoadError::Place {
        path: path.into(),
        tensor: name.clone(),
        placement,
        begin: entry.range.start as u64,
        end: entry.range.end as u64,
        expected: expected as u64,
    };
    for &(name, entry) in &order {
        let width = entry.dtype.bitsize() / 8;
        if entry.range.end > file_bytes {
            return Err(place((name, entry), Placement::PastEnd, file_bytes));
        }
        if entry.range.start < end {
            return Err(place((name, entry), Placement::Overlap, end));
        }
        if entry.range.start > end {
            return Err(place((name, entry), Placement::Gap, end));
        }
        if !entry.range.start.is_multiple_of(width) {
            return Err(place((name, entry), Placement::Misaligned, width));
        }
        end = entry.range.end;
    }
    match order.last() {
        Some(&last) if end != file_bytes => Err(place(last, Placement::TrailingBytes, file_bytes)),
        None => Err(LoadError::Limit {
            path: path.into(),
            what: "the number of tensors".into(),
            found: "0".into(),
            expected: "at least 1".into(),
        }),
        _ => Ok(()),
    }
}
