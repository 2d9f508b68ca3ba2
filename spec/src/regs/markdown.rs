//! The map as a document.

use super::fault::FAULTS;
use super::{COUNTER_BITS, COUNTERS, REGS, Reg, Repeat};
use std::fmt::Write as _;

fn row(text: &mut String, reg: &Reg) {
    let (step, name) = match reg.repeat {
        Repeat::One => (String::new(), reg.name.to_string()),
        Repeat::Slot(stride) => (format!(" + {stride}p"), format!("{}[p]", reg.name)),
        Repeat::BankSlot(stride) => (format!(" + {stride}p"), format!("{}[p]", reg.name)),
        Repeat::Port(stride) => (format!(" + {stride}i"), format!("{}[i]", reg.name)),
    };
    let access = format!("{}{}", reg.access.name(), if reg.locked { ", locked" } else { "" });
    let _ = writeln!(text, "| `{:#06x}`{step} | {name} | {access} | {:#x} | {} |", reg.offset, reg.reset, reg.meaning);
}

fn bits(low: u32, width: u32) -> String {
    if width == 1 { format!("{low}") } else { format!("{}:{low}", low + width - 1) }
}

/// docs/registers.md.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Registers\n\n\
         Printed from `spec::regs`; do not edit. AXI4-Lite, 32-bit words, a window of 64 KiB. Every access is\n\
         answered with OKAY in a bounded number of cycles, also in a soft reset; what is not mapped reads zero and\n\
         ignores writes. Byte strobes count.\n\n\
         `const` is a constant of the machine, `w1s` a doorbell that reads zero, `w1c` is cleared by writing ones.\n\
         Writes to `locked` registers are ignored while a pass runs. Resets are those of `aresetn`; a soft reset\n\
         leaves all registers as they are but for STATUS. `p` is a slot, `i` a memory port; a slot's or port's\n\
         registers beyond those of the machine are not mapped.\n\n\
         | offset | register | access | reset | meaning |\n|---|---|---|--:|---|\n",
    );
    REGS.iter().for_each(|reg| row(&mut text, reg));

    text.push_str("\n## Fields\n\n| register | bits | field | meaning |\n|---|--:|---|---|\n");
    for reg in REGS {
        for f in reg.fields {
            let _ = writeln!(text, "| {} | {} | {} | {} |", reg.name, bits(f.low, f.width), f.name, f.meaning);
        }
    }

    let _ = write!(
        text,
        "\n## Counters\n\n\
         {COUNTER_BITS} bits each, cleared by a start, still after the end of the pass. Reading a low word keeps the\n\
         counter's high word for the next read of any counter's high word: read low, then high.\n\n\
         | counter | counts |\n|---|---|\n"
    );
    for counter in COUNTERS {
        let _ = writeln!(text, "| {} | {} |", counter.name, counter.meaning);
    }
    text.push_str("| PORT_BEATS[i] | beats that the port read |\n");

    text.push_str("\n## Faults\n\n| code | name | meaning | FAULT_INFO |\n|--:|---|---|---|\n");
    for f in FAULTS {
        let _ = writeln!(text, "| {} | {} | {} | {} |", f.code, f.name, f.meaning, f.info);
    }

    text.push_str(
        "\n## A pass\n\n\
         1. Write PROGRAM, PROGRAM_PACKETS, PROGRAM_WORDS, SLOTS, the slots, LOGITS, LOGITS_STRIDE and PASS.\n\
         2. Write 1 to CONTROL.\n\
         3. Wait for the interrupt, or for STATUS.busy to fall.\n\
         4. STATUS.done: read BEST_TOKEN, BEST_LOGIT, the logits in memory; write ones to IRQ_STATUS.\n\
         5. STATUS.fault: read FAULT_CODE, FAULT_INFO, FAULT_INDEX, FAULT_LABEL; write 2 to CONTROL and wait for\n\
         \x20  STATUS.draining to fall.\n\n\
         ## Not obvious\n\n\
         - A fault ends the pass at once; units may still be at work. So a start after a fault is ignored until a\n\
         \x20 soft reset has drained them.\n\
         - A soft reset in a pass ends it without done or fault and without an interrupt.\n\
         - `stuck` after a soft reset means that memory never answered: what the bus owes the machine may still\n\
         \x20 come and be taken for something else. Reset the bus too.\n",
    );
    text
}
