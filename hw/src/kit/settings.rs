//! `settings.tcl` and `registers.tcl`: what the scripts know of a preset.

use super::Kit;
use super::board::{Card, Shell, Zynq};
use crate::blocks::axi_write_client::AxiWriteClient;
use crate::top::ports::{BURST, reads_open};
use crate::top::units::WRITERS;
use spec::regs::{Access, REGS, Repeat, WINDOW};
use std::fmt::Write;

/// The oldest Vivado that knows the commands and cores which the scripts use, and the newest one that they were written for.
pub const VIVADO: (&str, &str) = ("2022.1", "2024.2");

impl Kit<'_> {
    /// Where software sees the registers.
    pub(super) fn registers_base(&self) -> u64 {
        match self.shell {
            Shell::Zynq(zynq) => zynq.registers,
            Shell::Card(card) => card.registers,
        }
    }

    /// Bits of the identifiers and addresses at the IP core's ports.
    pub(super) fn outer_bits(&self) -> (u32, u32) {
        match self.shell {
            Shell::Zynq(zynq) => (zynq.id_bits, zynq.addr_bits),
            Shell::Card(card) => (card.id_bits, card.addr_bits),
        }
    }

    /// The facts as Tcl variables.
    pub(super) fn settings(&self) -> String {
        let machine = self.machine;
        let (id, addr) = self.outer_bits();
        let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').take(2).collect();
        let mut text = self.origin("#");
        let mut set = |name: &str, value: String| {
            let _ = writeln!(text, "set {name:<16} {value}");
        };
        set("preset", machine.name.clone());
        set("application", self.application());
        set("part", machine.board.part.to_string());
        set("vivado_least", VIVADO.0.to_string());
        set("vivado_newest", VIVADO.1.to_string());
        set("ip_vendor", "tercet".to_string());
        set("ip_library", "accelerator".to_string());
        set("ip_version", version.join("."));
        set("mhz", machine.mhz.to_string());
        set("ports", machine.ports.to_string());
        // rows of the cache are the longest writes
        set("burst", BURST.max(machine.max_head_dim / (machine.port_bits / 8)).to_string());
        set("reads_open", reads_open(machine).to_string());
        set("writes_open", (WRITERS.len() as u32 * AxiWriteClient::OPEN).to_string());
        set("port_bits", machine.port_bits.to_string());
        set("id_bits", id.to_string());
        set("addr_bits", addr.to_string());
        set("registers_base", format!("{:#010x}", self.registers_base()));
        set("registers_bytes", WINDOW.to_string());
        match self.shell {
            Shell::Zynq(zynq) => self.zynq(zynq, &mut set),
            Shell::Card(card) => self.card(card, &mut set),
        }
        text
    }

    fn zynq(&self, zynq: &Zynq, set: &mut impl FnMut(&str, String)) {
        set("kind", "zynq".to_string());
        set("board_part", format!("{{{}}}", zynq.board_part));
        let pair = |(base, bytes): (u64, u64)| format!("{{{base:#x} {bytes:#x}}}");
        set("memory_low", pair(zynq.low));
        set("memory_high", pair(zynq.high));
        let slaves = zynq.slaves.iter().take(self.machine.ports as usize);
        let slaves = slaves.map(|s| {
            format!("\n    {{interface {} clock {} number {} segment {}}}", s.interface, s.clock, s.number, s.segment)
        });
        set("slaves", format!("{{{}\n}}", slaves.collect::<String>()));
    }

    fn card(&self, card: &Card, set: &mut impl FnMut(&str, String)) {
        set("kind", "card".to_string());
        set("board_part", "{}".to_string());
        set("pcie_block", card.pcie_block.to_string());
        set("pcie_quad", card.quad.to_string());
        set("pcie_lanes", card.lanes.to_string());
        set("pcie_speed", card.speed.to_string());
        set("pcie_device", card.device.to_string());
        set("dma_bits", card.dma_bits.to_string());
        set("dma_mhz", card.dma_mhz.to_string());
        set("dma_port", card.dma_port.to_string());
        set("segments", card.segments.0.to_string());
        set("segment_bytes", card.segments.1.to_string());
    }

    /// The register map as a Tcl list: name, offset, access, meaning.
    pub(super) fn registers(&self) -> String {
        let mut text = self.origin("#") + "set registers {\n";
        for reg in REGS {
            let access = match reg.access {
                Access::Const | Access::Ro => "read-only",
                Access::Rw | Access::W1c => "read-write",
                Access::W1s => "write-only",
            };
            for index in 0..reg.count(&self.machine.identity().caps) {
                let name = match reg.repeat {
                    Repeat::One => reg.name.to_string(),
                    _ => format!("{}_{index}", reg.name),
                };
                // text between braces: brackets, dollars and quotes mean nothing there
                let meaning: String = reg.meaning.chars().filter(|c| !"{}\\`".contains(*c)).collect();
                let _ = writeln!(text, "    {{{name} {:#06x} {access} {{{meaning}}}}}", reg.at(index));
            }
        }
        text + "}\n"
    }
}
