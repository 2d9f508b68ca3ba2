//! Constraints: pins, clocks that no core brings along, settings of the configuration.

use super::Kit;
use super::board::{Card, Shell};
use std::fmt::Write;

impl Kit<'_> {
    /// `constraints.xdc`, for the whole design.
    pub(super) fn constraints(&self) -> String {
        let mut text = self.origin("#");
        match self.shell {
            Shell::Zynq(_) => {
                text += "#\n# The processing system's core brings the clock, and no pin of the logic is used.\n\n";
                text += "set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]\n";
            }
            Shell::Card(card) => card_constraints(card, &mut text),
        }
        text
    }

    /// `ooc.xdc`, for `tercet_top` alone. Its ports have no delays: what is timed is what lies between its registers.
    pub(super) fn constraints_alone(&self) -> String {
        let period = 1000.0 / f64::from(self.machine.mhz);
        format!("{}create_clock -name aclk -period {period:.3} [get_ports aclk]\n", self.origin("#"))
    }
}

fn card_constraints(card: &Card, text: &mut String) {
    *text += "#\n# Lanes of PCI Express are placed by the core; clocks behind the MMCM and the DMA come with their cores.\n\n";
    for (port, pin, standard) in card.pins {
        // a clock's halves may be vectors of one bit
        let ports = format!("[get_ports {{{port}*}}]");
        let _ = writeln!(text, "set_property PACKAGE_PIN {pin} {ports}");
        if !standard.is_empty() {
            let _ = writeln!(text, "set_property IOSTANDARD {standard} {ports}");
        }
    }
    *text += "\n# the slot's reference clock, and the board's 100 MHz\n\
              create_clock -name pcie_refclk -period 10.000 [get_ports {pcie_refclk_clk_p*}]\n\
              set_property PULLTYPE PULLUP [get_ports pcie_perst_n]\n\
              set_false_path -from [get_ports pcie_perst_n]\n\
              set_false_path -to [get_ports hbm_cattrip]\n\
              set_output_delay 0 [get_ports hbm_cattrip]\n\n\
              # the interrupt's way into the DMA's clock, first of two flip-flops\n\
              set_false_path -to [get_pins -hierarchical -filter {NAME =~ *irq_meta_reg*/D}]\n\n";
    let _ = writeln!(text, "set_operating_conditions -design_power_budget {}", card.watts);
    for (key, value) in [
        ("CFGBVS", "GND"),
        ("CONFIG_VOLTAGE", "1.8"),
        ("CONFIG_MODE", "SPIx4"),
        ("BITSTREAM.GENERAL.COMPRESS", "TRUE"),
        ("BITSTREAM.CONFIG.SPI_BUSWIDTH", "4"),
        ("BITSTREAM.CONFIG.SPI_32BIT_ADDR", "YES"),
        ("BITSTREAM.CONFIG.SPI_FALL_EDGE", "YES"),
        ("BITSTREAM.CONFIG.CONFIGRATE", "85.0"),
        ("BITSTREAM.CONFIG.EXTMASTERCCLK_EN", "DISABLE"),
        ("BITSTREAM.CONFIG.CONFIGFALLBACK", "ENABLE"),
        ("BITSTREAM.CONFIG.UNUSEDPIN", "PULLUP"),
        ("BITSTREAM.CONFIG.OVERTEMPSHUTDOWN", "ENABLE"),
    ] {
        let _ = writeln!(text, "set_property {key} {value} [current_design]");
    }
}
