//! Finds the nodes of a Zynq's logic by their names and reads what the kernel says about them.

use super::error::{DeviceError, Trouble};
use spec::nodes::PREFIX;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of attributes.
#[derive(Clone, Debug)]
pub struct Attributes(pub PathBuf);

impl Attributes {
    /// An attribute's text.
    pub fn text(&self, name: &str) -> Result<String, DeviceError> {
        let path = self.0.join(name);
        let text = fs::read_to_string(&path).map_err(|error| DeviceError::system(path.display(), &error))?;
        Ok(text.trim().to_string())
    }

    /// An attribute's number, decimal or hexadecimal.
    pub fn number(&self, name: &str) -> Result<u64, DeviceError> {
        let text = self.text(name)?;
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.map_err(|_| {
            let path = self.0.join(name);
            DeviceError::new(Trouble::Io, format!("{}: {text:?} is no number", path.display()))
        })
    }
}

/// The nodes and attributes of a Zynq's logic.
#[derive(Clone, Debug)]
pub struct ZynqNodes {
    /// The UIO node.
    pub uio: PathBuf,
    /// Its first map.
    pub registers: Attributes,
    /// The buffer's attributes.
    pub buffer: Attributes,
    /// The buffer's node.
    pub memory: PathBuf,
}

/// Names in a folder, sorted; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, DeviceError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DeviceError::system(folder.display(), &error)),
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

/// The one of several that is meant: by its name, or because there is no other.
fn choose(what: &str, folder: &Path, found: Vec<(String, String)>, advice: &str) -> Result<String, DeviceError> {
    let ours: Vec<&(String, String)> = found.iter().filter(|(_, name)| name.starts_with(PREFIX)).collect();
    match (&ours[..], &found[..]) {
        ([(node, _)], _) | ([], [(node, _)]) => Ok(node.clone()),
        _ => {
            let list: Vec<String> = found.iter().map(|(node, name)| format!("{node} ({name})")).collect();
            let list = if list.is_empty() { "nothing".to_string() } else { list.join(", ") };
            let text = format!("{}: expected one {what} called {PREFIX}*, found {list}; {advice}", folder.display());
            Err(DeviceError::new(Trouble::Lost, text))
        }
    }
}

impl ZynqNodes {
    /// Finds them. `device` is a UIO node or a folder of nodes; attributes lie in its `sys` folder if it has one,
    /// which only a simulated board does, otherwise in `/sys`.
    pub fn find(device: Option<&Path>) -> Result<ZynqNodes, DeviceError> {
        let device = device.unwrap_or(Path::new("/dev"));
        let (folder, node) = match device.is_dir() {
            true => (device, None),
            false => (device.parent().unwrap_or(Path::new("/dev")), device.file_name()),
        };
        let own = folder.join("sys");
        let class = if own.is_dir() { own } else { PathBuf::from("/sys") }.join("class");
        let (uios, buffers) = (class.join("uio"), class.join("u-dma-buf"));
        let uio = match node {
            Some(node) => node.to_string_lossy().into_owned(),
            None => {
                let named = |node: String| {
                    let name = Attributes(uios.join(&node)).text("name").unwrap_or_default();
                    (node, name)
                };
                let found = names(&uios)?.into_iter().map(named).collect();
                choose(
                    "UIO device",
                    &uios,
                    found,
                    "load the bitstream with its device tree, e.g. `sudo xmutil loadapp tercet-kv260`",
                )?
            }
        };
        let found = names(&buffers)?.into_iter().map(|name| (name.clone(), name)).collect();
        let buffer = choose("buffer", &buffers, found, "load the module: `modprobe u-dma-buf udmabuf0=1073741824`")?;
        Ok(ZynqNodes {
            registers: Attributes(uios.join(&uio).join("maps/map0")),
            uio: folder.join(&uio),
            memory: folder.join(&buffer),
            buffer: Attributes(buffers.join(buffer)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nodes of a bitstream's device tree are the ones that are found, among others.
    #[test]
    fn the_nodes_of_a_kit_are_found() {
        let dir = tempfile::tempdir().unwrap();
        hw::kit::write(&hw::preset::load("kv260").unwrap(), dir.path()).unwrap();
        let overlay = fs::read_to_string(dir.path().join("kit/tercet.dts")).unwrap();
        let property = |name: &str| {
            let (_, rest) = overlay.split_once(&format!("{name} = \"")).unwrap();
            rest.split('"').next().unwrap().to_string()
        };
        let class = dir.path().join("sys/class");
        for (node, name) in [("uio0", "axi-pmon"), ("uio5", &property("linux,uio-name"))] {
            fs::create_dir_all(class.join("uio").join(node).join("maps/map0")).unwrap();
            fs::write(class.join("uio").join(node).join("name"), format!("{name}\n")).unwrap();
        }
        let buffer = property("device-name");
        for name in [buffer.as_str(), "udmabuf0"] {
            fs::create_dir_all(class.join("u-dma-buf").join(name)).unwrap();
        }
        let nodes = ZynqNodes::find(Some(dir.path())).unwrap();
        assert_eq!(nodes.uio, dir.path().join("uio5"));
        assert_eq!(nodes.memory, dir.path().join(&buffer));
    }
}
