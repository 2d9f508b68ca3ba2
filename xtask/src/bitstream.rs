//! `cargo xtask bitstream`: Verilog, kit, and Vivado on it.

use crate::run::{self, output, root};
use anyhow::{Context, Result, ensure};
use clap::Args;
use hw::kit::{self, VIVADO};
use hw::preset;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub struct BitstreamArgs {
    /// Built-in preset with a board, or a path ending in .toml
    #[arg(long, default_value = "kv260")]
    preset: String,
    /// Folder for Verilog and kit [default: build/PRESET]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Place and route tercet_top alone: its timing, no bitstream
    #[arg(long)]
    ooc: bool,
    /// Run the scripts with Vivado's commands mocked, on a copy: no Vivado is needed, nothing is built
    #[arg(long)]
    dry_run: bool,
    /// Other directives of Vivado's steps, for example place=ExtraTimingOpt route=AggressiveExplore
    #[arg(value_name = "STEP=DIRECTIVE")]
    directives: Vec<String>,
}

/// Generates the kit and builds it.
pub fn bitstream(args: &BitstreamArgs) -> Result<()> {
    let machine = preset::load(&args.preset)?;
    let dir = args.out.clone().unwrap_or_else(|| root().join("build").join(&machine.name));
    let (written, files) = kit::write(&machine, &dir)?;
    let (name, hash) = (&machine.name, machine.hash());
    let dir = fs::canonicalize(&dir).with_context(|| dir.display().to_string())?;
    println!("{} modules and a kit of {files} files, preset {name}, configuration {hash}", written.files.len());
    let words: Vec<&str> =
        args.ooc.then_some("ooc").into_iter().chain(args.directives.iter().map(String::as_str)).collect();
    if args.dry_run {
        return dry_run(&dir, &words);
    }
    let version = output("vivado", &["-version"]).ok().with_context(|| {
        let script = dir.join("kit/build.tcl");
        format!(
            "there is no vivado on the PATH. Install AMD Vivado {} to {} with the part {} (for kv260 the free edition is \
             enough) and source its settings64.sh; or copy {} to a machine that has it and run there:\n  vivado -mode batch \
             -source {}\nWithout it, --dry-run checks the scripts",
            VIVADO.0,
            VIVADO.1,
            machine.board.part,
            dir.display(),
            script.strip_prefix(&dir).unwrap_or(&script).display()
        )
    })?;
    println!("{}", version.lines().next().unwrap_or_default());
    let (work, build) = (dir.join("kit/work"), dir.join("kit/build.tcl"));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let mut line = vec!["-mode", "batch", "-notrace", "-nojournal", "-log"];
    let log = dir.join("kit/vivado.log");
    line.extend([text(&log)?, "-source", text(&build)?]);
    if !words.is_empty() {
        line.push("-tclargs");
        line.extend(&words);
    }
    run::run("vivado", &line)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: the path is not UTF-8", path.display()))
}

/// The scripts on a copy of the kit, so that nothing that a mock made lies where a bitstream would.
fn dry_run(dir: &Path, words: &[&str]) -> Result<()> {
    let copy = run::target().join("dry-run");
    if copy.exists() {
        fs::remove_dir_all(&copy).context("removing the copy of an earlier dry run")?;
    }
    fs::create_dir_all(copy.join("kit"))?;
    let status = Command::new("cp").args(["-r", "--"]).arg(dir.join("rtl")).arg(&copy).status()?;
    ensure!(status.success(), "copying {} failed", dir.display());
    for file in ["manifest.json", "filelist.f"] {
        fs::copy(dir.join(file), copy.join(file))?;
    }
    for entry in fs::read_dir(dir.join("kit"))? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, copy.join("kit").join(name))?;
        }
    }
    let mock = root().join("bitstreams/mock/run.tcl");
    let script = copy.join("kit/build.tcl");
    let mut line = vec![text(&mock)?, text(&script)?, "--"];
    line.extend(words);
    run::run("tclsh", &line)?;
    println!("dry run: the scripts are sound as far as a mock can tell; nothing was built");
    Ok(())
}
