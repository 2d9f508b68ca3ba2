//! Files that must keep opening, and the numbers in docs/architecture/formats.md.

use super::models;
use super::*;
use spec::format::{code3, planes, sherry, trit5};
use spec::model::random::{RandomSpec, WeightKind, model};
use std::fs;
use std::path::Path;

/// A model of one block, small enough to print.
fn smallest(kind: WeightKind) -> spec::model::ModelWeights {
    let config = spec::model::ModelConfig {
        name: "example".into(),
        vocab: 5,
        hidden: 8,
        ffn: 12,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        head_dim: 4,
        max_context: 16,
        rope_theta: 10_000.0,
        eos: vec![2],
        ..models::config()
    };
    let spec = RandomSpec { seed: 1, kind, sub_norms: false, tied: true, input_norms: false, coded_tables: true };
    model(&config, spec)
}

/// Valid files in fuzz/corpus/image. An image of this version stays readable, and packing its
/// model again stays the same, whatever changes in the program.
fn corpus() -> [(&'static str, Vec<u8>); 4] {
    let pack = |kind, extras| models::packed(&smallest(kind), &extras);
    [
        ("tensor", pack(WeightKind::Tensor, ImageExtras::default())),
        ("group", pack(WeightKind::Group(4), models::extras_within(5))),
        ("sherry", pack(WeightKind::Sherry, ImageExtras::default())),
        ("two_planes", pack(WeightKind::TwoPlanes, ImageExtras::default())),
    ]
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_corpus_is_read_and_written_as_ever() {
    let folder = root().join("fuzz/corpus/image");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in corpus() {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in corpus() {
        let stored = fs::read(folder.join(name)).unwrap();
        assert!(stored == bytes, "{name} is packed differently; raise VERSION, then BLESS=1 cargo test -p host corpus");
        let image = models::decode(&stored).unwrap();
        assert!(models::packed(&image.weights, &image.extras) == bytes, "{name}");
    }
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        decode_hostile(&bytes);
        for length in [0, 5, 40, 64, 200, bytes.len() / 2] {
            decode_hostile(&bytes[..length.min(bytes.len())]);
        }
        files += 1;
    }
    assert!(files >= 4);
}

#[test]
fn the_formats_page_shows_what_the_code_does() {
    let page = fs::read_to_string(root().join("docs/architecture/formats.md")).unwrap();
    let has = |text: String| assert!(page.contains(&text), "docs/architecture/formats.md lacks\n{text}");
    has(format!("`[1, 0, -1, 0, 0]` is `2 + 3 + 0 + 27 + 81 = {}`", trit5::pack5([1, 0, -1, 0, 0])));
    has(format!("five zeros are {}", trit5::ZERO));
    has(format!("`[1, -1, 0]` is `2 + 0 + 9 = {}`", code3::encode3([1, -1, 0])));
    has(format!("`[1, 0, -1, 1]` is `01_010` = {}", sherry::encode4([1, 0, -1, 1]).unwrap()));
    has(format!("`50` is `{:?}`", planes::split(50)));
    let image = models::decode(&models::packed(&smallest(WeightKind::Tensor), &ImageExtras::default())).unwrap();
    let bytes = models::packed(&image.weights, &image.extras);
    let mut dump = String::new();
    for (line, bytes) in bytes[..64].chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        dump += &format!("{:04x}  {}\n", 16 * line, hex.join(" "));
    }
    has(dump);
    let listing = format!("{:#}", Inspection::of("example.tercet".into(), &image));
    has(listing.split("\n\n").nth(1).unwrap().to_owned());
}
