//! The safetensors header: any bytes give entries inside the file, or an error.
#![no_main]

use host::load::safetensors;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = safetensors::parse(Path::new("fuzz"), data) {
        for entry in entries.values() {
            assert!(data.get(entry.range.clone()).is_some());
        }
    }
});
