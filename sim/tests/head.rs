//! The output head against the host's greedy choice and a picture of the memory.

use hw::blocks::head::HeadOut;
use sim::SimError;
use sim::bench::{BenchError, Cover};
use sim::blocks::head::{BUGS, check};
use sim::rng::Rng;

const SHAPES: [HeadOut; 5] = [
    HeadOut { tokens: 8, lanes: 4, vtokens: 2, port: 128 },
    HeadOut { tokens: 5, lanes: 1, vtokens: 1, port: 64 },
    HeadOut { tokens: 2, lanes: 2, vtokens: 1, port: 128 },
    HeadOut { tokens: 3, lanes: 8, vtokens: 3, port: 64 },
    HeadOut { tokens: 4, lanes: 4, vtokens: 2, port: 512 },
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
    for counter in ["tie", "both_zeros", "negative", "infinite", "nothing", "written", "cut_off"] {
        assert_ne!(all.get(counter), 0, "never covered: {counter}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (name, bug) in BUGS {
        match check(&SHAPES[0], &mut Rng::new(7), Some(*bug)) {
            Ok(_) => panic!("not caught: {name}"),
            Err(SimError::Bench(error)) if !matches!(error, BenchError::NoMutation { .. }) => {
                println!("caught  {name}: {error:.140}")
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    for shape in
        [HeadOut { vtokens: 3, ..SHAPES[0] }, HeadOut { lanes: 3, ..SHAPES[0] }, HeadOut { port: 16, ..SHAPES[0] }]
    {
        assert!(shape.build(&mut hw::ir::Design::default()).is_err(), "{shape:?}");
    }
}
