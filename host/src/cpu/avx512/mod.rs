//! AVX-512 with VNNI and VBMI.
//!
//! A byte lookup (`vpermb`) turns a vector of 5-bit codes into a trit vector in one step; the index bits
//! above the code are ignored by repeating the 32-entry table, so nothing is masked. `vpdpbusd`
//! multiplies it by four activations that are broadcast on their way from memory.

#[macro_use]
mod codes;
#[macro_use]
mod weights;
mod attention;
pub mod gate;
mod grouped;
pub mod heads;
pub mod quantize;
mod table;
pub mod unpack;

pub use attention::{key_products, value_sums};
pub use grouped::grouped;
pub use table::table_products;
pub use weights::{block, pair};
