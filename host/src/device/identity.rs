//! Who a machine is, and who it must be.

use super::RunError;
use super::error::{DeviceError, Trouble};
use spec::program::DeviceShape;
use spec::regs::{ABI, Capabilities, MAGIC, offset};
use spec::transport::Transport;

/// What a machine must be to run a compiled model.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Name of the preset, for messages.
    pub preset: String,
    /// Its configuration hash.
    pub hash: u64,
    /// Its sizes.
    pub shape: DeviceShape,
}

/// Reads who the machine is and refuses any other than the expected one.
pub(super) fn identify<T: Transport>(transport: &mut T, expected: &Expected, name: &str) -> Result<(), RunError> {
    let mut read = |register: &str| transport.read32(offset(register));
    let (id, abi) = (read("ID")?, read("ABI")?);
    let hash = u64::from(read("CONFIG_HASH_LO")?) | u64::from(read("CONFIG_HASH_HI")?) << 32;
    let refuse = |trouble: Trouble, what: &str, found: String, wanted: String| {
        let text = format!(
            "{name}: {what} is {found}, this program needs {wanted}; generate the matching machine with `cargo run -p hw \
             -- --preset {}`, load it, or choose its preset with --preset",
            expected.preset
        );
        Err(DeviceError::new(trouble, text).into())
    };
    if id == u32::MAX {
        let text = format!("{name}: registers read as all ones: the device is gone or its link is down");
        return Err(DeviceError::new(Trouble::Lost, text).into());
    }
    if id != MAGIC {
        return refuse(Trouble::Mismatch, "the identity register", format!("{id:#010x}"), format!("{MAGIC:#010x}"));
    }
    if abi >> 16 != ABI >> 16 || abi < ABI {
        return refuse(Trouble::Mismatch, "the register map", format!("{abi:#010x}"), format!("{ABI:#010x}"));
    }
    if hash != expected.hash {
        return refuse(
            Trouble::Mismatch,
            "the configuration",
            format!("{hash:016x}"),
            format!("{:016x}", expected.hash),
        );
    }
    let caps = Capabilities::read(|at| transport.read32(at))?;
    let sizes = |slots: u64, ports: u64| format!("{slots} slots, {ports} ports");
    let found = sizes(caps.slots.into(), caps.ports.into());
    let wanted = sizes(expected.shape.slots() as u64, expected.shape.ports as u64);
    if found != wanted {
        return refuse(Trouble::Mismatch, "the machine", found, wanted);
    }
    Ok(())
}
