//! `tercet.core`: the generated Verilog as a FuseSoC core, CAPI2.

use super::Kit;
use crate::output::Written;

impl Kit<'_> {
    /// The file's text; it stands beside `filelist.f`.
    pub(super) fn core_file(&self, written: &Written) -> String {
        let (name, part) = (&self.machine.name, self.machine.board.part);
        let files: String = written.files.iter().map(|file| format!("      - {file}\n")).collect();
        // FuseSoC's names know letters, digits, - and _
        let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!(
            "CAPI=2:\n{}name: tercet:accelerator:tercet_{safe}:{}\n\
             description: Tercet, a ternary language model accelerator, preset {name}\n\n\
             filesets:\n  rtl:\n    files:\n{files}    file_type: verilogSource\n  ip:\n    files:\n      - kit/tercet_ip.v\n    \
             file_type: verilogSource\n\n\
             targets:\n  default: &default\n    filesets: [rtl]\n    toplevel: tercet_top\n\n  \
             lint:\n    <<: *default\n    filesets: [rtl, ip]\n    toplevel: tercet_ip\n    flow: lint\n    flow_options:\n      \
             tool: verilator\n      verilator_options: [-Wall]\n\n  \
             synth:\n    <<: *default\n    flow: vivado\n    flow_options:\n      part: {part}\n      pnr: none\n",
            self.origin("#"),
            env!("CARGO_PKG_VERSION"),
        )
    }
}
