//! Presets: what is refused and how it is said, what follows, what is written.

use hw::explain::{MODELS, explain, layers};
use hw::ir::{Design, RamStyle};
use hw::output::{OutputError, write};
use hw::preset::{BUILT_IN, Machine, PresetError, load, urams};
use std::collections::BTreeMap;
use std::path::Path;

fn violations(text: &str) -> Vec<String> {
    match Machine::parse("test", text) {
        Err(PresetError::Rules { violations, .. }) => violations.iter().map(ToString::to_string).collect(),
        other => panic!("expected broken rules, found {other:?}"),
    }
}

#[test]
fn built_in_presets_are_legal_and_differ() {
    let hashes: BTreeMap<String, &str> = BUILT_IN.iter().map(|(n, _)| (load(n).unwrap().hash(), *n)).collect();
    assert_eq!(hashes.len(), BUILT_IN.len());
    for (name, _) in BUILT_IN {
        load(name).unwrap().shape().validate().unwrap();
    }
}

#[test]
fn all_violations_come_at_once() {
    let text = BUILT_IN[0].1.replace("tables = 32", "tables = 0").replace("port_bits = 128", "port_bits = 96");
    let text = text.replace("mhz = 250", "speed = 9").replace("\"kv260\"", "\"vcu118\"") + "\n[cache]\nsize = 1\n";
    let said = violations(&text);
    for expected in [
        "engine.tables = 0; use a whole number from 1 to 128",
        "memory.port_bits = 96; use one of 32, 64, 128, 256, 512",
        "clock.speed = an unknown key; use mhz",
        "clock.mhz = missing; use a whole number from 10 to 600",
        "board.name = \"vcu118\"; use one of \"sim\", \"kv260\", \"u50\"",
        "cache = no known section; use [engine], [vector], [attention], [memory], [clock] or [board]",
    ] {
        assert!(said.iter().any(|s| s == expected), "{expected} is not in {said:#?}");
    }
    assert_eq!(said.len(), 6, "{said:#?}");
}

#[test]
fn rules_between_keys_name_legal_values() {
    let text = BUILT_IN[0].1.replace("ports = 4", "ports = 5").replace("tile_rows = 4096", "tile_rows = 4095");
    let said = violations(
        &text.replace("buffer_kib = 960", "buffer_kib = 1").replace("[vector]\ntokens = 1", "[vector]\ntokens = 3"),
    );
    assert_eq!(
        said,
        [
            "memory.ports = 5; use a divisor of tables * rows = 128: 1, 2, 4, 8, 16, 32",
            "engine.tile_rows = 4095; use a multiple of rows = 4, for example 4092 or 4096",
            "vector.tokens = 3; use a divisor of engine.tokens = 8: 1, 2, 4, 8",
            "memory.buffer_kib = 1; use at least 2: 16 words of the engine",
        ]
    );
}

/// The ring fits by itself, and so does each of the others.
#[test]
fn ultrarams_are_counted_together() {
    let text = BUILT_IN[0].1.replace("buffer_kib = 960", "buffer_kib = 1440");
    assert_eq!(
        violations(&text),
        ["memory.buffer_kib + vector.columns + engine.max_cols + attention.max_context = \
          45 + 20 + 6 + 10 = 81 UltraRAMs; use fewer: kv260 has 64"]
    );
}

/// What the rule counts by formula is what the generated machine has.
#[test]
fn ultrarams_of_the_rule_are_those_of_the_design() {
    for (name, _) in BUILT_IN {
        let machine = load(name).unwrap();
        let mut design = Design::default();
        let top = machine.build(&mut design).unwrap();
        let ultra = design.memories(&top.name).into_iter().filter(|m| m.style == RamStyle::Ultra);
        let urams: u64 = ultra.map(|m| m.copies * urams(m.width, m.depth)).sum();
        assert_eq!(urams, machine.urams(), "{name}");
    }
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    let said = load("zcu104").unwrap_err().to_string();
    assert!(said.contains("kv260, sim-tiny, odd, u50"), "{said}");
}

/// The byte budget of the design: five trits a byte, K padded to a segment.
#[test]
fn weight_bytes_of_known_models() {
    let machine = load("kv260").unwrap();
    let bytes: Vec<u64> = MODELS.iter().map(|m| layers(&machine, m, false).bytes).collect();
    // 679,477,248 weights / 5 and the 0.8 % by which 4,096 inputs are padded to 43 segments of 96
    assert!((135_895_449..137_000_000).contains(&bytes[0]), "{bytes:?}");
    assert!((416_808_960..422_000_000).contains(&bytes[1]), "{bytes:?}");
}

#[test]
fn every_preset_explains_itself() {
    for (name, _) in BUILT_IN {
        let machine = load(name).unwrap();
        let text = explain(&machine).unwrap();
        let acc = format!("accumulator i{}", machine.engine.psum().acc);
        for expected in ["BitNet 2B-4T", "weight ring", "vector memory", "m_axi_gmem0", &acc] {
            assert!(text.contains(expected), "{name}: {expected} is not in\n{text}");
        }
        assert!(!text.contains("planned"), "{text}");
    }
    let text = explain(&load("kv260").unwrap()).unwrap();
    assert!(text.contains("accumulator i29"), "{text}"); // 128 * 255 * 8192 inputs
}

fn content(dir: &Path, out: &mut BTreeMap<String, Vec<u8>>, under: &Path) {
    for entry in std::fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => content(dir, out, &path),
            false => {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
}

#[test]
fn output_is_stable_complete_and_replaceable() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    let machine = load("odd").unwrap();
    let modules = write(&machine, &first).unwrap().files.len();
    write(&load("sim-tiny").unwrap(), &second).unwrap();
    write(&machine, &second).unwrap(); // replaces the other preset, nothing stale stays
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    content(&first, &mut a, &first);
    content(&second, &mut b, &second);
    assert_eq!(a, b);
    assert_eq!(a.len(), modules + 2); // with filelist.f and manifest.json
    for line in String::from_utf8(a["filelist.f"].clone()).unwrap().lines() {
        assert!(a.contains_key(line), "{line}");
    }
    let manifest: serde_json::Value = serde_json::from_slice(&a["manifest.json"]).unwrap();
    assert_eq!(manifest["hash"], machine.hash().as_str());
    assert_eq!(manifest["complete"], true);
    assert_eq!(manifest["parameters"]["engine.tables"], 7);
    assert_eq!(manifest["top"], "tercet_top");
    let listed = manifest["modules"].as_array().unwrap();
    assert_eq!(listed.len(), modules);
    assert!(listed.iter().any(|m| m == "tercet_top") && a.contains_key("rtl/tercet_top.v"));
    let ports: BTreeMap<&str, &serde_json::Value> =
        manifest["ports"].as_array().unwrap().iter().map(|p| (p["name"].as_str().unwrap(), p)).collect();
    for (name, dir, width) in [
        ("aclk", "in", 1),
        ("s_axi_ctrl_awaddr", "in", 16),
        ("m_axi_gmem0_araddr", "out", 40),
        ("m_axi_gmem2_rdata", "in", 64), // the last of three ports
        ("irq", "out", 1),
    ] {
        assert_eq!((&ports[name]["dir"], &ports[name]["width"]), (&dir.into(), &width.into()), "{name}");
    }
    assert!(!ports.contains_key("m_axi_gmem3_araddr"));
}

#[test]
fn foreign_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rtl")).unwrap();
    let result = write(&load("odd").unwrap(), folder.path());
    assert!(matches!(result, Err(OutputError::Foreign { .. })));
}
