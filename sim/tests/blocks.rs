//! Every block against its oracle: plain, gaps, stalls, both, resets, extremes, random shapes.

use hw::blocks::{fifo::Fifo, gearbox::Gearbox, skid::Skid, table_build::TableBuild, tlmm::Tlmm};
use hw::blocks::{unpack5::Unpack5, weight_port::WeightPort};
use sim::bench::{Block, Cover, check};
use sim::blocks::{TlmmCase, weight_port::PortCase};
use sim::rng::Rng;

fn must_pass(name: &str, rng: &mut Rng, block: &dyn Block) -> Cover {
    match check(block, rng) {
        Ok(cover) => {
            println!("{name}: {cover}");
            cover
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn skid() {
    let mut rng = Rng::announced("skid", 11);
    for width in [1, 8, rng.within(33, 130) as u32] {
        must_pass(&format!("skid w{width}"), &mut rng, &Skid { width });
    }
}

#[test]
fn fifo() {
    let mut rng = Rng::announced("fifo", 12);
    for depth in [1, 2, 7, rng.within(9, 40) as u32] {
        let width = rng.within(1, 90) as u32;
        must_pass(&format!("fifo w{width} d{depth}"), &mut rng, &Fifo { width, depth });
    }
}

#[test]
fn gearbox() {
    let mut rng = Rng::announced("gearbox", 13);
    let random = (rng.within(1, 9) as u32, rng.within(1, 9) as u32);
    for (inputs, outputs) in [(1, 1), (5, 6), (7, 3), (2, 8), random] {
        let block = Gearbox { element: 4, inputs, outputs, fill: 9 };
        must_pass(&format!("gearbox {inputs} to {outputs}"), &mut rng, &block);
    }
}

#[test]
fn unpack5() {
    let mut rng = Rng::announced("unpack5", 14);
    let random = (rng.within(1, 9) as u32, rng.within(2, 9) as u32);
    for (bytes, codes) in [(16, 32), (3, 2), (8, 7), random] {
        must_pass(&format!("unpack5 {bytes} to {codes}"), &mut rng, &Unpack5 { bytes, codes });
    }
}

#[test]
fn weight_port() {
    let mut rng = Rng::announced("weight_port", 16);
    for (bytes, codes) in [(4, 8), (16, 32), (8, 7), (4, 10)] {
        for sherry in [false, true] {
            let case = PortCase { port: WeightPort { bytes, codes }, sherry };
            must_pass(&format!("weight_port {bytes} to {codes}, sherry {sherry}"), &mut rng, &case);
        }
    }
}

#[test]
fn table_build() {
    let mut rng = Rng::announced("table_build", 15);
    for (groups, tokens, passes) in [(1, 1, 1), (2, 3, 3)] {
        must_pass("table_build", &mut rng, &TableBuild { groups, tokens, passes });
    }
}

fn tlmm_shape(rng: &mut Rng) -> Tlmm {
    let tables = rng.within(1, 9) as u32;
    let groups = rng.within(1, u64::from(tables.min(3))) as u32;
    let cols = 3 * u64::from(tables) * rng.within(1, 6);
    let (rows, tokens) = (rng.within(1, 4) as u32, rng.within(1, 5) as u32);
    Tlmm { tables, rows, tokens, groups, cols, tile_rows: rng.within(1, 20) * u64::from(rows), queue: 0 }
}

#[test]
fn tlmm_of_chosen_shapes() {
    let mut rng = Rng::announced("tlmm", 16);
    let smallest = Tlmm { tables: 1, rows: 1, tokens: 1, groups: 1, cols: 3, tile_rows: 1, queue: 70 };
    let mut cover = Cover::default();
    let odd = Tlmm { tables: 7, rows: 3, tokens: 5, groups: 3, cols: 105, tile_rows: 117, queue: 0 };
    for engine in [smallest, odd] {
        let case = TlmmCase { engine, words: engine.words(), segments: engine.segments() };
        cover.merge(&must_pass(&format!("{engine:?}"), &mut rng, &case));
    }
    for counter in ["many_segments", "ev_starved", "ev_sums"] {
        assert_ne!(cover.get(counter), 0, "never covered: {counter}");
    }
}

#[test]
fn tlmm_of_random_shapes() {
    let mut rng = Rng::announced("tlmm random", 17);
    for _ in 0..3 {
        let engine = tlmm_shape(&mut rng);
        let case = TlmmCase { engine, words: engine.words(), segments: engine.segments() };
        must_pass(&format!("{engine:?}"), &mut rng, &case);
    }
}
