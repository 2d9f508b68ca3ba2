//! Typed access to the fields of a request. `null` counts as absent; whatever is there must have the right type and lie
//! in its range.

use super::error::ApiError;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The fields of a request.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A field, unless it is absent or null.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn need(self, name: &str) -> Result<&'a Value, ApiError> {
        self.get(name).ok_or_else(|| ApiError::field(name, "is missing"))
    }

    /// A truth value.
    pub fn flag(self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| ApiError::field(name, "expected true or false"))
    }

    /// A number in a range.
    pub fn number(self, name: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().map(|number| number as f32).filter(|number| range.contains(number));
        let (low, high) = (range.start(), range.end());
        number.map(Some).ok_or_else(|| ApiError::field(name, format!("expected a number from {low} to {high}")))
    }

    /// A whole number in a range.
    pub fn integer(self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // some clients write 5.0
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
        let number = value.as_i64().or_else(|| value.as_f64().and_then(whole)).filter(|n| range.contains(n));
        let (low, high) = (range.start(), range.end());
        number.map(Some).ok_or_else(|| ApiError::field(name, format!("expected a whole number from {low} to {high}")))
    }

    /// A text that must be there.
    pub fn text(self, name: &str) -> Result<&'a str, ApiError> {
        self.need(name)?.as_str().ok_or_else(|| ApiError::field(name, "expected a string"))
    }
}

/// Token ids below `vocab`.
pub fn token_ids(name: &str, values: &[Value], vocab: usize) -> Result<Vec<u32>, ApiError> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < vocab);
        id.ok_or_else(|| ApiError::field(name, format!("expected token ids from 0 to {}", vocab.saturating_sub(1))))
    };
    values.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_keep_to_their_ranges() {
        let object =
            json!({"a": 1, "b": -1, "c": 1e300, "d": "1", "e": null, "f": 2.0, "g": 1.5, "h": 18446744073709551615u64});
        let fields = Fields(object.as_object().unwrap());
        let number = |name| fields.number(name, 0.0..=2.0).ok();
        assert_eq!(["a", "e", "f"].map(number), [Some(Some(1.0)), Some(None), Some(Some(2.0))]);
        let integer = |name| fields.integer(name, 0..=2).ok();
        assert_eq!(["a", "e", "f"].map(integer), [Some(Some(1)), Some(None), Some(Some(2))]);
        for name in ["b", "c", "d", "h"] {
            assert!(number(name).is_none() && integer(name).is_none(), "{name}");
            assert_eq!(fields.number(name, 0.0..=2.0).unwrap_err().param.as_deref(), Some(name));
        }
        assert!(integer("g").is_none());
        assert!(token_ids("t", &[json!(4), json!(5)], 5).is_err() && token_ids("t", &[json!(-1)], 5).is_err());
        assert_eq!(token_ids("t", &[json!(4), json!(0)], 5).unwrap(), [4, 0]);
    }
}
