# The packager: reads the module's ports as Vivado would, compares them with the manifest's list, finds interfaces.

namespace eval ipcore {
    variable vlnv ""
    variable visible 0
    variable shape {}
    variable ports {}       ;# name -> {in|out width} of tercet_ip
    variable interfaces {}  ;# name -> about, without clock
    variable clocks {}      ;# interface -> clock
    variable resets {}      ;# clock -> reset
    variable about {}
    variable maps {s_axi_ctrl}
    variable spaces {}
    variable references {}
    variable block {}
    variable registers {}   ;# name -> dict
    variable parameters {}  ;# master/NAME -> value
}

# Lines from one that is `first` to one that is `last`, without the two.
proc ipcore::between {text first last} {
    set lines [split $text "\n"]
    set begin [lsearch -exact $lines $first]
    set end [lsearch -exact -start $begin $lines $last]
    if {$begin < 0 || $end < 0} { error "there is no \"$first\"" }
    return [lrange $lines $begin+1 $end-1]
}

# Ports of a module with one declaration a line: name -> {in|out width}.
proc ipcore::ports_of {text module} {
    set ports {}
    foreach line [ipcore::between $text "module $module (" ");"] {
        if {![regexp {^    (input |output) wire (\[(\d+):0\] )?(\w+),?$} $line all dir range high name]} { continue }
        if {[dict exists $ports $name]} { error "$module has two ports $name" }
        dict set ports $name [list [string map {"input " in output out} $dir] [expr {$range eq "" ? 1 : $high + 1}]]
    }
    return $ports
}

# The manifest's list of ports.
proc ipcore::listed {manifest} {
    set ports {}
    foreach {all name dir width} [regexp -all -inline {"name":\s*"(\w+)",\s*"dir":\s*"(in|out)",\s*"width":\s*(\d+)} $manifest] {
        dict set ports $name [list $dir $width]
    }
    return $ports
}

# Reads the files of the core and checks that the wrapper passes every port of the machine on, once.
proc ipcore::read {files} {
    set top [ipcore::ports_of [tercet::slurp [lsearch -inline $files */tercet_top.v]] tercet_top]
    set listed [ipcore::listed [tercet::slurp [file join $::kit .. manifest.json]]]
    if {$top ne $listed} { error "the ports of tercet_top are not those of the manifest" }
    set wrapper [tercet::slurp [lsearch -inline $files */tercet_ip.v]]
    set ipcore::ports [ipcore::ports_of $wrapper tercet_ip]
    set seen {}
    foreach line [ipcore::between $wrapper "    tercet_top machine (" "    );"] {
        if {![regexp {^        \.(\w+)\((.*)\),?$} $line all name expression]} { error "tercet_ip: what is $line?" }
        if {[dict exists $seen $name]} { error "tercet_ip connects $name twice" }
        if {![dict exists $top $name]} { error "tercet_top has no port $name" }
        if {[string trim $expression] eq ""} { error "tercet_ip leaves $name open" }
        dict set seen $name 1
    }
    dict for {name about} $top {
        if {![dict exists $seen $name]} { error "tercet_ip does not connect $name" }
        if {![dict exists $ipcore::ports $name]} { error "tercet_ip has no port $name" }
        lassign [dict get $ipcore::ports $name] dir width
        set wider [regexp {_(awid|arid|bid|rid|awaddr|araddr)$} $name]
        if {$dir ne [lindex $about 0] || ($wider ? $width < [lindex $about 1] : $width != [lindex $about 1])} {
            error "$name of tercet_ip is $dir $width, of tercet_top $about"
        }
    }
    dict for {name about} $ipcore::ports {
        if {![dict exists $top $name] && $name ne "irq_aclk"} { error "tercet_ip has a port $name of its own" }
    }
    ipcore::infer
}

