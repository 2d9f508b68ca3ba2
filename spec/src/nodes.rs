//! Names and sizes of a Zynq's nodes: what the device tree of a bitstream says and what the driver looks for.

/// What names of UIO devices and buffers begin with.
pub const PREFIX: &str = "tercet";
/// The UIO device with registers and interrupt.
pub const UIO: &str = "tercet";
/// The buffer of u-dma-buf.
pub const BUFFER: &str = "tercet-memory";
/// Bytes of the buffer, unless a device tree says otherwise.
pub const BUFFER_BYTES: u64 = 1 << 30;
/// Bus address and bytes of a card's memory, unless its design says otherwise.
pub const CARD_MEMORY: (u64, u64) = (0, 8 << 30);
/// Folder in which the board's loader looks for bitstreams; each lies in a folder `tercet-<preset>` with its manifest.
pub const FIRMWARE: &str = "/lib/firmware/xilinx";

/// The name under which the board's loader knows the bitstream of a preset.
pub fn application(preset: &str) -> String {
    format!("{PREFIX}-{preset}")
}
