//! A preset with everything that follows from it.

use super::keys::{self, KEYS, Value};
use super::{Board, PresetError, Violation};
use crate::blocks::{tlmm::Tlmm, unpack5::Unpack5};
use crate::ir::{Design, Interface, IrError};
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// Bytes of an UltraRAM and the width of its words.
const URAM_BITS: u64 = 72;
const URAM_WORDS: u64 = 4096;
/// Most slots of an unpacker's gearbox: beyond it the multiplexers cost more than the engine.
const MAX_SLOTS: u32 = 128;

/// A checked preset.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name of the preset.
    pub name: String,
    /// The matrix engine.
    pub engine: Tlmm,
    /// Ports that read weights.
    pub ports: u32,
    /// Data width of a port in bits.
    pub port_bits: u32,
    /// The weight buffer, both halves, in KiB.
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
        let number = |at: usize| match values.get(at) {
            Some(Some(Value::Number(n))) => Some(*n),
            _ => None,
        };
        let board = match values.last() {
            Some(Some(Value::Text(board))) => Board::named(board),
            _ => None,
        };
        let numbers: Vec<u64> = (0..KEYS.len() - 1).map_while(number).collect();
        let machine = match (numbers.as_slice(), board) {
            (&[tables, rows, tokens, cols, tile_rows, ports, port_bits, buffer_kib, mhz], Some(board)) => {
                let lines = KEYS.iter().zip(values.iter().flatten());
                let canonical = lines.map(|(k, v)| format!("{}.{} = {v}\n", k.section, k.name)).collect();
                let (tables, rows, tokens) = (tables as u32, rows as u32, tokens as u32);
                // at most eight passes fill the tables, hidden behind segments of 128 words or more
                let groups = tables.div_ceil(8);
                let engine = Tlmm { tables, rows, tokens, groups, cols, tile_rows, queue: 0 };
                let (ports, port_bits, mhz) = (ports as u32, port_bits as u32, mhz as u32);
                Machine { name: name.to_string(), engine, ports, port_bits, buffer_kib, mhz, board, canonical }
            }
            _ => return Err(PresetError::Rules { preset: name.to_string(), violations }),
        };
        machine.check(&mut violations);
        match violations.is_empty() {
            true => Ok(machine),
            false => Err(PresetError::Rules { preset: name.to_string(), violations }),
        }
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
        let half = self.buffer_kib * 512;
        let need = e.segments() * self.word_bytes();
        rule(
            half >= need,
            "memory.buffer_kib",
            self.buffer_kib.to_string(),
            format!("at least {}: each half holds {rows} rows of max_cols", (2 * need).div_ceil(1024)),
        );
        rule(
            self.urams() <= u64::from(self.board.urams),
            "memory.buffer_kib",
            self.buffer_kib.to_string(),
            format!("a buffer of at most {} URAMs ({} has no more)", self.board.urams, self.board.name),
        );
        if even {
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

    /// The unpacker behind a port.
    pub fn unpacker(&self) -> Unpack5 {
        Unpack5 { bytes: self.port_bits / 8, codes: self.engine.tables * self.engine.rows / self.ports }
    }

    /// Bytes of a word of codes in the buffer: one cycle's food of the engine.
    pub fn word_bytes(&self) -> u64 {
        (5 * u64::from(self.engine.tables * self.engine.rows)).div_ceil(8)
    }

    /// Words of the buffer, both halves.
    pub fn buffer_words(&self) -> u64 {
        self.buffer_kib * 1024 / self.word_bytes()
    }

    /// UltraRAMs of the buffer.
    pub fn urams(&self) -> u64 {
        let columns = (5 * u64::from(self.engine.tables * self.engine.rows)).div_ceil(URAM_BITS);
        columns * self.buffer_words().div_ceil(URAM_WORDS)
    }

    /// All choices, one a line.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The configuration hash: choices and generator version.
    pub fn hash(&self) -> String {
        let text = format!("tercet {}\n{}", env!("CARGO_PKG_VERSION"), self.canonical);
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Builds the blocks of the compute core; returns the tops.
    pub fn build(&self, design: &mut Design) -> Result<Vec<Rc<Interface>>, IrError> {
        Ok(vec![self.unpacker().build(design)?, self.engine.build(design)?])
    }
}
