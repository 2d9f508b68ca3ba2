//! Verilog to a shared library: Verilator, then one C++ compilation, cached by content.
//!
//! The cache lies in `<target>/verilated`. Its key covers the Verilog, the ports, the tools and the
//! options. A build happens in a folder of its own and is renamed into place when it is complete, so
//! several processes may build the same model at once.

use crate::SimError;
use crate::ffi::Library;
use crate::profile::Profile;
use crate::shim;
use crate::toolchain::{self, Toolchain};
use hw::ir::{Design, Port};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The module that stops the clocks of units that rest.
const CLOCK_GATE: &str = include_str!("models/clock_gate.v");

/// The Verilog of a design, with what one for simulation needs beside it.
pub fn text(design: &Design) -> String {
    design.text() + if design.is_for_simulation() { CLOCK_GATE } else { "" }
}

/// How hard the C++ compiler works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Compiled in seconds: for block benches.
    Quick,
    /// Fastest simulation: for whole models. Guided by a profile if one was recorded; clocks of a machine's units that
    /// rest stand still ([`hw::blocks::rest`]).
    Full,
    /// Counts what runs, for the next [`Speed::Full`] of the same model; as [`Speed::Full`] if the compiler is not Clang.
    Recording,
}

impl Speed {
    const fn flags(self) -> &'static [&'static str] {
        match self {
            Speed::Quick => &["-O1"],
            Speed::Full | Speed::Recording => &["-O3", "-march=native"],
        }
    }
}

/// What to compile.
pub struct Job<'a> {
    /// Top module.
    pub top: &'a str,
    /// Verilog of all modules.
    pub verilog: &'a str,
    /// Ports of the top module, `clk_i` among them.
    pub ports: &'a [Port],
    /// Compiler effort.
    pub speed: Speed,
    /// Whether lint warnings are errors.
    pub lint: bool,
}

fn write(path: PathBuf, text: &str) -> Result<(), SimError> {
    fs::write(&path, text).map_err(|error| SimError::File { path, error })
}

pub(crate) fn run(command: &mut Command, top: &str) -> Result<(), SimError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let fail = |text: String| SimError::Tool { tool: tool.clone(), top: top.to_string(), text };
    let done = command.stdin(Stdio::null()).output().map_err(|e| fail(e.to_string()))?;
    if done.status.success() {
        return Ok(());
    }
    Err(fail(format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))))
}

/// A scratch folder beside `target`, unique in this machine.
fn scratch(target: &Path) -> Result<PathBuf, SimError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique = format!("tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let dir = target.with_file_name(unique);
    fs::create_dir_all(&dir).map_err(|error| SimError::File { path: dir.clone(), error })?;
    Ok(dir)
}

/// Moves a finished build into place; another process may have been faster.
fn publish(scratch: &Path, target: &Path) -> Result<(), SimError> {
    match fs::rename(scratch, target) {
        Err(error) if !target.exists() => Err(SimError::File { path: target.to_path_buf(), error }),
        Err(_) => fs::remove_dir_all(scratch).map_err(|error| SimError::File { path: scratch.to_path_buf(), error }),
        Ok(()) => Ok(()),
    }
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn compiler(tools: &Toolchain, dir: &Path, traced: bool) -> Command {
    let mut cxx = Command::new(&tools.cxx);
    let include = tools.root.join("include");
    cxx.current_dir(dir).args(["-std=c++20", "-fPIC", "-w", "-DVERILATOR=1", "-DVL_TIME_CONTEXT", "-DVM_COVERAGE=0"]);
    cxx.args(["-DVM_SC=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0", "-Iobj"]);
    cxx.args(if traced { ["-DVM_TRACE=1", "-DVM_TRACE_VCD=1"] } else { ["-DVM_TRACE=0", "-DVM_TRACE_VCD=0"] });
    cxx.arg(format!("-I{}", include.display())).arg(format!("-I{}/vltstd", include.display()));
    cxx
}

/// Verilator's own runtime, compiled once per toolchain, with and without waves.
fn runtime(tools: &Toolchain, cache: &Path, traced: bool) -> Result<PathBuf, SimError> {
    let waves = if traced { "#include \"verilated_vcd_c.cpp\"\n" } else { "" };
    let target = cache.join(format!("runtime-{}", key(&[&format!("{tools:?}"), waves])));
    let object = target.join("runtime.o");
    if !object.exists() {
        let dir = scratch(&target)?;
        let text = format!("#include \"verilated.cpp\"\n#include \"verilated_threads.cpp\"\n{waves}");
        write(dir.join("runtime.cpp"), &text)?;
        run(compiler(tools, &dir, traced).args(["-O1", "-c", "runtime.cpp", "-o", "runtime.o"]), "the runtime")?;
        publish(&dir, &target)?;
    }
    Ok(object)
}

/// Verilator's headers, parsed once per toolchain and options: reading them takes longer than most models.
/// Only for Clang; other compilers read the text.
fn headers(tools: &Toolchain, cache: &Path, flags: &[String]) -> Result<Option<PathBuf>, SimError> {
    if !tools.is_clang() {
        return Ok(None);
    }
    let target = cache.join(format!("headers-{}", key(&[&format!("{tools:?} {flags:?}")])));
    let parsed = target.join("verilated.pch");
    if !parsed.exists() {
        let dir = scratch(&target)?;
        let header = tools.root.join("include/verilated.h");
        let mut cxx = compiler(tools, &dir, false);
        run(cxx.args(flags).args(["-x", "c++-header"]).arg(header).args(["-o", "verilated.pch"]), "the headers")?;
        publish(&dir, &target)?;
    }
    Ok(Some(parsed))
}

/// Compiles one file of a model. Traced models are rare and have other macros: they read the headers themselves.
fn object(
    tools: &Toolchain,
    cache: &Path,
    dir: &Path,
    name: &str,
    flags: &[String],
    top: &str,
    traced: bool,
) -> Result<(), SimError> {
    let mut cxx = compiler(tools, dir, traced);
    if let Some(parsed) = if traced { None } else { headers(tools, cache, flags)? } {
        cxx.arg("-include-pch").arg(parsed);
    }
    run(cxx.args(flags).args(["-c", &format!("{name}.cpp"), "-o", &format!("{name}.o")]), top)
}

/// Runs Verilator's lint with all warnings on; a warning is an error.
pub fn lint(top: &str, verilog: &str) -> Result<(), SimError> {
    let tools = toolchain::find()?;
    let dir = scratch(&toolchain::target_dir()?.join("verilated").join(top))?;
    write(dir.join("dut.v"), verilog)?;
    let mut verilator = tools.verilator();
    verilator.current_dir(&dir).args(["--lint-only", "-Wall", "-Wno-DECLFILENAME"]);
    let result = run(verilator.args(["--top-module", top, "dut.v"]), top);
    fs::remove_dir_all(&dir).map_err(|error| SimError::File { path: dir, error })?;
    result
}

fn verilate(job: &Job, tools: &Toolchain, dir: &Path, traced: bool) -> Result<(), SimError> {
    let mut verilator = tools.verilator();
    verilator.current_dir(dir).args(["--cc", "-O3", "--x-assign", "unique"]);
    verilator.args(["--x-initial", "unique", "--noassert", "--top-module", job.top, "--Mdir", "obj"]);
    if traced {
        // by default wide signals are left out
        verilator.args(["--trace", "--trace-max-width", "1024", "--trace-max-array", "64"]);
    }
    // all modules of a model lie in one file here
    verilator.args(if job.lint { ["-Wall", "-Wno-DECLFILENAME"] } else { ["-Wno-lint", "-Wno-fatal"] });
    run(verilator.arg("dut.v"), job.top)
}

/// Names of the model's C++ files, in order.
fn sources(dir: &Path) -> Result<Vec<String>, SimError> {
    let obj = dir.join("obj");
    let entries = fs::read_dir(&obj).map_err(|error| SimError::File { path: obj, error })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".cpp")).collect();
    names.sort();
    Ok(names)
}

