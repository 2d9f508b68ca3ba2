# Block design for a card with HBM: PCI Express with DMA, HBM, the machine, and what is between them.
#
#   xdma/M_AXI_LITE -> control -> tercet/s_axi_ctrl     registers: /dev/xdma0_user
#   xdma/M_AXI -> dma -> hbm/SAXI_<dma>                 memory: /dev/xdma0_h2c_0 and c2h_0, at the addresses of the machine
#   tercet/m_axi_gmem<i> -> gmem<i> -> hbm/SAXI_<i>     memory; HBM's ports speak AXI3, so bursts are cut in between
#   tercet/irq -> xdma/usr_irq_req                      level, through two flip-flops of tercet_ip: /dev/xdma0_events_0
#   clocks/clk_out1                                     the machine and its ports
#   clocks/clk_out2                                     HBM's reference and control, 100 MHz
#   xdma/axi_aclk                                       the DMA and its port of HBM
#
# build.tcl sources it, with settings.tcl before.

# --- cells -------------------------------------------------------------------
create_bd_cell -type ip -vlnv xilinx.com:ip:util_ds_buf refclk
set_property -dict [list CONFIG.C_BUF_TYPE {IBUFDSGTE}] [get_bd_cells refclk]

create_bd_cell -type ip -vlnv xilinx.com:ip:xdma xdma
set_property -dict [list \
    CONFIG.functional_mode {DMA} \
    CONFIG.mode_selection {Advanced} \
    CONFIG.pcie_blk_locn $pcie_block \
    CONFIG.en_gt_selection {true} \
    CONFIG.select_quad $pcie_quad \
    CONFIG.pl_link_cap_max_link_width X$pcie_lanes \
    CONFIG.pl_link_cap_max_link_speed $pcie_speed \
    CONFIG.ref_clk_freq {100_MHz} \
    CONFIG.axi_data_width ${dma_bits}_bit \
    CONFIG.axisten_freq $dma_mhz \
    CONFIG.xdma_axi_intf_mm {AXI_Memory_Mapped} \
    CONFIG.xdma_rnum_chnl {1} \
    CONFIG.xdma_wnum_chnl {1} \
    CONFIG.xdma_num_usr_irq {1} \
    CONFIG.axilite_master_en {true} \
    CONFIG.axilite_master_size [expr {$registers_bytes / 1024}] \
    CONFIG.axilite_master_scale {Kilobytes} \
    CONFIG.pciebar2axibar_axil_master [format 0x%08X $registers_base] \
    CONFIG.pf0_device_id $pcie_device \
    CONFIG.pf0_msix_cap_table_bir {BAR_1} \
    CONFIG.pf0_msix_cap_pba_bir {BAR_1} \
    CONFIG.cfg_mgmt_if {false}] [get_bd_cells xdma]

create_bd_cell -type ip -vlnv xilinx.com:ip:clk_wiz clocks
set_property -dict [list \
    CONFIG.PRIM_SOURCE {Differential_clock_capable_pin} \
    CONFIG.PRIM_IN_FREQ {100.000} \
    CONFIG.CLKOUT1_REQUESTED_OUT_FREQ $mhz \
    CONFIG.CLKOUT2_USED {true} \
    CONFIG.CLKOUT2_REQUESTED_OUT_FREQ {100.000} \
    CONFIG.USE_RESET {false}] [get_bd_cells clocks]

create_bd_cell -type ip -vlnv xilinx.com:ip:hbm hbm
set properties [list \
    CONFIG.USER_HBM_DENSITY {8GB} \
    CONFIG.USER_HBM_STACK {2} \
    CONFIG.USER_MEMORY_DISPLAY {8192} \
    CONFIG.USER_HBM_REF_CLK_0 {100} \
    CONFIG.USER_HBM_REF_CLK_1 {100} \
    CONFIG.USER_AXI_INPUT_CLK_FREQ $mhz \
    CONFIG.USER_AXI_INPUT_CLK1_FREQ $dma_mhz \
    CONFIG.USER_CLK_SEL_LIST0 {AXI_00_ACLK} \
    CONFIG.USER_CLK_SEL_LIST1 AXI_${dma_port}_ACLK \
    CONFIG.USER_APB_EN {false}]
for {set port 0} {$port < 32} {incr port} {
    if {$port >= $ports && $port != $dma_port} { lappend properties CONFIG.USER_SAXI_[format %02d $port] false }
}
set_property -dict $properties [get_bd_cells hbm]

create_bd_cell -type ip -vlnv $ip_vendor:$ip_library:tercet_ip:$ip_version tercet
foreach cell {core_reset hbm_reset} { create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset $cell }
create_bd_cell -type ip -vlnv xilinx.com:ip:util_vector_logic cattrip
set_property -dict [list CONFIG.C_SIZE {1} CONFIG.C_OPERATION {or}] [get_bd_cells cattrip]
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect control
set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1} CONFIG.NUM_CLKS {2}] [get_bd_cells control]
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect dma
set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1}] [get_bd_cells dma]
for {set port 0} {$port < $ports} {incr port} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect gmem$port
    set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1}] [get_bd_cells gmem$port]
}

