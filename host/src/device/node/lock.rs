//! One program at a time: an advisory lock on the data node, which the kernel drops with its holder.

use crate::device::error::{DeviceError, Trouble};
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Locks an open node or names who has it.
pub fn lock(path: &Path, file: &File) -> Result<(), DeviceError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = holder(file).map_or("another program".into(), |(pid, name)| format!("process {pid} ({name})"));
            let text = format!("{}: in use by {holder}; wait for it or end it", path.display());
            Err(DeviceError::new(Trouble::Busy, text))
        }
        Err(TryLockError::Error(error)) => Err(DeviceError::system(format!("locking {}", path.display()), &error)),
    }
}

/// Who holds a lock on this file, from the kernel's list.
fn holder(file: &File) -> Option<(u32, String)> {
    let node = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(node.dev()), rustix::fs::minor(node.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", node.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let fields = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let pid = fields.filter(|f| f.get(1) == Some(&"FLOCK")).find(|f| f.get(5) == Some(&wanted.as_str()))?;
    let pid = pid.get(4)?.parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let [first, second] = [0; 2].map(|_| File::options().create(true).append(true).open(&path).unwrap());
        lock(&path, &first).unwrap();
        let error = lock(&path, &second).unwrap_err();
        assert_eq!(error.trouble, Trouble::Busy);
        assert!(error.text.contains(&format!("process {} ", std::process::id())), "{error}");
        drop(first);
        lock(&path, &second).unwrap();
    }
}
