//! Vector memory and quantiser against their oracles.

use hw::blocks::quantize::Quantize;
use hw::blocks::vmem::Vmem;
use hw::ir::RamStyle;
use sim::bench::check;
use sim::blocks::quantize::QuantizeCase;
use sim::blocks::vmem;
use sim::rng::Rng;

fn vmems(rng: &mut Rng) -> [Vmem; 4] {
    let shape =
        |lanes, vtokens, groups, words, banks, style| Vmem { lanes, vtokens, groups, words, banks, style, tap: false };
    let (lanes, vtokens, groups) = (1 << rng.below(3), rng.within(1, 5) as u32, rng.within(1, 5) as u32);
    [
        shape(1, 1, 1, 1, 1, RamStyle::Block),
        shape(4, 2, 4, 20, 2, RamStyle::Ultra),
        shape(1, 1, 5, 9, 2, RamStyle::Block),
        shape(lanes, vtokens, groups, rng.within(2, 40), rng.within(1, 2) as u32, RamStyle::Ultra),
    ]
}

#[test]
fn vector_memory() {
    let mut rng = Rng::announced("vmem", 31);
    for shape in vmems(&mut rng) {
        match vmem::check(&shape, &mut rng, None) {
            Ok(cover) => println!("{shape:?}: {cover}"),
            Err(error) => panic!("{shape:?}: {error}"),
        }
    }
}

fn case(lanes: u32, vtokens: u32, groups: u32, words: u64, vectors: u64) -> QuantizeCase {
    let (max_cols, vm_words) = (words * u64::from(lanes), words * vectors + 3);
    let quantize =
        Quantize { lanes, vtokens, groups, banks: 1 + groups % 2, max_cols, vm_words, style: RamStyle::Ultra };
    QuantizeCase { quantize, words, vectors }
}

fn quantizer(case: &QuantizeCase, rng: &mut Rng) {
    match check(case, rng) {
        Ok(cover) => println!("{:?}: {cover}", case.quantize),
        Err(error) => panic!("{:?}: {error}", case.quantize),
    }
}

#[test]
fn quantiser_of_the_small_board() {
    quantizer(&case(4, 2, 4, 40, 3), &mut Rng::announced("quantize", 32));
}

#[test]
fn quantiser_of_one_lane() {
    quantizer(&case(1, 1, 5, 80, 2), &mut Rng::announced("quantize", 33));
}

#[test]
fn quantiser_of_many_lanes() {
    // words of a first pass with a norm must keep a distance from 16 lanes on
    quantizer(&case(16, 1, 1, 9, 3), &mut Rng::announced("quantize", 34));
}

#[test]
fn quantiser_of_a_random_shape() {
    let mut rng = Rng::announced("quantize", 35);
    let (vtokens, groups) = (rng.within(1, 3) as u32, rng.within(1, 3) as u32);
    quantizer(&case(rng.pick(&[1, 2, 8]), vtokens, groups, rng.within(1, 50), rng.within(1, 5)), &mut rng);
}