# --- pins of the package -----------------------------------------------------
foreach {name vlnv mode pin} {
    pcie         xilinx.com:interface:pcie_7x_mgt_rtl:1.0  Master  xdma/pcie_mgt
    pcie_refclk  xilinx.com:interface:diff_clock_rtl:1.0   Slave   refclk/CLK_IN_D
    clock_100    xilinx.com:interface:diff_clock_rtl:1.0   Slave   clocks/CLK_IN1_D
} {
    create_bd_intf_port -mode $mode -vlnv $vlnv $name
    connect_bd_intf_net [get_bd_intf_ports $name] [get_bd_intf_pins $pin]
}
foreach clock {pcie_refclk clock_100} { set_property CONFIG.FREQ_HZ 100000000 [get_bd_intf_ports $clock] }
create_bd_port -dir I -type rst pcie_perst_n
set_property CONFIG.POLARITY ACTIVE_LOW [get_bd_ports pcie_perst_n]
connect_bd_net [get_bd_ports pcie_perst_n] [get_bd_pins xdma/sys_rst_n]
create_bd_port -dir O hbm_cattrip
connect_bd_net [get_bd_pins cattrip/Res] [get_bd_ports hbm_cattrip]

# --- clocks and resets -------------------------------------------------------
connect_bd_net [get_bd_pins refclk/IBUF_DS_ODIV2] [get_bd_pins xdma/sys_clk]
connect_bd_net [get_bd_pins refclk/IBUF_OUT] [get_bd_pins xdma/sys_clk_gt]

set core {tercet/aclk core_reset/slowest_sync_clk control/aclk1}
set core_resets {tercet/aresetn}
for {set port 0} {$port < $ports} {incr port} {
    set number [format %02d $port]
    lappend core gmem$port/aclk hbm/AXI_${number}_ACLK
    lappend core_resets gmem$port/aresetn hbm/AXI_${number}_ARESET_N
}
foreach pin $core { connect_bd_net [get_bd_pins clocks/clk_out1] [get_bd_pins $pin] }
foreach pin {hbm/HBM_REF_CLK_0 hbm/HBM_REF_CLK_1 hbm/APB_0_PCLK hbm/APB_1_PCLK hbm_reset/slowest_sync_clk} {
    connect_bd_net [get_bd_pins clocks/clk_out2] [get_bd_pins $pin]
}
foreach pin [list control/aclk dma/aclk hbm/AXI_${dma_port}_ACLK tercet/irq_aclk] {
    connect_bd_net [get_bd_pins xdma/axi_aclk] [get_bd_pins $pin]
}
foreach pin [list control/aresetn dma/aresetn hbm/AXI_${dma_port}_ARESET_N core_reset/ext_reset_in hbm_reset/ext_reset_in] {
    connect_bd_net [get_bd_pins xdma/axi_aresetn] [get_bd_pins $pin]
}
foreach pin {core_reset/dcm_locked hbm_reset/dcm_locked} {
    connect_bd_net [get_bd_pins clocks/locked] [get_bd_pins $pin]
}
foreach pin $core_resets { connect_bd_net [get_bd_pins core_reset/peripheral_aresetn] [get_bd_pins $pin] }
foreach pin {hbm/APB_0_PRESET_N hbm/APB_1_PRESET_N} {
    connect_bd_net [get_bd_pins hbm_reset/peripheral_aresetn] [get_bd_pins $pin]
}

# --- wires -------------------------------------------------------------------
connect_bd_net [get_bd_pins hbm/DRAM_0_STAT_CATTRIP] [get_bd_pins cattrip/Op1]
connect_bd_net [get_bd_pins hbm/DRAM_1_STAT_CATTRIP] [get_bd_pins cattrip/Op2]
connect_bd_net [get_bd_pins tercet/irq] [get_bd_pins xdma/usr_irq_req]

# --- AXI ---------------------------------------------------------------------
connect_bd_intf_net [get_bd_intf_pins xdma/M_AXI_LITE] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins tercet/s_axi_ctrl]
assign_bd_address -offset $registers_base -range $registers_bytes \
    -target_address_space [get_bd_addr_spaces xdma/M_AXI_LITE] [get_bd_addr_segs tercet/s_axi_ctrl/reg0] -force

# All of HBM at the same addresses for everybody.
proc see_all_of_hbm {space port} {
    for {set segment 0} {$segment < $::segments} {incr segment} {
        assign_bd_address -offset [expr {$segment * $::segment_bytes}] -range $::segment_bytes \
            -target_address_space [get_bd_addr_spaces $space] \
            [get_bd_addr_segs hbm/SAXI_[format %02d $port]/HBM_MEM[format %02d $segment]] -force
    }
}
connect_bd_intf_net [get_bd_intf_pins xdma/M_AXI] [get_bd_intf_pins dma/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins dma/M00_AXI] [get_bd_intf_pins hbm/SAXI_$dma_port]
see_all_of_hbm xdma/M_AXI $dma_port
for {set port 0} {$port < $ports} {incr port} {
    connect_bd_intf_net [get_bd_intf_pins tercet/m_axi_gmem$port] [get_bd_intf_pins gmem$port/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins gmem$port/M00_AXI] [get_bd_intf_pins hbm/SAXI_[format %02d $port]]
    see_all_of_hbm tercet/m_axi_gmem$port $port
}
