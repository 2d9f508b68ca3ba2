//! The Verilog printer against the meaning of expressions: random typed expressions, evaluated in
//! Rust by `hw::ir::evaluate` and in Verilator from the printed text.

use hw::ir::{Design, Expr, Module, Ty, cat, evaluate, lit, repeat, sint, slit, uint};
use sim::compile::{Job, Speed, compile};
use sim::rng::Rng;
use std::collections::HashMap;

fn some_type(rng: &mut Rng) -> Ty {
    let width = rng.pick(&[1, 1, 2, 3, 5, 8, 9, 16, 31, 32, 33, 48, 63, 64, 65, 70]);
    if rng.one_in(2) { sint(width) } else { uint(width) }
}

fn literal(rng: &mut Rng) -> Expr {
    let ty = some_type(rng);
    let width = ty.width.min(64);
    let bits = match rng.below(4) {
        0 => 0,
        1 => u64::MAX >> (64 - width),
        2 => 1 << (width - 1),
        _ => rng.bits() >> (64 - width),
    };
    match ty.signed {
        true => slit(i128::from((bits << (64 - width)) as i64 >> (64 - width)), ty.width),
        false => lit(u128::from(bits), ty.width),
    }
}

/// `e` with the sign of `like`, by a cast.
fn signed_as(e: &Expr, like: &Expr) -> Expr {
    if like.signed() { e.as_signed() } else { e.as_unsigned() }
}

/// `e` as exactly `ty`, by slicing or widening.
fn fitted(e: &Expr, ty: Ty) -> Expr {
    let e = if e.width() > ty.width { e.low(ty.width) } else { e.extend(ty.width) };
    if ty.signed { e.as_signed() } else { e.as_unsigned() }
}

fn expression(rng: &mut Rng, leaves: &[Expr], depth: u32, used: &mut HashMap<u64, u64>) -> Expr {
    if depth == 0 || rng.one_in(12) {
        return if rng.one_in(5) { literal(rng) } else { leaves[rng.below(leaves.len() as u64) as usize].clone() };
    }
    let kind = rng.below(28);
    *used.entry(kind).or_default() += 1;
    // keeps every intermediate value inside the oracle's 128 bits
    let widest = match kind {
        2 => 64,
        22 | 23 => 42,
        _ => 107,
    };
    let mut sub = |rng: &mut Rng| {
        let e = expression(rng, leaves, depth - 1, used);
        let lo = rng.below(u64::from(e.width().saturating_sub(widest)) + 1) as u32;
        if e.width() > widest { signed_as(&e.slice(lo, widest), &e) } else { e }
    };
    let leaf = |rng: &mut Rng| leaves[rng.below(leaves.len() as u64) as usize].clone();
    let a = sub(rng);
    match kind {
        0 => &a + &signed_as(&sub(rng), &a),
        1 => &a - &signed_as(&sub(rng), &a),
        2 => &a * &signed_as(&sub(rng), &a),
        3 => a.add_wrap(&signed_as(&sub(rng), &a)),
        4 => a.sub_wrap(&signed_as(&sub(rng), &a)),
        5 => a.eq(&signed_as(&sub(rng), &a)),
        6 => a.ne(&signed_as(&sub(rng), &a)),
        7 => a.lt(&signed_as(&sub(rng), &a)),
        8 => a.le(&signed_as(&sub(rng), &a)),
        9 => a.gt(&signed_as(&sub(rng), &a)),
        10 => a.ge(&signed_as(&sub(rng), &a)),
        11 => &a & &fitted(&sub(rng), a.ty()),
        12 => &a | &fitted(&sub(rng), a.ty()),
        13 => &a ^ &fitted(&sub(rng), a.ty()),
        14 => !&a,
        15 => a.neg(),
        16 => a.any(),
        17 => a.all(),
        18 => a.parity(),
        19 => a.any().mux(&signed_as(&sub(rng), &a), &a),
        20 => {
            let (then, other) = (sub(rng), sub(rng));
            a.bit(a.width() - 1).mux(&then, &signed_as(&other, &then))
        }
        21 => {
            let lo = rng.below(u64::from(a.width())) as u32;
            let width = 1 + rng.below(u64::from(a.width() - lo)) as u32;
            a.slice(lo, width)
        }
        22 => cat([&a, &sub(rng), &a]),
        23 => repeat(1 + rng.below(3) as u32, &a),
        24 => a.extend(a.width() + rng.below(20) as u32),
        25 => {
            if a.signed() {
                a.as_unsigned()
            } else {
                a.as_signed()
            }
        }
        // A shift of a shift is left out: Verilator 5.48 adds the two amounts in too few bits
        // (`8'd1 << 5'd31 << 2'd3` becomes `8'd1 << 5'd2`); Yosys and the standard agree with `evaluate`.
        26 => {
            let x = leaf(rng);
            (&x + signed_as(&leaf(rng), &x)).shl(&fitted(&a, uint(5)))
        }
        _ => {
            let x = leaf(rng);
            x.sub_wrap(&signed_as(&leaf(rng), &x)).shr(&fitted(&a, uint(6)))
        }
    }
}

