//! Whole-system tests: see `tests/`. What they share is here.

pub mod boards;
pub mod lockstep;
pub mod mock;

use host::load::{LoadOptions, NoProgress, load_model};
use spec::model::ModelWeights;
use std::path::PathBuf;

/// The model that ships with the repository.
pub fn shipped_model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tercet-stories-5m"))
}

/// Loads the model that ships with the repository.
pub fn shipped_weights() -> ModelWeights {
    load_model(&shipped_model(), &LoadOptions::default(), &NoProgress).expect("the shipped model loads").weights
}

/// Index of the largest value, the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
