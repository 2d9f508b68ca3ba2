//! The scripts from Verilog to bitstream, with a tool that finds what the test wants it to find.

use crate::{Copy, PRESETS, said, variant};
use hw::kit;
use serde_json::json;
use std::fs;

#[test]
fn every_kit_builds() {
    for preset in PRESETS {
        let copy = Copy::of(preset);
        let output = copy.build(&[]);
        assert!(output.status.success(), "{preset}: {}", said(&output));
        let manifest = copy.manifest();
        assert_eq!(manifest["evidence"], "built", "{preset}");
        let build = &manifest["build"];
        assert_eq!((&build["wns_ns"], &build["luts"]), (&json!(0.012), &json!(101_234)), "{preset}");
        assert_eq!(build["tool"], "Vivado 2023.2-mock", "a mocked tool must not look like a real one");
        let bits: Vec<&String> = build["files"].as_object().unwrap().keys().collect();
        let products = copy.products();
        assert!(bits.iter().all(|name| products.contains(name)) && !bits.is_empty(), "{bits:?} of {products:?}");
        assert_eq!(products.contains(&format!("tercet-{preset}.bit.bin")), preset == "kv260");
        assert!(copy.kit().join("work/ip/component.xml").exists());
        for report in ["timing_summary", "utilization", "power", "drc", "cdc", "route_status"] {
            assert!(copy.kit().join("reports/board").join(format!("{report}.rpt")).exists(), "{report}");
        }
    }
}

/// What is on the machine that builds: without board files, without .xsa, with an unknown Vivado.
#[test]
fn other_installations() {
    let copy = Copy::of("kv260");
    let output = copy.build(&["boards=0", "xsa=0", "version=2025.1"]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for note in ["no board files", "no .xsa", "newer than 2024.2"] {
        assert!(text.contains(note), "{note}: {text}");
    }
    let old = copy.build(&["version=2020.2"]);
    assert!(!old.status.success() && said(&old).contains("need 2022.1 or newer"), "{}", said(&old));
    let broken = copy.build(&["bootgen=0"]);
    assert!(!broken.status.success() && copy.manifest()["evidence"] == "generated", "{}", said(&broken));
}

/// Whatever is wrong with the result, no bitstream is left, not even one of an older build, and the manifest says so.
#[test]
fn a_bad_result_is_no_bitstream() {
    for preset in PRESETS {
        let copy = Copy::of(preset);
        assert!(copy.build(&[]).status.success());
        assert!(!copy.products().is_empty());
        for (setting, complaint) in [
            ("wns=-0.001", "setup slack is -0.001 ns"),
            ("whs=-0.02", "hold slack is -0.02 ns"),
            ("wns=inf", "not constrained"),
            ("pulse=1", "not all timing constraints are met"),
            ("unrouted=3", "3 nets are not routed"),
            ("drc=2", "2 critical rules are broken"),
        ] {
            // wns=inf is what a design without a clock shows as an empty slack
            let setting = if setting == "wns=inf" { "wns=" } else { setting };
            let output = copy.build(&[setting]);
            let text = said(&output);
            assert_eq!(output.status.code(), Some(1), "{preset} {setting}: {text}");
            assert!(text.contains(complaint), "{preset} {setting}: {text}");
            assert_eq!(copy.products(), Vec::<String>::new(), "{preset} {setting}");
            let manifest = copy.manifest();
            assert_eq!((&manifest["evidence"], &manifest["build"]), (&json!("generated"), &json!(null)), "{setting}");
        }
    }
}

#[test]
fn the_machine_alone() {
    let copy = Copy::of("kv260");
    let output = copy.build(&["--", "ooc", "place=ExtraTimingOpt"]);
    assert!(output.status.success(), "{}", said(&output));
    let summary = fs::read_to_string(copy.kit().join("reports/ooc/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["met"], &summary["clock_mhz"]), (&json!(true), &json!(250)));
    // timing alone is no bitstream
    assert_eq!(copy.manifest()["evidence"], "generated");
    assert_eq!(copy.products(), Vec::<String>::new());
    let output = copy.build(&["wns=-1.5", "--", "ooc"]);
    assert_eq!(output.status.code(), Some(1));
    let summary = fs::read_to_string(copy.kit().join("reports/ooc/summary.json")).unwrap();
    assert!(summary.contains("\"met\": false") && summary.contains("\"wns_ns\": -1.5"), "{summary}");
}

#[test]
fn unknown_arguments_and_directives_are_refused() {
    let copy = Copy::of("kv260");
    for (word, says) in
        [("out-of-context", "unknown argument"), ("plaice=Explore", "unknown argument"), ("place=Fast", "is none of")]
    {
        let output = copy.build(&["--", word]);
        assert!(!output.status.success() && said(&output).contains(says), "{word}: {}", said(&output));
    }
}

/// Other numbers of ports and other widths of the same board.
#[test]
fn variants_of_a_board_build() {
    for (from, to) in [("ports = 4", "ports = 2"), ("port_bits = 128", "port_bits = 64"), ("mhz = 250", "mhz = 187")] {
        let dir = tempfile::tempdir().unwrap();
        kit::write(&variant(from, to), dir.path()).unwrap();
        let output = Copy::from(dir.path()).build(&[]);
        assert!(output.status.success(), "{to}: {}", said(&output));
    }
    // 1500 MHz has no divider near it
    let dir = tempfile::tempdir().unwrap();
    kit::write(&variant("mhz = 250", "mhz = 280"), dir.path()).unwrap();
    let output = Copy::from(dir.path()).build(&[]);
    assert!(said(&output).contains("of 280 MHz") && !output.status.success(), "{}", said(&output));
}

/// The two other scripts of a kit.
#[test]
fn scripts_that_stand_alone_run() {
    let copy = Copy::of("u50");
    let output = copy.script("package_ip.tcl", &[]);
    assert!(output.status.success() && copy.kit().join("work/ip/component.xml").exists(), "{}", said(&output));
    let missing = copy.script("program.tcl", &["--", "out/tercet-u50.bit"]);
    assert!(!missing.status.success() && said(&missing).contains("give the bitstream"), "{}", said(&missing));
    assert!(copy.build(&[]).status.success());
    let bit = copy.kit().join("out/tercet-u50.bit");
    let output = copy.script("program.tcl", &["--", bit.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
}
