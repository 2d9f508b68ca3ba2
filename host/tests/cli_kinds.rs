//! `host eval --logits` for every kind of model file: both numerics, the CPU backend against the
//! reference, and the packed image against the file it was made from.

mod support;
use host::load::testkit::{
    Tiny,
    gguf::{self, Ternary},
    hf::{self, Family},
};
use std::path::{Path, PathBuf};
use support::{host, path_text};

/// Every kind, written below `dir`.
fn every_kind(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut kinds = Vec::new();
    for (family, tied) in [
        (Family::BitnetPacked, true),
        (Family::BitnetUnpacked, true),
        (Family::BitnetOnline, true),
        (Family::LlamaPacked, false),
        (Family::BitnetLarge, true),
        (Family::TrilmValues(1), false),
        (Family::TrilmValues(2), false),
        (Family::TrilmMasters(2), false),
    ] {
        let name = format!("{family:?}");
        let path = dir.join(&name);
        std::fs::create_dir(&path).unwrap();
        hf::write(&path, &Tiny::new(3, tied), family);
        kinds.push((name, path));
    }
    let path = dir.join("sharded");
    std::fs::create_dir(&path).unwrap();
    hf::write_sharded(&path, &Tiny::new(4, true), Family::BitnetPacked, 3);
    kinds.push(("sharded".into(), path));
    for format in [Ternary::Tq1_0, Ternary::Tq2_0, Ternary::I2S] {
        for arch in ["llama", "bitnet-b1.58"] {
            let path = dir.join(format!("{arch}-{format:?}.gguf"));
            let tiny = Tiny::new(5, arch != "llama");
            std::fs::write(&path, gguf::model(&tiny, arch, format).build()).unwrap();
            kinds.push((format!("{arch} {format:?}"), path));
        }
    }
    kinds
}

/// Logits of a few tokens, by the real program.
fn logits(dir: &Path, model: &Path, options: &[&str]) -> Vec<f32> {
    let (model, out) = (path_text(model), path_text(&dir.join("out.safetensors")));
    let arguments = [&["eval", "-q", "-m", &model, "--ids", "5,6,300,7,8,9,10", "--logits", &out], options].concat();
    host(&arguments).ok();
    let bytes = std::fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("logits").unwrap();
    assert_eq!(tensor.shape(), [7, 320]);
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn power(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|v| v * v).sum()
}

#[test]
fn every_kind_of_model_evaluates_packs_and_agrees() {
    let dir = tempfile::tempdir().unwrap();
    for (name, path) in every_kind(dir.path()) {
        let float = logits(dir.path(), &path, &["--numerics", "float"]);
        let device = logits(dir.path(), &path, &["--numerics", "device"]);
        let reference = logits(dir.path(), &path, &["--numerics", "device", "--backend", "reference"]);
        assert!(float.iter().chain(&device).all(|value| value.is_finite()), "{name}");
        assert_eq!(device, reference, "{name}: the CPU backend against the reference");
        let error = power(float.iter().zip(&device).map(|(a, b)| a - b)) / power(float.iter().copied());
        assert!(error < 0.02, "{name}: device against float: {error}");
        let image = dir.path().join("packed.tercet");
        host(&["pack", "-q", &path_text(&path), "-o", &path_text(&image)]).ok();
        assert_eq!(logits(dir.path(), &image, &[]), device, "{name}: the packed image");
        std::fs::remove_file(image).unwrap();
    }
}

#[test]
fn a_head_of_fewer_planes_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    let (path, image) = (dir.path().join("model"), dir.path().join("packed.tercet"));
    std::fs::create_dir(&path).unwrap();
    hf::write(&path, &Tiny::new(3, true), Family::BitnetPacked);
    let five = logits(dir.path(), &path, &["--numerics", "device"]);
    host(&["pack", "-q", &path_text(&path), "-o", &path_text(&image), "--head-planes", "4"]).ok();
    let four = logits(dir.path(), &image, &[]);
    let error = power(five.iter().zip(&four).map(|(a, b)| a - b)) / power(five.iter().copied());
    assert!(error > 0.0 && error < 0.02, "{error}");
    assert_eq!(four, logits(dir.path(), &image, &["--backend", "reference"]));
    let refused = host(&["pack", "-q", &path_text(&path), "-o", &path_text(&image), "--head-planes", "2"]);
    refused.fails(2, "expected 3 to 5");
}
