//! Clocks that stand still while a unit rests. For simulation only: there every edge of a clock costs time, on a board
//! the enables of the registers do.

use crate::ir::{Dir, Expr, Interface, Module, Port, lit, uint};

/// Module that the simulator brings: `clk_o` is `clk_i`, but stays low from `hold_i` cycles after the last one
/// with `on_i`.
pub const CLOCK_GATE: &str = "sim_clock_gate";
/// Bits of `hold_i`.
const HOLD_BITS: u32 = 8;

/// When a unit rests: for some cycles nothing has passed at its streams, and …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// … it says that it is idle.
    Idle,
    /// … that is all: what is in it waits for the outside.
    Still,
    /// … likewise, and few stages are in it.
    Brief,
}

impl Rest {
    /// Cycles after which nothing moves inside any more.
    const fn hold(self) -> u128 {
        match self {
            Rest::Idle | Rest::Brief => 16,
            Rest::Still => 64,
        }
    }

    /// The clock of a unit that must run while `on`.
    pub(crate) fn clock(self, m: &mut Module, role: &str, on: &Expr) -> Expr {
        let port = |name: &str, dir, width| Port { name: name.to_string(), dir, ty: uint(width) };
        let ports = [("clk_i", 1), ("hold_i", HOLD_BITS), ("on_i", 1)].map(|(name, width)| port(name, Dir::In, width));
        let ports = ports.into_iter().chain([port("clk_o", Dir::Out, 1)]).collect();
        let of = Interface { name: CLOCK_GATE.to_string(), ports };
        let hold = lit(self.hold(), HOLD_BITS);
        m.instance(&format!("{role}_rest"), &of, &[("hold_i", &hold), ("on_i", on)]).get("clk_o")
    }
}
