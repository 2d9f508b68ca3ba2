//! Makes the checksums of a changed image match again, so that tests and the fuzzer reach what lies
//! behind them.

use sha2::{Digest, Sha256};
use spec::format::image::{header::FIXED_BYTES, section::ENTRY_BYTES};

/// Recomputes the checksum of every section that lies inside the file, and the table's hash.
#[doc(hidden)]
pub fn reseal(file: &mut [u8]) {
    let Some(count) = file.get(24..28) else { return };
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]) as usize;
    let room = file.len().saturating_sub(FIXED_BYTES) / ENTRY_BYTES;
    for index in 0..count.min(room) {
        let entry = FIXED_BYTES + ENTRY_BYTES * index;
        let word = |at: usize| file[entry + at..entry + at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        let (start, length) = (word(64), word(72));
        let Some(end) = start.checked_add(length).filter(|&end| end <= file.len() as u64) else { continue };
        let crc = crc32c::crc32c(&file[start as usize..end as usize]);
        file[entry + 80..entry + 84].copy_from_slice(&crc.to_le_bytes());
    }
    if count <= room {
        let table = &file[FIXED_BYTES..FIXED_BYTES + ENTRY_BYTES * count];
        let hash = Sha256::new().chain_update(&file[..32]).chain_update(table).finalize();
        file[32..FIXED_BYTES].copy_from_slice(&hash);
    }
}
