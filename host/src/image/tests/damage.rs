//! Damaged files: the exact error for each kind of damage, and never a panic.

use super::models::*;
use super::*;
use proptest::prelude::*;
use spec::format::image::header::FIXED_BYTES;
use spec::format::image::section::ENTRY_BYTES;
use spec::format::image::{ImageError, ImageHeader, Section};
use spec::model::random::WeightKind;
use std::sync::LazyLock;

/// Group scales, planes of one kind, norms, tokenizer: sections of every element but Sherry.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&model(WeightKind::Group(8)), &extras()));

fn header() -> ImageHeader {
    ImageHeader::parse(&IMAGE).unwrap()
}

fn find(name: &str) -> (usize, Section) {
    let sections = header().sections;
    let index = sections.iter().position(|section| section.name == name).unwrap();
    (index, sections[index].clone())
}

fn image_error(bytes: &[u8]) -> ImageError {
    match decode(bytes).err().unwrap() {
        ContentError::Image(error) => error,
        other => panic!("{other}"),
    }
}

/// Changes bytes at `at`, makes the checksums match, and returns the message.
fn resealed(at: usize, bytes: &[u8]) -> String {
    let mut image = IMAGE.clone();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    reseal(&mut image);
    decode(&image).err().unwrap().to_string()
}

fn entry(name: &str, field: usize, bytes: &[u8]) -> String {
    resealed(FIXED_BYTES + ENTRY_BYTES * find(name).0 + field, bytes)
}

#[test]
fn every_header_byte_matters() {
    let table = header().header_length() as usize;
    for at in 0..table {
        for flip in [1, 0x80, 0xff] {
            let mut image = IMAGE.clone();
            image[at] ^= flip;
            let error = image_error(&image);
            let expected = match at {
                0..6 => matches!(error, ImageError::Magic { .. }),
                6..8 => matches!(error, ImageError::Version { .. }),
                8..16 | 24..32 => matches!(error, ImageError::Header { .. }),
                16..24 => matches!(error, ImageError::FileLength { .. }),
                _ => matches!(error, ImageError::TableHash { .. }),
            };
            assert!(expected, "byte {at}: {error}");
        }
    }
}

