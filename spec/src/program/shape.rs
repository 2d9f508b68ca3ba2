//! What a compiler must know of a machine: sizes of its units and memories.

use super::{PACKET, WordLayout};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Sizes of a machine (docs/architecture/machine.md, "Sizes"). The generator gets it from a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceShape {
    /// T: tables, groups of inputs that the matrix engine works on at once.
    pub tables: usize,
    /// Q: rows that the matrix engine works on at once.
    pub rows: usize,
    /// P: token slots of a bank: so many share each weight that the engine takes.
    pub tokens: usize,
    /// H: banks of slots, 1 or 2: so many times the weights of a tile can be taken from the ring.
    pub banks: usize,
    /// V: token slots of a vector word; divides P.
    pub vtokens: usize,
    /// N: memory ports that read weights; divides T*Q.
    pub ports: usize,
    /// B: bits of a port.
    pub port_bits: usize,
    /// R: queries resident in an attention unit.
    pub queries: usize,
    /// U: attention units.
    pub units: usize,
    /// Most columns of an activation vector.
    pub max_cols: usize,
    /// Most segments of an activation vector; groups of columns end segments early.
    pub segments: usize,
    /// Most rows of a tile; a multiple of Q.
    pub tile_rows: usize,
    /// Column words of the vector memory.
    pub vm_words: usize,
    /// Column words of queries that the query memory holds for every slot of a bank.
    pub query_words: usize,
    /// Most positions of a sequence.
    pub max_context: usize,
    /// Widest head, as it lies in the vector memory.
    pub max_head_dim: usize,
    /// Words of the weight ring.
    pub buffer_words: usize,
    /// Most groups of Q rows that the output head lists.
    pub shortlist: usize,
}

/// A size that no machine can have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("machine shape: {key} = {found}: expected {expected}")]
pub struct ShapeError {
    /// Field of [`DeviceShape`].
    pub key: &'static str,
    /// Its value.
    pub found: usize,
    /// The rule it breaks.
    pub expected: String,
}

/// Most columns of a vector word.
pub const MAX_LANES: usize = 64;

impl DeviceShape {
    /// G: tables built at once.
    pub fn groups_at_once(&self) -> usize {
        self.tables.div_ceil(8)
    }

    /// L: columns of a vector word.
    pub fn lanes(&self) -> usize {
        (1 << self.rows.trailing_zeros()).min(MAX_LANES)
    }

    /// NG: token groups.
    pub fn groups(&self) -> usize {
        self.tokens / self.vtokens
    }

    /// Token slots of all banks.
    pub fn slots(&self) -> usize {
        self.tokens * self.banks
    }

    /// Most query heads: each takes at least 16 columns of the query memory.
    pub fn max_heads(&self) -> usize {
        (self.query_words * self.lanes() / 16).max(1)
    }

    /// Token groups that a pass on the first `slots` slots works on.
    pub fn groups_of(&self, slots: usize) -> usize {
        slots.div_ceil(self.vtokens)
    }

    /// D: bytes of a port beat.
    pub fn beat(&self) -> usize {
        self.port_bits / 8
    }

    /// C: codes of a weight word that a port carries.
    pub fn port_codes(&self) -> usize {
        self.tables * self.rows / self.ports
    }

    /// Weights that a code stands for.
    pub fn weights_of_code(sherry: bool) -> usize {
        if sherry { 4 } else { 3 }
    }

    /// Columns of a full segment.
    pub fn segment(&self, sherry: bool) -> usize {
        self.tables * Self::weights_of_code(sherry)
    }

    /// Vector words that hold a word of sums (for each token group).
    pub fn runs(&self) -> usize {
        self.rows / self.lanes()
    }

    /// Words of sums of the largest tile.
    pub fn tile_words(&self) -> usize {
        self.tile_rows / self.rows
    }

    /// Words of a segment behind which the next one's tables are built.
    pub fn build_words(&self) -> usize {
        self.tables.div_ceil(self.groups_at_once()) * 14 + 3
    }

