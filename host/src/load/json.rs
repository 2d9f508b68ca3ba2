//! JSON that must not say anything twice, and typed access to its keys.

use super::error::{LoadError, shorten};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{cell::RefCell, fmt, ops::RangeInclusive, path::Path};

/// Builds a [`Value`] and remembers the first key that an object holds twice.
#[derive(Clone, Copy)]
struct Strict<'a> {
    duplicate: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if object.contains_key(&key) {
                self.duplicate.borrow_mut().get_or_insert(key);
            } else {
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}

/// Parses a JSON object; a key that appears twice is an error.
pub fn parse_object(path: &Path, text: &[u8]) -> Result<Map<String, Value>, LoadError> {
    if let Err(error) = std::str::from_utf8(text) {
        let offset = error.valid_up_to() as u64;
        return Err(LoadError::Utf8 { path: path.into(), what: "the text".into(), offset });
    }
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { duplicate: &duplicate }.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    let value = value.map_err(|source| LoadError::Json { path: path.into(), source })?;
    if let Some(name) = duplicate.into_inner() {
        return Err(LoadError::Duplicate { path: path.into(), kind: "key", name: shorten(&name) });
    }
    match value {
        Value::Object(object) => Ok(object),
        other => Err(LoadError::KeyValue {
            path: path.into(),
            key: "the file".into(),
            found: shorten(&other.to_string()),
            expected: "a JSON object".into(),
        }),
    }
}

/// An object in a file, for typed reads with messages that name the key.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    /// The file.
    pub path: &'a Path,
    /// What stands before a key in messages, for example `quantization_config.`.
    pub prefix: &'a str,
    /// The object.
    pub map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The value of a key; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The error for a value that does not fit.
    pub fn wrong(&self, key: &str, found: &Value, expected: impl Into<String>) -> LoadError {
        LoadError::KeyValue {
            path: self.path.into(),
            key: format!("{}{key}", self.prefix),
            found: shorten(&found.to_string()),
            expected: expected.into(),
        }
    }

    /// The error for a value that names something unsupported.
    pub fn unsupported(&self, key: &str, found: impl ToString, supported: &'static str) -> LoadError {
        LoadError::Unsupported {
            path: self.path.into(),
            key: format!("{}{key}", self.prefix),
            found: shorten(&found.to_string()),
            supported,
        }
    }

    /// The error for a key that is not there.
    pub fn missing(&self, key: &str, expected: impl Into<String>) -> LoadError {
        LoadError::MissingKey {
            path: self.path.into(),
            key: format!("{}{key}", self.prefix),
            expected: expected.into(),
        }
    }

    /// An integer in `range`, if the key is there.
    pub fn integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n));
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, value, format!("an integer from {} to {}", range.start(), range.end()))),
        }
    }

    /// An integer in `range`.
    pub fn need_integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize, LoadError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.integer(key, range)?.ok_or_else(|| self.missing(key, expected))
    }

    /// A number in `range`, if the key is there.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64().filter(|n| range.contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, value, format!("a number from {} to {}", range.start(), range.end()))),
        }
    }

    /// A number in `range`.
    pub fn need_number(&self, key: &str, range: RangeInclusive<f64>) -> Result<f64, LoadError> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.number(key, range)?.ok_or_else(|| self.missing(key, expected))
    }

    /// Text, if the key is there.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, value, "text"))
    }

    /// `true` or `false`, if the key is there.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    /// An object below this one, if the key is there.
    pub fn object(&self, key: &str, prefix: &'a str) -> Result<Option<Object<'a>>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(key, value, "an object"))?;
        Ok(Some(Object { path: self.path, prefix, map }))
    }

    /// One token id or a list of them; absent is an empty list.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let list = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Option<Vec<u32>> = list.iter().map(id).collect();
        ids.ok_or_else(|| self.wrong(key, value, "a token id or a list of token ids"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_at_any_depth() {
        let path = Path::new("x.json");
        let twice = parse_object(path, br#"{"a": {"b": 1, "b": 2}}"#).unwrap_err();
        assert_eq!(twice.to_string(), r#"x.json: key "b" appears twice"#);
        let object = parse_object(path, br#"{"a": [1, -2, 0.5, null, true, "t"], "c": {}}"#).unwrap();
        assert_eq!(object["a"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn broken_text_is_no_panic() {
        let path = Path::new("x.json");
        assert!(matches!(parse_object(path, b"{\"a\": \xff}"), Err(LoadError::Utf8 { offset: 6, .. })));
        assert!(matches!(parse_object(path, b"{} {}"), Err(LoadError::Json { .. })));
        assert!(matches!(parse_object(path, b"[1]"), Err(LoadError::KeyValue { .. })));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse_object(path, deep.as_bytes()), Err(LoadError::Json { .. })));
    }
}
