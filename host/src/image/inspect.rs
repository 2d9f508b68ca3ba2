//! What a packed image holds, for people and as JSON.

use super::config_json::config_to_value;
use super::{ImageIoError, LoadedImage, Origin, open_image};
use crate::load::TokenizerSource;
use rayon::prelude::*;
use serde::Serialize;
use spec::format::image::{Element, Section, header::VERSION};
use spec::format::matrix::{Encoding, Linear, TritMatrix};
use spec::format::scale::Scale;
use spec::format::trit5;
use spec::model::ModelWeights;
use std::collections::BTreeMap;
use std::path::Path;

/// A verified image, described.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file's name without folders.
    pub file: String,
    /// Version of the format.
    pub format_version: u16,
    /// SHA-256 that identifies the content.
    pub hash: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// The model's shape.
    pub config: serde_json::Value,
    /// Whether the head is the embedding.
    pub tied_head: bool,
    /// The ternary weights.
    pub weights: WeightReport,
    /// Bytes of each part of the file.
    pub parts: Vec<Part>,
    /// What running the model needs.
    pub memory: Memory,
    /// The tokenizer, if it is inside.
    pub tokenizer: Option<TokenizerReport>,
    /// What the image was packed from.
    pub origin: Option<Origin>,
    /// All sections in file order.
    pub sections: Vec<SectionReport>,
}

/// The ternary weights of a model.
#[derive(Clone, Debug, Serialize)]
pub struct WeightReport {
    /// Ternary weights in all planes.
    pub count: u64,
    /// Bytes of their codes.
    pub code_bytes: u64,
    /// Bytes of their scales and multipliers.
    pub scale_bytes: u64,
    /// Codes and scales over the number of weights.
    pub bits_per_weight: f64,
    /// Share of weights that are zero.
    pub zero_fraction: f64,
    /// Number of matrices in each encoding.
    pub encodings: BTreeMap<&'static str, usize>,
    /// Number of matrices with each kind of scale.
    pub scales: BTreeMap<String, usize>,
    /// Linear layers with a bias.
    pub biases: usize,
    /// Linear layers with a norm of their own.
    pub input_norms: usize,
}

/// Some sections of the same purpose.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: u64,
}

/// What running a model needs.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Bytes of embedding, layers and head.
    pub weight_bytes: u64,
    /// Bytes read for one token: layers and the whole head.
    pub bytes_per_token: u64,
    /// Keys and values of one position at int8, with their scales.
    pub kv_bytes_per_position: u64,
    /// Longest context of the model.
    pub max_context: usize,
}

impl Memory {
    /// Longest context that fits `bytes` of memory together with the weights.
    pub fn context_within(&self, bytes: u64) -> usize {
        let positions = bytes.saturating_sub(self.weight_bytes) / self.kv_bytes_per_position.max(1);
        self.max_context.min(usize::try_from(positions).unwrap_or(usize::MAX))
    }
}

/// The tokenizer inside an image.
#[derive(Clone, Debug, Serialize)]
pub struct TokenizerReport {
    /// Bytes of its JSON.
    pub bytes: usize,
    /// Entries of its vocabulary, if it has one of the known forms.
    pub entries: Option<usize>,
    /// Names of the chat templates.
    pub chat_templates: Vec<String>,
    /// Token that begins a text.
    pub bos: Option<u32>,
    /// Tokens that end a generation.
    pub stop: Vec<u32>,
}

/// One section.
#[derive(Clone, Debug, Serialize)]
pub struct SectionReport {
    /// Its name.
    pub name: String,
    /// Kind and shape.
    pub content: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
    /// Checksum.
    pub crc32c: String,
}

/// Opens and verifies an image and describes it.
pub fn inspect(path: &Path) -> Result<Inspection, ImageIoError> {
    let image = open_image(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Inspection::of(name.to_string_lossy().into_owned(), &image))
}

impl Inspection {
    /// Describes an image that has been opened from a file of this name.
    pub fn of(file: String, image: &LoadedImage) -> Self {
        let LoadedImage { weights, extras, summary, header } = image;
        let c = &weights.config;
        let sum = |keep: &dyn Fn(&Section) -> bool| -> u64 {
            header.sections.iter().filter(|section| keep(section)).map(|section| section.length).sum()
        };
        let parts: Vec<Part> = PARTS
            .iter()
            .map(|&name| Part { name, bytes: sum(&|section| part_of(section) == name) })
            .chain([Part { name: "header and padding", bytes: summary.bytes - sum(&|_| true) }])
            .collect();
        let bytes_of = |name| parts.iter().find(|part| part.name == name).map_or(0, |part| part.bytes);
        let embedding = bytes_of("embedding");
        let layers = bytes_of("attention") + bytes_of("feed-forward") + bytes_of("norms");
        let head = if weights.head.is_some() { bytes_of("head") } else { embedding };
        let kv = 2 * c.layers as u64 * (c.kv_dim() as u64 + 4 * c.kv_heads as u64);
        Inspection {
            file,
            format_version: VERSION,
            hash: summary.hash.to_string(),
            bytes: summary.bytes,
            config: config_to_value(c),
            tied_head: weights.head.is_none(),
            weights: WeightReport::of(weights, &header.sections),
            memory: Memory {
                weight_bytes: embedding + layers + bytes_of("head"),
                bytes_per_token: layers + head,
                kv_bytes_per_position: kv,
                max_context: c.max_context,
            },
            parts,
            tokenizer: extras.tokenizer.as_ref().map(TokenizerReport::of),
            origin: extras.origin.clone(),
            sections: header.sections.iter().map(SectionReport::of).collect(),
        }
    }
}

