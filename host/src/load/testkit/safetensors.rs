//! For tests: safetensors files.

use half::{bf16, f16};

/// A tensor to write.
#[derive(Clone, Debug)]
pub struct RawTensor {
    /// Its name.
    pub name: String,
    /// Name of its element type.
    pub dtype: &'static str,
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Its elements, little endian.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// A tensor of bytes.
    pub fn new(name: impl Into<String>, dtype: &'static str, shape: &[usize], bytes: Vec<u8>) -> Self {
        RawTensor { name: name.into(), dtype, shape: shape.into(), bytes }
    }

    /// A tensor of floating-point numbers in `dtype`.
    pub fn floats(name: impl Into<String>, dtype: &'static str, shape: &[usize], values: &[f32]) -> Self {
        Self::new(name, dtype, shape, encode(dtype, values))
    }
}

/// Numbers as `F32`, `F16` or `BF16`.
pub fn encode(dtype: &str, values: &[f32]) -> Vec<u8> {
    match dtype {
        "F32" => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "F16" => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        "BF16" => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("{other} is no floating-point type"),
    }
}

/// A file with these tensors, the widest elements first, as the published writer orders them.
pub fn file(tensors: &[RawTensor]) -> Vec<u8> {
    let width = |dtype: &str| match dtype {
        "F64" | "I64" => 8,
        "F32" | "I32" => 4,
        "F16" | "BF16" => 2,
        _ => 1,
    };
    let mut sorted: Vec<&RawTensor> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| (std::cmp::Reverse(width(tensor.dtype)), tensor.name.clone()));
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    header.insert("__metadata__".into(), serde_json::json!({ "format": "pt" }));
    for tensor in sorted {
        let begin = data.len();
        data.extend(&tensor.bytes);
        let entry = serde_json::json!({
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()],
        });
        header.insert(tensor.name.clone(), entry);
    }
    raw(&serde_json::Value::Object(header).to_string(), &data)
}

/// A file with this header, right or wrong, padded to eight bytes as the published writer does.
pub fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}
