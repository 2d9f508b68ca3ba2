//! The RTL in Verilator gives the bits of the reference device, command by command.

use host::compile::{Options, compile};
use host::device::driver::{Driver, Patience};
use host::device::residency::{HEADER, device_bytes};
use host::device::simulated::expected;
use host::device::{LogitsArea, PassRunner, ReferenceRunner};
use hw::preset::{self, Machine};
use sim::axi::Timing;
use sim::compile::Speed;
use sim::device::{SimDevice, SimOptions};
use spec::device::{Pass, Slot};
use spec::model::random::{self, RandomSpec, WeightKind};
use spec::model::{Activation, ModelConfig};
use spec::program::LINE;
use std::time::Duration;
use tests::lockstep;

const PLAIN: RandomSpec = RandomSpec::PLAIN;

fn config() -> ModelConfig {
    ModelConfig { activation: Activation::Relu2, ..random::small() }
}

/// Marks a pass for the shortlist's program.
const SHORTLIST: u64 = 1 << 63;

/// Runs passes of a model on a machine in lock-step; returns the cycles of each pass.
fn check(
    speed: Speed,
    machine: &Machine,
    config: &ModelConfig,
    spec: RandomSpec,
    timing: Timing,
    seed: u64,
    planted: u64,
) -> Result<Vec<u64>, String> {
    let weights = random::model(config, spec);
    let choices = Options { shortlist: Some(0), ..Options::default() };
    let image = compile(&weights, &machine.shape(), choices).map_err(|e| e.to_string())?;
    let memory_bytes = device_bytes(&image, 2);
    let mut reference = ReferenceRunner::new(machine.shape(), memory_bytes - HEADER).map_err(|e| e.to_string())?;
    let options = SimOptions { memory_bytes, timing, seed, speed, waves: None };
    let device = SimDevice::new(machine, &options).map_err(|e| e.to_string())?;
    let name = machine.name.clone();
    let mut rtl = Driver::new(
        device,
        expected(machine),
        name,
        Patience { pass: Duration::from_secs(60), ..Patience::SIMULATION },
    )
    .map_err(|e| e.to_string())?;
    // a planted difference: the RTL gets the weights of another seed
    let other =
        compile(&random::model(config, RandomSpec { seed: spec.seed + planted, ..spec }), &machine.shape(), choices);
    let other = other.map_err(|e| e.to_string())?;
    for (section, other) in image.sections.iter().zip(&other.sections) {
        reference.upload(section.line * LINE, &section.bytes).map_err(|e| e.to_string())?;
        rtl.upload(other.line * LINE, &other.bytes).map_err(|e| e.to_string())?;
    }
    let area = LogitsArea { line: image.logits_line, stride: image.logits_lines, vocab: config.vocab };
    let p = machine.engine.tokens as usize;
    let slot = |token: u32, position: u32, sequence: usize, run: usize| Slot {
        valid: true,
        token,
        position,
        cache: image.sequence_line(sequence) as u32,
        run: run as u8,
    };
    // a prefill of two passes, on both banks if the model lets them share weights, decode steps with the exact head and the shortlist, then a step of two sequences
    let prefill = |first: usize, n: usize, sequence: usize| -> Vec<Slot> {
        let one = |i: usize| {
            let run = if i.is_multiple_of(p) { p.min(n - i) } else { 0 };
            slot((7 * (first + i) + 3) as u32 % 50, (first + i) as u32, sequence, run)
        };
        (0..n).map(one).collect()
    };
    let s = if image.wide.is_some() { machine.shape().slots() } else { p };
    let next = 2 * s as u32 - 1;
    let passes: Vec<(Vec<Slot>, u64, u64)> = vec![
        (prefill(0, s, 0), 0, 0),
        (prefill(s, s - 1, 0), 1 << (s - 2), 1 << (s - 2)),
        // the same with the shortlist for the last token, and one of a single bank
        (prefill(s, s - 1, 0), 0, SHORTLIST | 1 << (s - 2)),
        (prefill(s, p - 1, 0), 0, SHORTLIST | 1 << (p - 2)),
        (vec![slot(41, next, 0, 1)], 0, 1),
        (vec![slot(41, next, 0, 1)], 0, SHORTLIST | 1),
        (vec![slot(5, 0, 1, 1)], 0, 0),
        (vec![slot(29, next + 1, 0, 1)], 0, SHORTLIST | 1),
        (vec![slot(9, next + 1, 0, 1), slot(8, 1, 1, 1)], 2, 1),
    ];
    let mut cycles = Vec::new();
    for (index, (slots, want_logits, want_best)) in passes.into_iter().enumerate() {
        let program = match want_best & SHORTLIST {
            0 => image.program(slots.len(), want_logits | want_best, 0),
            _ => image.program(slots.len(), 0, want_best & !SHORTLIST),
        };
        let want_best = want_best & !SHORTLIST;
        let (program_line, program_words) = (program.line as u32, program.descriptors.len() as u32);
        let pass = Pass { program_line, program_words, slots, want_logits, want_best };
        let before = rtl.transport().cycles();
        lockstep::run(&mut reference, &mut rtl, &pass, area).map_err(|e| format!("pass {index}: {e}"))?;
        cycles.push(rtl.transport().cycles() - before);
        println!("{}: pass {index}: {} cycles", machine.name, rtl.transport().cycles() - before);
    }
    Ok(cycles)
}

