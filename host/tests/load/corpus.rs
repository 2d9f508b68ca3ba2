//! The fuzzing corpus, replayed: nothing panics, and seeds that are whole models load.

use host::load::{LoadOptions, NoProgress, gguf, safetensors, testkit::Random};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(files.len() >= 3, "{}: too few seeds", dir.display());
    files
}

fn is_valid(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("valid"))
}

#[test]
fn safetensors_seeds() {
    for (path, bytes) in corpus("safetensors") {
        let result = safetensors::parse(&path, &bytes);
        assert_eq!(result.is_ok(), is_valid(&path), "{result:?}");
    }
}

#[test]
fn gguf_seeds() {
    for (path, bytes) in corpus("gguf") {
        let result = gguf::load_bytes(&path, bytes.into(), &LoadOptions::default(), &NoProgress);
        assert_eq!(result.is_ok(), is_valid(&path), "{:?}", result.err());
    }
}

/// Damages a few places of `bytes`: a bit, a byte, a length, a cut or a repeated piece. Headers are
/// where the danger is, so most places are near the beginning.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let near = if random.below(4) > 0 { bytes.len().min(2000) } else { bytes.len() };
        let at = random.below(near.max(1));
        let lengths = [0, 1, 255, 1 << 16, 1 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX];
        match random.below(5) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.bits() as u8),
            2 => {
                let length = lengths[random.below(lengths.len())].to_le_bytes();
                bytes.iter_mut().skip(at).zip(length).for_each(|(byte, new)| *byte = new);
            }
            3 => bytes.truncate(at),
            _ => {
                let piece: Vec<u8> = bytes.iter().skip(at).take(1 + random.below(64)).copied().collect();
                let to = random.below(near.max(1)).min(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn damaged_seeds_do_not_panic() {
    let mut random = Random(7);
    for (path, seed) in corpus("safetensors") {
        for _ in 0..2000 {
            let mut bytes = seed.clone();
            damage(&mut random, &mut bytes);
            let _ = safetensors::parse(&path, &bytes);
        }
    }
    for (path, seed) in corpus("gguf") {
        for _ in 0..200 {
            let mut bytes = seed.clone();
            damage(&mut random, &mut bytes);
            if let Ok(model) = gguf::load_bytes(&path, bytes.into(), &LoadOptions::default(), &NoProgress) {
                model.weights.validate().unwrap();
                let _ = model.tokenizer(&path);
            }
        }
    }
}
