//! The matrix unit against dot products.

use hw::blocks::fifo_deep::FifoDeep;
use hw::blocks::matrix::Matrix;
use hw::blocks::tlmm::Tlmm;
use sim::bench::{Block, Cover, check};
use sim::blocks::matrix::MatrixCase;
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

fn case(t: u32, q: u32, p: u32, v: u32, l: u32, g: u32) -> MatrixCase {
    let cols = u64::from(15 * t + 2);
    let engine = Tlmm { tables: t, rows: q, tokens: p, groups: g, cols, tile_rows: u64::from(13 * q), queue: 0 };
    MatrixCase { matrix: Matrix { engine, slots: v, columns: l, segments: 40 }, words: 13 }
}

#[test]
fn fifo_deep() {
    let mut rng = Rng::announced("fifo_deep", 31);
    for depth in [2, 7, rng.within(65, 90) as u32] {
        let width = rng.within(1, 90) as u32;
        must_pass(&format!("fifo_deep w{width} d{depth}"), &mut rng, &FifoDeep { width, depth });
    }
}

#[test]
fn matrix_of_chosen_shapes() {
    let mut rng = Rng::announced("matrix", 38);
    let mut cover = Cover::default();
    for (t, q, p, v, l, g) in [(4, 2, 2, 1, 2, 1), (7, 3, 5, 1, 1, 2), (3, 4, 4, 2, 4, 3)] {
        cover.merge(&must_pass(&format!("t{t} q{q} p{p} v{v} l{l}"), &mut rng, &case(t, q, p, v, l, g)));
    }
    for counter in ["cut_groups", "short_segments", "padded_beat", "idle_groups", "ev_starved", "ev_sums"] {
        assert_ne!(cover.get(counter), 0, "never covered: {counter}");
    }
}

#[test]
fn matrix_of_random_shapes() {
    let mut rng = Rng::announced("matrix random", 33);
    for _ in 0..2 {
        let t = rng.within(1, 6) as u32;
        let (v, ng) = (rng.within(1, 3) as u32, rng.within(1, 3) as u32);
        let l = rng.pick(&[1, 2, 4, 8, 16]);
        let g = rng.within(1, u64::from(t.min(3))) as u32;
        let q = rng.within(1, 3) as u32;
        must_pass(&format!("t{t} q{q} v{v} ng{ng} l{l} g{g}"), &mut rng, &case(t, q, v * ng, v, l, g));
    }
}
