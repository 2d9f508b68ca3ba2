//! Weights out of the sections of a file. Codes stay where they are; norms and scales are copied.

use super::error::ImageError;
use super::header::ImageHeader;
use super::layout::{CONFIG, MAX_PLANES, TEXTS, describe};
use super::section::{Element, Section};
use crate::Bytes;
use crate::format::matrix::{Encoding, Linear, Plane, TritMatrix};
use crate::format::scale::{DeviceScale, Scale};
use crate::format::table::{CodedMatrix, Table};
use crate::model::config::ModelConfig;
use crate::model::weights::{Layer, ModelWeights};
use std::collections::HashMap;

/// The weights of a model of shape `config`, which has been validated, from a file whose header has
/// been parsed and whose checksums have been verified. Refuses missing, unknown and misplaced
/// sections and wrong shapes. The codes of ternary matrices are not read: see
/// [`TritMatrix::check_codes`]; norms and scales are left to [`ModelWeights::validate`].
pub fn assemble(config: ModelConfig, header: &ImageHeader, file: &Bytes) -> Result<ModelWeights, ImageError> {
    let sections = header.sections.iter().map(|section| (section.name.as_str(), section)).collect();
    let reader = Reader { sections, file };
    let c = &config;
    let embed = reader.table("embed", c.vocab, c.hidden)?;
    // Layers are made one by one: a configuration that promises more than the file has ends at the
    // first missing section, before memory is set aside for the rest.
    let mut layers = Vec::new();
    for index in 0..c.layers {
        layers.push(reader.layer(&format!("layers.{index}"), c)?);
    }
    let final_norm = reader.vector("final_norm", c.hidden)?;
    let head = match reader.find("head.codes") {
        Some(_) => Some(reader.table("head", c.vocab, c.hidden)?),
        None => None,
    };
    let weights = ModelWeights { embed, layers, final_norm, head, config };
    check_order(header, &weights)?;
    Ok(weights)
}

/// Compares the table with the one that writing `weights` would give: nothing unknown, nothing out
/// of order, nothing stored in a longer way than needed.
fn check_order(header: &ImageHeader, weights: &ModelWeights) -> Result<(), ImageError> {
    let mut found = header.sections.iter();
    let mut next = found.next();
    for name in TEXTS {
        if next.is_some_and(|section| section.name == name && section.element == Element::Json) {
            next = found.next();
        } else if name == CONFIG {
            return Err(ImageError::Section { expected: format!("{name} (json)"), found: named(next) });
        }
    }
    for tensor in describe(weights) {
        let expected = &tensor.section;
        let same = next.is_some_and(|section| {
            (&section.name, section.element, &section.dims, section.group)
                == (&expected.name, expected.element, &expected.dims, expected.group)
        });
        if !same {
            return Err(ImageError::Section { expected: named(Some(expected)), found: named(next) });
        }
        next = found.next();
    }
    match next {
        None => Ok(()),
        surplus => Err(ImageError::Section { expected: "no further one".into(), found: named(surplus) }),
    }
}

fn named(section: Option<&Section>) -> String {
    section.map_or("none".into(), |section| format!("{} ({})", section.name, section.describe()))
}

struct Reader<'a> {
    sections: HashMap<&'a str, &'a Section>,
    file: &'a Bytes,
}

