//! What Linux on a Zynq is told of the machine: a device tree overlay and the files beside it.

use super::Kit;
use super::board::Zynq;
use spec::nodes::{BUFFER, BUFFER_BYTES, UIO};
use spec::regs::WINDOW;

/// `shell.json`: one design that fills the logic, loaded without the vendor's runtime.
pub(super) const SHELL: &str = "{\n    \"shell_type\": \"PL_FLAT\",\n    \"num_slots\": \"1\"\n}\n";

/// Code of a width in the registers of the ports to memory.
fn port_code(bits: u32) -> u32 {
    match bits {
        128 => 0,
        64 => 1,
        _ => 2,
    }
}

impl Kit<'_> {
    /// `tercet.dts`. The node's names are those that the driver looks for.
    pub(super) fn overlay(&self, zynq: &Zynq) -> String {
        let (origin, name) = (self.origin(" *"), self.application());
        // registers 0 to 13: reads and writes of seven ports; 14: masters of the processor, 32 bits wide at HPM0, 128 at HPM1
        let code = |register: u32| {
            let of_port = |s: &&super::board::SlavePort| s.afi.contains(&register);
            let used = zynq.slaves.iter().take(self.machine.ports as usize).any(|s| of_port(&s));
            if used { port_code(self.machine.port_bits) } else { 0 }
        };
        let widths: Vec<String> = (0..14).map(|register| format!("<{register} {:#x}>", code(register))).collect();
        let (base, irq, clock) = (zynq.registers, zynq.interrupt, zynq.clock_index);
        let hertz = u64::from(self.machine.mhz) * 1_000_000;
        format!(
            "/*\n{origin} *\n * Overlay for the logic: widths of the ports, its clock, registers and interrupt for UIO, a buffer of u-dma-buf.\n */\n\
             /dts-v1/;\n/plugin/;\n\n\
             &fpga_full {{\n\t#address-cells = <2>;\n\t#size-cells = <2>;\n\tfirmware-name = \"{name}.bit.bin\";\n\
             \tresets = <&zynqmp_reset 116>, <&zynqmp_reset 117>, <&zynqmp_reset 118>, <&zynqmp_reset 119>;\n}};\n\n\
             &amba {{\n\t#address-cells = <2>;\n\t#size-cells = <2>;\n\n\
             \tafi0 {{\n\t\tcompatible = \"xlnx,afi-fpga\";\n\
             \t\t/* 0: 128 bits, 1: 64, 2: 32; the last two: masters of the processor */\n\
             \t\tconfig-afi = {},\n\t\t\t<14 0x800>, <15 0x0>;\n\t}};\n\n\
             \tclocking0 {{\n\t\tcompatible = \"xlnx,fclk\";\n\t\t#clock-cells = <0>;\n\t\tclocks = <&zynqmp_clk {clock}>;\n\
             \t\tassigned-clocks = <&zynqmp_clk {clock}>;\n\t\tassigned-clock-rates = <{hertz}>;\n\
             \t\tclock-output-names = \"fabric_clk\";\n\t}};\n\n\
             \ttercet@{base:x} {{\n\t\tcompatible = \"generic-uio\";\n\t\tlinux,uio-name = \"{UIO}\";\n\
             \t\treg = <{:#x} {:#x} 0x0 {WINDOW:#x}>;\n\t\tinterrupt-parent = <&gic>;\n\t\tinterrupts = <0 {irq} 4>;\n\t}};\n\n\
             \t{BUFFER} {{\n\t\tcompatible = \"ikwzm,u-dma-buf\";\n\t\tdevice-name = \"{BUFFER}\";\n\
             \t\tsize = <{BUFFER_BYTES:#x}>;\n\t}};\n}};\n",
            widths.join(", "),
            base >> 32,
            base & 0xffff_ffff,
        )
    }

    /// Instructions for bootgen: the bits in the order in which the processor loads them.
    pub(super) fn boot_image(&self) -> String {
        format!("all:\n{{\n    [destination_device = pl] out/{}.bit\n}}\n", self.application())
    }
}
