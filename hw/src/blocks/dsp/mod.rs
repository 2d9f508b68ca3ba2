//! Arithmetic in DSP slices.
//!
//! LUTs are what a machine runs out of, DSP slices are left over. Each block here is what one DSP48E2 of UltraScale+
//! (AMD UG579) does: its body says so in plain Verilog, which Verilator and other vendors' tools take (with
//! `VERILATOR` defined, as Verilator does by itself), and beside it stands the cell with its settings, which AMD's
//! tools and Yosys take. `sim::blocks::dsp` compares both, with a model of the cell of our own.

mod mac;
mod mul_add;
mod simd;

pub use mac::Mac;
pub use mul_add::MulAdd;
pub use simd::SimdAdd;

use crate::ir::{Expr, Module, Primitive, lit};

/// Bits of the sum `P` and of the addend `C`.
const SUM: u32 = 48;
/// Bits of the multiplier's inputs `A` (with `D`) and `B`.
const FACTORS: (u32, u32) = (27, 18);
/// Bits of port `A`, of which the multiplier takes 27.
const A_PORT: u32 = 30;

/// Stages of registers: all that a block does not name are left out.
const REGISTERS: [&str; 14] = [
    "ACASCREG",
    "ADREG",
    "ALUMODEREG",
    "AREG",
    "BCASCREG",
    "BREG",
    "CARRYINREG",
    "CARRYINSELREG",
    "CREG",
    "DREG",
    "INMODEREG",
    "MREG",
    "OPMODEREG",
    "PREG",
];

/// Inputs and their widths: all that a block does not name are zero.
const INPUTS: [(&str, u32); 38] = [
    ("A", A_PORT),
    ("ACIN", 30),
    ("ALUMODE", 4),
    ("B", 18),
    ("BCIN", 18),
    ("C", SUM),
    ("CARRYCASCIN", 1),
    ("CARRYIN", 1),
    ("CARRYINSEL", 3),
    ("CEA1", 1),
    ("CEA2", 1),
    ("CEAD", 1),
    ("CEALUMODE", 1),
    ("CEB1", 1),
    ("CEB2", 1),
    ("CEC", 1),
    ("CECARRYIN", 1),
    ("CECTRL", 1),
    ("CED", 1),
    ("CEINMODE", 1),
    ("CEM", 1),
    ("CEP", 1),
    ("CLK", 1),
    ("D", 27),
    ("INMODE", 5),
    ("MULTSIGNIN", 1),
    ("OPMODE", 9),
    ("PCIN", SUM),
    ("RSTA", 1),
    ("RSTALLCARRYIN", 1),
    ("RSTALUMODE", 1),
    ("RSTB", 1),
    ("RSTC", 1),
    ("RSTCTRL", 1),
    ("RSTD", 1),
    ("RSTINMODE", 1),
    ("RSTM", 1),
    ("RSTP", 1),
];

/// Puts a DSP48E2 beside the body of a module with a clock: `registers` that are there, other parameters, inputs, and
/// the output that gets its sum.
fn slice(m: &mut Module, registers: &[&str], texts: &[(&'static str, &str)], given: Vec<(&str, Expr)>, target: &Expr) {
    let mut parameters: Vec<(&'static str, String)> =
        REGISTERS.iter().map(|name| (*name, u32::from(registers.contains(name)).to_string())).collect();
    parameters.extend(texts.iter().map(|(name, value)| (*name, format!("\"{value}\""))));
    let value = |name: &str, width: u32| {
        let given = given.iter().find(|(port, _)| *port == name);
        given.map_or_else(|| if name == "CLK" { m.clock() } else { lit(0, width) }, |(_, e)| e.clone())
    };
    let inputs = INPUTS.iter().map(|(name, width)| (*name, value(name, *width))).collect();
    m.primitive(Primitive { cell: "DSP48E2", parameters, inputs, output: ("P", SUM), target: target.clone() });
}
