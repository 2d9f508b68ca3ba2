//! Packed images: whatever the bytes, `decode_image` returns.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| host::image::decode_hostile(bytes));
