# Constraint files, sourced with the ports that the design will have.

namespace eval xdc {
    variable ports {}
    variable clocks {}
    variable places {}
}

proc xdc::read {file} { uplevel #0 [list source $file] }

proc mock::do::get_ports {options args} {
    set found {}
    foreach pattern [lindex $args 0] {
        set here [lsearch -all -inline -glob $xdc::ports [string map {[ \\[ ] \\]} $pattern]]
        if {$here eq {}} { error "get_ports: there is no port $pattern among $xdc::ports" }
        lappend found {*}[lmap port $here { string cat xdc_port| $port }]
    }
    return $found
}
proc mock::do::get_pins {options args} { return net|pins }
proc mock::do::get_cells {options args} { return net|cells }
proc mock::do::create_clock {options ports} {
    if {![string is double -strict [mock::option $options -period]]} { error "create_clock wants -period" }
    foreach port $ports {
        if {[dict exists $xdc::clocks $port]} { error "create_clock: $port has a clock already" }
        dict set xdc::clocks $port [dict get $options -period]
    }
}

proc xdc::set_property {kind name key value} {
    switch $kind {
        xdc_port {
            if {$key ni {PACKAGE_PIN IOSTANDARD SLEW DRIVE PULLTYPE DIFF_TERM_ADV}} { error "a port has no property $key" }
            if {$key eq "PACKAGE_PIN"} {
                if {$value in [dict values $xdc::places]} { error "two ports at $value" }
                dict set xdc::places $name $value
            }
        }
        design {
            if {![regexp {^(BITSTREAM\.[A-Z]+\.[A-Z0-9_]+|CFGBVS|CONFIG_VOLTAGE|CONFIG_MODE)$} $key]} { error "a design has no property $key" }
        }
        hw { if {$key ne "PROGRAM.FILE"} { error "a device has no property $key" } }
    }
}
