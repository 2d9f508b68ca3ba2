# Block designs: cells, nets and addresses as the script makes them, and what has to be true of them in the end.

namespace eval design {
    variable cells {}        ;# name -> {vlnv config}
    variable ports {}        ;# external port -> {in|out width}, seen from inside: an input drives
    variable interface_ports {} ;# external interface -> {mode kind}
    variable net_of {}       ;# pin -> driving pin
    variable peer_of {}      ;# interface -> the other one
    variable spaces {}       ;# space -> list of {offset bytes segment}
    variable excluded {}     ;# {space segment}
    variable file ""
    variable title ""
    variable checked 0
    variable shapes {}       ;# what cells look like, until their properties change
}

proc design::config {cell} { return [lindex [dict get $design::cells $cell] 1] }

# Pins, interfaces, segments and needed inputs of a cell as it is configured now.
proc design::shape {cell} {
    lassign [dict get $design::cells $cell] vlnv config
    if {[string match "*:tercet_ip" $vlnv]} { return $ipcore::shape }
    if {![dict exists $design::shapes $cell]} { dict set design::shapes $cell [catalog::expand $vlnv $config] }
    return [dict get $design::shapes $cell]
}

# The description of `cell/name`, or an error that lists what there is.
proc design::find {path part what} {
    if {![regexp {^([^/]+)/(.+)$} $path all cell name] || ![dict exists $design::cells $cell]} {
        error "there is no $what $path: cells are [dict keys $design::cells]"
    }
    set all [lindex [design::shape $cell] $part]
    if {![dict exists $all $name]} { error "there is no $what $path; $cell has [dict keys $all]" }
    return [dict get $all $name]
}

# Takes an object of this kind apart.
proc design::name {object kind} {
    if {![regexp "^$kind\\|(.+)$" $object all name]} { error "expected a $kind, found \"$object\"" }
    return $name
}

namespace eval mock::do {}

proc mock::do::create_bd_design {options name} {
    if {$flow::project eq ""} { error "create_bd_design: no project is open" }
    set design::file [file join [mock::option $options -dir .] $name $name.bd]
    set design::title $name
    return $name
}

proc mock::do::create_bd_cell {options name} {
    if {[mock::option $options -type] ne "ip"} { error "create_bd_cell $name: only -type ip is known here" }
    set vlnv [mock::option $options -vlnv]
    if {[dict exists $design::cells $name]} { error "create_bd_cell: $name is there already" }
    if {[string match "*:tercet_ip:*" $vlnv]} {
        if {$vlnv ne $ipcore::vlnv || !$ipcore::visible} { error "create_bd_cell: no core $vlnv in the catalogue" }
        dict set design::cells $name [list [join [lrange [split $vlnv :] 0 2] :] {}]
    } else {
        if {![catalog::knows $vlnv]} { error "create_bd_cell: no core $vlnv in the catalogue" }
        dict set design::cells $name [list $vlnv [dict get $catalog::defaults $vlnv]]
    }
    return cell|$name
}

proc mock::do::apply_bd_automation {options object} {
    set name [design::name $object cell]
    if {[mock::option $options -rule] ne "xilinx.com:bd_rule:zynq_ultra_ps_e"} { error "apply_bd_automation: unknown rule" }
    if {!$mock::settings(boards)} { error "apply_bd_automation: the project has no board" }
    # a board's preset turns both masters on
    lassign [dict get $design::cells $name] vlnv config
    dict set config PSU__USE__M_AXI_GP1 1
    dict set design::cells $name [list $vlnv $config]
    dict unset design::shapes $name
}

# Sets CONFIG.* of a cell or an external port.
proc design::set_config {object key value} {
    if {![regexp {^CONFIG\.(.+)$} $key all key]} { error "$object has no property $key" }
    if {[regexp {^(port|intf_port)\|} $object]} {
        if {$key ni {FREQ_HZ POLARITY}} { error "$object has no property CONFIG.$key" }
        return
    }
    set name [design::name $object cell]
    lassign [dict get $design::cells $name] vlnv config
    catalog::check_property $vlnv $key
    dict set config $key $value
    dict set design::cells $name [list $vlnv $config]
    dict unset design::shapes $name
}