fn words(value: u128) -> [u32; 4] {
    std::array::from_fn(|i| (value >> (32 * i)) as u32)
}

#[test]
fn printed_expressions_mean_what_they_say() {
    let mut rng = Rng::announced("printer", 20_260_101);
    let mut used = HashMap::new();
    let mut checked = 0u64;
    for round in 0..2 {
        let mut m = Module::new(format!("tern_random_r{round}"));
        m.input("clk_i", uint(1));
        let inputs: Vec<Expr> = (0..8).map(|i| m.input(&format!("x{i}_i"), some_type(&mut rng))).collect();
        let values: Vec<Expr> = (0..250).map(|_| expression(&mut rng, &inputs, 4, &mut used)).collect();
        for (i, value) in values.iter().enumerate() {
            assert_eq!(value.error(), None, "the generator of expressions broke a typing rule");
            let y = m.output(&format!("y{i}_o"), value.ty());
            m.drive(&y, value);
        }
        let mut design = Design::default();
        let top = design.add(m).unwrap();
        let text = design.text();
        let job = Job { top: &top.name, verilog: &text, ports: &top.ports, speed: Speed::Quick, lint: false };
        let library = compile(&job).unwrap();
        let mut model = library.start(1);
        for _ in 0..200 {
            let mut bits = HashMap::new();
            for x in &inputs {
                let (width, name) = (x.width(), format!("x{}_i", bits.len()));
                let any = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
                let value = match rng.below(5) {
                    0 => 0,
                    1 => u128::MAX,
                    2 => 1 << (width - 1),
                    _ => any,
                } & (u128::MAX >> (128 - width));
                model.set_words(library.port(&name).unwrap(), &words(value));
                bits.insert(name, value);
            }
            model.eval();
            for (i, value) in values.iter().enumerate() {
                let want = evaluate(value, &|name| bits.get(name).copied()).expect("narrow enough");
                let got = model.words(library.port(&format!("y{i}_o")).unwrap());
                let got = got.iter().rev().fold(0u128, |all, w| all << 32 | u128::from(*w));
                assert_eq!(
                    got,
                    want,
                    "y{i}_o: {:?} for {bits:?}",
                    text.lines().find(|l| l.contains(&format!(" y{i}_o =")))
                );
                checked += 1;
            }
        }
    }
    assert_eq!(used.len(), 28, "every operator must have been drawn: {used:?}");
    assert!(checked >= 100_000);
}

#[test]
fn wrong_types_are_named() {
    let mut m = Module::new("tern_wrong");
    let a = m.input("a_i", uint(8));
    let b = m.input("b_i", sint(8));
    let y = m.output("y_o", uint(9));
    m.drive(&y, &(&a + &b));
    let error = Design::default().add(m).unwrap_err();
    let said = "module tern_wrong: add(a_i: u8, b_i: i8): expected a second operand that is unsigned, found i8";
    assert_eq!(error.to_string(), said);
}
