# Projects, synthesis, place and route, reports: in the right order, with results that the test chooses.

namespace eval flow {
    variable project ""
    variable sources {}
    variable constraints {}
    variable top ""
    variable stage none      ;# none, synth, opt, place, route
    variable ip_paths {}
    variable wrapper ""
    variable alone 0
}

proc mock::do::version {options} { return $mock::settings(version) }
proc mock::do::create_project {options args} {
    if {$flow::project ne ""} { error "create_project: another project is open" }
    if {![dict exists $options -part]} { error "create_project wants -part" }
    set flow::project [dict get $options -part]
    set flow::sources {}
}
proc mock::do::close_project {options} { set flow::project "" }
proc mock::do::current_project {options args} { return project|$flow::project }
proc mock::do::current_fileset {options args} { return fileset|sources_1 }
proc mock::do::current_design {options args} { return design|current }
proc mock::do::get_board_parts {options args} { return [expr {$mock::settings(boards) ? "xilinx.com:kv260_som:part0:1.4" : ""}] }
proc mock::do::add_files {options files} { foreach file $files { flow::source_file $file } }
proc mock::do::read_verilog {options files} { foreach file $files { flow::source_file $file } }
proc flow::source_file {file} {
    if {![file exists $file]} { error "there is no file $file" }
    if {$file in $flow::sources} { error "$file is read twice" }
    lappend flow::sources $file
}
proc mock::do::read_xdc {options file} {
    # Vivado knows the design only later; the ports that it will have are known here
    lappend flow::constraints $file
    if {[mock::option $options -mode] eq "out_of_context"} {
        set flow::alone 1
        set top [lsearch -inline $flow::sources */tercet_top.v]
        set xdc::ports [dict keys [ipcore::ports_of [tercet::slurp $top] tercet_top]]
    } else {
        set xdc::ports [flow::package_pins]
    }
    xdc::read $file
}
# Names of the wrapper's ports, as make_wrapper would write them.
proc flow::package_pins {} {
    set names [dict keys $design::ports]
    dict for {name about} $design::interface_ports {
        switch -glob [dict get $about kind] {
            *:diff_clock_rtl:* { lappend names ${name}_clk_p\[0\] ${name}_clk_n\[0\] }
            *:pcie_7x_mgt_rtl:* { lappend names ${name}_rxp ${name}_rxn ${name}_txp ${name}_txn }
        }
    }
    return $names
}
proc mock::do::update_ip_catalog {options} {
    foreach path $flow::ip_paths {
        if {[file exists [file join $path component.xml]]} { set ipcore::visible 1 }
    }
}
proc mock::do::get_files {options args} {
    if {[lindex $args 0] ne "$design::title.bd"} { error "there is no file $args" }
    return file|$design::file
}
proc mock::do::generate_target {options what files} {
    if {!$design::checked} { error "generate_target: the design was not validated" }
}
proc mock::do::make_wrapper {options} {
    set flow::wrapper [file join [file dirname $design::file] hdl ${design::title}_wrapper.v]
    file mkdir [file dirname $flow::wrapper]
    tercet::spit $flow::wrapper "// mock\n"
    return $flow::wrapper
}

proc mock::do::set_property {options args} {
    set object [lindex $args end]
    if {[dict exists $options -dict]} {
        set pairs [dict get $options -dict]
        if {[llength $pairs] % 2} { error "set_property -dict: a name without a value" }
    } else {
        if {[llength $args] != 3} { error "set_property takes a name, a value and an object: $args" }
        set pairs [lrange $args 0 1]
    }
    if {$object eq ""} { error "set_property: no object" }
    foreach one $object {
        foreach {key value} $pairs { flow::set_one $one $key $value }
    }
}
proc flow::set_one {object key value} {
    regexp {^([a-z_]+)\|(.*)$} $object all kind name
    switch $kind {
        cell - port - intf_port { design::set_config $object $key $value }
        core - bus - parameter - address - block - register { ipcore::set_property $kind $name $key $value }
        project {
            if {$key ni {target_language board_part ip_repo_paths}} { error "a project has no property $key" }
            if {$key eq "ip_repo_paths"} { set flow::ip_paths $value }
        }
        fileset {
            if {$key ne "top"} { error "a file set has no property $key" }
            set flow::top $value
        }
        file { if {$key ne "synth_checkpoint_mode" || $value ne "None"} { error "file property $key $value" } }
        design - xdc_port - hw { xdc::set_property $kind $name $key $value }
        default { error "set_property: what is $object?" }
    }
}
proc mock::do::get_property {options key object} {
    switch -glob $object {
        cell|* { return [design::get_config $object $key] }
        map|* { return [string range $object 4 end] }
        drc|* {
            if {$key ne "SEVERITY"} { error "a violation has no property $key" }
            return [string range $object 4 end]
        }
        path|setup { return $mock::settings(wns) }
        path|hold { return $mock::settings(whs) }
        default { error "get_property $key of $object" }
    }
}

