//! The manifest of the kit that a bitstream came from, against what the board shows.
//!
//! It lies beside the bitstream that the board's loader took, in the folder of a simulated board, or where the user says.

use super::Finding;
use crate::device::error::{DeviceError, Trouble};
use crate::device::open::{Address, AnyTransport, Connection};
use hw::kit::EVIDENCE;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use spec::nodes::{FIRMWARE, PREFIX};
use spec::regs::{MAGIC, offset};
use spec::transport::Transport;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of a manifest, and of a bitstream that is hashed.
const MOST: (u64, u64) = (1 << 20, 1 << 30);

/// What a manifest says, as far as it matters to a board.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    schema: u64,
    preset: String,
    application: String,
    hash: String,
    abi: String,
    backend: String,
    evidence: String,
    build: Option<Build>,
}

#[derive(Debug, Deserialize)]
struct Build {
    tool: String,
    wns_ns: f64,
    luts: f64,
    files: BTreeMap<String, Product>,
}

#[derive(Debug, Deserialize)]
struct Product {
    sha256: String,
}

/// What a board shows of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Register `ABI`.
    pub abi: u32,
    /// The configuration hash.
    pub hash: u64,
}

impl Shown {
    /// Reads it; `None` if it is no machine of ours.
    pub fn read(transport: &mut AnyTransport) -> Result<Option<Shown>, DeviceError> {
        let mut read = |register: &str| transport.read32(offset(register));
        if read("ID")? != MAGIC {
            return Ok(None);
        }
        let hash = u64::from(read("CONFIG_HASH_LO")?) | u64::from(read("CONFIG_HASH_HI")?) << 32;
        Ok(Some(Shown { abi: read("ABI")?, hash }))
    }
}

impl Manifest {
    /// Reads one, and refuses what it cannot mean.
    pub fn load(path: &Path) -> Result<Manifest, String> {
        let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
        if size > MOST.0 {
            return Err(format!("{size} bytes are no manifest"));
        }
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if manifest.schema != 1 {
            return Err(format!("schema {}, expected 1", manifest.schema));
        }
        if !EVIDENCE.iter().any(|(name, _)| *name == manifest.evidence) {
            let known = EVIDENCE.map(|(name, _)| name).join(", ");
            return Err(format!("evidence {:?}, expected one of {known}", manifest.evidence));
        }
        if (manifest.evidence == EVIDENCE[0].0) != manifest.build.is_none() {
            return Err(format!("evidence {:?} does not go with its build", manifest.evidence));
        }
        match u64::from_str_radix(&manifest.hash, 16) {
            Ok(_) if manifest.hash.len() == 16 => Ok(manifest),
            _ => Err(format!("{:?} is no configuration hash", manifest.hash)),
        }
    }

    /// What to type so that the board holds this manifest's bitstream.
    fn how_to_load(&self) -> String {
        match self.backend.as_str() {
            "axi" => format!("`sudo xmutil unloadapp; sudo xmutil loadapp {}`", self.application),
            _ => "`sudo ./load.sh` in the folder of that kit".to_string(),
        }
    }

    fn says(&self, shown: Shown) -> Vec<String> {
        let abi = format!("{}.{}", shown.abi >> 16, shown.abi & 0xffff);
        let hash = format!("{:016x}", shown.hash);
        let rows = [("configuration", &self.hash, &hash), ("register map", &self.abi, &abi)];
        let differ = rows.iter().filter(|(_, says, shows)| says != shows);
        differ.map(|(what, says, shows)| format!("{what} {says} in the manifest, {shows} on the board")).collect()
    }
}

/// Where manifests may lie.
fn candidates(address: &Address) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(folder) = address.device.as_deref().filter(|device| device.is_dir()) {
        found.push(folder.join("manifest.json"));
    }
    // a board in a folder has nothing to do with this system's loader
    if address.connection == Connection::Axi && found.is_empty() {
        let entries = fs::read_dir(FIRMWARE).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        found.extend(ours.map(|entry| entry.path().join("manifest.json")));
        found.sort();
    }
    found.retain(|path| path.is_file());
    found
}

/// Compares the given manifest, or the one beside the board, with what the board shows.
pub fn check(address: &Address, given: Option<&Path>, shown: Option<Shown>) -> Finding {
    let places = given.map_or_else(|| candidates(address), |path| vec![path.to_path_buf()]);
    let Some(shown) = shown else { return Finding::skipped("manifest", "the board is no machine of ours") };
    let mut findings: Vec<Finding> = places.iter().map(|path| one(path, shown)).collect();
    // of several that are installed, the one of what is loaded counts
    let best = findings.iter().position(|finding| !matches!(finding.verdict, super::Verdict::Bad(_))).unwrap_or(0);
    match findings.is_empty() {
        true => Finding::skipped("manifest", "none beside the bitstream; give the kit's with --manifest"),
        false => findings.swap_remove(best),
    }
}

