# What the scripts of a kit share: arguments, lists of files, checks of a result, the manifest.

namespace eval tercet {}

# The value of key=value among the arguments of the script, or a default.
proc tercet::argument {key default} {
    foreach word $::argv {
        if {[regexp "^${key}=(.+)$" $word all value]} { return $value }
    }
    return $default
}

# Fails if an argument is none of these: a bare word, or a key of key=value.
proc tercet::allow {words keys} {
    foreach word $::argv {
        if {$word in $words || ([regexp {^([a-z]+)=.} $word all key] && $key in $keys)} { continue }
        error "unknown argument $word; known are [join $words {, }] and [join $keys {=..., }]=..."
    }
}

proc tercet::slurp {path} {
    set file [open $path r]
    set text [read $file]
    close $file
    return $text
}

# Writes beside the target and renames.
proc tercet::spit {path text} {
    set file [open $path.tmp w]
    puts -nonewline $file $text
    close $file
    file rename -force $path.tmp $path
}

# The machine's Verilog as the generator listed it, without the module that makes an IP core of it.
proc tercet::rtl {kit} {
    set files {}
    foreach line [split [tercet::slurp [file join $kit .. filelist.f]] "\n"] {
        if {[string trim $line] ne ""} { lappend files [file normalize [file join $kit .. [string trim $line]]] }
    }
    return $files
}

# Vivado's version, refused below the least one and remarked upon above those that the scripts were written for.
proc tercet::vivado {least newest} {
    set found [version -short]
    if {![regexp {^\d+\.\d+} $found number]} { error "Vivado says it is version $found" }
    if {$number < $least} { error "this is Vivado $found; the scripts need $least or newer" }
    if {$number > $newest} { puts "NOTE: Vivado $found is newer than $newest, the newest these scripts know of" }
    return $found
}

# Nanoseconds that the worst path has to spare.
proc tercet::slack {kind} {
    set path [get_timing_paths -delay_type [dict get {setup max hold min} $kind] -max_paths 1 -nworst 1]
    if {[llength $path] != 1} { error "there is no $kind path: no clock reached the design" }
    set slack [get_property SLACK $path]
    if {![string is double -strict $slack]} { error "the worst $kind path has no slack: it is not constrained" }
    return $slack
}

# A number from a report.
proc tercet::number {report pattern what} {
    if {![regexp -line -- $pattern $report all number]} { error "the report has no $what" }
    return $number
}

# Writes all reports of a routed design to a folder and looks at everything that may be wrong with it. Returns a dictionary
# of numbers with a list of complaints under `wrong`.
proc tercet::examine {reports} {
    file mkdir $reports
    report_timing_summary -file [file join $reports timing_summary.rpt]
    report_timing -max_paths 50 -nworst 1 -delay_type max -sort_by slack -file [file join $reports worst_paths.rpt]
    report_utilization -hierarchical -file [file join $reports utilization_hierarchical.rpt]
    report_utilization -file [file join $reports utilization.rpt]
    report_power -file [file join $reports power.rpt]
    report_drc -file [file join $reports drc.rpt]
    report_cdc -details -file [file join $reports cdc.rpt]
    report_route_status -file [file join $reports route_status.rpt]

    set wrong {}
    dict set found wns_ns [tercet::slack setup]
    dict set found whs_ns [tercet::slack hold]
    if {[dict get $found wns_ns] < 0} { lappend wrong "setup slack is [dict get $found wns_ns] ns" }
    if {[dict get $found whs_ns] < 0} { lappend wrong "hold slack is [dict get $found whs_ns] ns" }
    # pulse widths and paths that the two numbers do not cover
    if {$wrong eq {} && ![regexp {All user specified timing constraints are met} [report_timing_summary -return_string]]} {
        lappend wrong "not all timing constraints are met, see timing_summary.rpt"
    }

    set routes [report_route_status -return_string]
    set routable [tercet::number $routes {# of routable nets[^:]*:\s*(\d+)} "number of routable nets"]
    set routed [tercet::number $routes {# of fully routed nets[^:]*:\s*(\d+)} "number of routed nets"]
    set broken [tercet::number $routes {# of nets with routing errors[^:]*:\s*(\d+)} "number of routing errors"]
    if {$routed < $routable || $broken > 0} {
        lappend wrong "[expr {$routable - $routed}] nets are not routed, $broken have errors, see route_status.rpt"
    }
    # severities are written in one case by some commands and in the other by others
    set critical 0
    foreach violation [get_drc_violations -quiet] {
        if {[string toupper [get_property SEVERITY $violation]] in {FATAL ERROR {CRITICAL WARNING}}} { incr critical }
    }
    if {$critical > 0} { lappend wrong "$critical critical rules are broken, see drc.rpt" }

    set area [report_utilization -return_string]
    foreach {key row} {luts {CLB LUTs} ffs {CLB Registers} bram36 {Block RAM Tile} uram {URAM} dsps {DSPs}} {
        dict set found $key [tercet::number $area "^\\|\\s*${row}\\*?\\s*\\|\\s*(\[\\d.\]+)" "row $row"]
    }
    set power [report_power -return_string]
    dict set found power_w [tercet::number $power {Total On-Chip Power \(W\)\s*\|\s*([\d.]+)} "total power"]
    dict set found wrong $wrong
    return $found
}

# Fails with all complaints of an examination.
proc tercet::demand {found advice} {
    set wrong [dict get $found wrong]
    if {$wrong ne {}} { error "[join $wrong {; }]. $advice" }
}

# An examination as the fields of a JSON object.
proc tercet::fields {version found} {
    set fields [list "\"tool\": \"Vivado $version\""]
    foreach key {wns_ns whs_ns luts ffs bram36 uram dsps power_w} { lappend fields "\"$key\": [dict get $found $key]" }
    return $fields
}

# A file's name, bytes and SHA-256 as a JSON field.
proc tercet::file_field {path} {
    set sum [lindex [exec sha256sum $path] 0]
    return "\"[file tail $path]\": {\"sha256\": \"$sum\", \"bytes\": [file size $path]}"
}

# Sets what the manifest says last: its evidence, and the build behind it.
proc tercet::record {manifest evidence build} {
    set text [tercet::slurp $manifest]
    if {[regsub {"evidence": "[a-z]+",\s*"build": .*$} $text "\"evidence\": \"$evidence\",\n  \"build\": $build\n\}\n" text] != 1} {
        error "$manifest is no manifest of this kit"
    }
    tercet::spit $manifest $text
}
