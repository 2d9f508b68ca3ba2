//! The fuzzing corpus, replayed: nothing panics, and seeds that are whole models load.

use host::load::{LoadOptions, NoProgress, gguf, safetensors};
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