fn one(path: &Path, shown: Shown) -> Finding {
    let name = "manifest";
    let manifest = match Manifest::load(path) {
        Ok(manifest) => manifest,
        Err(error) => {
            let fix = "copy it again from the kit that the bitstream came from (bitstreams/README.md)";
            return Finding::bad(name, Trouble::Mismatch, format!("{}: {error}", path.display()), fix);
        }
    };
    let differ = manifest.says(shown);
    if !differ.is_empty() {
        let fix = format!(
            "load the bitstream of preset {}: {}; or give the manifest of the one that is loaded with --manifest",
            manifest.preset,
            manifest.how_to_load()
        );
        return Finding::bad(name, Trouble::Mismatch, format!("{}: {}", path.display(), differ.join("; ")), fix);
    }
    let Some(build) = &manifest.build else {
        let fix = "take the manifest of the kit in which Vivado ran: this one only says what would be built";
        return Finding::odd(name, format!("{}: matches, but nothing was built from it", path.display()), fix);
    };
    for (file, product) in &build.files {
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in [folder.join(file), folder.join("out").join(file)] {
            let small = fs::metadata(&place).is_ok_and(|found| found.len() <= MOST.1);
            let Some(bytes) = small.then(|| fs::read(&place).ok()).flatten() else { continue };
            let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if sum != product.sha256 {
                let fix = "copy the kit's folder again: bitstream and manifest are of two builds";
                let found = format!("{} is not the file that {} describes", place.display(), path.display());
                return Finding::bad(name, Trouble::Mismatch, found, fix);
            }
        }
    }
    let found = format!(
        "{}, {} by {}: {} ns to spare, {} LUTs",
        manifest.application, manifest.evidence, build.tool, build.wns_ns, build.luts
    );
    Finding::good(name, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::doctor::Verdict;
    use serde_json::{Value, json};

    /// A kit as Vivado leaves it behind: the generator's, with a build put in.
    fn kit(change: impl Fn(&mut Value)) -> (tempfile::TempDir, PathBuf, Shown) {
        let dir = tempfile::tempdir().unwrap();
        let machine = hw::preset::load("kv260").unwrap();
        hw::kit::write(&machine, dir.path()).unwrap();
        let path = dir.path().join("kit/manifest.json");
        let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let sum: String = Sha256::digest("bits").iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir(dir.path().join("kit/out")).unwrap();
        fs::write(dir.path().join("kit/out/tercet-kv260.bit.bin"), "bits").unwrap();
        manifest["evidence"] = json!("built");
        manifest["build"] = json!({"tool": "Vivado 2023.2", "wns_ns": 0.01, "luts": 1000, "files": {
            "tercet-kv260.bit.bin": {"sha256": sum, "bytes": 4},
        }});
        change(&mut manifest);
        fs::write(&path, manifest.to_string()).unwrap();
        let shown = Shown { abi: spec::regs::ABI, hash: machine.identity().config_hash };
        (dir, path, shown)
    }

    #[test]
    fn a_manifest_is_the_boards_or_says_what_to_load() {
        let (dir, path, shown) = kit(|_| {});
        let good = one(&path, shown);
        assert!(good.verdict == Verdict::Good && good.found.contains("Vivado 2023.2"), "{good:?}");
        let other = one(&path, Shown { hash: 1, ..shown });
        assert_eq!(other.verdict, Verdict::Bad(Trouble::Mismatch));
        assert!(other.found.contains("0000000000000001 on the board"), "{other:?}");
        assert!(other.fix.unwrap().contains("xmutil loadapp tercet-kv260"));
        let newer = one(&path, Shown { abi: shown.abi + 1, ..shown });
        let (major, minor) = (shown.abi >> 16, shown.abi & 0xffff);
        let both = format!("register map {major}.{minor} in the manifest, {major}.{} on the board", minor + 1);
        assert!(newer.found.contains(&both), "{newer:?}");
        fs::write(dir.path().join("kit/out/tercet-kv260.bit.bin"), "others").unwrap();
        let mixed = one(&path, shown);
        assert!(mixed.verdict == Verdict::Bad(Trouble::Mismatch) && mixed.found.contains("not the file"), "{mixed:?}");
    }

    #[test]
    fn a_manifest_without_a_build_is_no_proof() {
        let (_dir, path, shown) = kit(|manifest| {
            manifest["evidence"] = json!("generated");
            manifest["build"] = Value::Null;
        });
        assert_eq!(one(&path, shown).verdict, Verdict::Odd);
    }

    #[test]
    fn damaged_manifests_are_refused() {
        let change: [(&str, Value, &str); 5] = [
            ("schema", json!(2), "schema 2"),
            ("evidence", json!("proven"), "expected one of generated, built, verified"),
            ("evidence", json!("generated"), "does not go with its build"),
            ("hash", json!("999c"), "no configuration hash"),
            ("build", json!("yes"), "expected struct Build"),
        ];
        for (key, value, says) in change {
            let (_dir, path, shown) = kit(|manifest| manifest[key] = value.clone());
            let finding = one(&path, shown);
            assert!(finding.found.contains(says), "{key}: {finding:?}");
            assert_eq!(finding.verdict, Verdict::Bad(Trouble::Mismatch));
        }
        let (_dir, path, shown) = kit(|_| {});
        fs::write(&path, " ".repeat(2 << 20)).unwrap();
        assert!(one(&path, shown).found.contains("no manifest"));
    }

    #[test]
    fn the_manifest_beside_a_board_is_found() {
        let (dir, path, shown) = kit(|_| {});
        let kit = path.parent().unwrap().to_path_buf();
        let address = |device: Option<PathBuf>| Address { connection: Connection::Axi, device, memory: None };
        assert_eq!(check(&address(Some(kit)), None, Some(shown)).verdict, Verdict::Good);
        let elsewhere = address(Some(dir.path().to_path_buf()));
        fs::remove_file(dir.path().join("manifest.json")).unwrap();
        assert_eq!(check(&elsewhere, None, Some(shown)).verdict, Verdict::Skipped);
        assert_eq!(check(&elsewhere, Some(&path), Some(shown)).verdict, Verdict::Good);
        assert_eq!(check(&elsewhere, Some(&path), None).verdict, Verdict::Skipped);
    }
}