# --- the flow ----------------------------------------------------------------
proc flow::step {from to} {
    if {$flow::stage ni $from} { error "$to after $flow::stage" }
    set flow::stage $to
}
proc mock::do::synth_design {options} {
    flow::step none synth
    if {[dict get $options -part] ne $flow::project} { error "synth_design: the part is not the project's" }
    set top [dict get $options -top]
    if {$flow::constraints eq {}} { error "synth_design: no constraints were read" }
    if {$flow::alone != ([mock::option $options -mode default] eq "out_of_context")} { error "synth_design: out of context or not?" }
    if {[lsearch $flow::sources */$top.v] < 0} { error "synth_design: no source of $top" }
}
proc mock::do::opt_design {options} { flow::step synth opt }
proc mock::do::place_design {options} { flow::step opt place }
proc mock::do::phys_opt_design {options} { flow::step {place route} $flow::stage }
proc mock::do::route_design {options} { flow::step place route }
proc mock::do::write_checkpoint {options path} { tercet::spit $path "mock\n" }
proc mock::do::write_bitstream {options path} {
    flow::step route route
    if {[file extension $path] ne ".bit"} { error "write_bitstream: $path does not end in .bit" }
    tercet::spit $path "not a bitstream\n"
}
proc mock::do::write_hw_platform {options args} {
    if {!$mock::settings(xsa)} { error "no hardware handoff" }
    tercet::spit [dict get $options -file] "mock\n"
}
proc mock::do::get_timing_paths {options} {
    return path|[dict get {max setup min hold} [dict get $options -delay_type]]
}
proc mock::do::get_drc_violations {options args} {
    if {![mock::called report_drc]} { error "get_drc_violations before report_drc" }
    # a warning is there always, and whoever looks for the rest does not know in which case it is written
    set all [list drc|Warning]
    for {set number 0} {$number < $mock::settings(drc)} {incr number} {
        lappend all [lindex {"drc|Critical Warning" drc|ERROR drc|Fatal} [expr {$number % 3}]]
    }
    return $all
}
proc flow::report {options text} {
    if {[dict exists $options -file]} { tercet::spit [dict get $options -file] "$text\n" }
    return [expr {[dict exists $options -return_string] ? $text : ""}]
}
proc mock::do::report_timing_summary {options} {
    set met [expr {$mock::settings(wns) >= 0 && $mock::settings(whs) >= 0 && !$mock::settings(pulse)}]
    return [flow::report $options [expr {$met ? "All user specified timing constraints are met." : "Timing constraints are not met."}]]
}
proc mock::do::report_timing {options} { return [flow::report $options mock] }
proc mock::do::report_power {options} { return [flow::report $options "| Total On-Chip Power (W)  | 7.125        |"] }
proc mock::do::report_drc {options} { return [flow::report $options mock] }
proc mock::do::report_cdc {options} { return [flow::report $options mock] }
proc mock::do::report_utilization {options} {
    return [flow::report $options [join {
        "| CLB LUTs*                  | 101234 |     0 |          0 |    117120 | 86.44 |"
        "| CLB Registers              |  98765 |     0 |          0 |    234240 | 42.16 |"
        "| Block RAM Tile    | 115.5 |     0 |          0 |       144 | 80.21 |"
        "| URAM              |    50 |     0 |          0 |        64 | 78.13 |"
        "| DSPs           |  388 |     0 |          0 |      1248 | 31.09 |"
    } \n]]
}
proc mock::do::report_route_status {options} {
    return [flow::report $options [join [list \
        "       # of routable nets..................... :      200000 :" \
        "           # of fully routed nets............. :      [expr {200000 - $mock::settings(unrouted)}] :" \
        "       # of nets with routing errors.......... :           0 :"] \n]]
}

# --- the card's JTAG ---------------------------------------------------------
proc mock::do::get_hw_devices {options args} { return hw|xcu50_0 }