proc design::get_config {object key} {
    set config [design::config [design::name $object cell]]
    if {$key eq "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"} {
        # 33.333 MHz times 45, divided by a whole number
        set asked [dict get $config PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ]
        return [format %.6f [expr {1499.985 / int(1499.985 / $asked + 0.5)}]]
    }
    return [dict get $config [string range $key 7 end]]
}

proc mock::do::get_bd_cells {options name} {
    if {![dict exists $design::cells $name]} { error "there is no cell $name" }
    return cell|$name
}
proc mock::do::get_bd_pins {options path} {
    design::find $path 0 pin
    return pin|$path
}
proc mock::do::get_bd_intf_pins {options path} {
    design::find $path 1 interface
    return intf|$path
}
proc mock::do::get_bd_ports {options name} {
    if {![dict exists $design::ports $name]} { error "there is no port $name" }
    return port|$name
}
proc mock::do::get_bd_intf_ports {options name} {
    if {![dict exists $design::interface_ports $name]} { error "there is no interface port $name" }
    return intf_port|$name
}
proc mock::do::create_bd_port {options name} {
    set dir [expr {[mock::option $options -dir] eq "I" ? "out" : "in"}]
    dict set design::ports $name [list $dir 1]
    return port|$name
}
proc mock::do::create_bd_intf_port {options name} {
    # a master on the outside takes what a master inside gives
    set mode [expr {[mock::option $options -mode] eq "Master" ? "slave" : "master"}]
    dict set design::interface_ports $name [dict create mode $mode kind [mock::option $options -vlnv]]
    return intf_port|$name
}

# {direction width} of a pin or port.
proc design::ends {object} {
    if {[regexp {^port\|(.+)$} $object all name]} { return [dict get $design::ports $name] }
    return [design::find [design::name $object pin] 0 pin]
}

proc mock::do::connect_bd_net {options from to} {
    lassign [design::ends $from] from_dir from_width
    lassign [design::ends $to] to_dir to_width
    if {$from_dir eq "in" && $to_dir eq "out"} {
        lassign [list $from $to $from_width $to_width] to from to_width from_width
    } elseif {$from_dir ne "out" || $to_dir ne "in"} {
        error "connect_bd_net $from $to: one has to drive and the other to be driven"
    }
    if {$from_width != $to_width} { error "connect_bd_net: $from has $from_width bits, $to has $to_width" }
    if {[dict exists $design::net_of $to]} { error "connect_bd_net: $to is driven by [dict get $design::net_of $to] already" }
    dict set design::net_of $to $from
}

proc design::interface {object} {
    if {[regexp {^intf_port\|(.+)$} $object all name]} { return [dict get $design::interface_ports $name] }
    return [design::find [design::name $object intf] 1 interface]
}

proc mock::do::connect_bd_intf_net {options one other} {
    set a [design::interface $one]
    set b [design::interface $other]
    if {[dict get $a mode] eq [dict get $b mode]} { error "connect_bd_intf_net: $one and $other are both [dict get $a mode]s" }
    foreach {end peer} [list $one $other $other $one] {
        if {[dict exists $design::peer_of $end]} {
            error "connect_bd_intf_net: $end is connected to [dict get $design::peer_of $end] already"
        }
        dict set design::peer_of $end $peer
    }
}

# --- the whole ---------------------------------------------------------------
# The pin that drives the clock of an interface.
proc design::clock_of {cell about} {
    set pin [dict get $about clock]
    lassign [design::find $cell/$pin 0 pin] dir
    if {$dir eq "out"} { return pin|$cell/$pin }
    if {![dict exists $design::net_of pin|$cell/$pin]} { error "$cell/$pin has no clock" }
    return [dict get $design::net_of pin|$cell/$pin]
}

# Clocks of a SmartConnect.
proc design::clocks_of {cell} {
    set found {}
    dict for {pin about} [lindex [design::shape $cell] 0] {
        if {[string match aclk* $pin] && [dict exists $design::net_of pin|$cell/$pin]} { lappend found [dict get $design::net_of pin|$cell/$pin] }
    }
    return $found
}

