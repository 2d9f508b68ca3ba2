# The Vivado commands that the scripts use, each with the options and numbers of arguments that it takes (UG835). A call
# with another option, or of another command, is an error, so that a script cannot be wrong in a way that only a machine
# with Vivado on it would show.

namespace eval mock {
    # What was called, in order: {command options arguments}.
    variable calls {}
    # command -> {flags} {options with a value} least most
    variable signatures {}
    # command and option -> legal values, where there is a list of them
    variable legal {
        {synth_design -mode}           {out_of_context default}
        {read_xdc -mode}               {out_of_context default}
        {create_bd_intf_port -mode}    {Master Slave}
        {create_bd_port -dir}          {I O}
        {create_bd_port -type}         {rst clk}
        {create_bd_cell -type}         {ip}
        {get_timing_paths -delay_type} {max min}
        {report_timing -delay_type}    {max min}
        {report_timing -sort_by}       {slack group}
        {synth_design -directive} {Default RuntimeOptimized AreaOptimized_high AreaOptimized_medium AlternateRoutability
                       AreaMapLargeShiftRegToBRAM AreaMultThresholdDSP FewerCarryChains PerformanceOptimized
                       LogicCompaction PowerOptimized_high PowerOptimized_medium}
        {place_design -directive} {Default Explore WLDrivenBlockPlacement EarlyBlockPlacement ExtraNetDelay_high ExtraNetDelay_low
                       SSI_SpreadLogic_high SSI_SpreadLogic_low AltSpreadLogic_high AltSpreadLogic_medium
                       AltSpreadLogic_low ExtraPostPlacementOpt ExtraTimingOpt RuntimeOptimized Quick}
        {phys_opt_design -directive} {Default Explore ExploreWithHoldFix AggressiveExplore AlternateReplication AggressiveFanoutOpt
                       AddRetime AlternateFlowWithRetiming RuntimeOptimized}
        {route_design -directive} {Default Explore AggressiveExplore NoTimingRelaxation MoreGlobalIterations HigherDelayCost
                       RuntimeOptimized AlternateCLBRouting Quick}
    }
}

proc mock::signature {command flags valued least most} {
    dict set mock::signatures $command [list $flags $valued $least $most]
    # the command itself: checks its words, remembers them, and hands them to mock::do::<command> if there is one
    namespace eval ::[namespace qualifiers $command] {}
    proc ::$command {args} [format {return [mock::call {%s} $args]} $command]
}

proc mock::call {command words} {
    lassign [dict get $mock::signatures $command] flags valued least most
    set options {}
    set rest {}
    for {set at 0} {$at < [llength $words]} {incr at} {
        set word [lindex $words $at]
        if {$word in $flags} {
            dict set options $word 1
        } elseif {$word in $valued} {
            incr at
            if {$at >= [llength $words]} { error "$command: $word has no value" }
            set value [lindex $words $at]
            set list [list $command $word]
            if {[dict exists $mock::legal $list] && $value ni [dict get $mock::legal $list]} {
                error "$command: $word $value is none of [dict get $mock::legal $list]"
            }
            dict set options $word $value
        } elseif {[string match -* $word] && ![string is double -strict $word] && [llength $word] == 1} {
            error "$command has no option $word"
        } else {
            lappend rest $word
        }
    }
    if {[llength $rest] < $least || [llength $rest] > $most} {
        error "$command takes $least to $most arguments, not [llength $rest]: $rest"
    }
    lappend mock::calls [list $command $options $rest]
    if {[info commands ::mock::do::$command] ne ""} { return [::mock::do::$command $options {*}$rest] }
    return ""
}

# An option's value, or a default.
proc mock::option {options name {default ""}} {
    return [expr {[dict exists $options $name] ? [dict get $options $name] : $default}]
}

proc mock::called {command} {
    return [expr {[lsearch -index 0 $mock::calls $command] >= 0}]
}

