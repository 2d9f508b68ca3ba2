//! The model that ships with the repository, as a whole.

use host::cpu::{CpuEngine, Isa};
use host::engine::{Engine, ReferenceEngine, Step, Want};
use host::load::{LoadOptions, NoProgress, load_model};
use spec::model::{Decoder, Numerics};
use tests::{argmax, shipped_model, shipped_weights};

/// Greedy continuation by any engine, with the bits of every step's logits.
fn continue_greedily(engine: &mut dyn Engine, prompt: &[u32], count: usize) -> (Vec<u32>, Vec<Vec<f32>>) {
    let sequence = engine.new_sequence().unwrap();
    let mut tokens = prompt.to_vec();
    let (mut ids, mut all) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let logits = engine.forward(&[Step { sequence, tokens: &tokens, want: Want::Last }]).unwrap().remove(0);
        tokens = vec![argmax(&logits) as u32];
        ids.push(tokens[0]);
        all.push(logits);
    }
    engine.free_sequence(sequence);
    (ids, all)
}

#[test]
fn every_instruction_set_and_number_of_threads_gives_the_bits_of_the_reference() {
    let weights = shipped_weights();
    let prompt: Vec<u32> = (0..37).map(|i| (i * i * 31 + 7) % weights.config.vocab as u32).collect();
    let mut reference = ReferenceEngine::new(weights.clone(), Numerics::Device).unwrap();
    let want = continue_greedily(&mut reference, &prompt, 24);
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let mut engine = CpuEngine::with_isa(&weights, threads, isa).unwrap();
            let got = continue_greedily(&mut engine, &prompt, 24);
            assert!(got == want, "{}, {threads} threads: other logits than the reference", isa.name());
        }
    }
}

#[test]
fn device_numerics_cost_less_than_half_a_percent_of_perplexity() {
    let path = shipped_model();
    let model = load_model(&path, &LoadOptions::default(), &NoProgress).unwrap();
    let tokenizer = model.tokenizer(&path).unwrap();
    let text = include_str!("../fixtures/story.txt");
    let perplexity = |numerics| {
        let decoder = Decoder::new(model.weights.clone(), numerics).unwrap();
        let (mut nll, mut count) = (0.0, 0);
        for document in text.split("<|endoftext|>") {
            let ids = tokenizer.encode(document.trim(), true).unwrap();
            let logits = decoder.forward(&mut decoder.new_sequence(), &ids[..ids.len() - 1]).unwrap();
            for (row, &next) in logits.iter().zip(&ids[1..]) {
                let top = f64::from(row[argmax(row)]);
                let sum: f64 = row.iter().map(|&l| (f64::from(l) - top).exp()).sum();
                nll += top + sum.ln() - f64::from(row[next as usize]);
                count += 1;
            }
        }
        (nll / f64::from(count)).exp()
    };
    let (float, device) = (perplexity(Numerics::Float), perplexity(Numerics::Device));
    println!("float {float:.4}, device {device:.4}, {:+.3} %", (device / float - 1.0) * 100.0);
    assert!(float < 60.0, "perplexity {float}: this is no model of English stories");
    assert!(device < float * 1.005, "device {device} against float {float}");
}
