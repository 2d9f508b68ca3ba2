//! Typed reads of GGUF metadata, with messages that name the key.

use super::reader::Value;
use crate::load::error::LoadError;
use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

/// Metadata of a file.
#[derive(Clone, Copy)]
pub struct Metadata<'a> {
    /// The file.
    pub path: &'a Path,
    /// Values by key.
    pub map: &'a BTreeMap<String, Value>,
}

impl<'a> Metadata<'a> {
    /// The error for a value that does not fit.
    pub fn wrong(&self, key: &str, found: &Value, expected: impl Into<String>) -> LoadError {
        LoadError::KeyValue {
            path: self.path.into(),
            key: key.into(),
            found: found.describe(),
            expected: expected.into(),
        }
    }

    /// The error for a key that is not there.
    pub fn missing(&self, key: &str, expected: impl Into<String>) -> LoadError {
        LoadError::MissingKey { path: self.path.into(), key: key.into(), expected: expected.into() }
    }

    /// The error for a value that names something unsupported.
    pub fn unsupported(&self, key: &str, found: impl Into<String>, supported: &'static str) -> LoadError {
        LoadError::Unsupported { path: self.path.into(), key: key.into(), found: found.into(), supported }
    }

    /// An integer in `range`, if the key is there.
    pub fn integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.map.get(key) else { return Ok(None) };
        let number = match value {
            Value::Unsigned(n) => usize::try_from(*n).ok(),
            Value::Signed(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        match number.filter(|n| range.contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, value, format!("an integer from {} to {}", range.start(), range.end()))),
        }
    }

    /// An integer in `range`.
    pub fn need_integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize, LoadError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.integer(key, range)?.ok_or_else(|| self.missing(key, expected))
    }

    /// A token id, if the key is there.
    pub fn token(&self, key: &str) -> Result<Option<u32>, LoadError> {
        Ok(self.integer(key, 0..=u32::MAX as usize)?.map(|id| id as u32))
    }

    /// A number in `range`, if the key is there.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.map.get(key) else { return Ok(None) };
        match value {
            Value::Float(x) if range.contains(x) => Ok(Some(*x)),
            _ => Err(self.wrong(key, value, format!("a number from {} to {}", range.start(), range.end()))),
        }
    }

    /// Text, if the key is there.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, LoadError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, other, "text")),
        }
    }

    /// `true` or `false`, if the key is there.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong(key, other, "true or false")),
        }
    }

    /// A list of texts, if the key is there.
    pub fn texts(&self, key: &str) -> Result<Option<&'a [String]>, LoadError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Texts(list)) => Ok(Some(list)),
            Some(other) => Err(self.wrong(key, other, "a list of texts")),
        }
    }

    /// A list of `length` numbers, if the key is there.
    pub fn numbers(&self, key: &str, length: usize) -> Result<Option<&'a [f64]>, LoadError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Numbers(list)) if list.len() == length => Ok(Some(list)),
            Some(other) => Err(self.wrong(key, other, format!("a list of {length} numbers"))),
        }
    }
}
