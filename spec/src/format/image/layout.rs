//! Which sections a model has: names, kinds, shapes and order in one place, for writing and for
//! checking what was read.
//!
//! ```text
//! config                                json   always first
//! tokenizer, tokenizer_meta             json   both or neither; the next two are optional, too
//! chat_templates                        json
//! source                                json
//! embed.codes, embed.scales             code121 [vocab, hidden], f32 [vocab]
//! layers.L.attn_norm                    f32 [hidden]
//! layers.L.q  (see below)               .k and .v follow
//! layers.L.attn_sub_norm                f32 [heads * head_dim], optional
//! layers.L.o
//! layers.L.ffn_norm                     f32 [hidden]
//! layers.L.gate                         .up follows
//! layers.L.ffn_sub_norm                 f32 [ffn], optional
//! layers.L.down
//! final_norm                            f32 [hidden]
//! head.codes, head.scales               as embed; absent if the head is the embedding
//!
//! each linear layer X of [rows, cols]:
//! X.input_norm, X.input_norm_eps        f32 [cols], f32 [1]; optional
//! X.planeP.trits                        trit5 or sherry [rows, cols]
//! X.planeP.scales                       f32 [1] if all rows have the same, or [rows]
//! X.planeP.multipliers                  u8 [rows, ceil(cols / group)], group; optional
//! X.bias                                f32 [rows], optional
//! ```

use super::section::{Element, Section};
use crate::format::matrix::{Linear, Plane, TritMatrix};
use crate::format::scale::{DeviceScale, Scale};
use crate::format::table::{CodedMatrix, Table};
use crate::model::weights::{Layer, ModelWeights};
use crate::numerics::f32ops::flush;

/// Section of the model's configuration.
pub const CONFIG: &str = "config";
/// Section of the tokenizer.
pub const TOKENIZER: &str = "tokenizer";
/// Section of the special tokens.
pub const TOKENIZER_META: &str = "tokenizer_meta";
/// Section of the chat templates.
pub const CHAT_TEMPLATES: &str = "chat_templates";
/// Section that says what the image was packed from.
pub const SOURCE: &str = "source";
/// The JSON sections before the weights, in order; all but the first are optional.
pub const TEXTS: [&str; 5] = [CONFIG, TOKENIZER, TOKENIZER_META, CHAT_TEMPLATES, SOURCE];
/// Most planes of a linear layer.
pub const MAX_PLANES: usize = 8;

/// Bytes read or written in one piece while tables are converted.
const PIECE: usize = 1 << 16;

/// A section with where its bytes come from.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// The section, not yet placed.
    pub section: Section,
    /// Its bytes.
    pub source: Source<'a>,
}

/// Where the bytes of a section come from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// As they are.
    Bytes(&'a [u8]),
    /// Little-endian numbers.
    F32(&'a [f32]),
    /// The same, owned: scales in the accelerator's form.
    Scales(Vec<f32>),
    /// Owned group multipliers.
    Multipliers(Vec<u8>),
    /// The codes of a table, formed row by row.
    TableCodes(&'a Table),
    /// The scales of a table.
    TableScales(&'a Table),
}

impl Source<'_> {
    /// Passes the bytes to `sink` piece by piece; stops at its first error.
    pub fn stream<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Source::Bytes(bytes) => bytes.chunks(PIECE).try_for_each(sink),
            Source::Multipliers(bytes) => bytes.chunks(PIECE).try_for_each(sink),
            Source::F32(values) => stream_f32(values, sink),
            Source::Scales(values) => stream_f32(values, sink),
            Source::TableCodes(Table::Coded(table)) => table.codes().chunks(PIECE).try_for_each(sink),
            Source::TableScales(Table::Coded(table)) => {
                let flushed: Vec<f32> = table.scales().iter().map(|&scale| flush(scale)).collect();
                stream_f32(&flushed, sink)
            }
            Source::TableCodes(table) => {
                for_each_row(table, |codes, _| sink(&codes.iter().map(|&code| code as u8).collect::<Vec<_>>()))
            }
            Source::TableScales(table) => for_each_row(table, |_, scale| sink(&scale.to_le_bytes())),
        }
    }
}

fn stream_f32<E>(values: &[f32], mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    for piece in values.chunks(PIECE / 4) {
        let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
        sink(&bytes)?;
    }
    Ok(())
}

