//! Wrong safetensors files: each kind of fault gives its own kind of error.

use host::load::{
    LoadError,
    error::Placement,
    safetensors::{MAX_HEADER_BYTES, parse},
    testkit::safetensors::{RawTensor, file, raw},
};
use std::path::Path;

fn read(bytes: &[u8]) -> Result<usize, LoadError> {
    parse(Path::new("x.safetensors"), bytes).map(|entries| entries.len())
}

/// The error of a header over 64 bytes of data.
fn header(text: &str) -> LoadError {
    read(&raw(text, &[0; 64])).unwrap_err()
}

fn good() -> Vec<u8> {
    file(&[
        RawTensor::floats("a", "F32", &[2, 3], &[1.0; 6]),
        RawTensor::floats("b", "BF16", &[5], &[2.0; 5]),
        RawTensor::new("c", "U8", &[7], vec![3; 7]),
        RawTensor::floats("d", "F32", &[], &[4.0]),
    ])
}

#[test]
fn a_good_file_is_read() {
    let bytes = good();
    let entries = parse(Path::new("x"), &bytes).unwrap();
    assert_eq!(entries["a"].shape, [2, 3]);
    assert_eq!(bytes[entries["c"].range.clone()], [3; 7]);
    assert_eq!(entries["d"].shape, [0usize; 0]);
    // in any order of the header
    let two = r#"{"z": {"dtype": "U8", "shape": [32], "data_offsets": [0, 32]}, "a": {"dtype": "U8", "shape": [32], "data_offsets": [32, 64]}}"#;
    assert_eq!(read(&raw(two, &[0; 64])).unwrap(), 2);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = good();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        let header_end = bytes.len() - 24 - 4 - 10 - 7;
        match error {
            LoadError::Truncated { .. } => assert!(length < header_end),
            LoadError::Place { placement: Placement::PastEnd, .. } => assert!(length >= header_end),
            other => panic!("{length}: {other}"),
        }
    }
    for extra in [1, 16] {
        let longer = [bytes.as_slice(), &vec![0; extra]].concat();
        let error = read(&longer).unwrap_err();
        assert!(matches!(error, LoadError::Place { placement: Placement::TrailingBytes, .. }), "{error}");
    }
}

#[test]
fn absurd_header_lengths() {
    for length in [MAX_HEADER_BYTES + 1, u64::MAX, 1 << 63] {
        let mut bytes = good();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(read(&bytes), Err(LoadError::Limit { .. })));
    }
    let mut bytes = good();
    bytes[..8].copy_from_slice(&MAX_HEADER_BYTES.to_le_bytes());
    assert!(matches!(read(&bytes), Err(LoadError::Truncated { .. })));
}

#[test]
fn text_that_is_no_header() {
    assert!(matches!(header("{"), LoadError::Json { .. }));
    assert!(matches!(header("[]"), LoadError::KeyValue { .. }));
    assert!(matches!(header("{}"), LoadError::Limit { .. }));
    assert!(matches!(header(r#"{"a": 1}"#), LoadError::KeyValue { .. }));
    assert!(matches!(header(r#"{"__metadata__": {"a": 1}}"#), LoadError::KeyValue { .. }));
    let mut bytes = good();
    bytes[9] = 0xff;
    assert!(matches!(read(&bytes), Err(LoadError::Utf8 { offset: 1, .. })));
}

#[test]
fn entries_that_are_wrong() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        header(&format!(r#"{{"a": {{"dtype": {dtype}, "shape": {shape}, "data_offsets": {offsets}}}}}"#))
    };
    let u8s = "\"U8\"";
    assert!(matches!(entry("\"X9\"", "[64]", "[0, 64]"), LoadError::Dtype { .. }));
    assert!(matches!(entry("\"F4\"", "[128]", "[0, 64]"), LoadError::Dtype { .. }));
    assert!(matches!(entry("7", "[64]", "[0, 64]"), LoadError::KeyValue { .. }));
    for shape in ["[0]", "[-1]", "[1.5]", "[16777217]", "[1,1,1,1,64]", "64", "[\"64\"]", "[18446744073709551616]"] {
        assert!(matches!(entry(u8s, shape, "[0, 64]"), LoadError::KeyValue { .. }), "{shape}");
    }
    let huge = "[16777216, 16777216, 16777216]";
    assert!(matches!(entry(u8s, huge, "[0, 64]"), LoadError::KeyValue { .. }));
    for offsets in ["[0]", "[0, 1, 2]", "{}", "[-1, 63]", "[0, 6.4e1]", "null"] {
        let error = entry(u8s, "[64]", offsets);
        assert!(matches!(error, LoadError::KeyValue { .. } | LoadError::MissingKey { .. }), "{offsets}");
    }
    assert!(matches!(entry(u8s, "[63]", "[0, 64]"), LoadError::ByteCount { expected: 63, found: 64, .. }));
    assert!(matches!(entry("\"F32\"", "[64]", "[0, 64]"), LoadError::ByteCount { expected: 256, .. }));
    let placement = |error| match error {
        LoadError::Place { placement, .. } => placement,
        other => panic!("{other}"),
    };
    assert_eq!(placement(entry(u8s, "[64]", "[64, 0]")), Placement::Reversed);
    assert_eq!(placement(entry(u8s, "[64]", "[1, 65]")), Placement::PastEnd);
    let far = "[18446744073709551551, 18446744073709551615]";
    assert_eq!(placement(entry(u8s, "[64]", far)), Placement::PastEnd);
    assert_eq!(placement(entry(u8s, "[63]", "[1, 64]")), Placement::Gap);
    assert_eq!(placement(entry(u8s, "[32]", "[0, 32]")), Placement::TrailingBytes);
    assert!(matches!(
        header(r#"{"a": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64], "more": 1}}"#),
        LoadError::KeyValue { .. }
    ));
    assert!(matches!(header(r#"{"a": {"dtype": "U8", "shape": [64]}}"#), LoadError::MissingKey { .. }));
}

#[test]
fn two_tensors_that_do_not_tile() {
    let two = |dtype: &str, b: (usize, usize, usize)| {
        let (length, begin, end) = b;
        header(&format!(
            r#"{{"a": {{"dtype": "U8", "shape": [31], "data_offsets": [0, 31]}},
                "b": {{"dtype": "{dtype}", "shape": [{length}], "data_offsets": [{begin}, {end}]}}}}"#
        ))
    };
    let placement = |error| match error {
        LoadError::Place { placement, tensor, .. } => (tensor, placement),
        other => panic!("{other}"),
    };
    assert_eq!(placement(two("U8", (34, 30, 64))), ("b".into(), Placement::Overlap));
    assert_eq!(placement(two("U8", (64, 0, 64))), ("b".into(), Placement::Overlap));
    assert_eq!(placement(two("U8", (32, 32, 64))), ("b".into(), Placement::Gap));
    assert_eq!(placement(two("F16", (16, 31, 63))), ("b".into(), Placement::Misaligned));
}

#[test]
fn names_that_are_wrong_or_twice() {
    let entry = r#"{"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}"#;
    assert!(matches!(header(&format!(r#"{{"a": {entry}, "a": {entry}}}"#)), LoadError::Duplicate { kind: "key", .. }));
    for name in ["", "a b", "\\n", "é", &"n".repeat(129)] {
        assert!(matches!(header(&format!(r#"{{"{name}": {entry}}}"#)), LoadError::Name { .. }), "{name}");
    }
    let twice = r#"{"a": {"dtype": "U8", "dtype": "I8", "shape": [64], "data_offsets": [0, 64]}}"#;
    assert!(matches!(header(twice), LoadError::Duplicate { .. }));
}
