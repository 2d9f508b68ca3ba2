//! The head's shortlist on the shipped model: RTL and reference device write the same tokens; how often they are the
//! exact ones, and what they cost.

use host::compile::Options;
use host::cpu::CpuEngine;
use host::device::{ReferenceDevice, SimulatedDevice};
use host::engine::{Engine, SequenceId, Step, Want};
use hw::preset::{self, Machine};
use sim::axi::Timing;
use tests::shipped_weights;

const PROMPT: [u32; 5] = [0, 418, 259, 77, 300];

fn options(machine: &Machine, shortlist: Option<usize>) -> Options {
    Options { context: Some(machine.max_context.min(256) as usize), shortlist }
}

/// The most probable token after some more.
fn best(engine: &mut dyn Engine, sequence: SequenceId, tokens: &[u32]) -> u32 {
    engine.answer(&[Step { sequence, tokens, want: Want::Best }]).unwrap()[0].best.unwrap()
}

#[test]
fn rtl_and_reference_device_write_the_same_tokens() {
    let (weights, machine) = (shipped_weights(), preset::load("sim-tiny").unwrap());
    let options = options(&machine, Some(0));
    let mut rtl = SimulatedDevice::simulated(&weights, &machine, options, 1, Timing::ideal()).unwrap();
    let mut reference = ReferenceDevice::compiled(&weights, &machine.shape(), options, 1).unwrap();
    assert!(rtl.image().narrow.shortlist.is_some());
    let ids = (rtl.new_sequence().unwrap(), reference.new_sequence().unwrap());
    let mut next = PROMPT.to_vec();
    for position in 0..4 {
        let (found, wanted) = (best(&mut rtl, ids.0, &next), best(&mut reference, ids.1, &next));
        assert_eq!(found, wanted, "token {position}");
        next = vec![found];
    }
}

/// `cargo test --release -p tests --test shortlist agree -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn how_often_shortlists_agree() {
    let (weights, machine) = (shipped_weights(), preset::load("kv260").unwrap());
    let mut cpu = CpuEngine::new(&weights, 1).unwrap();
    let mut texts = Vec::new();
    for first in (0..16).map(|number| 9 + 23 * number) {
        let id = cpu.new_sequence().unwrap();
        let mut text = vec![0, first];
        while text.len() < 120 {
            let from = cpu.len(id);
            let token = best(&mut cpu, id, &text[from..]);
            text.push(token);
        }
        texts.push(text);
    }
    for keep in [16, 32, 64] {
        let options = options(&machine, Some(keep));
        let mut device = ReferenceDevice::compiled(&weights, &machine.shape(), options, 1).unwrap();
        let (mut same, mut all) = (0, 0);
        for text in &texts {
            let id = device.new_sequence().unwrap();
            // the second token of a text was given
            for (at, pair) in text.windows(2).enumerate() {
                let token = best(&mut device, id, &pair[..1]);
                same += usize::from(at > 0 && token == pair[1]);
                all += usize::from(at > 0);
            }
            device.free_sequence(id);
        }
        println!("{keep} groups of {} rows: {same} of {all} tokens", machine.engine.rows);
    }
}

/// `cargo test --release -p tests --test shortlist cycles -- --ignored --nocapture`
#[test]
#[ignore = "a measurement; builds the whole kv260 machine"]
fn cycles_of_heads() {
    let (weights, machine) = (shipped_weights(), preset::load("kv260").unwrap());
    for shortlist in [None, Some(16), Some(32), Some(64)] {
        let options = options(&machine, shortlist);
        let mut rtl = SimulatedDevice::simulated(&weights, &machine, options, 1, Timing::ideal()).unwrap();
        let sequence = rtl.new_sequence().unwrap();
        for (want, token) in [(Want::Nothing, 7), (Want::Nothing, 9), (Want::Best, 11)] {
            let before = rtl.runner().transport().cycles();
            rtl.answer(&[Step { sequence, tokens: &[token], want }]).unwrap();
            println!("{shortlist:?} {want:?}: {} cycles", rtl.runner().transport().cycles() - before);
        }
    }
}