foreach {command flags valued least most} {
    version              {-short} {} 0 0
    create_project       {-in_memory -force} {-part} 0 2
    close_project        {-delete} {} 0 0
    current_project      {-quiet} {} 0 1
    current_fileset      {} {} 0 1
    current_design       {-quiet} {} 0 1
    add_files            {-norecurse -quiet} {-fileset} 1 1
    update_compile_order {} {-fileset} 0 0
    read_verilog         {-sv} {-library} 1 1
    read_xdc             {-unmanaged -quiet} {-mode -ref -cells} 1 1
    set_property         {-quiet} {-dict} 1 3
    get_property         {-quiet -min -max} {} 2 2
    get_board_parts      {-quiet -latest_file_version -latest_hw_revision} {-filter -of_objects} 0 1
    update_ip_catalog    {-rebuild -quiet} {} 0 0

    create_bd_design     {-quiet} {-dir -cell} 1 1
    validate_bd_design   {-force -quiet} {} 0 0
    save_bd_design       {-force -quiet} {} 0 0
    create_bd_cell       {-quiet} {-type -vlnv -reference} 1 1
    apply_bd_automation  {-quiet} {-rule -config} 1 1
    create_bd_port       {-quiet} {-dir -type -from -to} 1 1
    create_bd_intf_port  {-quiet} {-mode -vlnv} 1 1
    connect_bd_net       {-quiet} {-net} 2 2
    connect_bd_intf_net  {-quiet} {-intf_net -boundary_type} 2 2
    assign_bd_address    {-force -quiet} {-offset -range -target_address_space} 1 1
    exclude_bd_addr_seg  {-quiet} {-offset -range -target_address_space} 1 1
    get_bd_cells         {-quiet -hierarchical} {-filter -of_objects} 1 1
    get_bd_pins          {-quiet} {-filter -of_objects} 1 1
    get_bd_intf_pins     {-quiet} {-filter -of_objects} 1 1
    get_bd_ports         {-quiet} {-filter -of_objects} 1 1
    get_bd_intf_ports    {-quiet} {-filter -of_objects} 1 1
    get_bd_addr_spaces   {-quiet} {-filter -of_objects} 1 1
    get_bd_addr_segs     {-quiet -excluded} {-filter -of_objects} 1 1
    get_files            {-quiet -all} {-filter -of_objects} 0 1
    generate_target      {-force -quiet} {} 2 2
    make_wrapper         {-top -import -force -quiet} {-files -fileset} 0 0

    synth_design         {-quiet} {-top -part -mode -directive -flatten_hierarchy} 0 0
    opt_design           {-quiet} {-directive} 0 0
    place_design         {-quiet} {-directive} 0 0
    phys_opt_design      {-quiet} {-directive} 0 0
    route_design         {-quiet} {-directive} 0 0
    write_checkpoint     {-force -quiet} {} 1 1
    write_bitstream      {-force -bin_file -quiet} {} 1 1
    write_hw_platform    {-fixed -force -include_bit -minimal -quiet} {-file -hw} 0 1
    get_timing_paths     {-quiet -unique_pins} {-delay_type -max_paths -nworst -from -to} 0 0
    get_drc_violations   {-quiet} {-filter -name} 0 1
    report_timing_summary {-return_string -quiet} {-file -max_paths -delay_type} 0 0
    report_timing        {-return_string -quiet} {-file -max_paths -nworst -delay_type -sort_by} 0 0
    report_utilization   {-return_string -hierarchical -quiet} {-file} 0 0
    report_power         {-return_string -quiet} {-file} 0 0
    report_drc           {-return_string -quiet} {-file -ruledecks -checks -name} 0 0
    report_cdc           {-return_string -details -quiet} {-file} 0 0
    report_route_status  {-return_string -quiet} {-file} 0 0

    create_clock         {-add -quiet} {-period -name -waveform} 1 1
    set_false_path       {-setup -hold -quiet} {-from -to -through} 0 0
    set_output_delay     {-quiet} {-clock} 2 2
    set_operating_conditions {-quiet} {-design_power_budget -process -ambient_temp} 0 0
    get_ports            {-quiet} {-filter} 0 1
    get_pins             {-quiet -hierarchical} {-filter -of_objects} 0 1
    get_cells            {-quiet -hierarchical} {-filter -of_objects} 0 1

    open_hw_manager      {} {} 0 0
    connect_hw_server    {-quiet} {-url} 0 0
    open_hw_target       {-quiet} {} 0 1
    current_hw_device    {-quiet} {} 0 1
    get_hw_devices       {-quiet} {-filter} 0 1
    program_hw_devices   {-quiet} {} 1 1
    close_hw_manager     {} {} 0 0

    ipx::package_project {-import_files -force -quiet} {-root_dir -vendor -library -taxonomy -set_current} 0 0
    ipx::current_core    {} {} 0 0
    ipx::infer_bus_interfaces {-quiet} {} 2 2
    ipx::get_bus_interfaces {-quiet} {-of_objects} 1 1
    ipx::associate_bus_interfaces {-clear -quiet} {-busif -clock -reset} 1 1
    ipx::get_address_spaces {-quiet} {-of_objects} 1 1
    ipx::add_address_space {-quiet} {} 2 2
    ipx::remove_segment  {-quiet} {} 2 2
    ipx::add_bus_parameter {-quiet} {} 2 2
    ipx::get_memory_maps {-quiet} {-of_objects} 1 1
    ipx::remove_memory_map {-quiet} {} 2 2
    ipx::add_memory_map  {-quiet} {} 2 2
    ipx::add_address_block {-quiet} {} 2 2
    ipx::add_register    {-quiet} {} 2 2
    ipx::create_xgui_files {-quiet} {} 1 1
    ipx::update_checksums {-quiet} {} 1 1
    ipx::check_integrity {-quiet} {} 1 1
    ipx::save_core       {-quiet} {} 1 1
} { mock::signature $command $flags $valued $least $most }
# -dict of set_property is followed by a list and objects; the parser above takes the list as its value

# A command that is neither Tcl's nor in the table.
proc unknown {command args} { error "there is no command $command" }
