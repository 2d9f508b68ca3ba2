//! From a name to an open board: finds its nodes, locks them and maps them.

use super::axi::Axi;
use super::dmabuf::DmaMemory;
use super::error::{DeviceError, Trouble};
use super::node::real::{Coherent, Mapped, UDmaBufSync, UioEvents, XdmaEvents};
#[cfg(feature = "sim")]
use super::node::simulated::{Standin, StandinEvents, pipe};
use super::node::{CacheSync, EventNode, Window, is_real, lock::lock};
use super::sysfs::{Attributes, ZynqNodes};
use super::xdma::{Xdma, XdmaNodes};
use spec::nodes::CARD_MEMORY;
use spec::transport::Transport;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// How a board is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// PCI Express, AMD's XDMA driver.
    Xdma,
    /// Zynq: UIO and u-dma-buf.
    Axi,
}

/// Which board.
#[derive(Clone, Debug)]
pub struct Address {
    /// How it is connected.
    pub connection: Connection,
    /// A node or a folder of nodes; otherwise the usual place.
    pub device: Option<PathBuf>,
    /// Bus address and bytes of a card's memory; what its design says. Otherwise 0 and 8 GiB.
    pub memory: Option<(u64, u64)>,
}

/// A device behind any transport.
pub type AnyTransport = Box<dyn Transport + Send>;

/// An open board.
pub struct Opened {
    /// The way to it.
    pub transport: AnyTransport,
    /// For people.
    pub name: String,
    /// Whether its clock is Verilator's.
    pub simulated: bool,
}

fn open_node(path: &Path, read: bool, write: bool) -> Result<File, DeviceError> {
    let file = OpenOptions::new().read(read).write(write).open(path);
    file.map_err(|error| DeviceError::system(path.display(), &error))
}

fn mapped(path: &Path, result: std::io::Result<Mapped>) -> Result<Box<dyn Window>, DeviceError> {
    let window = result.map_err(|error| DeviceError::system(format!("mapping {}", path.display()), &error))?;
    Ok(Box::new(window))
}

impl Address {
    /// Opens the board; nothing is written to it.
    pub fn open(&self) -> Result<Opened, DeviceError> {
        match self.connection {
            Connection::Xdma => self.xdma(),
            Connection::Axi => self.axi(),
        }
    }

    /// What the names of a card's nodes begin with: `/dev/xdma0` for `/dev/xdma0_user`, `/dev/xdma0` or `/dev`.
    pub fn card(&self) -> PathBuf {
        let Some(given) = &self.device else { return "/dev/xdma0".into() };
        if given.is_dir() {
            return given.join("xdma0");
        }
        let name = given.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ends = ["_user", "_h2c_0", "_c2h_0", "_events_0"];
        let stem = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        given.with_file_name(stem)
    }

    fn xdma(&self) -> Result<Opened, DeviceError> {
        let card = self.card();
        let node = |end: &str| PathBuf::from(format!("{}_{end}", card.display()));
        let [user, down, up, events] = ["user", "h2c_0", "c2h_0", "events_0"].map(node);
        let down_file = open_node(&down, false, true)?;
        lock(&down, &down_file)?;
        let up_file = open_node(&up, true, false)?;
        let user_file = open_node(&user, true, true)?;
        let simulated = !is_real(&user, &user_file)?;
        let (memory, window, events): (_, Box<dyn Window>, Box<dyn EventNode>) = match simulated {
            false => {
                let events = XdmaEvents(open_node(&events, true, false)?);
                (self.memory.unwrap_or(CARD_MEMORY), mapped(&user, Mapped::new(&user_file, 0, 0))?, Box::new(events))
            }
            #[cfg(feature = "sim")]
            true => {
                let board = Standin::open(&user).map_err(|error| simulated_board(&user, &error))?;
                let pipe = pipe(&events).map_err(|error| DeviceError::system(events.display(), &error))?;
                (board.memory(), Box::new(board), Box::new(StandinEvents { pipe, mask: None }))
            }
            #[cfg(not(feature = "sim"))]
            true => return Err(no_simulation(&user)),
        };
        let nodes = XdmaNodes { window, down: Box::new(down_file), up: Box::new(up_file), events };
        let name = format!("{}{}", if simulated { "simulated " } else { "" }, card.display());
        let transport = Box::new(Xdma::new(nodes, name.clone(), memory.0, memory.1)?);
        Ok(Opened { transport, name, simulated })
    }

    fn axi(&self) -> Result<Opened, DeviceError> {
        let ZynqNodes { uio, registers, buffer, memory } = ZynqNodes::find(self.device.as_deref())?;
        let memory_file = open_node(&memory, true, true)?;
        lock(&memory, &memory_file)?;
        let uio_file = open_node(&uio, true, true)?;
        let simulated = !is_real(&uio, &uio_file)?;
        let number = |folder: &Attributes, name: &str| folder.number(name);
        let (base, bytes) = (number(&buffer, "phys_addr")?, number(&buffer, "size")?);
        let size = number(&registers, "size")?;
        if size < u64::from(spec::regs::WINDOW) {
            let text = format!("{}: {size} bytes of registers, expected {}", uio.display(), spec::regs::WINDOW);
            return Err(DeviceError::new(Trouble::Mismatch, text));
        }
        let coherent = buffer.number("dma_coherent").unwrap_or(0) == 1;
        let (window, events, sync): (Box<dyn Window>, Box<dyn EventNode>, Box<dyn CacheSync>) = match simulated {
            false => {
                let skip = registers.number("offset").unwrap_or(0) as usize;
                let window = mapped(&uio, Mapped::new(&uio_file, 0, skip))?;
                let again =
                    |file: &File| file.try_clone().map_err(|error| DeviceError::system(memory.display(), &error));
                let sync: Box<dyn CacheSync> =
                    if coherent { Box::new(Coherent) } else { Box::new(UDmaBufSync(again(&memory_file)?)) };
                (window, Box::new(UioEvents(uio_file)), sync)
            }
            #[cfg(feature = "sim")]
            true => {
                let board = Standin::open(&uio).map_err(|error| simulated_board(&uio, &error))?;
                let irq = PathBuf::from(format!("{}_irq", uio.display()));
                let pipe = pipe(&irq).map_err(|error| DeviceError::system(irq.display(), &error))?;
                let events = StandinEvents { pipe, mask: Some(board.clone()) };
                let sync: Box<dyn CacheSync> = if coherent { Box::new(Coherent) } else { Box::new(board.clone()) };
                (Box::new(board), Box::new(events), sync)
            }
            #[cfg(not(feature = "sim"))]
            true => return Err(no_simulation(&uio)),
        };
        let map = DmaMemory::new(memory_file, bytes, sync);
        let map = map.map_err(|error| DeviceError::system(format!("mapping {}", memory.display()), &error))?;
        let name = format!("{}{}", if simulated { "simulated " } else { "" }, uio.display());
        Ok(Opened { transport: Box::new(Axi::new(window, events, map, name.clone(), base)), name, simulated })
    }
}

#[cfg(feature = "sim")]
fn simulated_board(path: &Path, error: &std::io::Error) -> DeviceError {
    let text = format!("{}: {error}; start it with `cargo run --release -p sim --bin board`", path.display());
    DeviceError::new(Trouble::Lost, text)
}

#[cfg(not(feature = "sim"))]
fn no_simulation(path: &Path) -> DeviceError {
    let text = format!("{}: a simulated board; this program was built without feature sim", path.display());
    DeviceError::new(Trouble::Lost, text)
}