/// Where the profile of a model is.
fn profile(job: &Job, tools: &Toolchain, cache: &Path) -> Option<Profile> {
    let ports = format!("{:?}", job.ports);
    Profile::of(tools, cache, job.top, &key(&[job.verilog, &ports, &format!("{tools:?}"), "1"]))
}

/// Whether a profile of the model was recorded, or none can be.
pub fn is_profiled(job: &Job) -> Result<bool, SimError> {
    let (tools, cache) = (toolchain::find()?, toolchain::target_dir()?.join("verilated"));
    Ok(profile(job, &tools, &cache).is_none_or(|profile| profile.exists()))
}

/// Builds a model, or finds it in the cache, and loads it.
pub fn compile(job: &Job) -> Result<Library, SimError> {
    build(job, false)
}

/// The same model, able to write waves (VCD): slower, and slower to build.
pub fn compile_traced(job: &Job) -> Result<Library, SimError> {
    build(job, true)
}

fn build(job: &Job, traced: bool) -> Result<Library, SimError> {
    let tools = toolchain::find()?;
    let cache = toolchain::target_dir()?.join("verilated");
    let mut flags: Vec<String> = job.speed.flags().iter().map(|flag| flag.to_string()).collect();
    let profile = match job.speed {
        Speed::Quick => None,
        Speed::Full | Speed::Recording => profile(job, &tools, &cache),
    };
    let recording = profile.as_ref().filter(|_| job.speed == Speed::Recording).map(Profile::record);
    let guide = profile.filter(|_| recording.is_none()).map(|profile| profile.guide(&tools, job.top)).transpose()?;
    flags.extend(recording.clone().or(guide.flatten()));
    let shim = shim::text(job.top, job.ports, traced, recording.is_some());
    let how = format!("{flags:?} {}", job.lint);
    let name = format!("{}-{}", job.top, key(&[job.verilog, &shim, &format!("{tools:?}"), &how, "1"]));
    let target = cache.join(name);
    let library = target.join("model.so");
    if !library.exists() {
        let runtime = runtime(&tools, &cache, traced)?;
        let dir = scratch(&target)?;
        write(dir.join("dut.v"), job.verilog)?;
        write(dir.join("shim.cpp"), &shim)?;
        verilate(job, &tools, &dir, traced)?;
        let (mut hot, mut cold) = (String::from("#include \"shim.cpp\"\n"), String::new());
        for name in sources(&dir)? {
            // set-up code runs once: optimising it only costs compile time
            let part = if name.contains("__Slow") || name.contains("__Syms") { &mut cold } else { &mut hot };
            let _ = writeln!(part, "#include \"obj/{name}\"");
        }
        write(dir.join("hot.cpp"), &hot)?;
        write(dir.join("cold.cpp"), &cold)?;
        object(&tools, &cache, &dir, "hot", &flags, job.top, traced)?;
        object(&tools, &cache, &dir, "cold", &["-O0".to_string()], job.top, traced)?;
        let mut link = Command::new(&tools.cxx);
        link.current_dir(&dir).args(["-shared", "-o", "model.so", "hot.o", "cold.o"]).arg(&runtime);
        run(link.args(["-Wl,-Bsymbolic", "-latomic"]).args(recording), job.top)?;
        publish(&dir, &target)?;
    }
    Library::load(&library, job.top, job.ports, traced)
}
