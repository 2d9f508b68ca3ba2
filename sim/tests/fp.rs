//! Float units against `spec::numerics::f32ops`.

use sim::bench::check;
use sim::blocks::fp::{self, Iterative, Streamed, Unit};
use sim::rng::Rng;

/// Random pairs beside the edges.
const PAIRS: usize = 200_000;

fn pipelined(unit: &Unit, seed: u64) {
    let mut rng = Rng::announced(unit.name, seed);
    match unit.check(&mut rng, PAIRS) {
        Ok(cover) => println!("{}: {cover}", unit.name),
        Err(error) => panic!("{}: {error}", unit.name),
    }
}

#[test]
fn sums() {
    pipelined(&fp::ADD, 21);
}

#[test]
fn products() {
    pipelined(&fp::MUL, 22);
}

#[test]
fn quotients() {
    pipelined(&fp::DIV, 26);
}

fn iterative(unit: &Unit, seed: u64) {
    let mut rng = Rng::announced(unit.name, seed);
    let (cover, cycles) = unit.check_iterative(&mut rng, PAIRS).unwrap_or_else(|e| panic!("{}: {e}", unit.name));
    println!("{}: {cover}, {cycles} cycles", unit.name);
    match check(&Iterative(*unit), &mut rng) {
        Ok(cover) => println!("{} with stalls: {cover}", unit.name),
        Err(error) => panic!("{} with stalls: {error}", unit.name),
    }
}

#[test]
fn quotients_one_at_a_time() {
    iterative(&fp::DIV_ITER, 27);
}

#[test]
fn roots() {
    iterative(&fp::SQRT, 28);
}

#[test]
fn integers_of_floats() {
    pipelined(&fp::TO_INT, 23);
}

#[test]
fn floats_of_integers() {
    for unit in [fp::FROM_I17, fp::FROM_I25, fp::FROM_I32, fp::FROM_I48] {
        pipelined(&unit, 24);
    }
}

#[test]
fn shells_of_pipelines() {
    for unit in [fp::ADD, fp::FROM_I48, fp::TO_INT] {
        let mut rng = Rng::announced(unit.name, 25);
        match check(&Streamed(unit), &mut rng) {
            Ok(cover) => println!("{} in its shell: {cover}", unit.name),
            Err(error) => panic!("{} in its shell: {error}", unit.name),
        }
    }
}