const PARTS: [&str; 6] = ["texts", "embedding", "attention", "feed-forward", "norms", "head"];

/// The part of the file that a section belongs to.
fn part_of(section: &Section) -> &'static str {
    let name = section.name.as_str();
    let inner = name.split('.').nth(2).unwrap_or("");
    match (section.element, name.split('.').next().unwrap_or(""), inner) {
        (Element::Json, ..) => "texts",
        (_, "embed", _) => "embedding",
        (_, "head", _) => "head",
        (_, _, "q" | "k" | "v" | "o") => "attention",
        (_, _, "gate" | "up" | "down") => "feed-forward",
        _ => "norms",
    }
}

fn linears(weights: &ModelWeights) -> impl Iterator<Item = &Linear> {
    weights.layers.iter().flat_map(|l| [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down])
}

impl WeightReport {
    fn of(weights: &ModelWeights, sections: &[Section]) -> Self {
        let (mut encodings, mut scales) = (BTreeMap::new(), BTreeMap::new());
        let planes: Vec<_> = linears(weights).flat_map(|linear| &linear.planes).collect();
        for plane in &planes {
            *encodings.entry(plane.trits.encoding().name()).or_default() += 1;
            let kind = match &plane.scale {
                Scale::Tensor(_) => "one per tensor".to_owned(),
                Scale::Device(device) => format!("one per group of {}", device.group),
                _ => "one per row".to_owned(),
            };
            *scales.entry(kind).or_default() += 1;
        }
        let bytes_of = |suffixes: &[&str]| -> u64 {
            let of_plane = |section: &&Section| {
                section.name.contains(".plane") && suffixes.iter().any(|suffix| section.name.ends_with(suffix))
            };
            sections.iter().filter(of_plane).map(|section| section.length).sum()
        };
        let (code_bytes, scale_bytes) = (bytes_of(&[".trits"]), bytes_of(&[".scales", ".multipliers"]));
        let count: u64 = planes.iter().map(|plane| plane.trits.rows() as u64 * plane.trits.cols() as u64).sum();
        let zeros: u64 = planes.par_iter().map(|plane| zeros(&plane.trits)).sum();
        WeightReport {
            count,
            code_bytes,
            scale_bytes,
            bits_per_weight: 8.0 * (code_bytes + scale_bytes) as f64 / count as f64,
            zero_fraction: zeros as f64 / count as f64,
            encodings,
            scales,
            biases: linears(weights).filter(|linear| linear.bias.is_some()).count(),
            input_norms: linears(weights).filter(|linear| linear.input_norm.is_some()).count(),
        }
    }
}

/// Number of zero weights.
fn zeros(matrix: &TritMatrix) -> u64 {
    let (rows, cols) = (matrix.rows() as u64, matrix.cols() as u64);
    match matrix.encoding() {
        Encoding::Sherry => rows * cols / 4,
        Encoding::Trit5 => {
            let zeros_in: [u8; 256] =
                std::array::from_fn(|byte| trit5::DECODE[byte].iter().filter(|&&trit| trit == 0).count() as u8);
            let all: u64 = matrix.bytes().iter().map(|&byte| u64::from(zeros_in[usize::from(byte)])).sum();
            let padding = cols.next_multiple_of(trit5::TRITS_PER_BYTE as u64) - cols;
            all - rows * padding
        }
    }
}

impl TokenizerReport {
    fn of(source: &TokenizerSource) -> Self {
        let parsed: Option<serde_json::Value> = serde_json::from_slice(&source.json).ok();
        let entries = parsed.as_ref().and_then(|json| match &json["model"]["vocab"] {
            serde_json::Value::Object(map) => Some(map.len()),
            serde_json::Value::Array(list) => Some(list.len()),
            _ => None,
        });
        TokenizerReport {
            bytes: source.json.len(),
            entries,
            chat_templates: source.templates.iter().map(|(name, _)| name.clone()).collect(),
            bos: source.bos,
            stop: source.stop.clone(),
        }
    }
}

impl SectionReport {
    fn of(section: &Section) -> Self {
        SectionReport {
            name: section.name.clone(),
            content: section.describe(),
            offset: section.offset,
            bytes: section.length,
            crc32c: format!("{:08x}", section.crc32c),
        }
    }
}
