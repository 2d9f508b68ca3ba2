# Addresses: which masters see which slaves where.

proc mock::do::get_bd_addr_spaces {options path} {
    if {![regexp {^([^/]+)/(.+)$} $path all cell name] || ![dict exists $design::cells $cell]} { error "no address space $path" }
    dict for {interface about} [lindex [design::shape $cell] 1] {
        if {[dict get $about mode] ne "master" || ![dict exists $about addr]} { continue }
        if {$name eq [expr {[dict exists $about space] ? [dict get $about space] : $interface}]} { return space|$path }
    }
    error "there is no address space $path"
}

proc mock::do::get_bd_addr_segs {options path} {
    regexp {^([^/]+)/(.+)$} $path all cell name
    if {[dict exists [lindex [design::shape $cell] 2] $name]} { return segment|$path }
    if {[dict exists $options -quiet]} { return {} }
    error "there is no address segment $path; $cell has [dict keys [lindex [design::shape $cell] 2]]"
}

# Interface, offset and bytes of a segment.
proc design::segment {path} {
    regexp {^([^/]+)/(.+)$} $path all cell name
    return [dict get [lindex [design::shape $cell] 2] $name]
}

# The masters whose accesses go through a space, as objects.
proc design::masters_of {space} {
    regexp {^([^/]+)/(.+)$} $space all cell name
    set found {}
    dict for {interface about} [lindex [design::shape $cell] 1] {
        if {[dict get $about mode] ne "master" || ![dict exists $about addr]} { continue }
        if {$name eq [expr {[dict exists $about space] ? [dict get $about space] : $interface}]} { lappend found intf|$cell/$interface }
    }
    return $found
}

# The slave at the far end of a master, through SmartConnects with one master.
proc design::far_end {master} {
    if {![dict exists $design::peer_of $master]} { return "" }
    set peer [dict get $design::peer_of $master]
    if {[regexp {^intf\|([^/]+)/S\d\d_AXI$} $peer all cell]} { return [design::far_end intf|$cell/M00_AXI] }
    return $peer
}

proc mock::do::assign_bd_address {options object} {
    set space [design::name [mock::option $options -target_address_space] space]
    set path [design::name $object segment]
    lassign [design::segment $path] interface fixed most
    set offset [expr {[mock::option $options -offset]}]
    set bytes [expr {[mock::option $options -range]}]
    regexp {^([^/]+)/} $path all cell
    set reached {}
    foreach master [design::masters_of $space] { lappend reached [design::far_end $master] }
    if {"intf|$cell/$interface" ni $reached} { error "assign_bd_address: $space does not lead to $path but to $reached" }
    if {$bytes & ($bytes - 1) || $offset % $bytes} { error "assign_bd_address: $path, $offset is no multiple of $bytes" }
    if {$bytes > $most} { error "assign_bd_address: $path has $most bytes, not $bytes" }
    if {$fixed ne "" && ($offset < $fixed || $offset + $bytes > $fixed + $most)} {
        error "assign_bd_address: $path lies at $fixed, not at $offset"
    }
    foreach master [design::masters_of $space] {
        if {$offset + $bytes > 1 << [dict get [design::interface $master] addr]} { error "assign_bd_address: $space does not reach $offset" }
    }
    foreach other [expr {[dict exists $design::spaces $space] ? [dict get $design::spaces $space] : {}}] {
        lassign $other begin length name
        if {$offset < $begin + $length && $begin < $offset + $bytes} {
            error [format "assign_bd_address: in %s, %s at 0x%x overlaps %s at 0x%x" $space $path $offset $name $begin]
        }
    }
    dict lappend design::spaces $space [list $offset $bytes $path]
}

proc mock::do::exclude_bd_addr_seg {options object} {
    lappend design::excluded [list [design::name [mock::option $options -target_address_space] space] [design::name $object segment]]
}
