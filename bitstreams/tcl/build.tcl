# From the generated Verilog to a bitstream, or to the timing of the machine alone. Vivado, non-project mode:
#
#   vivado -mode batch -source build.tcl                                       the bitstream
#   vivado -mode batch -source build.tcl -tclargs ooc                          tercet_top alone: no board, no ports
#   vivado -mode batch -source build.tcl -tclargs place=ExtraTimingOpt route=AggressiveExplore
#
# It ends with an error, and without a bitstream, if timing is not met, a net is not routed or a critical rule is broken.
# Everything it writes is in work/, reports/ and out/; the manifest says what was reached.

set kit [file dirname [file normalize [info script]]]
cd $kit
source [file join $kit lib.tcl]
source [file join $kit settings.tcl]

tercet::allow {ooc} {synth place phys route}
set alone [expr {"ooc" in $argv}]
set directives {}
foreach step {synth place phys route} { dict set directives $step [tercet::argument $step Default] }
set version [tercet::vivado $vivado_least $vivado_newest]

set manifest [file join $kit manifest.json]
set work [file join $kit work]
set out [file join $kit out]
set reports [file join $kit reports [expr {$alone ? "ooc" : "board"}]]
foreach folder [list $work $reports] { file delete -force $folder; file mkdir $folder }

# --- sources -----------------------------------------------------------------
if {$alone} {
    create_project -in_memory -part $part
    read_verilog [tercet::rtl $kit]
    read_xdc -mode out_of_context [file join $kit ooc.xdc]
    set top tercet_top
} else {
    # an older build is none of these sources
    file delete -force $out
    tercet::record $manifest generated null
    source [file join $kit package_ip.tcl]

    create_project -in_memory -part $part
    set_property target_language Verilog [current_project]
    set boards [expr {$board_part eq "" ? {} : [get_board_parts -quiet -latest_file_version $board_part]}]
    if {$boards ne {}} {
        set_property board_part [lindex $boards 0] [current_project]
    } elseif {$board_part ne ""} {
        puts "NOTE: no board files $board_part (Tools > Vivado Store > Boards): the bitstream does not need them, because the"
        puts "NOTE: boot firmware sets up the processor; do not boot from the .xsa of this build"
    }
    set_property ip_repo_paths [file join $work ip] [current_project]
    update_ip_catalog
    file mkdir [file join $work bd]
    create_bd_design -dir [file join $work bd] tercet_system
    source [file join $kit bd.tcl]
    validate_bd_design
    save_bd_design
    # one synthesis of everything
    set_property synth_checkpoint_mode None [get_files tercet_system.bd]
    generate_target all [get_files tercet_system.bd]
    read_verilog [make_wrapper -files [get_files tercet_system.bd] -top]
    read_xdc [file join $kit constraints.xdc]
    set top tercet_system_wrapper
}

# --- synthesis to routing ----------------------------------------------------
if {$alone} {
    synth_design -top $top -part $part -mode out_of_context -directive [dict get $directives synth]
} else {
    synth_design -top $top -part $part -directive [dict get $directives synth]
}
write_checkpoint -force [file join $work synth.dcp]
report_utilization -file [file join $reports synth_utilization.rpt]
opt_design
place_design -directive [dict get $directives place]
phys_opt_design -directive [dict get $directives phys]
write_checkpoint -force [file join $work placed.dcp]
route_design -directive [dict get $directives route]
if {[tercet::slack setup] < 0} { phys_opt_design }
write_checkpoint -force [file join $work routed.dcp]

# --- what came of it ---------------------------------------------------------
set found [tercet::examine $reports]
if {$alone} {
    set met [expr {[dict get $found wrong] eq {} ? "true" : "false"}]
    set fields [concat [tercet::fields $version $found] [list "\"clock_mhz\": $mhz" "\"met\": $met"]]
    tercet::spit [file join $reports summary.json] "{[join $fields {, }]}\n"
}
tercet::demand $found "Nothing is written. See \"When timing fails\" in bitstreams/README.md; reports are in $reports"
if {$alone} {
    puts "tercet_top alone runs at $mhz MHz with [dict get $found wns_ns] ns to spare. This is no bitstream."
    return
}

# --- bitstream ---------------------------------------------------------------
file mkdir $out
set bit [file join $out $application.bit]
write_bitstream -force $bit
set products [list $bit]
if {$kind eq "zynq"} {
    # what the board's loader takes: the same bits in the order of the processor's configuration port
    exec bootgen -w -arch zynqmp -process_bitstream bin -image [file join $kit $application.bif] >@ stdout 2>@ stderr
    if {![file exists $bit.bin]} { error "bootgen has not written $bit.bin" }
    lappend products $bit.bin
}
if {[catch {write_hw_platform -fixed -force -file [file join $out $application.xsa]} message]} {
    puts "NOTE: no .xsa ($message); nothing of Tercet needs it"
}
set files [lmap path $products { tercet::file_field $path }]
tercet::record $manifest built "{[join [concat [tercet::fields $version $found] [list "\"files\": {[join $files {, }]}"]] {, }]}"
puts "$bit: $mhz MHz with [dict get $found wns_ns] ns to spare, [dict get $found luts] LUTs, [dict get $found power_w] W estimated"
