//! Numbers, texts and values of a GGUF header, read in order.

use super::reader::Value;
use crate::load::error::{LoadError, shorten};
use std::path::Path;

/// A place in a file.
pub(super) struct Cursor<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `file`.
    pub(super) fn new(path: &'a Path, file: &'a [u8]) -> Self {
        Cursor { path, file, at: 0 }
    }

    /// The error for a number out of range.
    pub(super) fn limit(&self, what: &str, found: String, expected: &str) -> LoadError {
        LoadError::Limit { path: self.path.into(), what: what.into(), found, expected: expected.into() }
    }

    fn left(&self) -> u64 {
        (self.file.len() - self.at) as u64
    }

    pub(super) fn take(&mut self, bytes: u64, what: &str) -> Result<&'a [u8], LoadError> {
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

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, LoadError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, LoadError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things of at least `each` bytes, which must be there.
    pub(super) fn count(&mut self, what: &str, each: u64, limit: u64) -> Result<u64, LoadError> {
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

    pub(super) fn text(&mut self, what: &str, longest: usize) -> Result<String, LoadError> {
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

    pub(super) fn value(&mut self, key: &str) -> Result<Value, LoadError> {
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
