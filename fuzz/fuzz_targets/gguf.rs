//! A whole GGUF model: any bytes give weights that fit their configuration, or an error.
#![no_main]

use host::load::{LoadOptions, NoProgress, gguf};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let bytes = data.to_vec().into();
    if let Ok(model) = gguf::load_bytes(Path::new("fuzz"), bytes, &LoadOptions::default(), &NoProgress) {
        model.weights.validate().unwrap();
        let _ = model.tokenizer(Path::new("fuzz"));
    }
});
