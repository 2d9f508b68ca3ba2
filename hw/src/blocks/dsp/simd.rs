//! Several additions in one slice.

use super::{A_PORT, SUM, slice};
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, repeat, uint};
use std::rc::Rc;

/// Sums of pairs of lanes, each with the signs that all lanes of a word share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimdAdd {
    /// Whether the inputs have registers, and signs.
    pub signs: bool,
}

impl SimdAdd {
    /// Lanes of a slice.
    pub const LANES: u32 = 4;
    /// Bits of a lane.
    pub const LANE: u32 = SUM / Self::LANES;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, lane) = (Self::LANES, Self::LANE);
        let mut m = Module::new(if self.signs { "tern_dsp_add4_signed" } else { "tern_dsp_add4" });
        let signs = match self.signs {
            false => "",
            true => {
                "\n\
                 Signs    differ_i: a and b have different signs, negate_i: that of b is minus. a + b; a - b;\n\
                 \x20        -a - 1 + b; -a - 1 - b: if a is negative, the sum lacks one\n\
                 ALUMODE  differ_i inverts Z = a, negate_i the sum: a - b = ~(~a + b)"
            }
        };
        m.header(&format!(
            "Additions in one DSP slice: sum[i] = a[i] + b[i] for {lanes} lanes.\n\n\
             Shapes   a, b, sum [{lanes}] i{lane}, lane 0 in the low bits; no carry passes between lanes{signs}\n\
             Latency  {}\n\
             Stalls   none: registers hold without their enable\n\
             Source   AMD UG579, FOUR12 and ALUMODE\n\
             Oracle   sim::blocks::dsp",
            if self.signs { "2 cycles: inputs with load_i, sums with move_i" } else { "1 cycle, with move_i" }
        ));
        let moves = m.input("move_i", uint(1));
        let (a, b) = (m.input("a_i", uint(SUM)), m.input("b_i", uint(SUM)));
        let signs = self.signs.then(|| ["load_i", "differ_i", "negate_i"].map(|name| m.input(name, uint(1))));
        let sum = m.output("sum_o", uint(SUM));

        let (mut z, mut x, mut invert) = (a.clone(), b.clone(), None);
        if let Some([load, differ, negate]) = &signs {
            let mut held = |name: &str, value: &Expr| m.held(name, load, value);
            (z, x) = (held("a_q", &a), held("b_q", &b));
            let (differ_q, negate_q) = (held("differ_q", differ), held("negate_q", negate));
            z = m.wire("z", &(&z ^ repeat(SUM, &differ_q)));
            invert = Some(negate_q);
        }
        m.comment(
            "All lanes at once: the highest bit of each takes no part in the addition, so that no carry leaves it.",
        );
        let tops = lit(repeated(1 << (lane - 1)), SUM);
        let low = (&z & !&tops).add_wrap(&(&x & !&tops));
        let sums = m.wire("sums", &(low ^ ((&z ^ &x) & &tops)));
        let sum_q = m.reg("sum_q", uint(SUM));
        let next = invert.map_or(sums.clone(), |invert| &sums ^ repeat(SUM, &invert));
        m.next_when(&sum_q, &moves, &next);
        m.drive(&sum, &sum_q);

        // P = Z + X with Z = C, X = A:B
        let mut registers = vec!["PREG"];
        let mut inputs = vec![
            ("A", b.slice(SUM - A_PORT, A_PORT)),
            ("B", b.low(SUM - A_PORT)),
            ("C", a),
            ("OPMODE", lit(0b011 << 4 | 0b11, 9)),
            ("CEP", moves),
        ];
        if let Some([load, differ, negate]) = signs {
            registers.extend(["AREG", "ACASCREG", "BREG", "BCASCREG", "CREG", "ALUMODEREG"]);
            inputs.push(("ALUMODE", cat([&lit(0, 2), &negate, &differ])));
            inputs.extend(["CEA2", "CEB2", "CEC", "CEALUMODE"].map(|port| (port, load.clone())));
        }
        slice(&mut m, &registers, &[("USE_MULT", "NONE"), ("USE_SIMD", "FOUR12")], inputs, &sum);
        design.add(m)
    }
}

/// The same lane in all places of a word.
fn repeated(lane: u128) -> u128 {
    (0..SimdAdd::LANES).fold(0, |word, i| word | lane << (i * SimdAdd::LANE))
}
