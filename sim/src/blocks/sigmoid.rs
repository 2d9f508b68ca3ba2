//! The sigmoid of the epilogue against its table, one operand per cycle.

use crate::SimError;
use crate::bench::rig::library;
use crate::bench::{BenchError, Bug, Cover};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::epilogue::Sigmoid;
use spec::numerics::sigmoid::SigmoidTable;

/// Every exponent with random and extreme fractions, and every step of the table with rounding ties.
fn operands(rng: &mut Rng) -> Vec<u32> {
    let mut inputs = vec![0u32, 0x8000_0000, 0x7f80_0000, 0xff80_0000];
    for exp in 1..255u32 {
        let fractions = [0, 1, 0x40_0000, 0x7f_ffff, rng.bits() as u32 & 0x7f_ffff, rng.bits() as u32 & 0x7f_ffff];
        inputs.extend(fractions.iter().flat_map(|f| [exp << 23 | f, 1 << 31 | exp << 23 | f]));
    }
    for step in 0..2 * 512 * 8 {
        let at = step as f32 / 256.0 + (rng.below(5) as f32 - 2.0) / 131_072.0;
        inputs.extend([at.abs().to_bits(), (-at.abs()).to_bits()]);
    }
    inputs.retain(|x| !f32::from_bits(*x).is_subnormal());
    inputs
}

/// All operands, each result compared.
pub fn check(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let (library, top) = library(Sigmoid::build, bug)?;
    let mut model = library.start(1);
    let (valid, x, y) = (library.port("valid_i")?, library.port("x_i")?, library.port("y_o")?);
    model.set(valid, 1);
    let table = SigmoidTable::default();
    let inputs = operands(rng);
    let latency = Sigmoid::LATENCY as usize;
    let mut cover = Cover::default();
    for cycle in 0..inputs.len() + latency {
        model.set(x, inputs.get(cycle).copied().unwrap_or(0).into());
        model.eval();
        if let Some(index) = cycle.checked_sub(latency) {
            let input = f32::from_bits(inputs[index]);
            let expected = table.fixed(input) as f32 / (1 << 20) as f32;
            let found = model.get(y) as u32;
            if found != expected.to_bits() {
                let difference = format!("sigmoid({input}) is {found:#x}, expected {:#x}", expected.to_bits());
                let (block, run, stream) = (top.name.clone(), "sweep".to_string(), "y_o".to_string());
                return Err(BenchError::Value { block, run, cycle: cycle as u64, stream, index, difference }.into());
            }
            cover.count("zero", expected == 0.0);
            cover.count("one", expected == 1.0);
            cover.count("between", expected > 0.0 && expected < 1.0);
        }
        model.tick();
    }
    Ok(cover)
}

/// Bugs that the sweep must catch.
pub const MUTATIONS: &[Mutation] =
    &[own_bug("sigmoid: halves always go up", check, "shifted_q[3] & (lost_q", "shifted_q[3] & (1'b1 | lost_q")];