# AXI interfaces by the names of their signals, all of which have to be there.
proc ipcore::infer {} {
    set full {awid awaddr awlen awsize awburst awlock awcache awprot awqos awvalid awready wdata wstrb wlast wvalid wready
        bid bresp bvalid bready arid araddr arlen arsize arburst arlock arcache arprot arqos arvalid arready
        rid rdata rresp rlast rvalid rready}
    set lite {awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready araddr arprot arvalid arready
        rdata rresp rvalid rready}
    set groups {}
    dict for {name about} $ipcore::ports {
        if {[regexp {^([sm]_axi_\w+)_([a-z]+)$} $name all group signal]} { dict set groups $group $signal $about }
    }
    dict for {group signals} $groups {
        set master [string match m_* $group]
        set list [expr {[dict exists $signals awlen] ? $full : $lite}]
        if {[lsort [dict keys $signals]] ne [lsort $list]} { error "$group has not the signals of AXI4: [dict keys $signals]" }
        dict for {signal about} $signals {
            # what the slave of a pair drives
            set back [expr {$signal in {awready wready arready bid bresp bvalid rid rdata rresp rlast rvalid}}]
            if {[lindex $about 0] ne [expr {$back == $master ? "in" : "out"}]} { error "${group}_$signal goes the wrong way" }
        }
        set data [lindex [dict get $signals wdata] 1]
        if {[lindex [dict get $signals rdata] 1] != $data || [lindex [dict get $signals wstrb] 1] * 8 != $data} {
            error "$group: widths of its data differ"
        }
        set id 0
        if {$list eq $full} {
            set id [lindex [dict get $signals arid] 1]
            foreach signal {awid bid rid} {
                if {[lindex [dict get $signals $signal] 1] != $id} { error "${group}_$signal has not $id bits" }
            }
        }
        set addr [lindex [dict get $signals araddr] 1]
        if {[lindex [dict get $signals awaddr] 1] != $addr} { error "$group: widths of its addresses differ" }
        dict set ipcore::interfaces $group [catalog::axi [expr {$master ? "master" : "slave"}] \
            [expr {$list eq $full ? "AXI4" : "AXI4LITE"}] $data $id $addr ""]
        if {$master} { lappend ipcore::spaces $group }
    }
}

namespace eval mock::do::ipx {}

proc mock::do::ipx::package_project {options} {
    foreach key {-root_dir -vendor -library} {
        if {![dict exists $options $key]} { error "ipx::package_project wants $key" }
        dict set ipcore::about $key [dict get $options $key]
    }
    if {$flow::top ne "tercet_ip"} { error "ipx::package_project: the top is $flow::top" }
    ipcore::read $flow::sources
}
proc mock::do::ipx::current_core {options} { return core|tercet }
proc mock::do::ipx::get_bus_interfaces {options name} {
    if {[dict exists $ipcore::interfaces $name] || $name in {aclk aresetn irq irq_aclk}} {
        return [expr {[dict exists $ipcore::interfaces $name] || [dict exists $ipcore::ports $name] ? "bus|$name" : ""}]
    }
    return ""
}
proc mock::do::ipx::associate_bus_interfaces {options core} {
    set clock [mock::option $options -clock]
    if {[lindex [dict get $ipcore::ports $clock] 0] ne "in"} { error "ipx: $clock is no clock" }
    if {[dict exists $options -busif]} { dict set ipcore::clocks [dict get $options -busif] $clock }
    if {[dict exists $options -reset]} { dict set ipcore::resets $clock [dict get $options -reset] }
}
proc mock::do::ipx::get_address_spaces {options name} { return [expr {$name in $ipcore::spaces ? "address|$name" : ""}] }
proc mock::do::ipx::add_address_space {options name core} { lappend ipcore::spaces $name; return address|$name }
proc mock::do::ipx::remove_segment {options name space} {
    if {![string match "[string range $space 8 end]:*" $name]} { error "ipx: $name is no segment of $space" }
}
proc mock::do::ipx::add_bus_parameter {options name bus} {
    if {$name ni {SUPPORTS_NARROW_BURST MAX_BURST_LENGTH NUM_READ_OUTSTANDING NUM_WRITE_OUTSTANDING}} {
        error "ipx: an AXI interface has no parameter $name"
    }
    return parameter|[string range $bus 4 end]/$name
}
proc mock::do::ipx::get_memory_maps {options pattern} { return [lmap map $ipcore::maps { string cat map| $map }] }
proc mock::do::ipx::remove_memory_map {options name core} {
    set at [lsearch $ipcore::maps $name]
    if {$at < 0} { error "ipx: there is no memory map $name" }
    set ipcore::maps [lreplace $ipcore::maps $at $at]
}
proc mock::do::ipx::add_memory_map {options name core} { lappend ipcore::maps $name; return map|$name }
proc mock::do::ipx::add_address_block {options name map} { set ipcore::block [dict create name $name]; return block|$name }
proc mock::do::ipx::add_register {options name block} {
    if {[dict exists $ipcore::registers $name]} { error "ipx: there are two registers $name" }
    dict set ipcore::registers $name {}
    return register|$name
}

