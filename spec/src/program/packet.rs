//! Packets of linear streams: a payload and the beat with its checksum.

use super::PACKET;
use crate::crc32c::crc32c;

/// Appends `bytes` as packets whose last beat has `beat` bytes; the last payload is filled up with `fill`.
pub fn write_packets(bytes: &[u8], beat: usize, fill: u8, out: &mut Vec<u8>) {
    let payload = PACKET as usize - beat;
    for part in bytes.chunks(payload) {
        let start = out.len();
        out.extend_from_slice(part);
        out.resize(start + payload, fill);
        let sum = crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.resize(start + PACKET as usize, 0);
    }
}

/// The payload of a packet if its checksum is right, otherwise the checksums it has and should have.
pub fn check_packet(packet: &[u8], beat: usize) -> Result<&[u8], (u32, u32)> {
    let (payload, last) = packet.split_at(packet.len() - beat);
    let found = u32::from_le_bytes([last[0], last[1], last[2], last[3]]);
    let expected = crc32c(payload);
    if found == expected { Ok(payload) } else { Err((found, expected)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_round_trip_and_damage_is_found() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
        let mut out = Vec::new();
        write_packets(&bytes, 16, 121, &mut out);
        assert_eq!(out.len(), 2 * 4096);
        let first = check_packet(&out[..4096], 16).unwrap();
        let second = check_packet(&out[4096..], 16).unwrap();
        assert_eq!([first, &second[..5000 - 4080]].concat(), bytes);
        assert!(second[5000 - 4080..].iter().all(|&b| b == 121));
        out[77] ^= 4;
        assert!(check_packet(&out[..4096], 16).is_err());
    }
}
