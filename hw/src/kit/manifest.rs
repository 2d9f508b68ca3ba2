//! `kit/manifest.json`: what the kit is for, what is in it, and what has become of it.

use super::board::Shell;
use super::{Kit, KitFile};
use crate::output::Written;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use spec::regs::{ABI, WINDOW};

/// What `evidence` may say, and what that means.
pub const EVIDENCE: [(&str, &str); 3] = [
    ("generated", "scripts and Verilog, no tool has built them; `build` is null"),
    (
        "built",
        "Vivado made the bitstreams whose hashes `build` has, with all timing met, all nets routed, no critical rule broken",
    ),
    ("verified", "as built, and `host verify` passed on the board with them; nothing writes this by itself"),
];

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Kit<'_> {
    /// The manifest's text. `evidence` and `build` come last: `lib.tcl` replaces them.
    pub(super) fn manifest(&self, files: &[KitFile], written: &Written) -> String {
        let machine = self.machine;
        let list: Map<String, Value> = files
            .iter()
            .map(|file| (file.name.clone(), json!({ "sha256": sha256(&file.text), "bytes": file.text.len() })))
            .collect();
        let (kind, base, bytes) = match self.shell {
            Shell::Zynq(_) => ("axi", Value::Null, json!(spec::nodes::BUFFER_BYTES)),
            Shell::Card(card) => ("xdma", json!(0), json!(u64::from(card.segments.0) * card.segments.1)),
        };
        let manifest = json!({
            "schema": 1,
            "generator": format!("tercet {}", env!("CARGO_PKG_VERSION")),
            "preset": machine.name,
            "application": self.application(),
            "hash": machine.hash(),
            "abi": format!("{}.{}", ABI >> 16, ABI & 0xffff),
            "board": machine.board.name,
            "part": machine.board.part,
            "clock_mhz": machine.mhz,
            "backend": kind,
            "registers": { "base": self.registers_base(), "bytes": WINDOW },
            "memory": { "base": base, "bytes": bytes },
            "rtl": { "files": written.files.len(), "sha256": written.sha256 },
            "files": list,
            "evidence": EVIDENCE[0].0,
            "build": null,
        });
        format!("{manifest:#}\n")
    }
}
