# Runs a script of a kit with Vivado's commands mocked:
#
#   tclsh run.tcl SCRIPT [SETTING=VALUE ...] [-- ARGUMENT ...]
#
# Settings are what the mocked tool finds: wns, whs (ns), pulse (1: a pulse is too short), unrouted, drc (numbers), boards
# (whether board files are installed), xsa, bootgen (whether they work), version.

set here [file dirname [file normalize [info script]]]
set mock_script [file normalize [lindex $argv 0]]
namespace eval mock {}
array set mock::settings {wns 0.012 whs 0.010 pulse 0 unrouted 0 drc 0 boards 1 xsa 1 bootgen 1 version 2023.2-mock}
set rest [lrange $argv 1 end]
set argv {}
while {[llength $rest]} {
    set rest [lassign $rest word]
    if {$word eq "--"} { set argv $rest; break }
    if {![regexp {^([a-z]+)=(.*)$} $word all key value] || ![info exists mock::settings($key)]} { error "no setting $word" }
    set mock::settings($key) $value
}
set argc [llength $argv]
foreach file {commands catalog design addresses ipcore flow xdc} { source [file join $here $file.tcl] }

# the two programs that the scripts call
rename exec mock::exec
proc exec {args} {
    switch [lindex $args 0] {
        sha256sum { return [mock::exec {*}$args] }
        bootgen {
            if {[lrange $args 0 6] ne {bootgen -w -arch zynqmp -process_bitstream bin -image}} { error "bootgen: $args" }
            set image [lindex $args [expr {[lsearch $args -image] + 1}]]
            if {![regexp {^all:\s*\{\s*\[destination_device = pl\]\s*(\S+)\s*\}\s*$} [tercet::slurp $image] all bit]} { error "bootgen: $image" }
            if {![file exists $bit]} { error "bootgen: there is no $bit" }
            if {$mock::settings(bootgen)} { file copy -force $bit $bit.bin }
        }
        default { error "the scripts have no business with [lindex $args 0]" }
    }
}

if {[catch {source $mock_script} message options]} {
    puts stderr "ERROR: $message"
    puts stderr [string range [dict get $options -errorinfo] 0 1500]
    exit 1
}
puts "[llength $mock::calls] calls of Vivado, [dict size $design::cells] cells, [dict size $design::net_of] driven pins, [expr {[dict size $design::peer_of] / 2}] AXI and other interfaces, stage $flow::stage"
