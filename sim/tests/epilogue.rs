//! The epilogue against `spec::numerics`: all modes, shapes, gaps, stalls, late answers of the vector memory.

use hw::blocks::epilogue::{Epilogue, Sigmoid};
use sim::SimError;
use sim::bench::BenchError;
use sim::bench::rig::{Bug, library};
use sim::blocks::epilogue::{BUGS, SIGMOID_BUG, check};
use sim::rng::Rng;
use spec::numerics::sigmoid::SigmoidTable;

const fn shape(rows: u32, tokens: u32, lanes: u32, vtokens: u32, half: u32) -> Epilogue {
    Epilogue { rows, tokens, lanes, vtokens, acc: 21, addr: 13, half }
}

const SHAPES: [Epilogue; 4] =
    [shape(2, 2, 2, 1, 6), shape(3, 5, 1, 1, 6), shape(6, 4, 2, 2, 12), Epilogue { acc: 32, ..shape(4, 8, 4, 2, 8) }];

fn run(index: usize) {
    let mut rng = Rng::announced("epilogue", 41 + index as u64);
    let block = SHAPES[index];
    match check(&block, &mut rng, 2, None) {
        Ok(cover) => {
            println!("{block:?}: {cover}");
            for counter in [
                "accumulate",
                "bias",
                "row_scale",
                "two_sums",
                "cut_off",
                "store",
                "residual",
                "silu",
                "relu2",
                "rope",
                "logits",
                "vanished",
                "saturated",
                "middle",
                "negative",
                "reset_in_work",
            ] {
                assert_ne!(cover.get(counter), 0, "{block:?} never covered {counter}");
            }
        }
        Err(error) => panic!("{block:?}: {error:.600}"),
    }
}

#[test]
fn epilogue_q2_p2_l2_v1() {
    run(0);
}

#[test]
fn epilogue_q3_p5_l1_v1() {
    run(1);
}

#[test]
fn epilogue_q6_p4_l2_v2() {
    run(2);
}

#[test]
fn epilogue_q4_p8_l4_v2() {
    run(3);
}

#[test]
fn sigmoid_of_all_magnitudes() {
    assert_eq!(sigmoid_errors(None), Vec::<String>::new());
    assert_ne!(sigmoid_errors(Some(SIGMOID_BUG)), Vec::<String>::new());
}

/// Every exponent with random and extreme fractions, and every step of the table with rounding ties.
fn sigmoid_errors(bug: Option<Bug>) -> Vec<String> {
    let (library, _) = library(Sigmoid::build, bug).unwrap();
    let mut model = library.start(1);
    let (x, y) = (library.port("x_i").unwrap(), library.port("y_o").unwrap());
    let mut rng = Rng::announced("sigmoid", 45);
    let table = SigmoidTable::default();
    let mut inputs = vec![0u32, 0x8000_0000, 0x7f80_0000, 0xff80_0000];
    for exp in 1..255u32 {
        let fractions = [0, 1, 0x40_0000, 0x7f_ffff, rng.bits() as u32 & 0x7f_ffff, rng.bits() as u32 & 0x7f_ffff];
        inputs.extend(fractions.iter().flat_map(|f| [exp << 23 | f, 1 << 31 | exp << 23 | f]));
    }
    for step in 0..2 * 512 * 8 {
        let at = step as f32 / 256.0 + (rng.below(5) as f32 - 2.0) / 131_072.0;
        inputs.extend([at.abs().to_bits(), (-at.abs()).to_bits()]);
    }
    inputs.retain(|x| f32::from_bits(*x) == 0.0 || !f32::from_bits(*x).is_subnormal());
    let latency = Sigmoid::LATENCY as usize;
    let mut errors = Vec::new();
    for at in 0..inputs.len() + latency {
        model.set(x, inputs.get(at).copied().unwrap_or(0).into());
        model.eval();
        if let Some(input) = at.checked_sub(latency).map(|at| f32::from_bits(inputs[at])) {
            let expected = table.fixed(input) as f32 / (1 << 20) as f32;
            if model.get(y) as u32 != expected.to_bits() {
                errors.push(format!("sigmoid({input}) is {:#x}", model.get(y)));
            }
        }
        model.tick();
    }
    errors.truncate(5);
    errors
}

#[test]
fn planted_bugs_are_caught() {
    for (name, bug) in BUGS {
        match check(&SHAPES[0], &mut Rng::new(7), 1, Some(*bug)) {
            Ok(_) => panic!("not caught: {name}"),
            Err(SimError::Bench(error)) if !matches!(error, BenchError::NoMutation { .. }) => {
                println!("caught  {name}: {error:.140}")
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for block in [shape(3, 4, 2, 2, 6), shape(4, 5, 2, 2, 4), shape(4, 4, 2, 0, 4), Epilogue { acc: 49, ..SHAPES[0] }] {
        assert!(block.build(&mut hw::ir::Design::default()).is_err(), "{block:?}");
    }
}
