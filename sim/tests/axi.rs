//! The ports to memory against the simulated memory.

use hw::blocks::fifo_ram::FifoRam;
use sim::bench::{Block, Cover, check};
use sim::blocks::axi_read::AxiReadCase;
use sim::blocks::axi_write::AxiWriteCase;
use sim::blocks::stream::{StreamCase, WeightsCase};
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

#[test]
fn stream() {
    let mut rng = Rng::announced("stream", 34);
    for (bits, word) in [(32, 40), (64, 96), (128, 32)] {
        must_pass(&format!("b{bits} w{word}"), &mut rng, &StreamCase::new(bits, word, false));
    }
}

#[test]
fn stream_at_full_rate() {
    let mut rng = Rng::announced("stream rate", 35);
    must_pass("b128 w128", &mut rng, &StreamCase::new(128, 128, true));
}

#[test]
fn weights() {
    let mut rng = Rng::announced("weights", 36);
    for (bits, ports, codes) in [(32, 1, 8), (64, 3, 21)] {
        must_pass(&format!("b{bits} n{ports} c{codes}"), &mut rng, &WeightsCase::new(bits, ports, codes, 20, false));
    }
}

#[test]
fn weights_at_full_rate() {
    let mut rng = Rng::announced("weights rate", 37);
    must_pass("b128 n4 c128", &mut rng, &WeightsCase::new(128, 4, 128, 256, true));
}

#[test]
fn axi_write() {
    let mut rng = Rng::announced("axi_write", 38);
    for (bits, clients) in [(32, 1), (64, 2), (128, 3)] {
        must_pass(&format!("b{bits} {clients} clients"), &mut rng, &AxiWriteCase::new(bits, clients));
    }
}
