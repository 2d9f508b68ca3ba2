//! Whole-model rates on random weights: `cpu_model [large|2b4t] [threads] [trit5|sherry] [isa]`.
use host::{
    cpu::{CpuEngine, Isa, bench},
    engine::{Engine, Step, Want},
};
use spec::format::matrix::Encoding;
use std::time::Instant;

fn cpu_seconds(id: rustix::time::ClockId) -> f64 {
    let t = rustix::time::clock_gettime(id);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn rss_mb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) / 1024
}

/// Wall seconds and process CPU seconds.
fn timed<T>(f: impl FnOnce() -> T) -> (T, f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_seconds(rustix::time::ClockId::ProcessCPUTime));
    let result = f();
    (result, start.elapsed().as_secs_f64(), cpu_seconds(rustix::time::ClockId::ProcessCPUTime) - cpu)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |i: usize, default: &'static str| args.get(i).map_or(default, |s| s.as_str()).to_string();
    let config = if arg(1, "large") == "2b4t" { bench::bitnet_2b4t() } else { bench::bitnet_large() };
    let threads: usize = arg(2, "1").parse().unwrap();
    let encoding = if arg(3, "trit5") == "sherry" { Encoding::Sherry } else { Encoding::Trit5 };
    let isa = Isa::available().into_iter().find(|i| i.name() == arg(4, "")).unwrap_or(Isa::detect());
    let mode = arg(5, "all");
    let all = mode == "all";
    let (weights, made, _) = timed(|| bench::random_weights(&config, encoding, 1));
    let (engine, wall, cpu) = timed(|| CpuEngine::with_isa(&weights, threads, isa));
    let mut engine = engine.unwrap();
    drop(weights);
    println!(
        "{} {}; made {made:.2} s; packed {wall:.3} s wall {cpu:.3} s cpu; RSS {} MB; traffic {:?}",
        config.name,
        engine.describe(),
        rss_mb(),
        engine.traffic(0)
    );
    let id = engine.new_sequence().unwrap();
    let tokens: Vec<u32> = (0..512).map(|i| (i * 977 + 13) % 32_000).collect();
    for count in [64, 128, 512] {
        if !all && mode != "prefill" {
            break;
        }
        let mut rates: Vec<(f64, f64)> = (0..5)
            .map(|_| {
                engine.truncate(id, 0);
                let step = [Step { sequence: id, tokens: &tokens[..count], want: Want::Last }];
                let (_, wall, cpu) = timed(|| engine.forward(&step).unwrap());
                (count as f64 / wall, count as f64 / cpu)
            })
            .collect();
        rates.sort_by(|a, b| a.1.total_cmp(&b.1));
        let best_wall = rates.iter().map(|r| r.0).fold(0.0, f64::max);
        println!("prefill {count}: {:.0} tok/cpu-s median, {best_wall:.0} tok/s wall best", rates[2].1);
    }
    for context in [0, 512, 1024] {
        if mode == "decode1k" && context != 1024 {
            continue;
        }
        if mode == "decode0" && context > 0 {
            break;
        }
        if !all && !mode.starts_with("decode") {
            break;
        }
        engine.truncate(id, 0);
        while engine.len(id) < context {
            engine.forward(&[Step { sequence: id, tokens: &tokens, want: Want::Nothing }]).unwrap();
        }
        let mut rates: Vec<(f64, f64)> = (0..if mode == "decode0" || mode == "decode1k" { 40 } else { 12 })
            .map(|_| {
                let (_, wall, cpu) = timed(|| {
                    for i in 0..16 {
                        engine.forward(&[Step { sequence: id, tokens: &tokens[i..i + 1], want: Want::Last }]).unwrap();
                    }
                });
                (16.0 / wall, 16.0 / cpu)
            })
            .collect();
        rates.sort_by(|a, b| a.1.total_cmp(&b.1));
        let best_wall = rates.iter().map(|r| r.0).fold(0.0, f64::max);
        println!(
            "decode at {context}: {:.1} tok/cpu-s median, {best_wall:.1} tok/s wall best",
            rates[rates.len() / 2].1
        );
    }
    for batch in [2, 4, 8, 16] {
        if !all && mode != "batch" {
            break;
        }
        let ids: Vec<_> = (0..batch).map(|_| engine.new_sequence().unwrap()).collect();
        let mut rates: Vec<f64> = (0..3)
            .map(|_| {
                let (_, _, cpu) = timed(|| {
                    for i in 0..8 {
                        let steps: Vec<_> = ids
                            .iter()
                            .map(|&id| Step { sequence: id, tokens: &tokens[i..i + 1], want: Want::Last })
                            .collect();
                        engine.forward(&steps).unwrap();
                    }
                });
                (8 * batch) as f64 / cpu
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("batch {batch}: {:.1} tok/cpu-s in all", rates[1]);
        ids.into_iter().for_each(|id| engine.free_sequence(id));
    }
    println!("RSS {} MB", rss_mb());
}
