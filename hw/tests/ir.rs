//! Mistakes in a description are named, equal modules are kept once, text is stable.

use hw::ir::{Design, IrError, Module, RamStyle, lit, sint, uint, zero};

fn error_of(build: impl FnOnce(&mut Module)) -> IrError {
    let mut m = Module::new("tern_x");
    build(&mut m);
    Design::default().add(m).unwrap_err()
}

#[test]
fn mistakes_are_named() {
    let module = || "tern_x".to_string();
    let said = error_of(|m| {
        let a = m.input("a_i", uint(8));
        let y = m.output("y_o", uint(4));
        m.drive(&y, &a);
    });
    assert_eq!(said.to_string(), "module tern_x: value of y_o: expected u4, found a_i: u8");
    let said = error_of(|m| {
        let a = m.input("a_i", uint(8));
        let y = m.output("y_o", uint(1));
        m.drive(&y, &a.bit(8));
    });
    assert_eq!(said.to_string(), "module tern_x: 1 bits from bit 8 of a_i: u8: expected bits inside u8, found [8+:1]");
    let said = error_of(|m| drop(m.output("y_o", uint(1))));
    assert_eq!(said, IrError::Undriven { module: module(), name: "y_o".into() });
    let said = error_of(|m| drop(m.reg("q", uint(1))));
    assert_eq!(said, IrError::Undriven { module: module(), name: "q".into() });
    let said = error_of(|m| {
        m.input("a_i", uint(1));
        m.input("a_i", uint(1));
    });
    assert_eq!(said, IrError::DuplicateName { module: module(), name: "a_i".into() });
    let said = error_of(|m| drop(m.input("release", uint(1))));
    assert_eq!(said, IrError::BadName { module: module(), name: "release".into() });
    let said = error_of(|m| {
        let memory = m.memory("mem", 8, 5, RamStyle::Distributed);
        m.read(&memory, &lit(0, 4));
    });
    assert_eq!(said.to_string(), "module tern_x: index of mem: expected an index of u3, found literal 0x0: u4");
    let said = error_of(|m| {
        let a = m.input("a_i", sint(3));
        m.wire("w", &a.mux(&a, &zero(sint(3))));
    });
    assert_eq!(said.to_string(), "module tern_x: condition a_i: i3: expected u1, found i3");
}

#[test]
fn names_of_another_module_are_refused() {
    let mut other = Module::new("tern_y");
    let foreign = other.input("b_i", uint(1));
    let said = error_of(|m| {
        let y = m.output("y_o", uint(1));
        m.drive(&y, &foreign);
    });
    assert_eq!(said.to_string(), "module tern_x: `b_i` is not a name of this module");
}

fn inverter(name: &str) -> Module {
    let mut m = Module::new(name);
    let a = m.input("a_i", uint(4));
    let y = m.output("y_o", uint(4));
    m.drive(&y, &!a);
    m
}

#[test]
fn equal_modules_are_kept_once() {
    let mut design = Design::default();
    let first = design.add(inverter("tern_a")).unwrap();
    assert_eq!(design.add(inverter("tern_a")).unwrap(), first);
    assert_eq!(design.add(inverter("tern_b")).unwrap(), first);
    assert_eq!(design.modules().count(), 1);
    let mut different = Module::new("tern_a");
    different.input("a_i", uint(1));
    assert_eq!(design.add(different).unwrap_err(), IrError::NameClash { module: "tern_a".into() });
}

#[test]
fn instances_are_checked() {
    let mut design = Design::default();
    let of = design.add(inverter("tern_a")).unwrap();
    let said = error_of(|m| drop(m.instance("a", &of, &[])));
    let (module, instance) = ("tern_x".to_string(), "u_a".to_string());
    assert_eq!(said, IrError::Unconnected { module: module.clone(), instance: instance.clone(), port: "a_i".into() });
    let said = error_of(|m| drop(m.instance("a", &of, &[("a_i", &lit(0, 4)), ("b_i", &lit(0, 1))])));
    assert_eq!(said, IrError::NoSuchPort { module, instance, of: "tern_a".into(), port: "b_i".into() });
    let said = error_of(|m| {
        let a = m.instance("a", &of, &[("a_i", &lit(0, 4))]);
        m.wire("w", &a.get("z_o"));
    });
    assert_eq!(said.to_string(), "module tern_x: output of tern_a: expected one of its outputs, found `z_o`");
}