proc ipcore::set_property {kind name key value} {
    switch $kind {
        core {
            if {$key ni {name version display_name description core_revision ipi_drc}} { error "a core has no property $key" }
            dict set ipcore::about $key $value
        }
        bus {
            if {$key ni {slave_memory_map_ref master_address_space_ref}} { error "a bus interface has no property $key" }
            dict set ipcore::references $name $value
        }
        parameter {
            if {$key ne "value"} { error "a parameter has no property $key" }
            if {![string is integer -strict $value] || $value < 0 || $value > 256} { error "$name is $value" }
            dict set ipcore::parameters $name $value
        }
        address { if {$key ni {range width}} { error "an address space has no property $key" } }
        block {
            if {$key ni {range width usage base_address}} { error "an address block has no property $key" }
            dict set ipcore::block $key $value
        }
        register {
            if {$key ni {address_offset size access description}} { error "a register has no property $key" }
            if {$key eq "access" && $value ni {read-only read-write write-only}} { error "access $value is unknown" }
            dict set ipcore::registers $name $key $value
        }
        default { error "nothing can be set of $kind" }
    }
}

proc mock::do::ipx::save_core {options core} {
    set all [concat [dict keys $ipcore::interfaces]]
    foreach interface $all {
        if {![dict exists $ipcore::clocks $interface]} { error "$interface has no clock" }
        dict set ipcore::interfaces $interface clock [dict get $ipcore::clocks $interface]
    }
    foreach master $ipcore::spaces {
        if {![dict exists $ipcore::parameters $master/SUPPORTS_NARROW_BURST]} { error "$master does not say which bursts it has" }
    }
    if {![dict exists $ipcore::resets aclk]} { error "aclk has no reset" }
    if {$ipcore::maps ne "s_axi_ctrl" || [dict get $ipcore::references s_axi_ctrl] ne "s_axi_ctrl"} { error "s_axi_ctrl has no memory map" }
    set bytes [dict get $ipcore::block range]
    set used {}
    dict for {name register} $ipcore::registers {
        set offset [expr {[dict get $register address_offset]}]
        if {$offset % 4 || $offset >= $bytes || $offset in $used} { error "register $name at $offset" }
        lappend used $offset
    }
    if {[llength $used] == 0} { error "there are no registers" }
    if {1 << [dict get $ipcore::interfaces s_axi_ctrl addr] != $bytes} { error "the window has $bytes bytes, its addresses another number of bits" }
    set pins {}
    dict for {name about} $ipcore::ports {
        if {![regexp {^[sm]_axi_} $name]} { dict set pins $name $about }
    }
    set segments [dict create s_axi_ctrl/[dict get $ipcore::block name] [list s_axi_ctrl "" $bytes]]
    set ipcore::shape [list $pins $ipcore::interfaces $segments {}]
    set ipcore::vlnv [dict get $ipcore::about -vendor]:[dict get $ipcore::about -library]:[dict get $ipcore::about name]:[dict get $ipcore::about version]
    file mkdir [dict get $ipcore::about -root_dir]
    tercet::spit [file join [dict get $ipcore::about -root_dir] component.xml] "<mock/>\n"
}