fn for_each_row<E>(table: &Table, mut sink: impl FnMut(&[i8], f32) -> Result<(), E>) -> Result<(), E> {
    let (mut values, mut codes) = (vec![0.0; table.cols()], vec![0i8; table.cols()]);
    for row in 0..table.rows() {
        table.read_row(row, &mut values);
        let scale = CodedMatrix::encode_row(&values, &mut codes);
        sink(&codes, scale)?;
    }
    Ok(())
}

/// The sections of a model's weights in file order.
pub fn describe(weights: &ModelWeights) -> Vec<Tensor<'_>> {
    let mut list = List(Vec::new());
    list.table("embed", &weights.embed);
    for (index, layer) in weights.layers.iter().enumerate() {
        list.layer(&format!("layers.{index}"), layer);
    }
    list.vector("final_norm".into(), &weights.final_norm);
    if let Some(head) = &weights.head {
        list.table("head", head);
    }
    list.0
}

struct List<'a>(Vec<Tensor<'a>>);

impl<'a> List<'a> {
    fn push(&mut self, name: String, element: Element, dims: &[usize], group: usize, source: Source<'a>) {
        self.0.push(Tensor { section: Section::array(name, element, dims, group), source });
    }

    fn vector(&mut self, name: String, values: &'a [f32]) {
        self.push(name, Element::F32, &[values.len()], 0, Source::F32(values));
    }

    fn table(&mut self, name: &str, table: &'a Table) {
        let dims = [table.rows(), table.cols()];
        self.push(format!("{name}.codes"), Element::Code121, &dims, 0, Source::TableCodes(table));
        self.push(format!("{name}.scales"), Element::F32, &dims[..1], 0, Source::TableScales(table));
    }

    fn layer(&mut self, name: &str, layer: &'a Layer) {
        self.vector(format!("{name}.attn_norm"), &layer.attn_norm);
        self.linear(format!("{name}.q"), &layer.q);
        self.linear(format!("{name}.k"), &layer.k);
        self.linear(format!("{name}.v"), &layer.v);
        if let Some(norm) = &layer.attn_sub_norm {
            self.vector(format!("{name}.attn_sub_norm"), norm);
        }
        self.linear(format!("{name}.o"), &layer.o);
        self.vector(format!("{name}.ffn_norm"), &layer.ffn_norm);
        self.linear(format!("{name}.gate"), &layer.gate);
        self.linear(format!("{name}.up"), &layer.up);
        if let Some(norm) = &layer.ffn_sub_norm {
            self.vector(format!("{name}.ffn_sub_norm"), norm);
        }
        self.linear(format!("{name}.down"), &layer.down);
    }

    fn linear(&mut self, name: String, linear: &'a Linear) {
        if let Some((weight, eps)) = &linear.input_norm {
            self.vector(format!("{name}.input_norm"), weight);
            self.vector(format!("{name}.input_norm_eps"), std::slice::from_ref(eps));
        }
        for (index, Plane { trits, scale }) in linear.planes.iter().enumerate() {
            self.plane(&format!("{name}.plane{index}"), trits, scale);
        }
        if let Some(bias) = &linear.bias {
            self.vector(format!("{name}.bias"), bias);
        }
    }

    fn plane(&mut self, name: &str, trits: &'a TritMatrix, scale: &Scale) {
        let (rows, cols) = (trits.rows(), trits.cols());
        let element = Element::from(trits.encoding());
        self.push(format!("{name}.trits"), element, &[rows, cols], 0, Source::Bytes(trits.bytes()));
        let device = scale.to_device(rows, cols);
        let scales = format!("{name}.scales");
        match Scale::from(device) {
            Scale::Tensor(one) => self.push(scales, Element::F32, &[1], 0, Source::Scales(vec![one])),
            Scale::Device(DeviceScale { group, row, multipliers }) => {
                self.push(scales, Element::F32, &[rows], 0, Source::Scales(row));
                let (name, dims) = (format!("{name}.multipliers"), [rows, cols.div_ceil(group)]);
                self.push(name, Element::U8, &dims, group, Source::Multipliers(multipliers));
            }
            other => {
                let row = other.to_device(rows, cols).row;
                self.push(scales, Element::F32, &[rows], 0, Source::Scales(row));
            }
        }
    }
}
