//! The parts of the accelerator, one file each: a struct of shape numbers with `build`, which adds the
//! module (and those it uses) to a design.
//!
//! | block | purpose |
//! |---|---|
//! | [`skid::Skid`] | cuts the ready path of a stream |
//! | [`fifo::Fifo`] | a queue in LUT RAM |
//! | [`pipe::Credit`] | ready/valid around a pipeline that cannot stall |
//! | [`fp`] | binary32 arithmetic |
//! | [`fifo_deep::FifoDeep`] | a queue in Block RAM |
//! | [`fifo_ram::FifoRam`] | a deep queue in Block RAM or UltraRAM |
//! | [`axi_read::AxiRead`] | reads memory for several clients through an AXI4 port |
//! | [`axi_write::AxiWrite`] | writes memory for several clients through an AXI4 port |
//! | [`balance::Balance`] | shares packets out among unequal memory ports |
//! | [`packets::PacketRead`], [`crc32c::Crc32c`] | packets of a linear stream, checked |
//! | [`stream_read::StreamRead`] | a linear stream as words |
//! | [`weights::Weights`], [`ring::Ring`] | weights of all ports, and their buffer |
//! | [`weight_port::WeightPort`] | beats of a port -> words of codes |
//! | [`gearbox::Gearbox`] | changes how many elements a beat carries |
//! | [`unpack5::Unpack5`] | five trits a byte -> 5-bit codes |
//! | [`dsp`] | additions and multiplications in DSP slices |
//! | [`table_build::TableBuild`] | int8 activations -> entries of the sum tables |
//! | [`tlmm_row::TlmmRow`] | one weight row: look up a code per table, add up |
//! | [`psum::Psum`] | accumulates over the inputs of a layer |
//! | [`tlmm::Tlmm`] | the table-look-up matrix engine made of these |
//! | [`regs::Regs`] | registers behind AXI4-Lite |
//! | [`reset_ctl::ResetCtl`] | soft reset that lets memory ports finish |
//! | [`sequencer::Sequencer`] | fetches, waits, issues; faults, watchdog |
//! | [`act_buffer::ActBuffer`] | codes of activations, packed for the tables |
//! | [`feeder::Feeder`] | from that buffer to the engine |
//! | [`matrix::Matrix`] | the matrix unit made of these |
//! | [`quantize::Quantize`] | norm, maximum, codes, scales |
//! | [`vmem::Vmem`] | the vectors of all tokens |
//! | [`kv_write::KvWrite`] | keys and values to the cache |
//! | [`gather::Gather`] | embedding rows and rotary factors |
//! | [`epilogue::Epilogue`] | sums -> floats: scales, planes, bias, RoPE, gates, residual |
//! | [`head::HeadOut`] | best row of every slot, logits to memory, list of the best groups |

pub mod act_buffer;
pub(crate) mod act_window;
pub mod attend;
pub mod axi_client;
pub mod axi_ports;
pub mod axi_read;
pub mod axi_write;
pub mod axi_write_client;
pub mod balance;
pub(crate) mod banks;
mod bundle;
pub mod command_queue;
pub mod crc32c;
pub mod dsp;
pub mod epilogue;
pub mod feeder;
pub mod fifo;
pub mod fifo_deep;
pub mod fifo_ram;
pub mod fp;
pub mod gather;
pub mod gearbox;
pub mod head;
pub mod kv_write;
mod listed;
pub mod matrix;
pub mod packets;
pub mod pipe;
pub mod psum;
pub mod quantize;
pub mod regs;
pub(crate) mod require;
pub mod reset_ctl;
pub mod rest;
pub mod ring;
pub mod sequencer;
pub mod skid;
pub mod stream_read;
pub mod table_build;
pub mod tlmm;
pub(crate) mod tlmm_control;
pub mod tlmm_row;
pub mod unpack5;
pub mod vmem;
pub mod weight_port;
pub mod weights;
