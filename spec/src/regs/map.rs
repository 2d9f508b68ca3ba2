//! The registers as data.

use super::{ABI, Access, Field, MAGIC, Reg, Repeat};

const fn r(name: &'static str, offset: u32, access: Access, meaning: &'static str) -> Reg {
    Reg { name, offset, repeat: Repeat::One, access, locked: false, reset: 0, meaning, fields: &[] }
}

const fn constant(name: &'static str, offset: u32, meaning: &'static str) -> Reg {
    r(name, offset, Access::Const, meaning)
}

const fn ro(name: &'static str, offset: u32, meaning: &'static str) -> Reg {
    r(name, offset, Access::Ro, meaning)
}

/// A word of a counter that exists once.
const fn count(name: &'static str, at: u32, meaning: &'static str) -> Reg {
    r(name, 0x200 + 4 * at, Access::Ro, meaning)
}

/// Part of a pass: cannot be changed while one runs.
const fn setup(name: &'static str, offset: u32, meaning: &'static str) -> Reg {
    Reg { locked: true, ..r(name, offset, Access::Rw, meaning) }
}

const fn slot(name: &'static str, offset: u32, meaning: &'static str) -> Reg {
    Reg { repeat: Repeat::Slot(16), ..setup(name, offset, meaning) }
}

const fn result(name: &'static str, offset: u32, meaning: &'static str) -> Reg {
    Reg { repeat: Repeat::BankSlot(8), ..ro(name, offset, meaning) }
}

const fn f(name: &'static str, low: u32, width: u32, meaning: &'static str) -> Field {
    Field { name, low, width, meaning }
}

const HIGH: &str = "its high word, as it was when the last low word was read";

