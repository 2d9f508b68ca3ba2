//! Mistakes that somebody could make in the scripts: the dry run has to find each of them, and say what it is.

use crate::{Copy, said};

/// Preset, file, what stands there, what is put there, what the mock says of it.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str, &str, &str)] = &[
    // names of commands, options, properties, cores
    ("kv260", "build.tcl", "\nopt_design", "\noptimize_design", "there is no command optimize_design"),
    ("kv260", "build.tcl", "place_design -directive", "place_design -directives", "place_design has no option -directives"),
    ("kv260", "build.tcl", "validate_bd_design\n", "", "the design was not validated"),
    ("kv260", "build.tcl", "route_design -directive [dict get $directives route]\n", "", "write_bitstream|route after|place"),
    ("kv260", "bd.tcl", "CONFIG.PSU__USE__IRQ0", "CONFIG.PSU__USE_IRQ0", "has no property CONFIG.PSU__USE_IRQ0"),
    ("kv260", "bd.tcl", "xilinx.com:ip:smartconnect", "xilinx.com:ip:smart_connect", "no core xilinx.com:ip:smart_connect"),
    ("u50", "bd.tcl", "CONFIG.xdma_num_usr_irq", "CONFIG.num_usr_irq", "has no property CONFIG.num_usr_irq"),
    // pins and interfaces that are not there, not connected, connected twice, connected the wrong way round
    ("kv260", "bd.tcl", "[get_bd_pins tercet/irq]", "[get_bd_pins tercet/interrupt]", "there is no pin tercet/interrupt"),
    ("kv260", "bd.tcl", "connect_bd_net [get_bd_pins tercet/irq] [get_bd_pins ps/pl_ps_irq0]\n", "", "tercet/irq is not connected"),
    ("kv260", "bd.tcl", "control/aclk tercet/aclk}", "control/aclk}", "tercet/aclk is not connected|has no clock"),
    ("kv260", "bd.tcl", "CONFIG.PSU__USE__M_AXI_GP1 {0}", "CONFIG.PSU__USE__M_AXI_GP1 {1}", "ps/maxihpm1_fpd_aclk is not connected"),
    ("kv260", "settings.tcl", "S_AXI_HP2_FPD", "S_AXI_HP1_FPD", "connected to"),
    ("kv260", "bd.tcl", "[get_bd_intf_pins control/M00_AXI]", "[get_bd_intf_pins control/S00_AXI]", "are both slaves"),
    ("u50", "bd.tcl", "core_reset/slowest_sync_clk control/aclk1}", "core_reset/slowest_sync_clk}", "control/aclk1 is not connected"),
    ("u50", "bd.tcl", "connect_bd_net [get_bd_pins tercet/irq] [get_bd_pins xdma/usr_irq_req]\n", "", "xdma/usr_irq_req is not connected"),
    ("u50", "bd.tcl", "connect_bd_net [get_bd_pins cattrip/Res] [get_bd_ports hbm_cattrip]\n", "", "port hbm_cattrip is not connected"),
    ("u50", "bd.tcl", " dma/aclk hbm/AXI", " hbm/AXI", "dma has no clock"),
    // widths, protocols, clocks
    ("kv260", "settings.tcl", "port_bits        128", "port_bits        64", "m_axi_gmem0 has 128 bits of data"),
    ("u50", "bd.tcl", "lappend core gmem$port/aclk hbm", "lappend other gmem$port/aclk hbm", "is not connected"),
    ("u50", "bd.tcl", "[get_bd_intf_pins gmem$port/M00_AXI] [get_bd_intf_pins hbm/SAXI_[format %02d $port]]",
        "[get_bd_intf_pins gmem$port/M00_AXI] [get_bd_intf_pins hbm/SAXI_[format %02d [expr {$port ^ 1}]]]", "does not lead to"),
    ("u50", "bd.tcl", "foreach pin [list control/aclk dma/aclk", "foreach pin [list dma/aclk", "control has no clock"),
    ("u50", "bd.tcl", "CONFIG.USER_CLK_SEL_LIST1 AXI_${dma_port}_ACLK", "CONFIG.USER_CLK_SEL_LIST1 AXI_17_ACLK", "names a port that is off"),
    // addresses
    ("kv260", "bd.tcl", "-offset $registers_base", "-offset 0xB0000000", "registers lie at"),
    ("kv260", "settings.tcl", "memory_high      {0x800000000 0x80000000}", "memory_high      {0x0 0x80000000}", "lies at 0x800000000"),
    ("kv260", "settings.tcl", "memory_low       {0x0 0x80000000}", "memory_low       {0x0 0x60000000}", "no multiple"),
    ("kv260", "bd.tcl", "[get_bd_addr_spaces $master] [get_bd_addr_segs ${segment}_DDR_LOW]",
        "[get_bd_addr_spaces tercet/m_axi_gmem0] [get_bd_addr_segs ${segment}_DDR_LOW]", "does not lead to"),
    ("u50", "bd.tcl", "-offset [expr {$segment * $::segment_bytes}]", "-offset [expr {$segment / 2 * $::segment_bytes}]", "lies at|overlaps"),
    ("u50", "bd.tcl", "see_all_of_hbm xdma/M_AXI $dma_port\n", "", "xdma/M_AXI sees no memory"),
    ("u50", "settings.tcl", "segments         32", "segments         16", "sees less than 8589934592 bytes"),
    // the IP core against the list of ports
    ("kv260", "tercet_ip.v", "        .irq(irq)", "        .irq()", "leaves irq open"),
    ("kv260", "tercet_ip.v", "        .aresetn(aresetn),\n", "", "does not connect aresetn"),
    ("kv260", "tercet_ip.v", "        .aresetn(aresetn),\n", "        .aresetn(aresetn),\n        .aresetn(aresetn),\n", "connects aresetn twice"),
    ("kv260", "tercet_ip.v", "[127:0] m_axi_gmem2_rdata", "[63:0] m_axi_gmem2_rdata", "m_axi_gmem2_rdata of tercet_ip"),
    ("kv260", "tercet_ip.v", "input  wire m_axi_gmem1_bvalid", "output wire m_axi_gmem1_bvalid", "m_axi_gmem1_bvalid of tercet_ip"),
    ("kv260", "../manifest.json", "\"name\": \"irq\"", "\"name\": \"interrupt\"", "not those of the manifest"),
    ("kv260", "../manifest.json", "\"width\": 128", "\"width\": 64", "not those of the manifest"),
    // packaging
    ("kv260", "package_ip.tcl", "-clock aclk -reset aresetn", "-clock aclk", "aclk has no reset"),
    ("kv260", "package_ip.tcl", "ipx::infer_bus_interfaces", "ipx::infer_interfaces", "there is no command ipx::infer_interfaces"),
    ("kv260", "package_ip.tcl", "set_property range $registers_bytes $block", "set_property range 4096 $block", "register .* at|the window has"),
    ("kv260", "package_ip.tcl", "SUPPORTS_NARROW_BURST 0", "NARROW_BURST 0", "has no parameter NARROW_BURST"),
    ("kv260", "package_ip.tcl", "APERTURE_0 $space", "APERTURE_0 $interface", "is no segment of"),
    ("kv260", "registers.tcl", "{ABI 0x0004", "{ABI 0x0000", "register ABI at 0"),
    // constraints
    ("u50", "constraints.xdc", "{hbm_cattrip*}", "{hbm_catrip*}", "there is no port hbm_catrip"),
    ("u50", "constraints.xdc", "PACKAGE_PIN AF8", "PACKAGE_PIN AF9", "two ports at AF9"),
    ("u50", "constraints.xdc", "PULLTYPE", "PULL_TYPE", "a port has no property PULL_TYPE"),
    ("kv260", "constraints.xdc", "BITSTREAM.GENERAL.COMPRESS", "GENERAL.COMPRESS", "a design has no property"),
    ("kv260", "tercet-kv260.bif", "destination_device = pl", "destination_device = ps", "bootgen"),
];

#[test]
fn every_mistake_is_found() {
    let mut missed = Vec::new();
    for (preset, file, from, to, says) in MISTAKES {
        let copy = Copy::of(preset);
        copy.edit(file, from, to);
        let output = copy.build(&[]);
        let text = said(&output);
        let told = says.split('|').any(|part| part.split(".*").all(|piece| text.contains(piece)));
        if output.status.success() || !told {
            missed.push(format!("{preset}/{file}: {from:?} -> {to:?}: wanted {says:?}\n{text}"));
        }
        assert!(!copy.products().iter().any(|name| name.ends_with(".bit.bin")), "{file}: {to}");
    }
    assert!(missed.is_empty(), "{} of {} not found:\n{}", missed.len(), MISTAKES.len(), missed.join("\n"));
}
