//! Units between memory and the slots: cache writer, gatherer.

use hw::blocks::{gather::Gather, kv_write::KvWrite};
use sim::bench::{Block, Cover, check};
use sim::blocks::{gather::GatherCase, kv_write::KvWriteCase};
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

/// Slots, groups, columns, bytes of a beat.
const SHAPES: [(u32, u32, u32, u32); 4] = [(1, 5, 1, 8), (2, 4, 4, 16), (3, 1, 2, 4), (1, 2, 16, 4)];

#[test]
fn kv_write() {
    let mut rng = Rng::announced("kv_write", 41);
    let mut cover = Cover::default();
    for (slots, token_groups, columns, bytes) in SHAPES {
        let unit = KvWrite { slots, token_groups, banks: 1 + slots % 2, columns, bytes, row_codes: 48 };
        let case = KvWriteCase::random(unit, &mut rng);
        cover.merge(&must_pass(&format!("{unit:?}"), &mut rng, &case));
    }
    assert_ne!(cover.get("unused_slot"), 0);
}

#[test]
fn gather() {
    let mut rng = Rng::announced("gather", 42);
    for (slots, token_groups, columns, bytes) in SHAPES {
        let unit = Gather { slots, token_groups, banks: 1 + slots % 2, columns, bytes, vm_words: 45 };
        let case = GatherCase::random(unit, &mut rng);
        must_pass(&format!("{unit:?}"), &mut rng, &case);
    }
}
