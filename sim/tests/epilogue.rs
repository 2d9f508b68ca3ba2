//! The epilogue against `spec::numerics`: all modes, shapes, gaps, stalls, late answers of the vector memory.

use hw::blocks::epilogue::Epilogue;
use sim::blocks::epilogue::check;
use sim::blocks::sigmoid;
use sim::rng::Rng;

const fn shape(rows: u32, tokens: u32, lanes: u32, vtokens: u32, half: u32) -> Epilogue {
    Epilogue { rows, tokens, banks: 1 + rows % 2, lanes, vtokens, acc: 21, addr: 13, half }
}

const SHAPES: [Epilogue; 4] =
    [shape(2, 2, 2, 1, 6), shape(3, 5, 1, 1, 6), shape(6, 4, 2, 2, 12), Epilogue { acc: 32, ..shape(4, 8, 4, 2, 8) }];

fn run(index: usize) {
    let mut rng = Rng::announced("epilogue", 41 + index as u64);
    let block = SHAPES[index];
    match check(&block, &mut rng, 2, None) {
        Ok(cover) => {
            println!("{block:?}: {cover}");
            for counter in [
                "accumulate",
                "bias",
                "row_scale",
                "two_sums",
                "cut_off",
                "store",
                "residual",
                "silu",
                "relu2",
                "rope",
                "logits",
                "rank",
                "pick",
                "vanished",
                "saturated",
                "middle",
                "negative",
                "reset_in_work",
            ] {
                assert_ne!(cover.get(counter), 0, "{block:?} never covered {counter}");
            }
        }
        Err(error) => panic!("{block:?}: {error:.600}"),
    }
}

#[test]
fn epilogue_q2_p2_l2_v1() {
    run(0);
}

#[test]
fn epilogue_q3_p5_l1_v1() {
    run(1);
}

#[test]
fn epilogue_q6_p4_l2_v2() {
    run(2);
}

#[test]
fn epilogue_q4_p8_l4_v2() {
    run(3);
}

#[test]
fn sigmoid_of_all_magnitudes() {
    let mut rng = Rng::announced("sigmoid", 45);
    match sigmoid::check(&mut rng, None) {
        Ok(cover) => println!("sigmoid: {cover}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for block in [shape(3, 4, 2, 2, 6), shape(4, 5, 2, 2, 4), shape(4, 4, 2, 0, 4), Epilogue { acc: 49, ..SHAPES[0] }] {
        assert!(block.build(&mut hw::ir::Design::default()).is_err(), "{block:?}");
    }
}
