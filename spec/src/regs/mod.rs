//! The registers: what software sees of the machine. The one origin of the map: the decoder of
//! `tern_regs` is printed from it, the driver takes its offsets from it, docs/registers.md is
//! [`markdown`].
//!
//! AXI4-Lite, 32-bit words, a window of 64 KiB. Every access is answered: what is not mapped reads zero
//! and ignores writes.

mod caps;
mod counters;
pub mod fault;
mod map;
mod markdown;

pub use caps::{Capabilities, Identity};
pub use counters::{COUNTER_BITS, COUNTERS, Counter, IDLE, counter};
pub use map::REGS;
pub use markdown::markdown;

/// Bytes of the window.
pub const WINDOW: u32 = 0x1_0000;
/// Content of `ID`: "TERC", first letter in the low byte.
pub const MAGIC: u32 = u32::from_le_bytes(*b"TERC");
/// Content of `ABI`: major version in the high half, minor in the low one. The major one counts changes of the
/// registers, of programs and of what lies in memory that an older host or machine would take for something else; 2:
/// weights in bundles. The minor one counts what a newer host needs; 1: the list of the head is for the last slot.
pub const ABI: u32 = 0x0002_0001;

/// What software may do with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads a constant of the machine; writes are ignored.
    Const,
    /// Reads what the machine says; writes are ignored.
    Ro,
    /// Reads what was written.
    Rw,
    /// Writing a one asks for something; reads zero.
    W1s,
    /// Reads what has happened; writing a one clears the bit.
    W1c,
}

impl Access {
    /// As documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Const => "const",
            Access::Ro => "ro",
            Access::Rw => "rw",
            Access::W1s => "w1s",
            Access::W1c => "w1c",
        }
    }
}

/// How often a register exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    One,
    /// Once a slot, so many bytes apart.
    Slot(u32),
    /// Once a slot of a bank, so many bytes apart.
    BankSlot(u32),
    /// Once a memory port, so many bytes apart.
    Port(u32),
}

/// A part of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its lowest bit.
    pub low: u32,
    /// Its width in bits.
    pub width: u32,
    /// What it says.
    pub meaning: &'static str,
}

impl Field {
    /// Ones where the field is.
    pub const fn mask(&self) -> u32 {
        let ones = if self.width >= 32 { u32::MAX } else { (1 << self.width) - 1 };
        ones << self.low
    }

    /// The field's value in a word.
    pub const fn get(&self, word: u32) -> u32 {
        (word & self.mask()) >> self.low
    }
}

/// A register, or a row of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the start of the window, to the first of a row.
    pub offset: u32,
    /// How many there are.
    pub repeat: Repeat,
    /// What software may do with it.
    pub access: Access,
    /// Whether writes are ignored while a pass runs.
    pub locked: bool,
    /// Value after `aresetn`; a soft reset changes no register but those that say so. Constants of the
    /// machine have their own.
    pub reset: u32,
    /// What it is.
    pub meaning: &'static str,
    /// Its parts; a register without is one number of 32 bits.
    pub fields: &'static [Field],
}

impl Reg {
    /// Bits that exist; the others read zero.
    pub fn mask(&self) -> u32 {
        match self.fields {
            [] => u32::MAX,
            fields => fields.iter().fold(0, |mask, f| mask | f.mask()),
        }
    }

    /// How many there are in a machine.
    pub fn count(&self, caps: &Capabilities) -> u32 {
        match self.repeat {
            Repeat::One => 1,
            Repeat::Slot(_) => caps.slots,
            Repeat::BankSlot(_) => caps.bank_slots(),
            Repeat::Port(_) => caps.ports,
        }
    }

    /// Offset of number `index` of a row.
    pub const fn at(&self, index: u32) -> u32 {
        match self.repeat {
            Repeat::One => self.offset,
            Repeat::Slot(stride) | Repeat::BankSlot(stride) | Repeat::Port(stride) => self.offset + index * stride,
        }
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

/// The register with this name.
pub fn reg(name: &str) -> Option<&'static Reg> {
    REGS.iter().find(|r| r.name == name)
}

/// Offset of a register.
///
/// # Panics
/// If there is none with this name: a mistake in the program text, not in data.
pub fn offset(name: &str) -> u32 {
    reg(name).unwrap_or_else(|| panic!("there is no register {name}")).offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Registers of the largest machine do not overlap, fields neither; resets lie in their fields.
    #[test]
    fn nothing_overlaps() {
        let mut used = BTreeMap::new();
        for reg in REGS {
            assert_eq!(reg.reset & !reg.mask(), 0, "{}", reg.name);
            let bits: u32 = reg.fields.iter().map(|f| f.width).sum();
            assert!(reg.fields.is_empty() || bits == reg.mask().count_ones(), "fields of {}", reg.name);
            let caps = Capabilities { slots: 64, banks: 1, ports: 32, ..Capabilities::default() };
            for index in 0..reg.count(&caps) {
                assert!(reg.at(index) < WINDOW && reg.at(index).is_multiple_of(4), "{}", reg.name);
                assert_eq!(used.insert(reg.at(index), reg.name), None, "{} {index}", reg.name);
            }
        }
    }

    #[test]
    fn counters_have_their_registers() {
        for (at, counter) in COUNTERS.iter().enumerate() {
            assert_eq!(offset(counter.low), offset("CYCLES_LO") + 8 * at as u32);
            assert_eq!(offset(counter.high), offset(counter.low) + 4);
        }
    }

    #[test]
    fn faults_stand_at_their_codes() {
        for (at, fault) in fault::FAULTS.iter().enumerate() {
            assert_eq!(usize::from(fault.code), at, "{}", fault.name);
        }
    }

    /// docs/registers.md is this text. `TERCET_BLESS=1 cargo test -p spec regs` writes it.
    #[test]
    fn the_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/registers.md");
        if std::env::var_os("TERCET_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == markdown(), "docs/registers.md is old: TERCET_BLESS=1 cargo test -p spec regs");
    }
}
