# Packages the machine as an IP core: work/ip/component.xml, with AXI interfaces, address spaces and the register map.
# build.tcl does this first; alone, for a design of your own:  vivado -mode batch -source package_ip.tcl
# Then add work/ip to your project's ip_repo_paths.

set kit [file dirname [file normalize [info script]]]
source [file join $kit lib.tcl]
source [file join $kit settings.tcl]
source [file join $kit registers.tcl]
set ip [file join $kit work ip]
file delete -force $ip [file join $kit work ip_project]

create_project tercet_ip [file join $kit work ip_project] -part $part -force
add_files -norecurse [concat [tercet::rtl $kit] [list [file join $kit tercet_ip.v]]]
set_property top tercet_ip [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor $ip_vendor -library $ip_library -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name tercet_ip $core
set_property version $ip_version $core
set_property display_name "Tercet $preset" $core
set_property description "Ternary language model accelerator, preset $preset" $core

# interfaces by the names of their ports
ipx::infer_bus_interfaces xilinx.com:interface:aximm_rtl:1.0 $core
set masters {}
for {set port 0} {$port < $ports} {incr port} { lappend masters m_axi_gmem$port }
foreach interface [concat s_axi_ctrl $masters aclk aresetn irq] {
    if {[llength [ipx::get_bus_interfaces $interface -of_objects $core]] != 1} { error "no interface $interface was found" }
}
foreach interface [concat s_axi_ctrl $masters] {
    ipx::associate_bus_interfaces -busif $interface -clock aclk $core
}
ipx::associate_bus_interfaces -clock aclk -reset aresetn $core
foreach master $masters {
    set interface [ipx::get_bus_interfaces $master -of_objects $core]
    if {[llength [ipx::get_address_spaces $master -of_objects $core]] == 0} {
        ipx::add_address_space $master $core
        set_property master_address_space_ref $master $interface
    }
    # whatever the packager inferred: all of the memory, with no window in it
    set space [ipx::get_address_spaces $master -of_objects $core]
    ipx::remove_segment -quiet $master:APERTURE_0 $space
    set_property range [expr {1 << $addr_bits}] $space
    # what interconnects would guess otherwise: bursts of part of the width, and two reads under way
    foreach {name value} [list SUPPORTS_NARROW_BURST 0 MAX_BURST_LENGTH $burst \
            NUM_READ_OUTSTANDING $reads_open NUM_WRITE_OUTSTANDING $writes_open] {
        set_property value $value [ipx::add_bus_parameter $name $interface]
    }
}
# the clock's frequency is the block design's
set_property ipi_drc {ignore_freq_hz true} $core

# registers: one block of the window's size, described from the map of spec::regs
foreach map [ipx::get_memory_maps * -of_objects $core] {
    ipx::remove_memory_map [get_property name $map] $core
}
set map [ipx::add_memory_map s_axi_ctrl $core]
set_property slave_memory_map_ref s_axi_ctrl [ipx::get_bus_interfaces s_axi_ctrl -of_objects $core]
set block [ipx::add_address_block reg0 $map]
set_property range $registers_bytes $block
set_property width 32 $block
set_property usage register $block
foreach register $registers {
    lassign $register name offset access meaning
    set added [ipx::add_register $name $block]
    set_property address_offset $offset $added
    set_property size 32 $added
    set_property access $access $added
    set_property description $meaning $added
}

set_property core_revision 1 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
