//! The model loaders: every family and format, and everything that can be wrong with them.

mod bad_folder;
mod bad_gguf;
mod bad_safetensors;
mod corpus;
mod families;
mod gguf;
mod text;
mod vectors;

use host::load::{LoadError, LoadOptions, LoadedModel, NoProgress, load_model};
use std::path::Path;

fn load(path: &Path) -> Result<LoadedModel, LoadError> {
    load_model(path, &LoadOptions::default(), &NoProgress)
}
