//! For tests and the fuzzer: changed images whose checksums match, so that what lies behind the
//! checksums is reached.

use super::{LoadedImage, decode_image};
use sha2::{Digest, Sha256};
use spec::format::image::{describe, header::FIXED_BYTES, section::ENTRY_BYTES};
use std::path::Path;

/// Recomputes the checksum of every section that lies inside the file, and the table's hash.
#[doc(hidden)]
pub fn reseal(file: &mut [u8]) {
    let Some(count) = file.get(24..28) else { return };
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]) as usize;
    let room = file.len().saturating_sub(FIXED_BYTES) / ENTRY_BYTES;
    if count > room {
        return;
    }
    // Sections that overlap are refused before their checksums matter: read each byte once at most.
    let mut left = file.len() as u64;
    for index in 0..count {
        let entry = FIXED_BYTES + ENTRY_BYTES * index;
        let word = |at: usize| file[entry + at..entry + at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        let (start, length) = (word(64), word(72));
        let Some(end) = start.checked_add(length).filter(|&end| end <= file.len() as u64) else { continue };
        let Some(rest) = left.checked_sub(length) else { continue };
        left = rest;
        let crc = crc32c::crc32c(&file[start as usize..end as usize]);
        file[entry + 80..entry + 84].copy_from_slice(&crc.to_le_bytes());
    }
    let table = &file[FIXED_BYTES..FIXED_BYTES + ENTRY_BYTES * count];
    let hash = Sha256::new().chain_update(&file[..32]).chain_update(table).finalize();
    file[32..FIXED_BYTES].copy_from_slice(&hash);
}

/// Decodes bytes of any origin, as they are and with matching checksums. Panics if a file is
/// accepted that packing would have written in another way.
#[doc(hidden)]
pub fn decode_hostile(bytes: &[u8]) {
    let path = Path::new("hostile");
    let decode = |bytes: Vec<u8>| decode_image(bytes.into(), path).ok();
    decode(bytes.to_vec());
    let mut sealed = bytes.to_vec();
    reseal(&mut sealed);
    if let Some(LoadedImage { weights, header, .. }) = decode(sealed.clone()) {
        let mut sections = header.sections.iter().rev();
        for tensor in describe(&weights).iter().rev() {
            let section = sections.next().expect("as many sections as tensors");
            let mut bytes = Vec::new();
            let collected = tensor.source.stream(|piece| {
                bytes.extend_from_slice(piece);
                Ok::<(), ()>(())
            });
            assert_eq!(collected, Ok(()));
            assert_eq!((&section.name, section.length), (&tensor.section.name, bytes.len() as u64));
            assert!(bytes == sealed[section.offset as usize..section.end() as usize], "{}", section.name);
        }
    }
}
