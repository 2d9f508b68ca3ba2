//! What ends a pass early.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its code, as units report it and register `FAULT_CODE` shows it.
    pub code: u8,
    /// Its name.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What `FAULT_INFO` holds.
    pub info: &'static str,
}

/// No fault.
pub const NONE: u8 = 0;
/// An address outside device memory.
pub const BAD_ADDRESS: u8 = 1;
/// Memory answered a read with an error.
pub const READ_ERROR: u8 = 2;
/// Memory answered a write with an error.
pub const WRITE_ERROR: u8 = 3;
/// A packet's checksum is wrong.
pub const CRC: u8 = 4;
/// A weight's code stands for nothing.
pub const ILLEGAL_CODE: u8 = 5;
/// A descriptor names an operation, a mode that does not exist.
pub const BAD_OPCODE: u8 = 6;
/// Nothing moved for too long.
pub const WATCHDOG: u8 = 7;
/// A length or alignment that a unit cannot work with.
pub const BAD_LENGTH: u8 = 8;
/// A stream has more or fewer words than its users took.
pub const OVERRUN: u8 = 9;
/// The program's words and its end do not agree.
pub const PROGRAM_END: u8 = 10;
/// A slot's position, run or cache that a unit cannot work with.
pub const BAD_SLOT: u8 = 11;

const fn f(code: u8, name: &'static str, meaning: &'static str, info: &'static str) -> Fault {
    Fault { code, name, meaning, info }
}

/// All faults, by code.
pub const FAULTS: &[Fault] = &[
    f(NONE, "NONE", "no fault", "zero"),
    f(BAD_ADDRESS, "BAD_ADDRESS", "an address outside device memory", "client of the port << 24, page of 4 KiB"),
    f(READ_ERROR, "READ_ERROR", "memory answered a read with an error", "client of the port << 24, page of 4 KiB"),
    f(WRITE_ERROR, "WRITE_ERROR", "memory answered a write with an error", "client of the port << 24, page of 4 KiB"),
    f(CRC, "CRC", "the CRC32C of a stream's packet is wrong", "line of the packet"),
    f(ILLEGAL_CODE, "ILLEGAL_CODE", "a weight's code stands for nothing", "memory port"),
    f(BAD_OPCODE, "BAD_OPCODE", "a descriptor's operation or mode does not exist", "its word 0"),
    f(WATCHDOG, "WATCHDOG", "nothing moved for `WATCHDOG` cycles", "busy units, a bit each as in a wait mask"),
    f(BAD_LENGTH, "BAD_LENGTH", "a length or alignment that a unit cannot work with", "the length"),
    f(OVERRUN, "OVERRUN", "a stream has more or fewer words than its users took", "the unit's choice"),
    f(PROGRAM_END, "PROGRAM_END", "the last descriptor is not End, or an earlier one is", "descriptors taken"),
    f(BAD_SLOT, "BAD_SLOT", "a position, run or cache that a unit cannot work with", "the slot"),
];

/// The fault with this code.
pub fn fault(code: u8) -> Option<&'static Fault> {
    FAULTS.iter().find(|f| f.code == code)
}

/// What happened, by code.
pub fn text(code: u32) -> &'static str {
    FAULTS.iter().find(|f| u32::from(f.code) == code).map_or("a fault that this program does not know", |f| f.meaning)
}
