# Block design for a Zynq UltraScale+: the processing system, the machine, and what is between them.
#
#   ps/M_AXI_HPM0_FPD -> control -> tercet/s_axi_ctrl      registers, at $registers_base
#   tercet/m_axi_gmem<i> -> ps/S_AXI_HP<i>_FPD             memory; straight, because widths and clocks are the same
#   tercet/irq -> ps/pl_ps_irq0                            level
#   ps/pl_clk0                                             the one clock
#
# build.tcl sources it, with settings.tcl before.

set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
if {$boards ne {}} {
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} $ps
}
set properties [list \
    CONFIG.PSU__FPGA_PL0_ENABLE {1} \
    CONFIG.PSU__FPGA_PL1_ENABLE {0} \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL {IOPLL} \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $mhz \
    CONFIG.PSU__USE__FABRIC__RST {1} \
    CONFIG.PSU__NUM_FABRIC_RESETS {1} \
    CONFIG.PSU__USE__M_AXI_GP0 {1} \
    CONFIG.PSU__MAXIGP0__DATA_WIDTH {32} \
    CONFIG.PSU__USE__M_AXI_GP1 {0} \
    CONFIG.PSU__USE__M_AXI_GP2 {0} \
    CONFIG.PSU__USE__IRQ0 {1}]
foreach slave $slaves {
    lappend properties CONFIG.PSU__USE__S_AXI_GP[dict get $slave number] 1
    lappend properties CONFIG.PSU__SAXIGP[dict get $slave number]__DATA_WIDTH $port_bits
}
set_property -dict $properties $ps

# the clock comes from dividers of a PLL
set real [get_property CONFIG.PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ $ps]
if {abs($real - $mhz) > 0.01 * $mhz} {
    error "the processing system makes $real MHz of $mhz MHz; choose clock.mhz of the preset so that 1500 MHz is a multiple"
}

create_bd_cell -type ip -vlnv $ip_vendor:$ip_library:tercet_ip:$ip_version tercet
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect control
set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1}] [get_bd_cells control]

set clocked {ps/maxihpm0_fpd_aclk reset/slowest_sync_clk control/aclk tercet/aclk}
foreach slave $slaves { lappend clocked ps/[dict get $slave clock] }
foreach pin $clocked { connect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins $pin] }
connect_bd_net [get_bd_pins ps/pl_resetn0] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins tercet/aresetn]
connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins control/aresetn]
connect_bd_net [get_bd_pins tercet/irq] [get_bd_pins ps/pl_ps_irq0]

connect_bd_intf_net [get_bd_intf_pins ps/M_AXI_HPM0_FPD] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins tercet/s_axi_ctrl]
assign_bd_address -offset $registers_base -range $registers_bytes \
    -target_address_space [get_bd_addr_spaces ps/Data] [get_bd_addr_segs tercet/s_axi_ctrl/reg0] -force

set port 0
foreach slave $slaves {
    set master tercet/m_axi_gmem$port
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins ps/[dict get $slave interface]]
    set segment ps/SAXIGP[dict get $slave number]/[dict get $slave segment]
    assign_bd_address -offset [lindex $memory_low 0] -range [lindex $memory_low 1] \
        -target_address_space [get_bd_addr_spaces $master] [get_bd_addr_segs ${segment}_DDR_LOW] -force
    # there without board files only if the processor's memory is known to be that large
    set high [get_bd_addr_segs -quiet ${segment}_DDR_HIGH]
    if {$high ne {}} {
        assign_bd_address -offset [lindex $memory_high 0] -range [lindex $memory_high 1] \
            -target_address_space [get_bd_addr_spaces $master] $high -force
    }
    # flash, on-chip memory and the other peripherals are none of the machine's business
    foreach other {QSPI LPS_OCM PCIE_LOW PCIE_HIGH1 PCIE_HIGH2} {
        set found [get_bd_addr_segs -quiet ${segment}_$other]
        if {$found ne {}} { exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces $master] $found }
    }
    incr port
}
