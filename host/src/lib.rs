//! x

pub mod load;
pub mod mmap;
