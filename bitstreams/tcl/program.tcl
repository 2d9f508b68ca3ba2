# Loads a bitstream through JTAG; load.sh takes the card off the bus before.
#
#   vivado -mode batch -source program.tcl -tclargs out/NAME.bit

set bit [file normalize [lindex $argv 0]]
if {$argc != 1 || ![file exists $bit]} { error "give the bitstream" }
open_hw_manager
connect_hw_server
open_hw_target
set devices [get_hw_devices xcu*]
if {[llength $devices] != 1} { error "expected one card at this host, found [llength $devices]: $devices" }
current_hw_device $devices
set_property PROGRAM.FILE $bit $devices
program_hw_devices $devices
close_hw_manager