/// Every kind of weights, with shapes that fit no machine evenly.
fn every_kind() -> Vec<(&'static str, ModelConfig, RandomSpec)> {
    let relu2 = config();
    let silu = ModelConfig { activation: Activation::Silu, kv_heads: 4, ..config() };
    let odd = ModelConfig { hidden: 100, ffn: 204, heads: 9, kv_heads: 3, head_dim: 6, vocab: 131, ..config() };
    let wide = ModelConfig { hidden: 50, ffn: 75, heads: 6, kv_heads: 1, head_dim: 20, ..config() };
    let many = ModelConfig { heads: 8, kv_heads: 8, ..config() };
    vec![
        ("GQA, ReLU2, sub-norms", relu2.clone(), PLAIN),
        (
            "MHA, SiLU, scales per row, own head",
            silu.clone(),
            RandomSpec { kind: WeightKind::Row, sub_norms: false, tied: false, ..PLAIN },
        ),
        ("groups of 10", silu.clone(), RandomSpec { kind: WeightKind::Group(10), ..PLAIN }),
        ("shards", relu2.clone(), RandomSpec { kind: WeightKind::Shard, ..PLAIN }),
        ("Sherry", silu, RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
        ("two planes, input norms", relu2, RandomSpec { kind: WeightKind::TwoPlanes, input_norms: true, ..PLAIN }),
        ("odd shape", odd.clone(), PLAIN),
        ("odd shape, Sherry", ModelConfig { head_dim: 12, ..odd }, RandomSpec { kind: WeightKind::Sherry, ..PLAIN }),
        ("one key head, groups of 16", wide, RandomSpec { kind: WeightKind::Group(16), input_norms: true, ..PLAIN }),
        ("MHA, more heads than a tile's", many.clone(), PLAIN),
        ("one layer", ModelConfig { layers: 1, ..many }, PLAIN),
    ]
}

/// Runs every kind that fits a preset; returns how many did not.
fn check_all(preset: &str, timing: &Timing) -> usize {
    let machine = preset::load(preset).unwrap();
    let mut refused = 0;
    for (seed, (name, config, spec)) in every_kind().into_iter().enumerate() {
        println!("{preset}: {name}");
        if !config.head_dim.is_multiple_of(machine.lanes() as usize) {
            refused += 1;
            continue;
        }
        check(Speed::Quick, &machine, &config, spec, timing.clone(), seed as u64 + 1, 0)
            .unwrap_or_else(|e| panic!("{preset}, {name}: {e}"));
    }
    refused
}

#[test]
fn a_difference_is_found_where_it_begins() {
    let machine = preset::load("sim-tiny").unwrap();
    let said = check(Speed::Quick, &machine, &config(), PLAIN, Timing::ideal(), 1, 1).unwrap_err();
    assert!(said.starts_with("pass 0: cycle ") && said.contains("column 0 of slot 0"), "{said}");
}

#[test]
fn the_smallest_machine_runs_every_kind_of_model() {
    assert_eq!(check_all("sim-tiny", &Timing::ideal()), 0);
}

#[test]
fn the_odd_machine_runs_every_kind_of_model_behind_a_harsh_memory() {
    assert_eq!(check_all("odd", &Timing::harsh()), 0);
}

/// Whole models are simulated with clocks that stand still where units rest: not a bit, not a cycle may differ.
fn check_rests(preset: &str, timing: &Timing) {
    let machine = preset::load(preset).unwrap();
    for (seed, (name, config, spec)) in every_kind().into_iter().enumerate() {
        if !config.head_dim.is_multiple_of(machine.lanes() as usize) {
            continue;
        }
        let run = |speed| check(speed, &machine, &config, spec, timing.clone(), seed as u64 + 1, 0);
        let [plain, resting] = [Speed::Quick, Speed::Full]
            .map(|speed| run(speed).unwrap_or_else(|e| panic!("{preset}, {name}, {speed:?}: {e}")));
        assert_eq!(plain, resting, "{preset}, {name}: cycles of the passes");
    }
}

#[test]
fn clocks_that_rest_change_nothing_on_the_smallest_machine() {
    check_rests("sim-tiny", &Timing::measured());
}

#[test]
#[ignore = "builds the odd and the kv260 machine twice: minutes"]
fn clocks_that_rest_change_nothing_on_others() {
    check_rests("odd", &Timing::harsh());
    check_rests("kv260", &Timing::measured());
}

/// `cargo test --release -p tests --test rtl -- --ignored --nocapture`
#[test]
#[ignore = "builds the whole kv260 machine: minutes"]
fn the_kv260_machine_runs_every_kind_of_model() {
    let refused = check_all("kv260", &Timing::measured());
    assert!(refused <= 1, "{refused} kinds have heads that are no multiple of four");
}
