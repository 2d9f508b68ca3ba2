//! A module as Verilog text.

use super::module::{Dir, Item, Module, RegRule};
use super::print::{Hoisted, Printer, range, sign};
use super::sink::Group;
use std::collections::BTreeMap;
use std::fmt::Write;

const INDENT: &str = "    ";

/// Registers of a module that are updated together.
type Registers<'a> = Vec<&'a (String, RegRule)>;

impl Module {
    /// Ports and body without name and header comment: what makes two modules equal.
    pub(crate) fn body_text(&self) -> String {
        let mut out = String::from(" (\n");
        for (at, port) in self.ports.iter().enumerate() {
            let dir = if port.dir == Dir::In { "input  wire " } else { "output wire " };
            let comma = if at + 1 < self.ports.len() { "," } else { "" };
            let (sign, range) = (sign(port.ty.signed), range(port.ty.width));
            let _ = writeln!(out, "{INDENT}{dir}{sign}{range}{}{comma}", port.name);
        }
        out.push_str(");\n");
        let mut printer = Printer::default();
        let mut body = String::new();
        let sunk = self.sunk_wires();
        for item in &self.items {
            if matches!(item, Item::Wire { name, .. } if sunk.contains_key(name)) {
                continue;
            }
            let text = self.item(item, &mut printer);
            for wire in printer.hoisted.drain(..) {
                let _ = writeln!(body, "{INDENT}{}", wire.wire());
            }
            body.push_str(&text);
        }
        let clocked = self.clocked(&sunk, &mut printer);
        for wire in printer.hoisted.drain(..) {
            let _ = writeln!(body, "{INDENT}{}", wire.wire());
        }
        if !body.is_empty() {
            out.push('\n');
        }
        let body = String::from(body.trim_start_matches('\n')) + &clocked;
        match &self.primitive {
            None => out + &body + "\nendmodule\n",
            Some(primitive) => {
                out + &format!("`ifdef VERILATOR\n{body}\n`else\n{}`endif\n\nendmodule\n", primitive.text(INDENT))
            }
        }
    }

    /// The whole text around a body.
    pub(crate) fn text_of(&self, body: &str) -> String {
        let header: String =
            self.header.iter().map(|l| format!("//{}{l}\n", if l.is_empty() { "" } else { " " })).collect();
        format!("{header}`default_nettype none\nmodule {}{body}`default_nettype wire\n", self.name)
    }

    fn attribute_of(&self, name: &str) -> String {
        self.attributes.get(name).map(|a| format!("(* {a} *) ")).unwrap_or_default()
    }

    fn item(&self, item: &Item, printer: &mut Printer) -> String {
        match item {
            Item::Comment(text) => text.lines().fold(String::from("\n"), |out, l| out + &format!("{INDENT}// {l}\n")),
            Item::Wire { name, value } => {
                printer.set_stem(name);
                let (sign, range, attr) = (sign(value.signed()), range(value.width()), self.attribute_of(name));
                format!("{INDENT}{attr}wire {sign}{range}{name} = {};\n", printer.top(value))
            }
            Item::Net { name, ty } => {
                format!("{INDENT}{}wire {}{}{name};\n", self.attribute_of(name), sign(ty.signed), range(ty.width))
            }
            Item::Assign { name, value } => {
                printer.set_stem(name);
                format!("{INDENT}assign {name} = {};\n", printer.top(value))
            }
            Item::Reg { name, ty } => {
                format!("{INDENT}{}reg {}{}{name};\n", self.attribute_of(name), sign(ty.signed), range(ty.width))
            }
            Item::Rom { name, ty, index, values } => {
                printer.set_stem(name);
                let mut out =
                    format!("{INDENT}reg {}{}{name};\n{INDENT}always @* begin\n", sign(ty.signed), range(ty.width));
                let _ = writeln!(out, "{INDENT}{INDENT}case ({})", printer.top(index));
                for (at, value) in values.iter().enumerate() {
                    let _ = writeln!(
                        out,
                        "{INDENT}{INDENT}{INDENT}{}'d{at}: {name} = {}'h{value:x};",
                        index.width(),
                        ty.width
                    );
                }
                if index.width() >= 64 || (values.len() as u64) < 1 << index.width() {
                    let _ = writeln!(out, "{INDENT}{INDENT}{INDENT}default: {name} = {}'h0;", ty.width);
                }
                out + &format!("{INDENT}{INDENT}endcase\n{INDENT}end\n")
            }
            Item::Memory { name, width, depth, style } => {
                let style = style.name();
                format!("{INDENT}(* ram_style = \"{style}\" *) reg {}{name} [0:{}];\n", range(*width), depth - 1)
            }
            Item::Instance { name, of, connections } => {
                printer.set_stem(name);
                let list: Vec<String> = connections
                    .iter()
                    .map(|(port, e)| format!("{INDENT}{INDENT}.{port}({})", printer.top(e)))
                    .collect();
                format!("{INDENT}{}{of} {name} (\n{}\n{INDENT});\n", self.attribute_of(name), list.join(",\n"))
            }
        }
    }

