//! The arithmetic of the accelerator, operation by operation (docs/architecture/numerics.md).

pub mod exp2;
pub mod f32ops;
pub mod math;
pub mod quant;
pub mod rope;
pub mod sigmoid;
pub mod softmax;
