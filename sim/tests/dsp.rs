//! Blocks made of DSP slices against a model of the cell.

use sim::blocks::dsp;
use sim::rng::Rng;

#[test]
fn bodies_are_what_the_cells_do() {
    let cover = dsp::check(&mut Rng::announced("dsp", 41), None).unwrap_or_else(|e| panic!("{e}"));
    println!("{cover}");
    for counter in ["equal and not zero", "most negative"] {
        assert!(cover.get(counter) > 0, "{counter}");
    }
}
