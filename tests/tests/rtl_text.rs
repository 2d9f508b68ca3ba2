//! The RTL behind the engine's seam: the same logits as the CPU backend, for a prompt, for single tokens, for batches.

use host::compile::Options;
use host::cpu::CpuEngine;
use host::device::SimulatedDevice;
use host::engine::{Engine, SequenceId, Step, Want};
use hw::preset;
use sim::axi::Timing;
use spec::model::ModelWeights;
use tests::{argmax, shipped_weights};

fn simulated(weights: &ModelWeights, preset: &str, sequences: usize, timing: Timing) -> SimulatedDevice {
    let machine = preset::load(preset).unwrap();
    let context = Some(weights.config.max_context.min(machine.max_context as usize));
    SimulatedDevice::simulated(weights, &machine, Options { context, ..Options::default() }, sequences, timing).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// A step of every sequence on both engines, which of every second sequence wants the best token only; returns the most probable token of each.
fn both(
    cpu: &mut CpuEngine,
    rtl: &mut SimulatedDevice,
    sequences: &[(SequenceId, SequenceId)],
    tokens: &[Vec<u32>],
) -> Vec<u32> {
    let steps = |id: fn(&(SequenceId, SequenceId)) -> SequenceId, wants: [Want; 2]| -> Vec<Step<'_>> {
        let all = sequences.iter().map(id).zip(tokens).enumerate();
        all.map(|(index, (sequence, tokens))| Step { sequence, tokens, want: wants[index % 2] }).collect()
    };
    let wanted = cpu.forward(&steps(|s| s.0, [Want::Last; 2])).unwrap();
    let found = rtl.answer(&steps(|s| s.1, [Want::Last, Want::Best])).unwrap();
    for (index, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        match index % 2 {
            0 => assert!(bits(wanted) == bits(&found.logits), "logits of sequence {index} differ"),
            _ => assert!(found.best == Some(argmax(wanted) as u32) && found.logits.is_empty(), "{found:?}"),
        }
    }
    wanted.iter().map(|logits| argmax(logits) as u32).collect()
}

/// The shipped model writes the same tokens in RTL: a prompt, some tokens, then four sequences side by side.
fn story(preset: &str, tokens: usize, timing: Timing) {
    let weights = shipped_weights();
    let mut cpu = CpuEngine::new(&weights, 1).unwrap();
    let mut rtl = simulated(&weights, preset, 4, timing);
    let mut sequences = vec![(cpu.new_sequence().unwrap(), rtl.new_sequence().unwrap())];
    let mut next = vec![vec![0, 418, 259, 77, 300]];
    for _ in 0..tokens {
        next = both(&mut cpu, &mut rtl, &sequences, &next).into_iter().map(|token| vec![token]).collect();
    }
    for prompt in [vec![0, 9, 1], vec![0], vec![0, 77, 300, 5]] {
        sequences.push((cpu.new_sequence().unwrap(), rtl.new_sequence().unwrap()));
        next.push(prompt);
    }
    for _ in 0..2 {
        next = both(&mut cpu, &mut rtl, &sequences, &next).into_iter().map(|token| vec![token]).collect();
    }
}

#[test]
fn the_shipped_model_in_rtl_gives_the_logits_of_the_cpu() {
    story("sim-tiny", 2, Timing::ideal());
}

/// `cargo test --release -p tests --test rtl_text -- --ignored --nocapture`
#[test]
#[ignore = "builds the whole kv260 machine: minutes"]
fn the_shipped_model_on_the_kv260_machine_gives_the_logits_of_the_cpu() {
    story("kv260", 6, Timing::measured());
}

/// Simulated cycles a second and what a token's cycles are spent on:
/// `cargo test --release -p tests --test rtl_text speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn speed_of_the_simulation() {
    let weights = shipped_weights();
    for preset in ["sim-tiny", "kv260"] {
        let mut rtl = simulated(&weights, preset, 1, Timing::measured());
        let id = rtl.new_sequence().unwrap();
        for (what, tokens) in [("prefill 16", vec![7; 16]), ("decode", vec![9]), ("decode", vec![11])] {
            let (before, started) = (rtl.runner().transport().cycles(), std::time::Instant::now());
            rtl.forward(&[Step { sequence: id, tokens: &tokens, want: Want::Last }]).unwrap();
            let cycles = rtl.runner().transport().cycles() - before;
            let rate = cycles as f64 / started.elapsed().as_secs_f64() / 1e3;
            println!("{preset}: {what}: {cycles} cycles, {rate:.0} kcycles/s");
        }
        for (name, value) in rtl.runner_mut().counters().unwrap() {
            println!("  {name:<16}{value:>10}");
        }
    }
}