proc design::check_pair {master slave} {
    set a [design::interface $master]
    set b [design::interface $slave]
    if {[dict get $a kind] eq "any" && [dict get $b kind] eq "any"} { error "$master and $slave: nothing but SmartConnects" }
    foreach {one about other} [list $master $a $slave $slave $b $master] {
        if {[dict get $about kind] ne "any"} { continue }
        regexp {^intf\|([^/]+)/} $one all cell
        regexp {^intf\|([^/]+)/} $other all far
        set clock [design::clock_of $far [design::interface $other]]
        if {$clock ni [design::clocks_of $cell]} { error "$cell has no clock $clock, which $other runs at" }
        return
    }
    if {[dict get $a kind] ne [dict get $b kind]} { error "$master is [dict get $a kind], $slave is [dict get $b kind]" }
    if {![dict exists $a data]} { return }
    if {[dict get $a data] != [dict get $b data]} { error "$master has [dict get $a data] bits of data, $slave has [dict get $b data]" }
    foreach key {id addr} {
        if {[dict get $a $key] != [dict get $b $key]} { error "$master has [dict get $a $key] bits of $key, $slave has [dict get $b $key]" }
    }
    regexp {^intf\|([^/]+)/} $master all cell
    regexp {^intf\|([^/]+)/} $slave all far
    set clocks [list [design::clock_of $cell $a] [design::clock_of $far $b]]
    if {[lindex $clocks 0] ne [lindex $clocks 1]} { error "$master and $slave run at different clocks: $clocks" }
}

proc mock::do::validate_bd_design {options} {
    dict for {cell about} $design::cells {
        lassign [design::shape $cell] pins interfaces segments needed
        foreach pin $needed {
            if {![dict exists $design::net_of pin|$cell/$pin]} { error "$cell/$pin is not connected" }
        }
        dict for {interface about} $interfaces {
            if {![dict exists $design::peer_of intf|$cell/$interface]} { error "$cell/$interface is not connected" }
            if {[dict get $about mode] eq "master" && [string match intf|* [dict get $design::peer_of intf|$cell/$interface]]} {
                design::check_pair intf|$cell/$interface [dict get $design::peer_of intf|$cell/$interface]
            }
        }
    }
    foreach {all what map} [list $design::ports port $design::net_of $design::interface_ports intf_port $design::peer_of] {
        dict for {name about} $all {
            if {![dict exists $map $what|$name] && "$what|$name" ni [dict values $map]} { error "port $name is not connected" }
        }
    }
    design::check_machine
    set design::checked 1
}

# What has to be true of the machine in the design, whatever the board: one clock for all of it, one interrupt, every
# memory port sees the same memory, and registers stand where the settings say.
proc design::check_machine {} {
    lassign $ipcore::shape pins interfaces
    dict for {pin about} $pins {
        lassign $about dir
        set object pin|tercet/$pin
        if {$dir eq "in" && ![dict exists $design::net_of $object]} { error "tercet/$pin is not connected" }
        if {$dir eq "out" && $object ni [dict values $design::net_of]} { error "tercet/$pin is not connected" }
    }
    set memory ""
    foreach interface [lsort -dictionary [dict keys $interfaces m_axi_*]] {
        set space tercet/$interface
        if {![dict exists $design::spaces $space]} { error "$space sees no memory" }
        set ranges [lmap one [dict get $design::spaces $space] { lrange $one 0 1 }]
        if {$memory eq ""} { set memory $ranges }
        if {$ranges ne $memory} { error "$space does not see the memory that other ports see" }
        # what drivers are told of
        regexp {"memory":\s*\{\s*"base":[^,]*,\s*"bytes":\s*(\d+)} [tercet::slurp $::manifest] all need
        if {[::tcl::mathop::+ {*}[lmap one $ranges { lindex $one 1 }]] < $need} { error "$space sees less than $need bytes" }
    }
    set homes {}
    dict for {space ranges} $design::spaces {
        foreach range $ranges {
            if {[lindex $range 2] eq "tercet/s_axi_ctrl/reg0"} { lappend homes [lrange $range 0 1] }
        }
    }
    if {$homes ne [list [list [expr {$::registers_base}] [expr {$::registers_bytes}]]]} { error "registers lie at $homes" }
    # whoever fills memory sees it where the machine does
    if {[dict exists $design::cells xdma]} {
        if {![dict exists $design::spaces xdma/M_AXI]} { error "xdma/M_AXI sees no memory" }
        if {[lmap one [dict get $design::spaces xdma/M_AXI] { lrange $one 0 1 }] ne $memory} { error "xdma/M_AXI sees other memory than the machine" }
    }
}
proc mock::do::save_bd_design {options} {
    file mkdir [file dirname $design::file]
    tercet::spit $design::file "{}\n"
}
