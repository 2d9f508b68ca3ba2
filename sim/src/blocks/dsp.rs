//! The blocks made of DSP slices: their bodies against a model of the cell that stands beside them.

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover};
use crate::compile::{Job, Speed, compile};
use crate::ffi::{Library, Model, PortId};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::dsp::{Mac, MulAdd, SimdAdd};
use hw::ir::{Design, Dir, Interface, IrError};
use std::rc::Rc;

/// DSP48E2 as far as it is used.
const CELL: &str = include_str!("../models/dsp48e2.v");
/// Cycles of random inputs for each block.
const CYCLES: u64 = 20_000;

type Build = fn(&mut Design) -> Result<Rc<Interface>, IrError>;

/// All blocks, in the shapes of the kv260 preset and in their smallest ones.
const BLOCKS: [Build; 6] = [
    |d| SimdAdd { signs: true }.build(d),
    |d| SimdAdd { signs: false }.build(d),
    |d| MulAdd { sum: 15, ones: 5, factor: 8, acc: 29 }.build(d),
    |d| MulAdd { sum: 9, ones: 1, factor: 8, acc: 14 }.build(d),
    |d| Mac { weight: 15, value: 8, acc: 36 }.build(d),
    |d| Mac { weight: 15, value: 8, acc: 24 }.build(d),
];

/// The body, and the cell in its place.
fn both(build: Build, bug: Option<Bug>) -> Result<Option<(Library, Library, Rc<Interface>)>, SimError> {
    let mut design = Design::default();
    let top = build(&mut design)?;
    let text = design.text();
    let mutated = match bug {
        Some((from, _)) if !text.contains(from) => return Ok(None),
        Some((from, to)) => text.replacen(from, to, 1),
        None => text,
    };
    let cell = format!("`undef VERILATOR\n{mutated}\n{CELL}");
    let job =
        |verilog: &str, lint| compile(&Job { top: &top.name, verilog, ports: &top.ports, speed: Speed::Quick, lint });
    Ok(Some((job(&mutated, bug.is_none())?, job(&cell, false)?, top)))
}

/// A value for a port: anything, or an extreme of its width.
fn value(rng: &mut Rng, width: u32, cover: &mut Cover) -> u64 {
    let all = u64::MAX >> (64 - width);
    match rng.below(8) {
        0 => 0,
        1 => all,
        2 if width > 1 => {
            cover.count("most negative", true);
            1 << (width - 1)
        }
        3 if width > 1 => all >> 1,
        _ => rng.bits() & all,
    }
}

fn agree(build: Build, rng: &mut Rng, cover: &mut Cover, bug: Option<Bug>) -> Result<bool, SimError> {
    let Some((body, cell, top)) = both(build, bug)? else { return Ok(false) };
    let mut models: [Model; 2] = [body.start(1), cell.start(2)];
    let inputs: Vec<(PortId, u32)> = top
        .ports
        .iter()
        .filter(|p| p.dir == Dir::In && p.name != "clk_i")
        .map(|p| Ok((body.port(&p.name)?, p.ty.width)))
        .collect::<Result<_, SimError>>()?;
    let outputs: Vec<_> = top.ports.iter().filter(|p| p.dir == Dir::Out).collect();
    let ids = outputs.iter().map(|p| body.port(&p.name)).collect::<Result<Vec<_>, _>>()?;
    for cycle in 0..CYCLES {
        // all registers are loaded before anything is compared: unknown ones differ
        let settle = cycle < 8;
        for (port, width) in &inputs {
            let value = match (*width, settle) {
                (1, true) => 1,
                (2, _) => [Mac::ZERO, Mac::LAST, Mac::OLD][rng.below(3) as usize], // the only port of that width
                _ => value(rng, *width, cover),
            };
            models.iter_mut().for_each(|m| m.set(*port, value));
        }
        models.iter_mut().for_each(Model::eval);
        for (port, id) in outputs.iter().zip(&ids) {
            let (found, expected) = (models[0].get(*id), models[1].get(*id));
            if !settle && found != expected {
                let difference = format!("the body says {found:#x}, the cell {expected:#x}");
                let (block, run, stream) = (top.name.clone(), "random".to_string(), port.name.clone());
                return Err(BenchError::Value { block, run, cycle, stream, index: 0, difference }.into());
            }
            cover.count("equal and not zero", !settle && found != 0);
        }
        models.iter_mut().for_each(Model::tick);
    }
    Ok(true)
}

/// Every block, random inputs and enables.
pub fn check(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let mut cover = Cover::default();
    let mut some = false;
    for build in BLOCKS {
        some |= agree(build, rng, &mut cover, bug)?;
    }
    match bug {
        Some((from, _)) if !some => {
            Err(BenchError::NoMutation { block: "tern_dsp_*".into(), from: from.to_string() }.into())
        }
        _ => Ok(cover),
    }
}

/// Bugs in the settings of the cell, and in bodies.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("dsp: lanes not apart", check, ".USE_SIMD(\"FOUR12\")", ".USE_SIMD(\"ONE48\")"),
    own_bug("dsp: signs come a cycle early", check, ".ALUMODEREG(1)", ".ALUMODEREG(0)"),
    own_bug("dsp: pre-adder without its register", check, ".ADREG(1)", ".ADREG(0)"),
    own_bug("dsp: old sum forgotten", check, "base_i[0] ? old_i : acc_q", "base_i[0] ? old_i : old_i"),
    own_bug("dsp: a carry between lanes", check, "(z & ~48'h800800800800)", "(z & ~48'h800800000800)"),
];
