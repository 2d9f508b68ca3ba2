//! The packed model image: one file with everything a model needs, in the order a forward pass
//! reads it, checked as a whole before any of it is used.
//!
//! * [`header`]: the fixed header, the section table and where sections lie.
//! * [`section`]: one table entry.
//! * [`layout`]: which sections a model has, their names and order.
//! * [`assemble()`]: weights out of a file's sections, without copying the codes.
//!
//! Only bytes: files, checksums and JSON are the business of `host::image`.

pub mod assemble;
pub mod error;
pub mod header;
pub mod layout;
pub mod section;

pub use assemble::assemble;
pub use error::{Digest, ImageError};
pub use header::ImageHeader;
pub use layout::{Source, Tensor, describe};
pub use section::{Element, Section};
