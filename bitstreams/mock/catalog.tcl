# The IP cores that the block designs use: which properties they have, and which pins and interfaces follow from them.
#
# An interface is a dictionary: mode (master, slave), kind (AXI4, AXI4LITE, AXI3 or the VLNV of another), and for AXI data,
# id, addr in bits and the pin of its clock. A pin is {in|out width}.

namespace eval catalog {
    # VLNV without version -> patterns of properties
    variable properties {
        xilinx.com:ip:zynq_ultra_ps_e {
            PSU__FPGA_PL0_ENABLE PSU__FPGA_PL1_ENABLE PSU__CRL_APB__PL0_REF_CTRL__SRCSEL PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ
            PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ PSU__USE__FABRIC__RST PSU__NUM_FABRIC_RESETS
            PSU__USE__M_AXI_GP[0-2] PSU__USE__S_AXI_GP[0-6] PSU__MAXIGP[0-2]__DATA_WIDTH PSU__SAXIGP[0-6]__DATA_WIDTH
            PSU__USE__IRQ0 PSU__USE__IRQ1
        }
        xilinx.com:ip:xdma {
            functional_mode mode_selection pcie_blk_locn en_gt_selection select_quad pl_link_cap_max_link_width
            pl_link_cap_max_link_speed ref_clk_freq axi_data_width axisten_freq xdma_axi_intf_mm xdma_rnum_chnl
            xdma_wnum_chnl xdma_num_usr_irq axilite_master_en axilite_master_size axilite_master_scale
            pciebar2axibar_axil_master pf0_device_id pf0_msix_cap_table_bir pf0_msix_cap_pba_bir cfg_mgmt_if
        }
        xilinx.com:ip:hbm {
            USER_HBM_DENSITY USER_HBM_STACK USER_MEMORY_DISPLAY USER_HBM_REF_CLK_[01] USER_AXI_INPUT_CLK_FREQ
            USER_AXI_INPUT_CLK1_FREQ USER_CLK_SEL_LIST[01] USER_APB_EN USER_SAXI_[0-3][0-9]
        }
        xilinx.com:ip:clk_wiz {
            PRIM_SOURCE PRIM_IN_FREQ CLKOUT1_REQUESTED_OUT_FREQ CLKOUT2_USED CLKOUT2_REQUESTED_OUT_FREQ USE_RESET
            RESET_TYPE
        }
        xilinx.com:ip:smartconnect {NUM_SI NUM_MI NUM_CLKS}
        xilinx.com:ip:proc_sys_reset {C_EXT_RST_WIDTH C_NUM_PERP_ARESETN}
        xilinx.com:ip:util_ds_buf {C_BUF_TYPE C_SIZE}
        xilinx.com:ip:util_vector_logic {C_SIZE C_OPERATION}
    }
    # what the cores are before anything is set
    variable defaults {
        xilinx.com:ip:zynq_ultra_ps_e {
            PSU__FPGA_PL0_ENABLE 1 PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100 PSU__USE__FABRIC__RST 1 PSU__NUM_FABRIC_RESETS 1
            PSU__USE__M_AXI_GP0 1 PSU__USE__M_AXI_GP1 1 PSU__USE__M_AXI_GP2 0 PSU__MAXIGP0__DATA_WIDTH 128
            PSU__MAXIGP1__DATA_WIDTH 128 PSU__USE__IRQ0 0
        }
        xilinx.com:ip:xdma {axi_data_width 64_bit axisten_freq 125 xdma_num_usr_irq 1 axilite_master_en false
            axilite_master_size 1 axilite_master_scale Megabytes xdma_axi_intf_mm AXI_Memory_Mapped}
        xilinx.com:ip:hbm {USER_HBM_STACK 1 USER_APB_EN true}
        xilinx.com:ip:clk_wiz {PRIM_SOURCE Single_ended_clock_capable_pin PRIM_IN_FREQ 100.000
            CLKOUT1_REQUESTED_OUT_FREQ 100.000 CLKOUT2_USED false CLKOUT2_REQUESTED_OUT_FREQ 100.000 USE_RESET true}
        xilinx.com:ip:smartconnect {NUM_SI 2 NUM_MI 1 NUM_CLKS 1}
        xilinx.com:ip:proc_sys_reset {}
        xilinx.com:ip:util_ds_buf {C_BUF_TYPE IBUFDS}
        xilinx.com:ip:util_vector_logic {C_SIZE 8 C_OPERATION and}
    }
}

proc catalog::knows {vlnv} { return [dict exists $catalog::properties $vlnv] }

