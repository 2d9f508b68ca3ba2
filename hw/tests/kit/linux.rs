//! What Linux on a board gets.

use crate::{Copy, original, run, said, variant};
use hw::kit;
use hw::kit::board::{Shell, shell};
use spec::nodes::{BUFFER, BUFFER_BYTES, CARD_MEMORY, PREFIX, UIO};
use spec::regs::WINDOW;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Compiles an overlay, without a warning, and prints what came of it.
fn compiled(source: &Path) -> String {
    let blob = tempfile::NamedTempFile::new().unwrap();
    let path = blob.path().to_str().unwrap();
    let output = run("dtc", &["-@", "-I", "dts", "-O", "dtb", "-o", path, source.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    let output = run("dtc", &["-q", "-I", "dtb", "-O", "dts", path]);
    String::from_utf8(output.stdout).unwrap()
}

/// Text between the braces after `name {`.
fn node<'a>(tree: &'a str, name: &str) -> &'a str {
    let begin = tree.find(&format!("{name} {{")).unwrap_or_else(|| panic!("no node {name} in {tree}"));
    &tree[begin..begin + tree[begin..].find("};").unwrap()]
}

#[test]
fn the_overlay_has_the_names_that_the_driver_looks_for() {
    let tree = compiled(&original("kv260").join("kit/tercet.dts"));
    let Some(Shell::Zynq(zynq)) = shell("kv260") else { panic!("no Zynq") };
    let uio = node(&tree, &format!("{UIO}@{:x}", zynq.registers));
    assert!(uio.contains("compatible = \"generic-uio\""), "{uio}");
    assert!(uio.contains(&format!("linux,uio-name = \"{UIO}\"")), "{uio}");
    assert!(uio.contains(&format!("reg = <0x00 {:#x} 0x00 {WINDOW:#x}>", zynq.registers)), "{uio}");
    assert!(uio.contains("interrupts = <0x00 0x59 0x04>"), "a shared line, a level: {uio}");
    let buffer = node(&tree, BUFFER);
    assert!(buffer.contains("compatible = \"ikwzm,u-dma-buf\""), "{buffer}");
    assert!(buffer.contains(&format!("device-name = \"{BUFFER}\"")), "{buffer}");
    assert!(buffer.contains(&format!("size = <{BUFFER_BYTES:#x}>")), "{buffer}");
    assert!(UIO.starts_with(PREFIX) && BUFFER.starts_with(PREFIX));
    assert!(tree.contains("firmware-name = \"tercet-kv260.bit.bin\""), "{tree}");
    assert!(node(&tree, "clocking0").contains(&format!("assigned-clock-rates = <{:#x}>", 250_000_000)), "{tree}");
    // the buffer is one piece of the memory that the ports reach
    assert!(BUFFER_BYTES <= zynq.low.1 && zynq.addr_bits >= 36);
}

/// Widths of the ports stand in pairs of a register's number and a code.
#[test]
fn the_overlay_sets_the_widths_of_the_ports() {
    let widths = |tree: &str| -> Vec<u32> {
        let text = node(tree, "afi0").split("config-afi = <").nth(1).unwrap();
        let numbers = text.split('>').next().unwrap().split(' ');
        numbers.map(|n| u32::from_str_radix(n.trim_start_matches("0x"), 16).unwrap()).collect()
    };
    let of = |codes: &[u32; 16]| codes.iter().enumerate().flat_map(|(at, code)| [at as u32, *code]).collect::<Vec<_>>();
    let tree = compiled(&original("kv260").join("kit/tercet.dts"));
    assert_eq!(widths(&tree), of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x800, 0]));
    let dir = tempfile::tempdir().unwrap();
    kit::write(&variant("port_bits = 128", "port_bits = 64"), dir.path()).unwrap();
    let tree = compiled(&dir.path().join("kit/tercet.dts"));
    assert_eq!(widths(&tree), of(&[0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0x800, 0]));
}

/// The default of `--device-memory` is what the card's design has.
#[test]
fn the_card_has_the_memory_that_the_driver_expects() {
    let Some(Shell::Card(card)) = shell("u50") else { panic!("no card") };
    assert_eq!(CARD_MEMORY, (0, u64::from(card.segments.0) * card.segments.1));
    assert!(card.dma_port >= card.ports, "the DMA's port is one of the machine's");
}

#[test]
fn rules_cover_the_names() {
    let rules = fs::read_to_string(original("kv260").join("kit/60-tercet.rules")).unwrap();
    assert!(
        rules.contains(&format!("ATTR{{name}}==\"{PREFIX}*\"")) && rules.contains(&format!("KERNEL==\"{PREFIX}*|"))
    );
}

#[test]
fn scripts_of_the_board_refuse_what_is_not_built() {
    for (preset, script, argument) in [("kv260", "install.sh", "--load"), ("u50", "load.sh", "0000:3b:00.0")] {
        let copy = Copy::of(preset);
        let script = copy.kit().join(script);
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o111, 0o111);
        let script = script.to_str().unwrap();
        assert!(run("sh", &["-n", script]).status.success());
        let output = run("sh", &[script, argument]);
        assert_eq!(output.status.code(), Some(65), "{}", said(&output));
        assert!(said(&output).contains("no bitstream was built"), "{}", said(&output));
        // built, and another file since
        assert!(copy.build(&[]).status.success());
        for name in copy.products() {
            fs::write(copy.kit().join("out").join(name), "something else").unwrap();
        }
        let output = run("sh", &[script, argument]);
        assert_eq!(output.status.code(), Some(65), "{}", said(&output));
        assert!(said(&output).contains("not the file that the manifest describes"), "{}", said(&output));
        assert_eq!(run("sh", &[script, "--frobnicate"]).status.code(), Some(2));
    }
}

#[test]
fn the_loader_gets_a_flat_design() {
    let text = fs::read_to_string(original("kv260").join("kit/shell.json")).unwrap();
    let shell: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&shell["shell_type"], &shell["num_slots"]), (&"PL_FLAT".into(), &"1".into()));
}
