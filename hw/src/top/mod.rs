//! The whole machine: units wired together, and the top module with the names that tools know.

mod core;
pub mod fabric;
pub(crate) mod ports;
pub(crate) mod units;

use crate::ir::{Design, Dir, Interface, IrError, Module};
use crate::preset::Machine;
use std::rc::Rc;

/// Name of the top module.
pub const TOP: &str = "tercet_top";

impl Machine {
    /// Builds the machine; returns `tercet_top`.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.build_with(design, false)
    }

    /// As [`Machine::build`], if asked for with outputs `tap_*`: the writes to the vector memory, and what the machine
    /// does. In a design for simulation the clocks of units that rest stand still; it needs a module
    /// [`crate::blocks::rest::CLOCK_GATE`]. Wires and renames, no logic.
    pub fn build_with(&self, design: &mut Design, taps: bool) -> Result<Rc<Interface>, IrError> {
        let core = core::build(self, design, taps)?;
        let mut m = Module::new(TOP);
        m.header(&format!(
            "Tercet: a ternary language model accelerator. AXI names on the outside, tern_core inside.\n\n\
             s_axi_ctrl   AXI4-Lite, 32-bit: registers, docs/registers.md\n\
             m_axi_gmem0 .. m_axi_gmem{}   AXI4 masters of {} bits: weights, cache, results\n\
             irq          level, high while an enabled bit of IRQ_STATUS is set",
            self.ports - 1,
            self.port_bits
        ));
        let clock = m.input("aclk", crate::ir::uint(1));
        let mut inputs = vec![("clk_i".to_string(), clock)];
        let mut outputs = Vec::new();
        for port in core.ports.iter().filter(|p| p.name != "clk_i") {
            let outside = outside(&port.name);
            match port.dir {
                Dir::In => inputs.push((port.name.clone(), m.input(&outside, port.ty))),
                Dir::Out => outputs.push((port.name.clone(), m.output(&outside, port.ty))),
            }
        }
        let given: Vec<_> = inputs.iter().map(|(name, e)| (name.as_str(), e)).collect();
        let placed = m.instance("core", &core, &given);
        for (name, port) in &outputs {
            m.drive(port, &placed.get(name));
        }
        design.add(m)
    }
}

/// `m3_araddr_o` -> `m_axi_gmem3_araddr`, `s_rdata_o` -> `s_axi_ctrl_rdata`, `irq_o` -> `irq`.
fn outside(name: &str) -> String {
    let stem = name.strip_suffix("_i").or_else(|| name.strip_suffix("_o")).unwrap_or(name);
    match stem.split_once('_') {
        Some(("s", rest)) => format!("s_axi_ctrl_{rest}"),
        Some((port, rest)) if port.len() > 1 && port.starts_with('m') && port[1..].parse::<u32>().is_ok() => {
            format!("m_axi_gmem{}_{rest}", &port[1..])
        }
        _ => stem.to_string(),
    }
}
