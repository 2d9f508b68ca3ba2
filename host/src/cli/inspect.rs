//! `inspect`: what a model file holds.

use super::exit::CliError;
use super::model::{Model, find};
use super::{Global, output};
use clap::Args;
use host::image::{inspect as inspect_image, is_image};
use serde_json::{Value, json};
use spec::format::scale::Scale;
use spec::format::table::Table;
use spec::model::ModelWeights;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options of `inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  host inspect                     the shipped model
  host inspect model.tercet --sections
  host inspect DIR --json

Everything in the file is read and checked: a model that inspects without an error also loads.")]
pub struct InspectArgs {
    /// Hugging Face folder, GGUF file or packed image [default: $TERCET_MODEL, else the shipped story model]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Every section of a packed image
    #[arg(long)]
    sections: bool,
    /// Print one object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command.
pub fn run(args: &InspectArgs, global: Global) -> Result<(), CliError> {
    let (path, _) = find(args.model.as_deref())?;
    if is_image(&path) {
        let inspection = inspect_image(&path)?;
        return match (args.json, args.sections) {
            (true, _) => output::write_json(&json!(inspection), true),
            (false, true) => output::write(&format!("{inspection:#}")),
            (false, false) => output::write(&format!("{inspection}")),
        };
    }
    let model = Model::load(&path, global.quiet)?;
    let value = describe(&path, &model, model.weights()?);
    if args.json {
        return output::write_json(&value, true);
    }
    output::write(&lines(&value))
}

/// A model that is no packed image.
fn describe(path: &Path, model: &Model, weights: &ModelWeights) -> Value {
    let c = model.config();
    let sums = Weights::of(weights);
    let tokenizer = model.tokenizer.as_ref().map(|source| {
        let names: Vec<&str> = source.templates.iter().map(|(name, _)| name.as_str()).collect();
        json!({"file": source.path.display().to_string(), "bytes": source.json.len(), "stop": source.stop,
               "bos": source.bos, "chat_templates": names})
    });
    let files: Vec<Value> =
        model.files.iter().map(|(path, bytes)| json!({"path": path.display().to_string(), "bytes": bytes})).collect();
    json!({
        "path": path.display().to_string(),
        "format": model.format,
        "files": files,
        "config": {
            "name": c.name, "vocab": c.vocab, "hidden": c.hidden, "ffn": c.ffn, "layers": c.layers,
            "heads": c.heads, "kv_heads": c.kv_heads, "head_dim": c.head_dim, "max_context": c.max_context,
            "rms_eps": c.rms_eps, "rope_theta": c.rope_theta, "rope_scaling": format!("{:?}", c.rope_scaling),
            "activation": format!("{:?}", c.activation), "act_quant": format!("{:?}", c.act_quant),
            "bos": c.bos, "eos": c.eos,
        },
        "ternary_weights": sums.count,
        "zero_fraction": sums.zeros as f64 / sums.count.max(1) as f64,
        "encodings": sums.encodings,
        "scales": sums.scales,
        "biases": sums.biases,
        "input_norms": sums.input_norms,
        "embedding": table_name(&weights.embed),
        "head": weights.head.as_ref().map_or("the embedding".into(), table_name),
        "tokenizer": tokenizer,
        "warnings": model.warnings,
    })
}

fn table_name(table: &Table) -> String {
    match table {
        Table::Dense(_) => "floating point".into(),
        Table::Coded(_) => "int8 codes with a scale per row".into(),
    }
}

/// Sums over all linear layers.
#[derive(Default)]
struct Weights {
    count: u64,
    zeros: u64,
    encodings: BTreeMap<&'static str, usize>,
    scales: BTreeMap<String, usize>,
    biases: usize,
    input_norms: usize,
}

impl Weights {
    fn of(weights: &ModelWeights) -> Self {
        let mut sum = Weights::default();
        let linears = weights.layers.iter().flat_map(|l| [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down]);
        for linear in linears {
            sum.biases += usize::from(linear.bias.is_some());
            sum.input_norms += usize::from(linear.input_norm.is_some());
            for plane in &linear.planes {
                let (rows, cols) = (plane.trits.rows(), plane.trits.cols());
                sum.count += (rows * cols) as u64;
                let mut row = vec![0i8; cols];
                for r in 0..rows {
                    plane.trits.unpack_row(r, &mut row);
                    sum.zeros += row.iter().filter(|&&trit| trit == 0).count() as u64;
                }
                *sum.encodings.entry(plane.trits.encoding().name()).or_default() += 1;
                *sum.scales.entry(scale_name(&plane.scale)).or_default() += 1;
            }
        }
        sum
    }
}

fn scale_name(scale: &Scale) -> String {
    match scale {
        Scale::Tensor(_) => "one per tensor".into(),
        Scale::Row(_) => "one per row".into(),
        Scale::Group { size, .. } => format!("one per group of {size}"),
        Scale::Shard { row_blocks, col_blocks, .. } => format!("{row_blocks} x {col_blocks} shards"),
        Scale::Device(device) => format!("device form, group {}", device.group),
    }
}

/// The same for people.
fn lines(value: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let mut text = String::new();
    let mut line = |what: &str, value: String| text += &format!("{what:<15} {value}\n");
    line("model", plain(&value["path"]));
    line("format", plain(&value["format"]));
    for file in value["files"].as_array().into_iter().flatten() {
        line("file", format!("{} ({} bytes)", plain(&file["path"]), file["bytes"]));
    }
    let c = &value["config"];
    line("family", format!("{}, {} layers, context {}", plain(&c["name"]), c["layers"], c["max_context"]));
    line("widths", format!("hidden {}, ffn {}, vocab {}", c["hidden"], c["ffn"], c["vocab"]));
    line("attention", format!("{} heads, {} of keys and values, {} wide", c["heads"], c["kv_heads"], c["head_dim"]));
    line("positions", format!("base {}, scaling {}", c["rope_theta"], plain(&c["rope_scaling"])));
    line("activation", format!("{}, inputs {}", plain(&c["activation"]), plain(&c["act_quant"])));
    let zeros = 100.0 * value["zero_fraction"].as_f64().unwrap_or(0.0);
    line("ternary weights", format!("{}, {zeros:.1} % zero", value["ternary_weights"]));
    let list = |value: &Value| {
        let entries = value.as_object().into_iter().flatten();
        entries.map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ")
    };
    line("encoding", list(&value["encodings"]));
    line("scales", list(&value["scales"]));
    line("embedding", plain(&value["embedding"]));
    line("head", plain(&value["head"]));
    match &value["tokenizer"] {
        Value::Null => line("tokenizer", "none".into()),
        tokenizer => {
            line("tokenizer", format!("{} ({} bytes)", plain(&tokenizer["file"]), tokenizer["bytes"]));
            line("chat templates", tokenizer["chat_templates"].to_string());
        }
    }
    for warning in value["warnings"].as_array().into_iter().flatten() {
        line("note", plain(warning));
    }
    text
}