# Fails unless a core has the property.
proc catalog::check_property {vlnv name} {
    foreach pattern [dict get $catalog::properties $vlnv] {
        if {[string match $pattern $name]} { return }
    }
    error "$vlnv has no property CONFIG.$name"
}

proc catalog::axi {mode kind data id addr clock} {
    return [dict create mode $mode kind $kind data $data id $id addr $addr clock $clock]
}

proc catalog::true {value} { return [expr {$value in {1 true}}] }

# {pins interfaces segments needed} of a core with these properties. Segments: name -> {interface offset bytes}, offset
# empty if the design chooses it. `needed` are inputs that have to be driven.
proc catalog::expand {vlnv config} {
    set core [lindex [split $vlnv :] 2]
    return [catalog::expand_$core $config]
}

proc catalog::expand_zynq_ultra_ps_e {c} {
    set pins {}
    set interfaces {}
    set segments {}
    set needed {}
    if {[catalog::true [dict get $c PSU__FPGA_PL0_ENABLE]]} { dict set pins pl_clk0 {out 1} }
    if {[catalog::true [dict get $c PSU__USE__FABRIC__RST]]} { dict set pins pl_resetn0 {out 1} }
    if {[catalog::true [dict get $c PSU__USE__IRQ0]]} { dict set pins pl_ps_irq0 {in 1} }
    foreach {gp name clock} {0 M_AXI_HPM0_FPD maxihpm0_fpd_aclk 1 M_AXI_HPM1_FPD maxihpm1_fpd_aclk 2 M_AXI_HPM0_LPD maxihpm0_lpd_aclk} {
        if {![catalog::true [dict get $c PSU__USE__M_AXI_GP$gp]]} { continue }
        dict set pins $clock {in 1}
        lappend needed $clock
        dict set interfaces $name [catalog::axi master AXI4 [dict get $c PSU__MAXIGP${gp}__DATA_WIDTH] 16 40 $clock]
        dict set interfaces $name space Data
    }
    foreach {gp port} {2 0 3 1 4 2 5 3} {
        if {![dict exists $c PSU__USE__S_AXI_GP$gp] || ![catalog::true [dict get $c PSU__USE__S_AXI_GP$gp]]} { continue }
        dict set pins saxihp${port}_fpd_aclk {in 1}
        lappend needed saxihp${port}_fpd_aclk
        set width [dict get $c PSU__SAXIGP${gp}__DATA_WIDTH]
        if {$width ni {32 64 128}} { error "S_AXI_HP$port cannot be $width bits wide" }
        dict set interfaces S_AXI_HP${port}_FPD [catalog::axi slave AXI4 $width 6 49 saxihp${port}_fpd_aclk]
        set prefix SAXIGP$gp/HP$port
        dict set segments ${prefix}_DDR_LOW [list S_AXI_HP${port}_FPD 0 0x80000000]
        if {$mock::settings(boards)} {
            dict set segments ${prefix}_DDR_HIGH [list S_AXI_HP${port}_FPD 0x800000000 0x80000000]
        }
        dict set segments ${prefix}_QSPI [list S_AXI_HP${port}_FPD 0xC0000000 0x20000000]
        dict set segments ${prefix}_LPS_OCM [list S_AXI_HP${port}_FPD 0xFF000000 0x1000000]
    }
    return [list $pins $interfaces $segments $needed]
}

proc catalog::expand_xdma {c} {
    set pins {sys_clk {in 1} sys_clk_gt {in 1} sys_rst_n {in 1} axi_aclk {out 1} axi_aresetn {out 1}}
    dict set pins usr_irq_req [list in [dict get $c xdma_num_usr_irq]]
    dict set interfaces pcie_mgt {mode master kind xilinx.com:interface:pcie_7x_mgt_rtl:1.0}
    set width [string map {_bit {}} [dict get $c axi_data_width]]
    dict set interfaces M_AXI [catalog::axi master AXI4 $width 4 64 axi_aclk]
    if {[catalog::true [dict get $c axilite_master_en]]} {
        dict set interfaces M_AXI_LITE [catalog::axi master AXI4LITE 32 0 32 axi_aclk]
    }
    return [list $pins $interfaces {} {sys_clk sys_clk_gt sys_rst_n usr_irq_req}]
}

