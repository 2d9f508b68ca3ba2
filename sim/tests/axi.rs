//! The ports to memory against the simulated memory.

use hw::blocks::fifo_ram::FifoRam;
use sim::bench::{Block, Cover, check};
use sim::blocks::axi_read::AxiReadCase;
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
fn fifo_ram() {
    let mut rng = Rng::announced("fifo_ram", 31);
    for (depth, ultra) in [(1, false), (7, false), (rng.within(8, 40), true)] {
        let width = rng.within(1, 90) as u32;
        must_pass(&format!("w{width} d{depth}"), &mut rng, &FifoRam { width, depth, ultra });
    }
}

#[test]
fn axi_read() {
    let mut rng = Rng::announced("axi_read", 32);
    for (bits, queues, burst) in [(32, vec![5, 16], 8), (64, vec![64, 100, 3], 16)] {
        let case = AxiReadCase::new(bits, &queues, burst, false);
        must_pass(&format!("b{bits} {queues:?}"), &mut rng, &case);
    }
}

#[test]
fn axi_read_at_full_rate() {
    let mut rng = Rng::announced("axi_read rate", 33);
    must_pass("b128", &mut rng, &AxiReadCase::new(128, &[128, 64], 32, true));
}