    /// Words of a tile of so many segments where banks share weights: a round of it lies in the ring while a bank
    /// computes. Half of the ring, so that two can, unless tables would not be built behind the words of a segment.
    pub fn shared_words(&self, segments: usize) -> usize {
        let half = self.buffer_words / 32 * 15 / segments;
        half.max(self.build_words().min(self.most_shared_words(segments)))
    }

    /// Most of them: three quarters of the ring.
    fn most_shared_words(&self, segments: usize) -> usize {
        self.buffer_words / 4 * 3 / segments
    }

    /// Words of the tiles of a matrix of `words` words, where banks share weights: as few tiles as [`Self::shared_words`]
    /// allows, or one fewer if tables would take longer than a segment of theirs and three quarters of the ring are room
    /// enough. A multiple of `unit`.
    pub fn shared_tile(&self, words: usize, unit: usize, segments: usize) -> usize {
        let largest = |limit: usize| limit.min(self.tile_words()).max(unit);
        let units = words.div_ceil(unit);
        let of = |tiles: usize| units.div_ceil(tiles) * unit;
        let tiles = units.div_ceil(largest(self.shared_words(segments)) / unit);
        let fits = |size: usize| size <= largest(self.most_shared_words(segments));
        match tiles > 1 && of(tiles) < self.build_words() && fits(of(tiles - 1)) {
            true => of(tiles - 1),
            false => of(tiles),
        }
    }

    /// Bytes of the payload of a packet.
    pub fn payload(&self) -> usize {
        PACKET as usize - self.beat()
    }

