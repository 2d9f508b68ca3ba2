//! `cargo run -p hw`: writes the Verilog of a preset.
#![forbid(unsafe_code)]

use clap::Parser;
use hw::preset::{self, BUILT_IN, KEYS};
use std::path::PathBuf;

/// Writes the Verilog of a Tercet machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Name of a built-in preset, or a path ending in .toml
    #[arg(long, default_value = BUILT_IN[0].0)]
    preset: String,
    /// Output folder [default: build/<preset>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// List the presets and the keys of a preset, write nothing
    #[arg(long)]
    list: bool,
    /// Print widths, memories, latencies, ports, cycles and bytes per token, write nothing
    #[arg(long, conflicts_with = "list")]
    explain: bool,
    /// Write what builds a bitstream as well: scripts, block design, constraints, device tree, tercet.core
    #[arg(long, conflicts_with_all = ["list", "explain"])]
    kit: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        for (name, text) in BUILT_IN {
            let why: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("# ")).collect();
            println!("{name:<10}{}", why.join(" "));
        }
        println!("\nkeys of a preset");
        for key in KEYS {
            println!("  {:<20}{}", format!("{}.{}", key.section, key.name), key.meaning);
        }
        return Ok(());
    }
    let machine = preset::load(&arguments.preset)?;
    if arguments.explain {
        print!("{}", hw::explain::explain(&machine)?);
        return Ok(());
    }
    let dir = arguments.out.unwrap_or_else(|| PathBuf::from("build").join(&machine.name));
    let written = match arguments.kit {
        true => {
            let (written, files) = hw::kit::write(&machine, &dir)?;
            println!(
                "{files} files that build a bitstream in {}; bitstreams/README.md says how",
                dir.join("kit").display()
            );
            written
        }
        false => hw::output::write(&machine, &dir)?,
    };
    let (modules, name, hash) = (written.files.len(), &machine.name, machine.hash());
    println!("{modules} modules of preset {name}, configuration {hash}, in {}", dir.display());
    Ok(())
}
