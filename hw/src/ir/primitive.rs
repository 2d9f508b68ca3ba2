//! Cells of an FPGA's library in place of a module's body.

use super::error::{ExprError, IrError};
use super::expr::{Expr, uint};
use super::module::Module;
use super::print::Printer;
use std::fmt::Write;

/// A cell that does what the body of its module says; synthesis takes the cell, simulation the body.
#[derive(Debug)]
pub struct Primitive {
    /// Its name in the library.
    pub cell: &'static str,
    /// Values of its parameters, as Verilog.
    pub parameters: Vec<(&'static str, String)>,
    /// Inputs, made of the module's ports.
    pub inputs: Vec<(&'static str, Expr)>,
    /// The output port and its width.
    pub output: (&'static str, u32),
    /// The module's output that gets the low bits of it.
    pub target: Expr,
}

impl Module {
    /// Says that `primitive` does the same as the body of this module, which has no other output.
    pub fn primitive(&mut self, primitive: Primitive) {
        for (_, input) in &primitive.inputs {
            self.check(input);
        }
        if self.primitive.is_some() {
            let (module, name) = (self.name.clone(), primitive.cell.to_string());
            self.fail(IrError::DrivenTwice { module, name });
        }
        if primitive.target.width() > primitive.output.1 {
            let expected = format!("at most {} bits", primitive.output.1);
            let error = ExprError { expr: primitive.cell.into(), expected, found: primitive.target.describe() };
            self.fail(IrError::Expr { module: self.name.clone(), error });
        }
        self.primitive = Some(primitive);
    }
}

impl Primitive {
    /// The body of a module around the cell.
    pub(super) fn text(&self, indent: &str) -> String {
        let (port, width) = self.output;
        let mut printer = Printer::default();
        printer.set_stem("cell");
        let inputs: Vec<String> =
            self.inputs.iter().map(|(port, e)| format!("{indent}{indent}.{port}({})", printer.top(e))).collect();
        let low = printer.top(&Expr::name("cell_out", uint(width)).low(self.target.width()));
        let target = printer.top(&self.target);
        let mut out = String::new();
        for wire in printer.hoisted.drain(..) {
            let _ = writeln!(out, "{indent}{}", wire.wire());
        }
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{indent}{indent}.{name}({value})")).collect();
        let _ = writeln!(out, "{indent}wire [{}:0] cell_out;", width - 1);
        let _ = writeln!(out, "{indent}{} #(\n{}\n{indent}) u_cell (", self.cell, parameters.join(",\n"));
        let _ = writeln!(out, "{},\n{indent}{indent}.{port}(cell_out)\n{indent});", inputs.join(",\n"));
        let _ = writeln!(out, "{indent}assign {target} = {low};");
        out
    }
}