    /// Packets that hold `bytes` bytes of a stream.
    pub fn packets(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.payload() as u64)
    }

    /// How weight words lie in the region of a port.
    pub fn word_layout(&self, sherry: bool) -> WordLayout {
        WordLayout { beat: self.beat(), codes: self.port_codes(), sherry }
    }

    /// Bytes of `words` weight words in the region of one port.
    pub fn weight_bytes(&self, words: u64, sherry: bool) -> u64 {
        self.word_layout(sherry).bytes(words)
    }

    /// Checks every rule that compiler and reference device rely on.
    pub fn validate(&self) -> Result<(), ShapeError> {
        let rule = |key, found: usize, ok: bool, expected: String| match ok {
            true => Ok(()),
            false => Err(ShapeError { key, found, expected }),
        };
        for (key, found, max) in [
            ("tables", self.tables, 128),
            ("rows", self.rows, 64),
            ("tokens", self.tokens, 64),
            ("banks", self.banks, 2),
            ("vtokens", self.vtokens, 64),
            ("ports", self.ports, 64),
            ("queries", self.queries, 1 << 12),
            ("units", self.units, 1 << 6),
            ("max_cols", self.max_cols, 1 << 17),
            ("segments", self.segments, (1 << 16) - 1),
            ("tile_rows", self.tile_rows, 1 << 17),
            ("vm_words", self.vm_words, 1 << 16),
            ("query_words", self.query_words, 1 << 16),
            ("max_context", self.max_context, 1 << 17),
            ("max_head_dim", self.max_head_dim, 1 << 12),
            ("buffer_words", self.buffer_words, 1 << 24),
            ("shortlist", self.shortlist, 255),
        ] {
            rule(key, found, (1..=max).contains(&found), format!("1 to {max}"))?;
        }
        let (codes, p, q) = (self.tables * self.rows, self.tokens, self.rows);
        let slots = self.slots();
        rule("banks", self.banks, slots <= 64, format!("at most 64 slots of all banks, tokens = {p}"))?;
        rule("vtokens", self.vtokens, p.is_multiple_of(self.vtokens), format!("a divisor of tokens = {p}"))?;
        rule("ports", self.ports, codes.is_multiple_of(self.ports), format!("a divisor of tables * rows = {codes}"))?;
        let widths = [32, 64, 128, 256, 512];
        rule("port_bits", self.port_bits, widths.contains(&self.port_bits), "32, 64, 128, 256 or 512".into())?;
        rule("tile_rows", self.tile_rows, self.tile_rows.is_multiple_of(q), format!("a multiple of rows = {q}"))
    }

    /// All sizes, one a line: equal texts, equal machines.
    pub fn canonical(&self) -> String {
        let all = [
            ("tables", self.tables),
            ("rows", self.rows),
            ("tokens", self.tokens),
            ("banks", self.banks),
            ("vtokens", self.vtokens),
            ("ports", self.ports),
            ("port_bits", self.port_bits),
            ("queries", self.queries),
            ("units", self.units),
            ("max_cols", self.max_cols),
            ("segments", self.segments),
            ("tile_rows", self.tile_rows),
            ("vm_words", self.vm_words),
            ("query_words", self.query_words),
            ("max_context", self.max_context),
            ("max_head_dim", self.max_head_dim),
            ("buffer_words", self.buffer_words),
            ("shortlist", self.shortlist),
        ];
        all.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }

    /// A short name of these sizes, for files and messages.
    pub fn hash(&self) -> String {
        Sha256::digest(self.canonical()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn kv260() -> DeviceShape {
        DeviceShape {
            tables: 32,
            rows: 4,
            tokens: 8,
            banks: 1,
            vtokens: 2,
            ports: 4,
            port_bits: 128,
            queries: 8,
            units: 2,
            max_cols: 8192,
            segments: 128,
            tile_rows: 4096,
            vm_words: 4096,
            query_words: 1024,
            max_context: 4096,
            max_head_dim: 128,
            buffer_words: 12288,
            shortlist: 64,
        }
    }

    #[test]
    fn derived_sizes() {
        let s = kv260();
        s.validate().unwrap();
        assert_eq!((s.groups_at_once(), s.lanes(), s.groups(), s.beat(), s.port_codes()), (4, 4, 4, 16, 32));
        assert_eq!((s.segment(false), s.segment(true), s.payload()), (96, 128, 4080));
        assert_eq!((s.weight_bytes(1, false), s.weight_bytes(5, true)), (32, 112));
        assert_eq!((s.weight_bytes(5, false), s.weight_bytes(4, true)), (96, 80));
        // half of the ring; where that is less than tables take, as much as they do, up to three quarters
        assert_eq!((s.build_words(), [27, 72, 86].map(|segs| s.shared_words(segs))), (115, [213, 115, 107]));
        // down of 2B-4T, of Falcon3-1B, of 2B-4T with Sherry weights; a matrix that is one tile
        assert_eq!(
            [(640, 72), (512, 86), (640, 54), (100, 72)].map(|(w, s)| kv260().shared_tile(w, 1, s)),
            [128, 103, 128, 100]
        );
        assert_eq!(kv260().shared_tile(3456, 2, 27), 204);
        // a unit that is larger than the ring's share, segments that fill the ring, a small tile
        assert_eq!((kv260().shared_tile(640, 160, 72), kv260().shared_tile(640, 1, 12288)), (160, 1));
        assert_eq!(DeviceShape { tile_rows: 256, ..kv260() }.shared_tile(640, 1, 72), 64);
        assert_eq!(DeviceShape { rows: 3, ..kv260() }.lanes(), 1);
        assert_eq!(DeviceShape { rows: 12, ..kv260() }.runs(), 3);
    }

    #[test]
    fn rules_are_checked_and_named() {
        let error = DeviceShape { vtokens: 3, ..kv260() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "machine shape: vtokens = 3: expected a divisor of tokens = 8");
        assert!(DeviceShape { tokens: 40, banks: 2, ..kv260() }.validate().is_err());
        assert!(DeviceShape { ports: 3, ..kv260() }.validate().is_err());
        assert!(DeviceShape { port_bits: 48, ..kv260() }.validate().is_err());
        assert!(DeviceShape { tile_rows: 4095, ..kv260() }.validate().is_err());
        assert_ne!(kv260().hash(), DeviceShape { units: 1, ..kv260() }.hash());
    }
}
