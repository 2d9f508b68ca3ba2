//! A preset with everything that follows from it.

use super::keys::{self, KEYS, Value};
use super::{Board, PresetError, Violation};
use crate::blocks::attend::halving_at;
use crate::blocks::tlmm::Tlmm;
use crate::ir::RamStyle;
use sha2::{Digest, Sha256};
use spec::program::DeviceShape;
use spec::regs::{Capabilities, Identity};

/// Most slots of an unpacker's gearbox: beyond it the multiplexers cost more than the engine.
const MAX_SLOTS: u32 = 128;

/// A checked preset.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name of the preset.
    pub name: String,
    /// The matrix engine.
    pub engine: Tlmm,
    /// H: banks of slots.
    pub banks: u32,
    /// Groups of Q rows that the output head lists at most.
    pub shortlist: u32,
    /// V: token slots that the vector units work on at once.
    pub vector_tokens: u32,
    /// Columns of the vector memory for each token slot of all banks together.
    pub vector_columns: u64,
    /// R: queries resident in an attention unit.
    pub queries: u32,
    /// U: attention units.
    pub units: u32,
    /// Longest sequence.
    pub max_context: u64,
    /// Positions up to which an attention unit has R queries; beyond them R / 2.
    pub full_blocks: u64,
    /// Widest head.
    pub max_head_dim: u32,
    /// AXI masters.
    pub ports: u32,
    /// Data width of a port in bits.
    pub port_bits: u32,
    /// Packets of a weight stream in flight through any port; 0: stream i reads through port i.
    pub frames: u32,
    /// Weights that wait on the chip, in KiB.
    pub buffer_kib: u64,
    /// Clock in MHz.
    pub mhz: u32,
    /// The board.
    pub board: &'static Board,
    canonical: String,
}

impl Machine {
    /// Reads and checks a preset; reports everything that is wrong with it at once.
    pub fn parse(name: &str, text: &str) -> Result<Machine, PresetError> {
        let table = text.parse().map_err(|error| PresetError::Syntax { preset: name.to_string(), error })?;
        let mut violations = Vec::new();
        let values = keys::read(&table, &mut violations);
        let value = |section: &str, name: &str| {
            KEYS.iter().zip(&values).find(|(k, _)| k.section == section && k.name == name).and_then(|(_, v)| v.as_ref())
        };
        let number = |section: &str, name: &str| match value(section, name) {
            Some(Value::Number(n)) => *n,
            _ => 1, // missing or illegal: said already, and the machine is not made
        };
        let board = match value("board", "name") {
            Some(Value::Text(board)) => Board::named(board),
            _ => None,
        };
        let Some(board) = board.filter(|_| violations.is_empty()) else {
            return Err(PresetError::Rules { preset: name.to_string(), violations });
        };
        let canonical = KEYS.iter().zip(values.iter().flatten());
        let canonical = canonical.map(|(k, v)| format!("{}.{} = {v}\n", k.section, k.name)).collect();
        let tables = number("engine", "tables") as u32;
        let engine = Tlmm {
            tables,
            rows: number("engine", "rows") as u32,
            tokens: number("engine", "tokens") as u32,
            // at most eight passes fill the tables, hidden behind segments of 128 words or more
            groups: tables.div_ceil(8),
            cols: number("engine", "max_cols"),
            tile_rows: number("engine", "tile_rows"),
            queue: number("engine", "sum_queue") as u32,
        };
        let machine = Machine {
            name: name.to_string(),
            engine,
            banks: number("engine", "banks") as u32,
            shortlist: number("engine", "shortlist") as u32,
            vector_tokens: number("vector", "tokens") as u32,
            vector_columns: number("vector", "columns"),
            queries: number("attention", "queries") as u32,
            units: number("attention", "units") as u32,
            max_context: number("attention", "max_context"),
            full_blocks: number("attention", "full_blocks"),
            max_head_dim: number("attention", "max_head_dim") as u32,
            ports: number("memory", "ports") as u32,
            port_bits: number("memory", "port_bits") as u32,
            frames: number("memory", "frames") as u32,
            buffer_kib: number("memory", "buffer_kib"),
            mhz: number("clock", "mhz") as u32,
            board,
            canonical,
        };
        machine.check(&mut violations);
        match violations.is_empty() {
            true => Ok(machine),
            false => Err(PresetError::Rules { preset: name.to_string(), violations }),
        }
    }

    /// What the compiler must know.
    pub fn shape(&self) -> DeviceShape {
        let e = &self.engine;
        DeviceShape {
            tables: e.tables as usize,
            rows: e.rows as usize,
            tokens: e.tokens as usize,
            banks: self.banks as usize,
            vtokens: self.vector_tokens as usize,
            ports: self.ports as usize,
            port_bits: self.port_bits as usize,
            queries: self.queries as usize,
            units: self.units as usize,
            max_cols: e.cols as usize,
            segments: self.matrix().segments as usize,
            tile_rows: e.tile_rows as usize,
            vm_words: self.vector_words() as usize,
            query_words: self.query_words() as usize,
            max_context: self.max_context as usize,
            max_head_dim: self.max_head_dim as usize,
            buffer_words: self.buffer_words() as usize,
            shortlist: self.shortlist as usize,
        }
    }

    /// What the machine's registers say of it.
    pub fn identity(&self) -> Identity {
        let e = &self.engine;
        let caps = Capabilities {
            tables: e.tables,
            rows: e.rows,
            slots: e.tokens * self.banks,
            lanes: self.vector_tokens,
            columns: self.lanes(),
            ports: self.ports,
            port_bits: self.port_bits,
            queries: self.queries,
            units: self.units,
            max_cols: e.cols as u32,
            tile_rows: e.tile_rows as u32,
            vm_words: self.vector_words() as u32,
            max_context: self.max_context as u32,
            mhz: self.mhz,
            banks: self.banks,
        };
        let config_hash = self.digest().as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        Identity { config_hash, build_id: 0, caps }
    }