impl<'a> Reader<'a> {
    fn find(&self, name: &str) -> Option<&'a Section> {
        self.sections.get(name).copied()
    }

    fn bytes(&self, section: &Section) -> Result<Bytes, ImageError> {
        let bytes = self.file.slice(section.offset as usize..section.end() as usize);
        bytes.ok_or(ImageError::FileLength { expected: section.end(), found: self.file.len() as u64 })
    }

    /// The section `name`, which must be an array of one of `elements` and of one of `shapes`.
    fn array(&self, name: &str, elements: &[Element], shapes: &[&[usize]]) -> Result<&'a Section, ImageError> {
        let section = self.find(name);
        let fits = |s: &&Section| elements.contains(&s.element) && shapes.contains(&s.dims.as_slice());
        section.filter(fits).ok_or_else(|| {
            let kinds: Vec<&str> = elements.iter().map(|element| element.name()).collect();
            let shapes: Vec<String> = shapes.iter().map(|dims| format!("{dims:?}")).collect();
            let expected = format!("{name} ({} {})", kinds.join(" or "), shapes.join(" or "));
            ImageError::Section { expected, found: named(section) }
        })
    }

    fn numbers(&self, section: &Section) -> Result<Vec<f32>, ImageError> {
        let bytes = self.bytes(section)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Scales as the device holds them: subnormals have been flushed.
    fn scales(&self, section: &Section) -> Result<Vec<f32>, ImageError> {
        let scales = self.numbers(section)?;
        match scales.iter().find(|scale| scale.is_subnormal()) {
            Some(scale) => {
                let (expected, found) = ("normal numbers or 0".into(), scale.to_string());
                Err(ImageError::Entry { section: section.name.clone(), field: "a scale", expected, found })
            }
            None => Ok(scales),
        }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, ImageError> {
        self.numbers(self.array(name, &[Element::F32], &[&[len]])?)
    }

    fn optional_vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ImageError> {
        self.find(name).map(|_| self.vector(name, len)).transpose()
    }

    fn table(&self, name: &str, rows: usize, cols: usize) -> Result<Table, ImageError> {
        let codes_name = format!("{name}.codes");
        let codes = self.bytes(self.array(&codes_name, &[Element::Code121], &[&[rows, cols]])?)?;
        let scales = self.scales(self.array(&format!("{name}.scales"), &[Element::F32], &[&[rows]])?)?;
        let table = CodedMatrix::new(rows, cols, codes, scales);
        Ok(Table::Coded(table.map_err(|problem| ImageError::Content { section: codes_name, problem })?))
    }

    fn layer(&self, name: &str, c: &ModelConfig) -> Result<Layer, ImageError> {
        let linear = |part: &str, rows, cols| self.linear(&format!("{name}.{part}"), rows, cols);
        Ok(Layer {
            attn_norm: self.vector(&format!("{name}.attn_norm"), c.hidden)?,
            q: linear("q", c.q_dim(), c.hidden)?,
            k: linear("k", c.kv_dim(), c.hidden)?,
            v: linear("v", c.kv_dim(), c.hidden)?,
            attn_sub_norm: self.optional_vector(&format!("{name}.attn_sub_norm"), c.q_dim())?,
            o: linear("o", c.hidden, c.q_dim())?,
            ffn_norm: self.vector(&format!("{name}.ffn_norm"), c.hidden)?,
            gate: linear("gate", c.ffn, c.hidden)?,
            up: linear("up", c.ffn, c.hidden)?,
            ffn_sub_norm: self.optional_vector(&format!("{name}.ffn_sub_norm"), c.ffn)?,
            down: linear("down", c.hidden, c.ffn)?,
        })
    }

    fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear, ImageError> {
        let input_norm = match self.optional_vector(&format!("{name}.input_norm"), cols)? {
            Some(weight) => {
                let eps = self.vector(&format!("{name}.input_norm_eps"), 1)?;
                Some((weight, eps.first().copied().unwrap_or(0.0)))
            }
            None => None,
        };
        let mut planes = vec![self.plane(&format!("{name}.plane0"), rows, cols)?];
        while planes.len() < MAX_PLANES {
            let plane = format!("{name}.plane{}", planes.len());
            if self.find(&format!("{plane}.trits")).is_none() {
                break;
            }
            planes.push(self.plane(&plane, rows, cols)?);
        }
        let bias = self.optional_vector(&format!("{name}.bias"), rows)?;
        Ok(Linear { planes, bias, input_norm })
    }

    fn plane(&self, name: &str, rows: usize, cols: usize) -> Result<Plane, ImageError> {
        let trits_name = format!("{name}.trits");
        let section = self.array(&trits_name, &[Element::Trit5, Element::Sherry], &[&[rows, cols]])?;
        let wrong = |problem| ImageError::Content { section: trits_name.clone(), problem };
        let encoding = section.element.encoding().unwrap_or(Encoding::Trit5);
        let trits = TritMatrix::new_unchecked_codes(rows, cols, encoding, self.bytes(section)?).map_err(wrong)?;
        let scales = self.array(&format!("{name}.scales"), &[Element::F32], &[&[1], &[rows]])?;
        let row = self.scales(scales)?;
        let multipliers = format!("{name}.multipliers");
        let scale = match (self.find(&multipliers), row.as_slice()) {
            (Some(section), _) => {
                let dims = [rows, cols.div_ceil(section.group.max(1))];
                let section = self.array(&multipliers, &[Element::U8], &[&dims])?;
                let device = DeviceScale { group: section.group, row, multipliers: self.bytes(section)?.to_vec() };
                let scale = Scale::Device(device);
                let wrong = |problem| ImageError::Content { section: multipliers, problem };
                scale.validate(rows, cols).map_err(wrong)?;
                scale
            }
            (None, [one]) => Scale::Tensor(*one),
            (None, _) => Scale::Row(row),
        };
        Ok(Plane { trits, scale })
    }
}
