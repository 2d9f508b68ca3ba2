//! `tercet_ip.v`: the machine as an IP core. Widths of identifiers and addresses become those of the board's ports, so that
//! interfaces can be connected without anything in between; attributes tell Vivado what belongs together; on a card the
//! interrupt crosses into the clock of the DMA.

use super::Kit;
use super::board::Shell;
use crate::ir::{Dir, Port};
use std::fmt::Write;

fn range(width: u32) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

impl Kit<'_> {
    /// Width of a port on the outside.
    fn outer_width(&self, port: &Port) -> u32 {
        let (id, addr) = self.outer_bits();
        let signal = port.name.strip_prefix("m_axi_").and_then(|rest| rest.rsplit('_').next());
        match signal {
            Some("awid" | "arid" | "bid" | "rid") => id.max(port.ty.width),
            Some("awaddr" | "araddr") => addr.max(port.ty.width),
            _ => port.ty.width,
        }
    }

    /// The module's text.
    pub(super) fn wrapper(&self) -> String {
        let crosses = matches!(self.shell, Shell::Card(_));
        let masters: Vec<String> = (0..self.machine.ports).map(|i| format!("m_axi_gmem{i}")).collect();
        let (id, addr) = self.outer_bits();
        let mut text = self.origin("//");
        let _ = write!(
            text,
            "//\n// tercet_top as an IP core: identifiers of {id} and addresses of {addr} bits, as the board's ports have them{}.\n\
             `default_nettype none\nmodule tercet_ip (\n",
            if crosses { "; irq in the clock\n// of the DMA, through two flip-flops" } else { "" }
        );
        let mut ports = Vec::new();
        for port in &self.top.ports {
            let attribute = match port.name.as_str() {
                "aclk" => format!(
                    "    (* X_INTERFACE_INFO = \"xilinx.com:signal:clock:1.0 aclk CLK\" *)\n    (* X_INTERFACE_PARAMETER = \
                     \"ASSOCIATED_BUSIF s_axi_ctrl:{}, ASSOCIATED_RESET aresetn\" *)\n",
                    masters.join(":")
                ),
                "aresetn" => "    (* X_INTERFACE_INFO = \"xilinx.com:signal:reset:1.0 aresetn RST\" *)\n    (* \
                              X_INTERFACE_PARAMETER = \"POLARITY ACTIVE_LOW\" *)\n"
                    .to_string(),
                "irq" => "    (* X_INTERFACE_INFO = \"xilinx.com:signal:interrupt:1.0 irq INTERRUPT\" *)\n    (* \
                          X_INTERFACE_PARAMETER = \"SENSITIVITY LEVEL_HIGH\" *)\n"
                    .to_string(),
                _ => String::new(),
            };
            let dir = if port.dir == Dir::In { "input " } else { "output" };
            ports.push(format!("{attribute}    {dir} wire {}{}", range(self.outer_width(port)), port.name));
        }
        if crosses {
            ports.push(
                "    (* X_INTERFACE_INFO = \"xilinx.com:signal:clock:1.0 irq_aclk CLK\" *)\n    input  wire irq_aclk"
                    .into(),
            );
        }
        let _ = write!(text, "{}\n);\n", ports.join(",\n"));
        self.inside(crosses, &mut text);
        text + "endmodule\n`default_nettype wire\n"
    }

    /// The instance, and what is between it and the ports.
    fn inside(&self, crosses: bool, text: &mut String) {
        let (mut wires, mut assigns, mut unused, mut pins) = (String::new(), String::new(), Vec::new(), Vec::new());
        for port in &self.top.ports {
            let (inner, outer, name) = (port.ty.width, self.outer_width(port), &port.name);
            let pin = if crosses && name == "irq" {
                wires += "    wire irq_core;\n";
                "irq_core".to_string()
            } else if inner == outer {
                name.clone()
            } else if port.dir == Dir::In {
                unused.push(format!("{name}[{}:{inner}]", outer - 1));
                if inner == 1 { format!("{name}[0]") } else { format!("{name}[{}:0]", inner - 1) }
            } else {
                let _ = writeln!(wires, "    wire {}{name}_core;", range(inner));
                let _ = writeln!(assigns, "    assign {name} = {{{}'d0, {name}_core}};", outer - inner);
                format!("{name}_core")
            };
            pins.push(format!("        .{name}({pin})"));
        }
        *text += &wires;
        let _ = write!(text, "    tercet_top machine (\n{}\n    );\n", pins.join(",\n"));
        *text += &assigns;
        if !unused.is_empty() {
            // answers carry the identifiers that were given out: the bits above are zero
            let _ = writeln!(text, "    wire _unused = &{{1'b0, {}}};", unused.join(", "));
        }
        if crosses {
            *text += "    // a level that stays until software has cleared its cause: two flip-flops are enough\n    \
                      (* ASYNC_REG = \"TRUE\" *) reg irq_meta, irq_q;\n    \
                      always @(posedge irq_aclk) begin\n        irq_meta <= irq_core;\n        irq_q <= irq_meta;\n    end\n    \
                      assign irq = irq_q;\n";
        }
    }
}
