//! Attention against its oracle: prompts, batches, single tokens; every group size; odd heads; slow memory.

use hw::blocks::attend::Attend;
use sim::bench::Cover;
use sim::blocks::attend::{KINDS, Kind, Test, small as shape};
use sim::rng::Rng;

fn must_pass(name: &str, rng: &mut Rng, attend: &Attend) -> Cover {
    match (Test { attend, kinds: KINDS, bug: None }).check(rng) {
        Ok(cover) => {
            println!("{name}: {cover}");
            cover
        }
        Err(error) => panic!("{name}: {attend:?}: {error}"),
    }
}

#[test]
fn small() {
    let mut rng = Rng::announced("attend small", 41);
    must_pass("small", &mut rng, &shape(2, 1, 2, 4, 2, 1));
}

#[test]
fn odd() {
    let mut rng = Rng::announced("attend odd", 42);
    must_pass("odd", &mut rng, &Attend { max_context: 23, ..shape(5, 1, 1, 8, 3, 1) });
}

#[test]
fn two_units() {
    let mut rng = Rng::announced("attend two units", 43);
    let cover = must_pass("two units", &mut rng, &shape(8, 2, 4, 16, 8, 2));
    for counter in [
        "gap",
        "stall",
        "cmd_stall",
        "back_pressure",
        "masked",
        "many_blocks",
        "two_parts",
        "two_commands",
        "full_context",
    ] {
        assert_ne!(cover.get(counter), 0, "never covered: {counter}");
    }
}

#[test]
fn half_blocks_beyond_a_position() {
    let mut rng = Rng::announced("attend half blocks", 47);
    for attend in [shape(8, 1, 4, 16, 8, 2), shape(6, 2, 2, 8, 4, 1)] {
        let cover = must_pass("half blocks", &mut rng, &Attend { full_blocks: 16, ..attend });
        for counter in ["half_blocks", "full_context", "masked"] {
            assert_ne!(cover.get(counter), 0, "never covered: {counter}");
        }
    }
}

#[test]
fn wide_words_and_one_query() {
    let mut rng = Rng::announced("attend wide", 44);
    must_pass("words wider than beats", &mut rng, &Attend { max_context: 9, ..shape(3, 3, 8, 4, 1, 1) });
    must_pass(
        "beats of four positions",
        &mut rng,
        &Attend { max_context: 13, max_head_dim: 9, ..shape(6, 3, 2, 32, 2, 3) },
    );
}

#[test]
fn random_shapes() {
    let mut rng = Rng::announced("attend random", 45);
    {
        let v = rng.within(1, 3) as u32;
        let p = v * rng.within(1, 3) as u32;
        let (l, d) = (1 << rng.below(4), 4 << rng.below(3));
        let random = shape(p, v, l, d, rng.within(1, 4) as u32, rng.within(1, 2) as u32);
        let (max_context, max_head_dim) = (rng.within(1, 30), rng.within(1, 20) as u32);
        let full_blocks = max_context;
        must_pass("random", &mut rng, &Attend { max_context, full_blocks, max_head_dim, ..random });
    }
}

#[test]
fn decode_keeps_its_pace() {
    let mut rng = Rng::announced("attend decode", 46);
    let small = shape(4, 2, 4, 16, 4, 2);
    let attend = Attend { max_context: 256, full_blocks: 256, max_head_dim: 64, query_words: 256, ..small };
    let kinds = &[Kind::Decode, Kind::Decode, Kind::Decode];
    match (Test { attend: &attend, kinds, bug: None }).check(&mut rng) {
        Ok(cover) => println!("decode: {cover}"),
        Err(error) => panic!("{error}"),
    }
}
