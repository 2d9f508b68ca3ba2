//! The output head against the host's greedy choice and a picture of the memory.

use hw::blocks::head::HeadOut;
use sim::bench::Cover;
use sim::blocks::head::check;
use sim::rng::Rng;

const SHAPES: [HeadOut; 5] = [
    HeadOut { rows: 4, list: 6, tokens: 8, lanes: 4, vtokens: 2, port: 128 },
    HeadOut { rows: 3, list: 5, tokens: 5, lanes: 1, vtokens: 1, port: 64 },
    HeadOut { rows: 2, list: 1, tokens: 2, lanes: 2, vtokens: 1, port: 128 },
    HeadOut { rows: 24, list: 12, tokens: 3, lanes: 8, vtokens: 3, port: 64 },
    HeadOut { rows: 4, list: 40, tokens: 4, lanes: 4, vtokens: 2, port: 512 },
];

#[test]
fn head_of_chosen_shapes() {
    let mut rng = Rng::announced("head", 31);
    let mut all = Cover::default();
    for shape in SHAPES {
        match check(&shape, &mut rng, None) {
            Ok(cover) => {
                println!("{shape:?}: {cover}");
                all.merge(&cover);
            }
            Err(error) => panic!("{shape:?}: {error}"),
        }
    }
    for counter in [
        "tie",
        "both_zeros",
        "negative",
        "infinite",
        "nothing",
        "written",
        "cut_off",
        "replaced",
        "equal_to_least",
        "listed_end",
    ] {
        assert_ne!(all.get(counter), 0, "never covered: {counter}");
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for shape in [
        HeadOut { vtokens: 3, ..SHAPES[0] },
        HeadOut { lanes: 3, ..SHAPES[0] },
        HeadOut { port: 16, ..SHAPES[0] },
        HeadOut { list: 0, ..SHAPES[0] },
        HeadOut { rows: 6, ..SHAPES[0] },
    ] {
        assert!(shape.build(&mut hw::ir::Design::default()).is_err(), "{shape:?}");
    }
}