/// All registers, by offset.
pub const REGS: &[Reg] = &[
    Reg { reset: MAGIC, ..constant("ID", 0x000, "\"TERC\"") },
    Reg { reset: ABI, ..constant("ABI", 0x004, "version of this map: major << 16 | minor") },
    constant("CONFIG_HASH_LO", 0x008, "hash of the preset and the generator's version, low word"),
    constant("CONFIG_HASH_HI", 0x00c, "its high word"),
    constant("BUILD_ID", 0x010, "number of the build"),
    r("SCRATCH", 0x014, Access::Rw, "for anything; nobody reads it but software"),
    constant("CAP_TABLES", 0x020, "T: tables of the matrix engine"),
    constant("CAP_ROWS", 0x024, "Q: rows of the matrix engine"),
    constant("CAP_SLOTS", 0x028, "token slots of all banks"),
    constant("CAP_LANES", 0x02c, "V: token slots of a vector word"),
    constant("CAP_COLUMNS", 0x030, "L: columns of a vector word"),
    constant("CAP_PORTS", 0x034, "N: memory ports"),
    constant("CAP_PORT_BITS", 0x038, "B: bits of a port"),
    constant("CAP_QUERIES", 0x03c, "R: queries resident in an attention unit"),
    constant("CAP_UNITS", 0x040, "U: attention units"),
    constant("CAP_MAX_COLS", 0x044, "most columns of a layer's input"),
    constant("CAP_TILE_ROWS", 0x048, "most rows of a tile"),
    constant("CAP_VM_WORDS", 0x04c, "column words of the vector memory"),
    constant("CAP_MAX_CONTEXT", 0x050, "most positions of a sequence"),
    constant("CAP_MHZ", 0x054, "clock in MHz"),
    constant("CAP_BANKS", 0x058, "H: banks of slots"),
    Reg {
        fields: &[
            f("start", 0, 1, "starts a pass; ignored while one runs, in a soft reset and after a fault"),
            f("reset", 1, 1, "soft reset: memory ports finish what they began, then all units are reset"),
        ],
        ..r("CONTROL", 0x100, Access::W1s, "doorbells; `reset` wins over `start`")
    },
    Reg {
        fields: &[
            f("busy", 0, 1, "a pass runs"),
            f("done", 1, 1, "the last pass ended well; cleared by a start and a soft reset"),
            f("fault", 2, 1, "the last pass ended with a fault: only a soft reset helps, which clears it"),
            f("draining", 3, 1, "a soft reset is at work"),
            f("stuck", 4, 1, "the last soft reset gave up waiting for memory"),
            f(
                "illegal",
                5,
                1,
                "an access to no register, a write to one that is only read, or one off a word's border, since the last soft reset",
            ),
        ],
        ..ro("STATUS", 0x104, "what the machine does")
    },
    Reg {
        fields: &[f("done", 0, 1, "a pass ended well"), f("fault", 1, 1, "a fault")],
        ..r("IRQ_STATUS", 0x108, Access::W1c, "what has happened")
    },
    Reg {
        fields: &[f("done", 0, 1, "a pass ended well"), f("fault", 1, 1, "a fault")],
        ..r("IRQ_ENABLE", 0x10c, Access::Rw, "the interrupt is high while an enabled bit of `IRQ_STATUS` is")
    },
    setup("PASS", 0x110, "any number: the host's name of the pass"),
    ro("DONE_PASS", 0x114, "`PASS` of the last pass that ended, well or not"),
    Reg { fields: &[f("code", 0, 8, "see below")], ..ro("FAULT_CODE", 0x120, "first fault; a start clears it") },
    ro("FAULT_INFO", 0x124, "what the code says it is"),
    ro("FAULT_INDEX", 0x128, "number of the descriptor in issue at the fault"),
    Reg { fields: &[f("label", 0, 16, "the layer, or 0xffff")], ..ro("FAULT_LABEL", 0x12c, "that descriptor's label") },
    Reg {
        reset: 1 << 20,
        ..r("WATCHDOG", 0x130, Access::Rw, "cycles of a pass without progress that are a fault; 0: never")
    },
    setup("MEM_BASE_LO", 0x140, "bus address of line 0 of device memory, low word; a multiple of 4096"),
    setup("MEM_BASE_HI", 0x144, "its high word"),
    setup("MEM_BYTES_LO", 0x148, "bytes of device memory, low word; a multiple of 4096"),
    setup("MEM_BYTES_HI", 0x14c, "its high word"),
    setup("PROGRAM", 0x150, "line of the program's first packet"),
    setup("PROGRAM_PACKETS", 0x154, "its packets"),
    setup("PROGRAM_WORDS", 0x158, "its descriptors; the last is End"),
    Reg {
        fields: &[f("count", 0, 8, "1 to CAP_SLOTS")],
        reset: 1,
        ..setup("SLOTS", 0x15c, "slots that the pass works on, from slot 0 up")
    },
    setup("LOGITS", 0x160, "line of slot 0's logits"),
    setup("LOGITS_STRIDE", 0x164, "lines from a slot's logits to the next slot's"),
    count("CYCLES_LO", 0, "counter, low word"),
    count("CYCLES_HI", 1, HIGH),
    count("ISSUED_LO", 2, "counter, low word"),
    count("ISSUED_HI", 3, HIGH),
    count("WAITING_LO", 4, "counter, low word"),
    count("WAITING_HI", 5, HIGH),
    count("ENGINE_BEATS_LO", 6, "counter, low word"),
    count("ENGINE_BEATS_HI", 7, HIGH),
    count("ENGINE_STARVED_LO", 8, "counter, low word"),
    count("ENGINE_STARVED_HI", 9, HIGH),
    count("ENGINE_TABLES_LO", 10, "counter, low word"),
    count("ENGINE_TABLES_HI", 11, HIGH),
    count("ENGINE_SUMS_LO", 12, "counter, low word"),
    count("ENGINE_SUMS_HI", 13, HIGH),
    count("WRITE_BEATS_LO", 14, "counter, low word"),
    count("WRITE_BEATS_HI", 15, HIGH),
    count("ATTEND_BEATS_LO", 16, "counter, low word"),
    count("ATTEND_BEATS_HI", 17, HIGH),
    count("BUSY_GATHER_LO", 18, "counter, low word"),
    count("BUSY_GATHER_HI", 19, HIGH),
    count("BUSY_QUANT_LO", 20, "counter, low word"),
    count("BUSY_QUANT_HI", 21, HIGH),
    count("BUSY_ENGINE_LO", 22, "counter, low word"),
    count("BUSY_ENGINE_HI", 23, HIGH),
    count("BUSY_EPILOGUE_LO", 24, "counter, low word"),
    count("BUSY_EPILOGUE_HI", 25, HIGH),
    count("BUSY_ATTEND_LO", 26, "counter, low word"),
    count("BUSY_ATTEND_HI", 27, HIGH),
    count("BUSY_KV_LO", 28, "counter, low word"),
    count("BUSY_KV_HI", 29, HIGH),
    count("IDLE_LO", 30, "counter, low word"),
    count("IDLE_HI", 31, HIGH),
    Reg { repeat: Repeat::Port(8), ..ro("PORT_BEATS_LO", 0x300, "beats that the port read, low word of a counter") },
    Reg { repeat: Repeat::Port(8), ..ro("PORT_BEATS_HI", 0x304, HIGH) },
    slot("SLOT_TOKEN", 0x1000, "row of the embedding"),
    slot("SLOT_POSITION", 0x1004, "position in its sequence"),
    slot("SLOT_CACHE", 0x1008, "first line of its sequence's cache"),
    Reg {
        fields: &[
            f("valid", 0, 1, "the slot is in use"),
            f("logits", 1, 1, "its logits are written to memory"),
            f("run", 8, 8, "at a run's first slot the slots of the run, 0 at the others"),
        ],
        ..slot("SLOT_FLAGS", 0x100c, "its part in the pass")
    },
    result(
        "BEST_TOKEN",
        0x2000,
        "of slot p of the bank whose head ran: the row with the largest logit, the lowest of equals",
    ),
    result("BEST_LOGIT", 0x2004, "that logit, binary32"),
];
