//! Packing and opening, whole files.

mod damage;
mod documented;
mod models;
mod round_trip;
mod targets;

use super::*;
use std::ops::ControlFlow;

/// A progress that never stops.
fn on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Writes and opens a model of 0.73 billion weights; prints the times. Run with
/// `cargo test --release -p host image::tests::open_time -- --ignored --nocapture`.
#[test]
#[ignore = "takes 250 MB of disk and some seconds"]
fn open_time() {
    use spec::model::random::{RandomSpec, WeightKind, model};
    let config = spec::model::ModelConfig {
        name: "0.73B".into(),
        vocab: 32_002,
        hidden: 1536,
        ffn: 4096,
        layers: 24,
        heads: 16,
        kv_heads: 16,
        head_dim: 96,
        max_context: 2048,
        ..models::config()
    };
    let dir = tempfile::tempdir().unwrap();
    for kind in [WeightKind::Tensor, WeightKind::Sherry] {
        let path = dir.path().join("model.tercet");
        let spec = RandomSpec { coded_tables: true, ..models::spec_of(kind) };
        let weights = model(&config, spec);
        let start = std::time::Instant::now();
        let summary = write_image(&weights, &models::extras(), &path, &mut on).unwrap();
        println!("{kind:?}: packed {} bytes in {:.3} s", summary.bytes, start.elapsed().as_secs_f64());
        drop(weights);
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let image = open_image(&path).unwrap();
            println!("opened and verified in {:.3} s", start.elapsed().as_secs_f64());
            assert_eq!(image.summary, summary);
        }
        let start = std::time::Instant::now();
        println!("{}inspected in {:.3} s", inspect(&path).unwrap(), start.elapsed().as_secs_f64());
    }
}
