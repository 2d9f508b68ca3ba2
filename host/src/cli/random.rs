//! `random:SHAPE` in place of a model's path: random weights of a published model's shape, to
//! measure speed and memory without its file. Text from them means nothing.

use super::exit::CliError;
use host::cpu::bench::{bitnet_2b4t, bitnet_large, random_weights};
use spec::format::matrix::Encoding;
use spec::model::ModelWeights;
use std::path::Path;

/// What comes before the shape.
const PREFIX: &str = "random:";

/// Random weights if `path` asks for them.
pub fn weights(path: &Path) -> Result<Option<ModelWeights>, CliError> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PREFIX)) else { return Ok(None) };
    let (shape, encoding) = match name.strip_suffix("-sherry") {
        Some(shape) => (shape, Encoding::Sherry),
        None => (name, Encoding::Trit5),
    };
    let config = match shape {
        "bitnet-0.73b" => bitnet_large(),
        "bitnet-2b4t" => bitnet_2b4t(),
        _ => {
            let known = "bitnet-0.73b, bitnet-2b4t, and either with -sherry behind it";
            return Err(CliError::usage(format!("{PREFIX}{name}: an unknown shape; known are {known}")));
        }
    };
    Ok(Some(random_weights(&config, encoding, 1)))
}
