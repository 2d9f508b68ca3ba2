//! What the kernel shows of a board.

use super::Finding;
use crate::device::error::{DeviceError, Trouble};
use crate::device::open::{Address, Connection};
use crate::device::sysfs::{Attributes, ZynqNodes};
use rustix::fs::{Access, access};
use spec::nodes::BUFFER_BYTES;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

const GROUP: &str =
    "install share/tercet/60-tercet.rules and join its group: `sudo usermod -aG tercet $USER`, then log in again";

/// Nodes, rights and what stands behind them.
pub fn examine(address: &Address) -> Vec<Finding> {
    match address.connection {
        Connection::Xdma => xdma(address),
        Connection::Axi => axi(address),
    }
}

/// A node: there, of the right kind, with the rights that are needed. And whether it is a real one.
fn node(path: &Path, rights: Access, missing: &str) -> (Finding, bool) {
    let check = format!("node {}", path.display());
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) => {
            let trouble = DeviceError::system("", &error).trouble;
            return (Finding::bad(check, trouble, error.to_string(), missing), false);
        }
    };
    let real = kind.is_char_device();
    if let Err(error) = access(path, rights) {
        return (Finding::bad(check, Trouble::Permission, std::io::Error::from(error).to_string(), GROUP), real);
    }
    let found = match (real, cfg!(feature = "sim") && (kind.is_file() || kind.is_fifo())) {
        (true, _) => "device node",
        (false, true) => "of a simulated board",
        (false, false) => return (Finding::bad(check, Trouble::Lost, "no device node", missing), false),
    };
    (Finding::good(check, found), real)
}

fn module(name: &str, fix: &str) -> Finding {
    let check = format!("module {name}");
    let Ok(modules) = fs::read_to_string("/proc/modules") else {
        return Finding::skipped(check, "/proc/modules cannot be read");
    };
    let loaded = modules.lines().any(|line| line.split(' ').next() == Some(&name.replace('-', "_")));
    let built_in = Path::new("/sys/module").join(name.replace('-', "_")).is_dir();
    match (loaded, built_in) {
        (true, _) => Finding::good(check, "loaded"),
        (false, true) => Finding::good(check, "built in"),
        _ => Finding::bad(check, Trouble::Lost, "not loaded", fix),
    }
}

fn xdma(address: &Address) -> Vec<Finding> {
    let card = address.card();
    let missing = "load AMD's XDMA driver (`sudo modprobe xdma`; not the kernel's own dmaengine driver of that name) and \
                   see that the card is there: `lspci -d 10ee:`";
    let nodes = [
        ("user", Access::READ_OK | Access::WRITE_OK),
        ("h2c_0", Access::WRITE_OK),
        ("c2h_0", Access::READ_OK),
        ("events_0", Access::READ_OK),
    ];
    let paths = nodes.map(|(end, rights)| (PathBuf::from(format!("{}_{end}", card.display())), rights));
    let (mut findings, mut real) = (Vec::new(), false);
    for (path, rights) in &paths {
        let (finding, is_real) = node(path, *rights, missing);
        findings.push(finding);
        real |= is_real;
    }
    if real {
        findings.push(link(&paths[0].0));
    } else {
        findings.push(Finding::skipped("link", "no card on PCI Express"));
    }
    findings
}

/// Speed and width of the link, against the most that card and slot can do.
fn link(user: &Path) -> Finding {
    let name = user.file_name().unwrap_or_default();
    let pci = Attributes(Path::new("/sys/class/xdma").join(name).join("device"));
    let text = |name: &str| pci.text(name);
    let all = ["current_link_speed", "current_link_width", "max_link_speed", "max_link_width"].map(text);
    let [Ok(speed), Ok(width), Ok(most_speed), Ok(most_width)] = all else {
        return Finding::skipped("link", "the kernel tells nothing about it");
    };
    let (now, most) = (format!("{speed} x{width}"), format!("{most_speed} x{most_width}"));
    match now == most {
        true => Finding::good("link", now),
        false => {
            let fix = "move the card to a slot with more lanes, or seat it again; models load slower, tokens do not";
            Finding::odd("link", format!("{now}, could be {most}"), fix)
        }
    }
}

fn axi(address: &Address) -> Vec<Finding> {
    let nodes = match ZynqNodes::find(address.device.as_deref()) {
        Ok(nodes) => nodes,
        Err(error) => {
            let uio = "`sudo modprobe uio_pdrv_genirq of_id=generic-uio`, and load the bitstream with its device tree";
            let buffer = "`sudo modprobe u-dma-buf udmabuf0=1073741824`, or a node ikwzm,u-dma-buf in the device tree";
            return vec![module("uio_pdrv_genirq", uio), module("u-dma-buf", buffer), Finding::error("nodes", &error)];
        }
    };
    let both = Access::READ_OK | Access::WRITE_OK;
    let (uio, real) =
        node(&nodes.uio, both, "load the bitstream with its device tree, e.g. `sudo xmutil loadapp tercet-kv260`");
    let (buffer, _) = node(&nodes.memory, both, "`sudo modprobe u-dma-buf udmabuf0=1073741824`");
    let mut findings = vec![uio, buffer];
    findings.push(match nodes.buffer.number("size") {
        Ok(bytes) => Finding::good("buffer", format!("{} MiB, {}", bytes >> 20, coherence(&nodes.buffer))),
        Err(error) => Finding::error("buffer", &error),
    });
    if real && nodes.buffer.number("ioctl_version").is_err() {
        let fix = "install u-dma-buf 5.0 or newer (github.com/ikwzm/udmabuf)";
        findings.push(Finding::bad("sync", Trouble::Mismatch, "u-dma-buf has no ioctl to sync its cache", fix));
    }
    findings.push(if real {
        contiguous()
    } else {
        Finding::skipped("contiguous memory", "a simulated board has its own")
    });
    findings
}

fn coherence(buffer: &Attributes) -> &'static str {
    match buffer.number("dma_coherent") {
        Ok(1) => "coherent",
        _ => "synced by hand",
    }
}

/// Memory that the kernel keeps for buffers.
fn contiguous() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let fix = "unless the buffer has a region of its own boot with `cma=1200M`";
    match (kib("CmaTotal:"), kib("CmaFree:")) {
        // the buffer may have a reserved region of its own, so this alone is no fault
        (Some(total), Some(free)) if total > 0 && total << 10 < BUFFER_BYTES => {
            let found = format!("{} MiB, {} free; the buffer has {}", total >> 10, free >> 10, BUFFER_BYTES >> 20);
            Finding::odd("contiguous memory", found, fix)
        }
        (Some(total), Some(free)) if total > 0 => {
            Finding::good("contiguous memory", format!("{} MiB, {} free", total >> 10, free >> 10))
        }
        _ => Finding::odd("contiguous memory", "none set aside", fix),
    }
}