    /// Most codes of a head's key: halves are filled up to whole words of Q rows.
    pub fn row_codes(&self) -> u32 {
        2 * (self.max_head_dim / 2).next_multiple_of(self.engine.rows)
    }

    /// What the memory of norm weights is made of.
    pub fn norm_style(&self) -> RamStyle {
        if self.engine.cols <= 64 * u64::from(self.lanes()) { RamStyle::Distributed } else { RamStyle::Block }
    }

    /// What the vector memory is made of.
    pub fn vector_style(&self) -> RamStyle {
        if self.vector_words() * u64::from(self.token_groups()) < 2048 { RamStyle::Block } else { RamStyle::Ultra }
    }

    /// Column words of the query memory: queries are at most half as wide as the widest layer.
    pub fn query_words(&self) -> u64 {
        (self.engine.cols / 2).div_ceil(self.lanes().into())
    }

    /// L: columns of a vector word.
    pub fn lanes(&self) -> u32 {
        (self.engine.rows & self.engine.rows.wrapping_neg()).min(64)
    }

    /// NG: groups of token slots.
    pub fn token_groups(&self) -> u32 {
        self.engine.tokens / self.vector_tokens
    }

    /// Column words of the vector memory.
    pub fn vector_words(&self) -> u64 {
        self.vector_columns / u64::from(self.lanes())
    }

    /// Rules between keys.
    fn check(&self, violations: &mut Vec<Violation>) {
        let e = &self.engine;
        let codes = e.tables * e.rows;
        let mut rule = |ok: bool, key: &str, found: String, legal: String| {
            if !ok {
                violations.push(Violation { key: key.to_string(), found, legal });
            }
        };
        let divisors: Vec<String> = (1..=32).filter(|p| codes.is_multiple_of(*p)).map(|p| p.to_string()).collect();
        let even = codes.is_multiple_of(self.ports);
        rule(
            even,
            "memory.ports",
            self.ports.to_string(),
            format!("a divisor of tables * rows = {codes}: {}", divisors.join(", ")),
        );
        rule(
            self.frames == 0 || self.ports > 1,
            "memory.frames",
            self.frames.to_string(),
            "0: one port has nobody to share with".to_string(),
        );
        let rows = u64::from(e.rows);
        let near = [e.tile_rows / rows * rows, e.tile_rows.next_multiple_of(rows)].map(|n| n.max(rows).to_string());
        rule(
            e.tile_rows.is_multiple_of(rows),
            "engine.tile_rows",
            e.tile_rows.to_string(),
            format!("a multiple of rows = {rows}, for example {}", near.join(" or ")),
        );
        let inputs = 3 * u64::from(e.tables);
        rule(e.cols >= inputs, "engine.max_cols", e.cols.to_string(), format!("at least one segment, {inputs}"));
        let slots = e.tokens * self.banks;
        rule(slots <= 64, "engine.banks", self.banks.to_string(), format!("at most 64 slots: tokens = {}", e.tokens));
        let p = e.tokens;
        let divisors: Vec<String> = (1..=p).filter(|v| p.is_multiple_of(*v)).map(|v| v.to_string()).collect();
        rule(
            p.is_multiple_of(self.vector_tokens),
            "vector.tokens",
            self.vector_tokens.to_string(),
            format!("a divisor of engine.tokens = {p}: {}", divisors.join(", ")),
        );
        rule(
            self.vector_columns.is_multiple_of(self.lanes().into()) && self.vector_words() < 1 << 16,
            "vector.columns",
            self.vector_columns.to_string(),
            format!("a multiple of the vector lanes, {}, below {}", self.lanes(), u64::from(self.lanes()) << 16),
        );
        rule(
            self.buffer_words() >= 16,
            "memory.buffer_kib",
            self.buffer_kib.to_string(),
            format!("at least {}: 16 words of the engine", (16 * self.word_bytes()).div_ceil(1024)),
        );
        if p.is_multiple_of(self.vector_tokens) {
            let users: Vec<(&str, u64)> = self.uram_users().into_iter().filter(|(_, n)| *n > 0).collect();
            let urams = self.urams();
            let parts: Vec<String> = users.iter().map(|(_, n)| n.to_string()).collect();
            rule(
                urams <= self.board.urams.into(),
                &users.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" + "),
                format!("{} = {urams} UltraRAMs", parts.join(" + ")),
                format!("fewer: {} has {}", self.board.name, self.board.urams),
            );
        }
        let context = self.max_context;
        let half = halving_at(self.queries, context);
        rule(
            self.full_blocks == context || half == Some(self.full_blocks),
            "attention.full_blocks",
            self.full_blocks.to_string(),
            match half {
                Some(half) => format!("max_context = {context}, or {half}"),
                None => format!("max_context = {context}: queries = {} cannot be halved", self.queries),
            },
        );
        if even && !self.weights().port().bundles() {
            let gear = self.unpacker().slots();
            rule(
                gear <= MAX_SLOTS,
                "memory.port_bits",
                self.port_bits.to_string(),
                format!(
                    "a width that shares more factors with {} codes a port: {gear} gearbox slots, at most {MAX_SLOTS}",
                    codes / self.ports
                ),
            );
        }
    }

    /// All choices, one a line.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    fn digest(&self) -> impl AsRef<[u8]> + use<> {
        Sha256::digest(format!("tercet {}\n{}", env!("CARGO_PKG_VERSION"), self.canonical))
    }

    /// The configuration hash: choices and generator version.
    pub fn hash(&self) -> String {
        self.digest().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
