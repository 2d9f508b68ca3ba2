//! x

pub mod cpu;