    /// The clocked processes: registers with reset, registers without, memories.
    fn clocked(&self, sunk: &BTreeMap<String, Group>, printer: &mut Printer) -> String {
        let (with_reset, without): (Vec<_>, Vec<_>) = self.regs.iter().partition(|(_, rule)| rule.reset.is_some());
        let mut out = String::new();
        if !with_reset.is_empty() {
            let _ = writeln!(out, "\n{INDENT}always @(posedge clk_i) begin\n{INDENT}{INDENT}if (rst_i) begin");
            for (name, rule) in &with_reset {
                printer.set_stem(name);
                if let Some(value) = &rule.reset {
                    let _ = writeln!(out, "{}{name} <= {};", INDENT.repeat(3), printer.top(value));
                }
            }
            let _ = writeln!(out, "{INDENT}{INDENT}end else begin");
            self.updates(&with_reset, sunk, 3, printer, &mut out);
            let _ = writeln!(out, "{INDENT}{INDENT}end\n{INDENT}end");
        }
        if !without.is_empty() {
            let _ = writeln!(out, "\n{INDENT}always @(posedge clk_i) begin");
            self.updates(&without, sunk, 2, printer, &mut out);
            let _ = writeln!(out, "{INDENT}end");
        }
        for write in &self.writes {
            printer.set_stem(&write.memory);
            let (enable, index) = (printer.top(&write.enable), printer.top(&write.index));
            let store = format!("{}[{index}] <= {};", write.memory, printer.top(&write.data));
            let _ = writeln!(out, "\n{INDENT}always @(posedge clk_i) begin");
            let _ =
                writeln!(out, "{INDENT}{INDENT}if ({enable}) begin\n{}{store}\n{INDENT}{INDENT}end", INDENT.repeat(3));
            let _ = writeln!(out, "{INDENT}end");
        }
        out
    }

    /// Assignments: those without an enable, then one `if` for each enable, with the wires that it alone uses.
    fn updates(
        &self,
        regs: &[&(String, RegRule)],
        sunk: &BTreeMap<String, Group>,
        depth: usize,
        printer: &mut Printer,
        out: &mut String,
    ) {
        let pad = INDENT.repeat(depth);
        let mut groups: Vec<(Option<Group>, Registers)> = Vec::new();
        for reg in regs {
            let (_, rule) = reg;
            let group = rule.enable.as_ref().map(|enable| Module::group_of(rule.reset.is_some(), enable));
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, members)) => members.push(reg),
                None => groups.push((group, vec![reg])),
            }
        }
        groups.sort_by_key(|(group, _)| group.is_some()); // stable: otherwise in the order of the registers
        for (group, members) in groups {
            let assign = |printer: &mut Printer, pad: &str| {
                let mut text = String::new();
                for (name, rule) in &members {
                    printer.set_stem(name);
                    if let Some(next) = &rule.next {
                        let _ = writeln!(text, "{pad}{name} <= {};", printer.top(next));
                    }
                }
                text
            };
            let Some(enable) = members.first().and_then(|(_, rule)| rule.enable.as_ref()) else {
                out.push_str(&assign(printer, &pad));
                continue;
            };
            printer.set_stem(&members[0].0);
            let enable = printer.top(enable);
            let inner = format!("{pad}{INDENT}");
            let ((mut declared, mut computed, assigned), last) = printer.scoped(|printer| {
                let (mut declared, mut computed) = (String::new(), String::new());
                for item in &self.items {
                    let Item::Wire { name, value } = item else { continue };
                    if sunk.get(name) != group.as_ref() {
                        continue;
                    }
                    printer.set_stem(name);
                    let text = printer.top(value);
                    local(printer.hoisted.drain(..), &inner, &mut declared, &mut computed);
                    let _ = writeln!(declared, "{inner}reg {}{}{name};", sign(value.signed()), range(value.width()));
                    let _ = writeln!(computed, "{inner}{name} = {text};");
                }
                let assigned = assign(printer, &inner);
                (declared, computed, assigned)
            });
            local(last, &inner, &mut declared, &mut computed);
            let label = if declared.is_empty() { String::new() } else { format!(" : on_{}", members[0].0) };
            let _ = writeln!(out, "{pad}if ({enable}) begin{label}\n{declared}{computed}{assigned}{pad}end");
        }
    }
}

/// Wires made on the way, as variables of a block.
fn local(wires: impl IntoIterator<Item = Hoisted>, pad: &str, declared: &mut String, computed: &mut String) {
    for Hoisted { ty, name, text } in wires {
        let _ = writeln!(declared, "{pad}reg {ty}{name};");
        let _ = writeln!(computed, "{pad}{name} = {text};");
    }
}
