//! `pack`: any model becomes one packed image.

use super::exit::CliError;
use super::output::Progress;
use super::{Global, output, signals};
use clap::Args;
use host::image::{ImageExtras, is_image, open_image, pack, write_image};
use host::load::{LoadOptions, load_model};
use serde_json::json;
use spec::format::planes::PLANES;
use spec::model::ModelWeights;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Options of `pack`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  host pack DIR -o model.tercet && host generate -m model.tercet \"Once upon a time\"

The image holds weights, tokenizer and chat template, with checksums. It is written under a temporary \
name and renamed when complete. The same model always gives the same bytes.")]
pub struct PackArgs {
    /// Hugging Face folder, GGUF file or packed image
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The image to write; an older one is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Trit planes of the output head: 5 are exact to 1 in 243 of a row's range, 4 to 1 in 81 and a fifth less to read
    #[arg(long, value_name = "N", default_value_t = PLANES, value_parser = planes)]
    head_planes: usize,
    /// Print one object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Planes of a head: fewer than three are not worth a try.
fn planes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 3..=PLANES) => Ok(number),
        _ => Err(format!("expected 3 to {PLANES}")),
    }
}

/// A head of all planes stays as it is.
fn narrow_head(weights: &mut ModelWeights, planes: usize) {
    if planes < PLANES {
        weights.narrow_head(planes);
    }
}

/// Runs the command.
pub fn run(args: &PackArgs, global: Global) -> Result<(), CliError> {
    let progress = Progress::bytes("packing", global.quiet);
    let mut told = |done, total| {
        progress.set(done, total);
        if signals::check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    signals::clean_up_on_terminate();
    let summary = if let Some(mut weights) = super::random::weights(&args.model)? {
        narrow_head(&mut weights, args.head_planes);
        write_image(&weights, &ImageExtras::default(), &args.output, &mut told)?
    } else if is_image(&args.model) {
        let mut image = open_image(&args.model)?;
        narrow_head(&mut image.weights, args.head_planes);
        write_image(&image.weights, &image.extras, &args.output, &mut told)?
    } else {
        let loading = Progress::bytes("loading", global.quiet);
        let mut model = load_model(&args.model, &LoadOptions::default(), &loading)?;
        drop(loading);
        signals::check()?;
        if !global.quiet {
            let note = |text: &String| output::note(&format!("note: {}: {text}", args.model.display()));
            model.source.warnings.iter().for_each(note);
        }
        narrow_head(&mut model.weights, args.head_planes);
        pack(&model, &args.output, &mut told)?
    };
    drop(progress);
    let (path, hash) = (args.output.display().to_string(), summary.hash.to_string());
    if args.json {
        let value = json!({"path": path, "bytes": summary.bytes, "sections": summary.sections, "hash": hash});
        return output::write_json(&value, true);
    }
    output::write(&format!("{path}: {} bytes, {} sections, hash {hash}\n", summary.bytes, summary.sections))
}