#[test]
fn every_section_byte_matters() {
    for section in header().sections {
        for at in [section.offset, (section.offset + section.end()) / 2, section.end() - 1] {
            let mut image = IMAGE.clone();
            image[at as usize] ^= 0x10;
            let error = image_error(&image);
            assert!(matches!(&error, ImageError::Crc { section: name, .. } if *name == section.name), "{error}");
        }
        if section.offset > 0 && IMAGE[section.offset as usize - 1] == 0 {
            let mut image = IMAGE.clone();
            image[section.offset as usize - 1] = 7;
            let error = image_error(&image);
            let padding =
                matches!(&error, ImageError::Padding { section: name, found: 7, .. } if *name == section.name);
            // the byte before is the end of another section, a zero by chance, or the table
            assert!(padding || matches!(error, ImageError::Crc { .. } | ImageError::TableHash { .. }), "{error}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let table = header().header_length() as usize;
    let borders = header().sections.into_iter().flat_map(|section| [section.offset, section.end()]);
    let borders = [0, 6, 8, 32, FIXED_BYTES, table, IMAGE.len()].into_iter().chain(borders.map(|at| at as usize));
    for border in borders {
        for length in [border.saturating_sub(1), border, border + 1].into_iter().filter(|&n| n < IMAGE.len()) {
            let error = image_error(&IMAGE[..length]);
            let expected = match length {
                0..6 => matches!(error, ImageError::Magic { .. }),
                6..FIXED_BYTES => matches!(error, ImageError::Truncated { part: "header", .. }),
                _ if length < table => matches!(error, ImageError::Truncated { part: "section table", .. }),
                _ => matches!(error, ImageError::FileLength { .. }),
            };
            assert!(expected, "{length}: {error}");
        }
    }
    for extra in [1, 63, 4096] {
        let mut image = IMAGE.clone();
        image.resize(IMAGE.len() + extra, 0);
        assert!(matches!(image_error(&image), ImageError::FileLength { .. }));
    }
}

#[test]
fn broken_table_entries_are_named() {
    let trits = "layers.0.q.plane0.trits";
    let message = entry(trits, 0, b"L");
    assert!(message.contains("name \"Layers.0.q.plane0.trits\", expected 1 to 64 of a-z"), "{message}");
    assert!(entry(trits, 0, &[0; 64]).contains("name \"\""));
    assert!(entry(trits, 0, b"\xff").contains("name"));
    assert!(entry(trits, 3, b"\0").contains("name"));
    assert!(entry(trits, 64, &1u64.to_le_bytes()).contains(&format!("section {trits}: offset is 1, expected")));
    assert!(entry(trits, 64, &u64::MAX.to_le_bytes()).contains("offset is 18446744073709551615"));
    assert!(entry(trits, 72, &95u64.to_le_bytes()).contains("length is 95, expected 96 for trit5 [24, 16]"));
    assert!(entry(trits, 72, &u64::MAX.to_le_bytes()).contains("length is 18446744073709551615"));
    assert!(entry(trits, 84, &[0]).contains("element is 0, expected 1 to 6"));
    assert!(entry(trits, 84, &[7]).contains("element is 7"));
    assert!(entry(trits, 85, &[5]).contains("number of dimensions is 5"));
    assert!(entry(trits, 85, &[1]).contains("an unused place is not zero"));
    assert!(entry(trits, 86, &[1]).contains("an unused place is not zero"));
    assert!(entry(trits, 127, &[1]).contains("an unused place is not zero"));
    assert!(entry(trits, 88, &u32::MAX.to_le_bytes()).contains("a shape that trit5 can have"));
    assert!(entry(trits, 88, &0u32.to_le_bytes()).contains("a shape that trit5 can have"));
    assert!(entry(trits, 104, &[8]).contains("group is 8, expected 0, except for u8"));
    assert!(entry("config", 72, &0u64.to_le_bytes()).contains("length is 0, expected 1 to"));
    assert!(entry("config", 72, &(1u64 << 27).to_le_bytes()).contains("length is 134217728"));
    // the same bytes, another shape
    let swapped: Vec<u8> = [48u32, 10].iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let message = entry(trits, 88, &swapped);
    let expected = format!("expected section {trits} (trit5 or sherry [24, 16]), found {trits} (trit5 [48, 10])");
    assert!(message.starts_with(&expected), "{message}");
    let message = entry("layers.0.q.plane0.multipliers", 104, &[3]);
    assert!(message.starts_with("expected section layers.0.q.plane0.multipliers (u8 [24, 6])"), "{message}");
    assert!(entry("layers.0.q.plane0.multipliers", 104, &[0]).contains("multipliers"));
}

#[test]
fn wrong_sections_are_named() {
    let rename = |from: &str, to: &str| {
        let mut name = [0; 64];
        name[..to.len()].copy_from_slice(to.as_bytes());
        entry(from, 0, &name)
    };
    let duplicate = rename("layers.0.q.plane0.scales", "layers.0.k.plane0.scales");
    assert_eq!(duplicate, "section layers.0.k.plane0.scales: listed twice, expected once; pack the model again");
    let missing = rename("layers.1.attn_norm", "layers.9.attn_norm");
    assert_eq!(missing, "expected section layers.1.attn_norm (f32 [16]), found none; pack the model again");
    let surplus = rename("head.codes", "tail.codes");
    assert_eq!(surplus, "expected section no further one, found tail.codes (code121 [11, 16]); pack the model again");
    assert!(rename("config", "configs").contains("expected section config, found none"));
    assert!(rename("tokenizer", "tokenizers").contains("found tokenizers (json)"));
    // an unknown JSON section that nothing asks for
    assert!(rename("chat_templates", "chat").contains("found chat (json)"));
}

/// The image with another list of sections, otherwise sound.
fn rebuilt(change: impl FnOnce(&mut Vec<Section>)) -> Result<LoadedImage, ContentError> {
    let mut sections = header().sections;
    change(&mut sections);
    let from: Vec<u64> = sections.iter().map(|section| section.offset).collect();
    let header = ImageHeader::place(sections).unwrap();
    let mut image = vec![0; header.file_length as usize];
    let table = header.emit();
    image[..table.len()].copy_from_slice(&table);
    for (section, from) in header.sections.iter().zip(from) {
        let bytes = &IMAGE[from as usize..(from + section.length) as usize];
        image[section.offset as usize..section.end() as usize].copy_from_slice(bytes);
    }
    decode(&image)
}

#[test]
fn every_missing_or_misplaced_section_is_noticed() {
    let all = header().sections;
    for index in 0..all.len() {
        let name = all[index].name.as_str();
        let missing = rebuilt(|sections| drop(sections.remove(index)));
        match name {
            "chat_templates" | "source" => drop(missing.unwrap()),
            "tokenizer" | "tokenizer_meta" => {
                let message = missing.err().unwrap().to_string();
                assert!(message.starts_with(&format!("section {name}: missing")), "{message}");
            }
            _ if name.ends_with("sub_norm") => assert!(missing.is_ok()),
            // row scales alone are a matrix with one scale per row
            _ if name.ends_with("multipliers") => assert!(missing.is_ok()),
            _ => assert!(matches!(missing, Err(ContentError::Image(ImageError::Section { .. }))), "{name}"),
        }
        if index > 0 {
            let swapped = rebuilt(|sections| sections.swap(index, index - 1));
            assert!(matches!(swapped, Err(ContentError::Image(ImageError::Section { .. }))), "{name}");
        }
    }
    let untied = rebuilt(|sections| sections.truncate(all.len() - 2));
    assert!(untied.unwrap().weights.head.is_none());
}

#[test]
fn broken_contents_are_named() {
    let at = |name: &str| find(name).1.offset as usize;
    let trits = "layers.1.down.plane0.trits";
    assert!(resealed(at(trits), &[243]).contains(&format!("section {trits}: illegal trit code 243 in row 0, byte 0")));
    // [16, 28]: the last byte of a row holds three trits and two of padding
    assert!(resealed(at(trits) + 5, &[121 + 81]).contains("illegal trit code 202 in row 0, byte 5"));
    let message = resealed(at("embed.codes") + 17, &[122]);
    assert!(message.contains("section embed.codes: illegal trit code 122 in row 1, byte 1"), "{message}");
    let bits = |value: f32| value.to_le_bytes();
    assert!(resealed(at("final_norm"), &bits(f32::NAN)).contains("final_norm: element 0 is NaN"));
    assert!(resealed(at("embed.scales"), &bits(-1.0)).contains("embed.codes: scale 0 is -1"));
    assert!(resealed(at("layers.0.q.plane0.scales"), &bits(f32::INFINITY)).contains("scale 0 is inf"));
    assert!(resealed(at("layers.0.q.plane0.scales"), &bits(1e-40)).contains("expected normal numbers or 0"));
    assert!(resealed(at("head.scales"), &bits(1e-40)).contains("expected normal numbers or 0"));
    let name = at("config") + 10;
    assert!(resealed(name, b" \x01").contains("section config"));
    assert!(resealed(at("config") + 1, b"\"nome").contains("unknown field `nome`"));
    assert!(resealed(at("tokenizer"), b"\xff").contains("section tokenizer: not UTF-8"));
    assert!(resealed(at("source") + 2, b"g").contains("section source: unknown field"));
    assert!(resealed(at("chat_templates"), b"{").contains("section chat_templates"));
}

#[test]
fn json_has_one_spelling() {
    let (_, config) = find("config");
    let text = &IMAGE[config.offset as usize..config.end() as usize];
    let text = std::str::from_utf8(text).unwrap();
    assert_eq!(
        text,
        r#"{"name":"tiny \"test\" model","vocab":11,"hidden":16,"ffn":28,"layers":2,"heads":4,"kv_heads":2,"#
            .to_owned()
            + r#""head_dim":6,"max_context":64,"rms_eps":"0.00001","rope_theta":"500000.1","rope_scaling":"none","#
            + r#""activation":"relu2","act_quant":"int8_per_token","bos":1,"eos":[2,10]}"#
    );
    let read = |text: &str| super::super::config_json::config_from_json(text.as_bytes()).unwrap_err().to_string();
    assert!(read(&text.replace("\"0.00001\"", "\"1e-5\"")).contains("rms_eps is \"1e-5\", expected a number"));
    assert!(read(&text.replace("\"0.00001\"", "0.00001")).contains("expected a string"));
    assert!(read(&text.replace("\"0.00001\"", "\"NaN\"")).contains("rms_eps = NaN"));
    assert!(read(&text.replace(":11", ": 11")).contains("not in the form that packing gives it"));
    assert!(read(&text.replace("\"vocab\":11,", "\"vocab\":11,\"vocab\":11,")).contains("duplicate field"));
    assert!(read(&text.replace("\"vocab\":11,", "")).contains("missing field"));
    assert!(read(&text.replace("\"layers\":2", "\"layers\":0")).contains("layers = 0: expected 1 to 1024"));
    assert!(read(&text.replace("\"layers\":2", "\"layers\":-2")).contains("invalid value"));
    // promises far more layers than the file has
    let more = text.replace(r#"tiny \"test\" model"#, "tiny test models").replace("\"layers\":2", "\"layers\":1002");
    assert_eq!(more.len(), text.len());
    let message = resealed(config.offset as usize, more.as_bytes());
    assert!(message.contains("expected section layers.2.attn_norm (f32 [16]), found none"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any few changed bytes, with checksums that match: refused, or a model that packs to the same bytes.
    #[test]
    fn random_changes_are_refused_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        in_table in any::<bool>(),
    ) {
        let mut image = IMAGE.clone();
        let table = header().header_length() as usize;
        for (at, byte) in changes {
            let room = if in_table { table } else { image.len() };
            let at = at.index(room);
            image[at] = byte;
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(IMAGE.len()));
        }
        let plain = decode(&image);
        prop_assert!(plain.is_err() || image == *IMAGE);
        reseal(&mut image);
        if let Ok(loaded) = decode(&image) {
            prop_assert!(packed(&loaded.weights, &loaded.extras) == image);
        }
    }
}
