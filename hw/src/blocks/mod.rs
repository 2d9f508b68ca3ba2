//! The parts of the accelerator, one file each: a struct of shape numbers with `build`, which adds the
//! module (and those it uses) to a design.
//!
//! | block | purpose |
//! |---|---|
//! | [`skid::Skid`] | cuts the ready path of a stream |
//! | [`fifo::Fifo`] | a queue in LUT RAM |
//! | [`pipe::Credit`] | ready/valid around a pipeline that cannot stall |
//! | [`fp`] | binary32 arithmetic |
//! | [`gearbox::Gearbox`] | changes how many elements a beat carries |
//! | [`unpack5::Unpack5`] | five trits a byte -> 5-bit codes |
//! | [`table_build::TableBuild`] | int8 activations -> entries of the sum tables |
//! | [`tlmm_row::TlmmRow`] | one weight row: look up a code per table, add up |
//! | [`psum::Psum`] | accumulates over the inputs of a layer |
//! | [`tlmm::Tlmm`] | the table-look-up matrix engine made of these |
//! | [`epilogue::Epilogue`] | sums -> floats: scales, planes, bias, RoPE, gates, residual |
//! | [`head::HeadOut`] | best row of every slot, logits to memory |

pub mod epilogue;
pub mod fifo;
pub mod fp;
pub mod gearbox;
pub mod head;
pub mod pipe;
pub mod psum;
pub mod skid;
pub mod table_build;
pub mod tlmm;
pub mod tlmm_row;
pub mod unpack5;
