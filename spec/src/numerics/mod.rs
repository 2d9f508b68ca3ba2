//! The arithmetic of the accelerator, operation by operation (docs/architecture/numerics.md).

pub mod f32ops;
