//! The parts of the accelerator, one file each: a struct of shape numbers with `build`, which adds the
//! module (and those it uses) to a design.
//!
//! | block | purpose |
//! |---|---|
//! | [`skid::Skid`] | cuts the ready path of a stream |
//! | [`fifo::Fifo`] | a queue in LUT RAM |
//! | [`fifo_deep::FifoDeep`] | a queue in Block RAM |
//! | [`pipe::Credit`] | ready/valid around a pipeline that cannot stall |
//! | [`fp`] | binary32 arithmetic |
//! | [`gearbox::Gearbox`] | changes how many elements a beat carries |
//! | [`unpack5::Unpack5`] | five trits a byte -> 5-bit codes |
//! | [`table_build::TableBuild`] | int8 activations -> entries of the sum tables |
//! | [`tlmm_row::TlmmRow`] | one weight row: look up a code per table, add up |
//! | [`psum::Psum`] | accumulates over the inputs of a layer |
//! | [`tlmm::Tlmm`] | the table-look-up matrix engine made of these |
//! | [`act_buffer::ActBuffer`] | codes of activations, packed for the tables |
//! | [`feeder::Feeder`] | from that buffer to the engine |
//! | [`matrix::Matrix`] | the matrix unit made of these |
//! | [`kv_write::KvWrite`] | keys and values to the cache |
//! | [`gather::Gather`] | embedding rows and rotary factors |

pub mod act_buffer;
mod act_window;
pub mod feeder;
pub mod fifo;
pub mod fifo_deep;
pub mod fp;
pub mod gather;
pub mod gearbox;
pub mod kv_write;
pub mod matrix;
pub mod pipe;
pub mod psum;
pub mod skid;
pub mod table_build;
pub mod tlmm;
pub(crate) mod tlmm_control;
pub mod tlmm_row;
pub mod unpack5;
