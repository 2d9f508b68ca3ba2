//! A small hardware language inside Rust: typed expressions, modules and a Verilog printer.
//!
//! Shapes are ordinary run-time numbers, so one Rust function describes a block for every preset.
//! Widths and signs are checked while a module is built. Nothing here panics: an expression that
//! does not type-check carries its [`IrError`] along, and [`Module::finish`] returns the first one.
//!
//! ```
//! use hw::ir::{Design, Module, uint};
//! let mut m = Module::new("tern_sum");
//! let a = m.input("a_i", uint(8));
//! let b = m.input("b_i", uint(8));
//! let sum = m.output("sum_o", uint(9)); // an addition grows by one bit
//! m.drive(&sum, &(&a + &b));
//! let mut design = Design::default();
//! design.add(m).unwrap();
//! assert!(design.verilog("tern_sum").unwrap().contains("assign sum_o = {1'b0, a_i} + {1'b0, b_i};"));
//! ```

mod design;
mod emit;
mod error;
mod eval;
mod expr;
mod inventory;
mod module;
mod ops;
mod pipeline;
mod primitive;
mod print;
mod sink;
mod stream;

pub use design::{Design, Interface};
pub use error::{ExprError, IrError};
pub use eval::evaluate;
pub use expr::{Expr, Ty, cat, lit, repeat, sint, slit, uint, zero};
pub use inventory::Stored;
pub use module::{Dir, Module, Outputs, Port, RamStyle};
pub use primitive::Primitive;
pub use stream::{Sink, Source};
