//! What bitstreams need to know of a board beyond its part: how memory, registers, clock and interrupt are reached.
//!
//! The one place for these facts: block design, constraints, device tree, manifest and their tests take them from here.
//! Sources: AMD UG1085 and UG1087 (Zynq UltraScale+), UG1089 (KV260), UG1371 (U50), PG195 (XDMA), PG276 (HBM), and the
//! public designs for both boards that are named in bitstreams/README.md.

/// How a board is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// The logic of a Zynq UltraScale+ beside its processor.
    Zynq(&'static Zynq),
    /// A PCI Express card with HBM behind AMD's XDMA.
    Card(&'static Card),
}

/// A slave port of the processing system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlavePort {
    /// Its interface.
    pub interface: &'static str,
    /// Its clock's pin.
    pub clock: &'static str,
    /// The number that its properties and address segments have: `S_AXI_GP<number>`.
    pub number: u32,
    /// What its address segments begin with.
    pub segment: &'static str,
    /// Numbers of its two width registers in the device tree's `config-afi`: reads, writes.
    pub afi: [u32; 2],
}

/// Facts of a Zynq board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zynq {
    /// Pattern of its board files' name.
    pub board_part: &'static str,
    /// Ports to memory, in the order of the machine's.
    pub slaves: [SlavePort; 4],
    /// Bits of the ports' identifiers and addresses.
    pub id_bits: u32,
    /// Bits of their addresses.
    pub addr_bits: u32,
    /// Widest data of a port.
    pub port_bits: u32,
    /// Where the processor sees the registers: the first address behind `M_AXI_HPM0_FPD`.
    pub registers: u64,
    /// The interrupt's number in the device tree: `pl_ps_irq0[0]` is line 121, of which shared lines begin at 32.
    pub interrupt: u32,
    /// Name of the fabric clock's index in the device tree.
    pub clock_index: u32,
    /// Memory below 4 GiB that the ports reach: base, bytes.
    pub low: (u64, u64),
    /// The rest: base, bytes.
    pub high: (u64, u64),
}

/// Facts of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Place of the hard PCI Express block.
    pub pcie_block: &'static str,
    /// The quad of lane 0.
    pub quad: &'static str,
    /// Lanes.
    pub lanes: u32,
    /// Speed of a lane.
    pub speed: &'static str,
    /// Device number that AMD's driver knows: 90 for UltraScale+, generation, lanes.
    pub device: &'static str,
    /// Data width of the DMA's master.
    pub dma_bits: u32,
    /// Clock of the DMA, in MHz.
    pub dma_mhz: u32,
    /// HBM ports for the machine, from `SAXI_00` on.
    pub ports: u32,
    /// The HBM port of the DMA, in the other stack, so that its clock may be another.
    pub dma_port: u32,
    /// Segments of HBM, and bytes of each; segment i lies at i times its size.
    pub segments: (u32, u64),
    /// Most MHz of an HBM port.
    pub most_mhz: u32,
    /// Bits of identifiers and addresses of the machine's ports; SmartConnects narrow them.
    pub id_bits: u32,
    /// Bits of addresses.
    pub addr_bits: u32,
    /// Where the DMA sees the registers.
    pub registers: u64,
    /// Watts that the card may take from the slot's connector and its own.
    pub watts: u32,
    /// Pins: port of the block design, package pin, I/O standard (none for transceivers).
    pub pins: &'static [(&'static str, &'static str, &'static str)],
}

const fn slave(
    number: u32,
    interface: &'static str,
    clock: &'static str,
    segment: &'static str,
    afi: u32,
) -> SlavePort {
    SlavePort { interface, clock, number, segment, afi: [afi, afi + 1] }
}

/// Kria KV260: a K26 module. Ports HP0 to HP3, which do not look into the processor's caches.
const KV260: Zynq = Zynq {
    board_part: "*:kv260_som:part0:*",
    slaves: [
        slave(2, "S_AXI_HP0_FPD", "saxihp0_fpd_aclk", "HP0", 4),
        slave(3, "S_AXI_HP1_FPD", "saxihp1_fpd_aclk", "HP1", 6),
        slave(4, "S_AXI_HP2_FPD", "saxihp2_fpd_aclk", "HP2", 8),
        slave(5, "S_AXI_HP3_FPD", "saxihp3_fpd_aclk", "HP3", 10),
    ],
    id_bits: 6,
    addr_bits: 49,
    port_bits: 128,
    registers: 0xa000_0000,
    interrupt: 121 - 32,
    clock_index: 71,
    low: (0, 2 << 30),
    high: (0x8_0000_0000, 2 << 30),
};

/// Alveo U50: 8 GiB of HBM in two stacks of 16 ports.
const U50: Card = Card {
    pcie_block: "PCIE4C_X1Y0",
    quad: "GTY_Quad_227",
    lanes: 16,
    speed: "8.0_GT/s",
    device: "903F",
    dma_bits: 512,
    dma_mhz: 250,
    ports: 16,
    dma_port: 16,
    segments: (32, 256 << 20),
    most_mhz: 450,
    id_bits: 6,
    addr_bits: 40,
    registers: 0,
    watts: 63,
    pins: &[
        ("pcie_refclk_clk_p", "AF9", ""),
        ("pcie_refclk_clk_n", "AF8", ""),
        ("pcie_perst_n", "AW27", "LVCMOS18"),
        ("clock_100_clk_p", "BB18", "LVDS"),
        ("clock_100_clk_n", "BC18", "LVDS"),
        ("hbm_cattrip", "J18", "LVCMOS18"),
    ],
};

/// How the board with this name is connected; `None` if there is nothing to build for it.
pub fn shell(board: &str) -> Option<Shell> {
    match board {
        "kv260" => Some(Shell::Zynq(&KV260)),
        "u50" => Some(Shell::Card(&U50)),
        _ => None,
    }
}
