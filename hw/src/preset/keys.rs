//! The keys of a preset as data: name, legal values, meaning.

use super::{BOARDS, Violation};

/// Legal values of a key.
#[derive(Clone, Copy, Debug)]
pub enum Legal {
    /// A number from .0 to .1, both included.
    Range(u64, u64),
    /// One of these numbers.
    OneOf(&'static [u64]),
    /// The name of a board.
    Board,
}

impl Legal {
    fn text(self) -> String {
        match self {
            Legal::Range(low, high) => format!("a whole number from {low} to {high}"),
            Legal::OneOf(values) => {
                format!("one of {}", values.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
            }
            Legal::Board => format!("one of {}", BOARDS.map(|b| format!("\"{}\"", b.name)).join(", ")),
        }
    }
}

/// A key of a preset.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section.
    pub section: &'static str,
    /// Name in the section.
    pub name: &'static str,
    /// Legal values.
    pub legal: Legal,
    /// What it decides.
    pub meaning: &'static str,
}

const fn key(section: &'static str, name: &'static str, legal: Legal, meaning: &'static str) -> Key {
    Key { section, name, legal, meaning }
}

/// All keys, in the order of the canonical text.
pub const KEYS: [Key; 21] = [
    key("engine", "tables", Legal::Range(1, 128), "T: groups of inputs worked on at once"),
    key("engine", "rows", Legal::Range(1, 64), "Q: outputs worked on at once"),
    key("engine", "tokens", Legal::Range(1, 32), "P: token slots that share a weight"),
    key(
        "engine",
        "banks",
        Legal::Range(1, 2),
        "H: banks of P slots that share the weights of a pass one after the other",
    ),
    key("engine", "max_cols", Legal::Range(3, 1 << 17), "most inputs of a layer"),
    key("engine", "tile_rows", Legal::Range(1, 1 << 17), "rows of partial sums on the chip"),
    key("engine", "sum_queue", Legal::Range(1, 1 << 14), "words of sums that wait while the next tile computes"),
    key("engine", "shortlist", Legal::Range(1, 255), "most groups of Q rows that the output head lists"),
    key("vector", "tokens", Legal::Range(1, 32), "V: token slots that the vector units work on at once"),
    key("vector", "columns", Legal::Range(1, 1 << 17), "columns of the vector memory for each token slot"),
    key("attention", "queries", Legal::Range(1, 32), "R: queries resident in a unit"),
    key("attention", "units", Legal::Range(1, 16), "U: key/value heads worked on at once"),
    key("attention", "max_context", Legal::Range(1, 1 << 17), "longest sequence"),
    key(
        "attention",
        "full_blocks",
        Legal::Range(1, 1 << 17),
        "positions up to which a unit has R queries; beyond them R / 2, in the same memory",
    ),
    key("attention", "max_head_dim", Legal::Range(2, 512), "widest head"),
    key("memory", "ports", Legal::Range(1, 32), "AXI masters"),
    key("memory", "port_bits", Legal::OneOf(&[32, 64, 128, 256, 512]), "data width of a port"),
    key(
        "memory",
        "frames",
        Legal::OneOf(&[0, 2, 4, 8, 16]),
        "packets of a weight stream in flight, through whichever port is free; 0: each stream keeps its port",
    ),
    key("memory", "buffer_kib", Legal::Range(1, 1 << 16), "weights that wait on the chip"),
    key("clock", "mhz", Legal::Range(10, 600), "clock of the core and its ports"),
    key("board", "name", Legal::Board, "the board, whose capacity is checked"),
];

/// A value that passed its key's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(u64),
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Number(n) => write!(f, "{n}"),
            Value::Text(t) => write!(f, "\"{t}\""),
        }
    }
}

/// Reads all keys in order; everything that is unknown, missing or out of range goes to `violations`.
pub(crate) fn read(table: &toml::Table, violations: &mut Vec<Violation>) -> Vec<Option<Value>> {
    let mut complain = |key: String, found: String, legal: String| violations.push(Violation { key, found, legal });
    for (section, content) in table {
        let known: Vec<&str> = KEYS.iter().filter(|k| k.section == section).map(|k| k.name).collect();
        let Some(content) = content.as_table().filter(|_| !known.is_empty()) else {
            let sections = "[engine], [vector], [attention], [memory], [clock] or [board]";
            complain(section.clone(), "no known section".into(), sections.into());
            continue;
        };
        for name in content.keys().filter(|name| !known.contains(&name.as_str())) {
            complain(format!("{section}.{name}"), "an unknown key".into(), known.join(", "));
        }
    }
    KEYS.iter()
        .map(|key| {
            let path = format!("{}.{}", key.section, key.name);
            let Some(found) = table.get(key.section).and_then(|s| s.get(key.name)) else {
                complain(path, "missing".into(), key.legal.text());
                return None;
            };
            let number = found.as_integer().and_then(|n| u64::try_from(n).ok());
            let value = match key.legal {
                Legal::Range(low, high) => number.filter(|n| (low..=high).contains(n)).map(Value::Number),
                Legal::OneOf(values) => number.filter(|n| values.contains(n)).map(Value::Number),
                Legal::Board => {
                    found.as_str().filter(|n| super::Board::named(n).is_some()).map(|n| Value::Text(n.to_string()))
                }
            };
            if value.is_none() {
                complain(path, found.to_string(), key.legal.text());
            }
            value
        })
        .collect()
}
