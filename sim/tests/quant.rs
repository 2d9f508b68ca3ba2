//! Vector memory and quantiser against their oracles.

use hw::blocks::vmem::Vmem;
use hw::ir::RamStyle;
use sim::blocks::vmem;
use sim::rng::Rng;

fn vmems(rng: &mut Rng) -> [Vmem; 4] {
    let shape = |lanes, vtokens, groups, words, style| Vmem { lanes, vtokens, groups, words, style };
    [
        shape(1, 1, 1, 1, RamStyle::Block),
        shape(4, 2, 4, 20, RamStyle::Ultra),
        shape(1, 1, 5, 9, RamStyle::Block),
        shape(1 << rng.below(3), rng.within(1, 5) as u32, rng.within(1, 5) as u32, rng.within(1, 40), RamStyle::Ultra),
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

#[test]
fn bugs_planted_in_the_vector_memory_are_noticed() {
    let shape = Vmem { lanes: 2, vtokens: 2, groups: 3, words: 5, style: RamStyle::Block };
    let bugs = [
        ("wr_valid_q & wr_mask_q[1]", "wr_valid_q"),
        ("epi_rd_valid_i ? epi_rd_addr_i : qnt_rd_addr_i", "qnt_rd_addr_i"),
        ("assign emb_ready_o = ", "assign emb_ready_o = 1'b1 | "),
    ];
    for (from, to) in bugs {
        let caught = vmem::check(&shape, &mut Rng::new(5), Some((from, to)));
        assert!(matches!(caught, Err(sim::SimError::Bench(sim::bench::BenchError::Value { .. }))), "{from}: {caught:?}");
    }
}