proc catalog::expand_hbm {c} {
    set stacks [dict get $c USER_HBM_STACK]
    if {[catalog::true [dict get $c USER_APB_EN]]} { error "hbm: its APB interface is left open; set USER_APB_EN false" }
    set pins {}
    set needed {}
    set interfaces {}
    set segments {}
    for {set stack 0} {$stack < $stacks} {incr stack} {
        foreach pin [list HBM_REF_CLK_$stack APB_${stack}_PCLK APB_${stack}_PRESET_N] {
            dict set pins $pin {in 1}
            lappend needed $pin
        }
        dict set pins DRAM_${stack}_STAT_CATTRIP {out 1}
        dict set pins apb_complete_$stack {out 1}
        set select [dict get $c USER_CLK_SEL_LIST$stack]
        if {![regexp {^AXI_(\d\d)_ACLK$} $select all number] || [scan $number %d] / 16 != $stack} {
            error "hbm: USER_CLK_SEL_LIST$stack is $select, no clock of stack $stack"
        }
        if {![catalog::hbm_port $c [scan $number %d]]} { error "hbm: USER_CLK_SEL_LIST$stack names a port that is off" }
    }
    for {set port 0} {$port < 16 * $stacks} {incr port} {
        if {![catalog::hbm_port $c $port]} { continue }
        set number [format %02d $port]
        foreach pin [list AXI_${number}_ACLK AXI_${number}_ARESET_N] {
            dict set pins $pin {in 1}
            lappend needed $pin
        }
        dict set interfaces SAXI_$number [catalog::axi slave AXI3 256 6 33 AXI_${number}_ACLK]
        for {set segment 0} {$segment < 16 * $stacks} {incr segment} {
            set bytes [expr {1 << 28}]
            dict set segments SAXI_$number/HBM_MEM[format %02d $segment] [list SAXI_$number [expr {$segment * $bytes}] $bytes]
        }
    }
    return [list $pins $interfaces $segments $needed]
}

proc catalog::hbm_port {c port} {
    set key USER_SAXI_[format %02d $port]
    return [expr {![dict exists $c $key] || [catalog::true [dict get $c $key]]}]
}

proc catalog::expand_clk_wiz {c} {
    set pins {clk_out1 {out 1} locked {out 1}}
    set needed {}
    set interfaces {}
    if {[dict get $c PRIM_SOURCE] eq "Differential_clock_capable_pin"} {
        dict set interfaces CLK_IN1_D {mode slave kind xilinx.com:interface:diff_clock_rtl:1.0}
    } else {
        dict set pins clk_in1 {in 1}
        lappend needed clk_in1
    }
    if {[catalog::true [dict get $c CLKOUT2_USED]]} { dict set pins clk_out2 {out 1} }
    if {[catalog::true [dict get $c USE_RESET]]} {
        dict set pins reset {in 1}
        lappend needed reset
    }
    return [list $pins $interfaces {} $needed]
}

proc catalog::expand_smartconnect {c} {
    set pins {aclk {in 1} aresetn {in 1}}
    set needed {aclk aresetn}
    for {set clock 1} {$clock < [dict get $c NUM_CLKS]} {incr clock} {
        dict set pins aclk$clock {in 1}
        lappend needed aclk$clock
    }
    # anything goes in and out: it adapts protocols, widths and clocks
    for {set side 0} {$side < [dict get $c NUM_SI]} {incr side} {
        dict set interfaces S[format %02d $side]_AXI {mode slave kind any clock any}
    }
    for {set side 0} {$side < [dict get $c NUM_MI]} {incr side} {
        dict set interfaces M[format %02d $side]_AXI {mode master kind any clock any}
    }
    return [list $pins $interfaces {} $needed]
}

proc catalog::expand_proc_sys_reset {c} {
    set pins {slowest_sync_clk {in 1} ext_reset_in {in 1} aux_reset_in {in 1} dcm_locked {in 1}
        peripheral_aresetn {out 1} interconnect_aresetn {out 1} peripheral_reset {out 1} bus_struct_reset {out 1}}
    return [list $pins {} {} {slowest_sync_clk ext_reset_in}]
}

proc catalog::expand_util_ds_buf {c} {
    if {[dict get $c C_BUF_TYPE] ne "IBUFDSGTE"} { error "util_ds_buf: [dict get $c C_BUF_TYPE] does not drive a transceiver" }
    return [list {IBUF_OUT {out 1} IBUF_DS_ODIV2 {out 1}} \
        {CLK_IN_D {mode slave kind xilinx.com:interface:diff_clock_rtl:1.0}} {} {}]
}

proc catalog::expand_util_vector_logic {c} {
    set size [dict get $c C_SIZE]
    return [list [dict create Op1 [list in $size] Op2 [list in $size] Res [list out $size]] {} {} {Op1 Op2}]
}
