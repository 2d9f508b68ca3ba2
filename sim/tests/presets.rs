//! Every built-in preset generates Verilog that lints without a warning, and the kv260 engine runs.

use hw::ir::Design;
use hw::kit::Kit;
use hw::preset::{self, BUILT_IN};
use sim::compile::{Job, Speed, compile, lint};

#[test]
fn every_preset_is_lint_clean() {
    for (name, _) in BUILT_IN {
        let mut design = Design::default();
        let machine = preset::load(name).unwrap();
        let top = machine.build(&mut design).unwrap();
        let (mut outermost, mut text) = (top.name.as_str(), design.text());
        // with a board behind it, inside the IP core that goes into the block design
        if let Ok(kit) = Kit::new(&machine, &top) {
            let core = kit.files().into_iter().find(|file| file.name == "tercet_ip.v").unwrap();
            (outermost, text) = ("tercet_ip", text + &core.text);
        }
        lint(outermost, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// `cargo test --release -p sim --test presets -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: simulated cycles a second of the kv260 engine"]
fn speed_of_the_kv260_engine() {
    let machine = preset::load("kv260").unwrap();
    let mut design = Design::default();
    let top = machine.engine.build(&mut design).unwrap();
    let verilog = design.text();
    let started = std::time::Instant::now();
    let job = Job { top: &top.name, verilog: &verilog, ports: &top.ports, speed: Speed::Full, lint: true };
    let library = compile(&job).unwrap();
    println!("built in {:.1} s", started.elapsed().as_secs_f64());
    let mut model = library.start(1);
    let id = |name: &str| library.port(name).unwrap();
    model.set(id("rst_i"), 1);
    model.tick();
    model.set(id("rst_i"), 0);
    for (port, value) in [
        ("cmd_valid_i", 1),
        ("cmd_words_i", 384),
        ("cmd_segs_i", 16),
        ("cmd_planes_i", 1),
        ("cmd_active_i", 0xff),
        ("act_valid_i", 1),
        ("wgt_valid_i", 1),
        ("sum_ready_i", 1),
    ] {
        model.set(id(port), value);
    }
    let (wgt, act, beat) = (id("wgt_data_i"), id("act_data_i"), id("ev_beat_o"));
    let (started, cycles, mut beats) = (std::time::Instant::now(), 500_000u32, 0);
    let mut word = [0u32; 32];
    for cycle in 0..cycles {
        word.iter_mut().enumerate().for_each(|(i, w)| *w = w.wrapping_mul(747_796_405).wrapping_add(cycle ^ i as u32));
        model.set_words(wgt, &word);
        model.set_words(act, &word);
        model.tick();
        beats += model.get(beat);
    }
    let rate = f64::from(cycles) / started.elapsed().as_secs_f64() / 1e3;
    println!("{rate:.0} kcycles/s, {beats} beats in {cycles} cycles");
    assert!(beats > 490_000, "the engine takes a beat in nearly every cycle");
}
