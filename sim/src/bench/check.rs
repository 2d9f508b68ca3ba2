//! The runs that every block goes through.

use super::streams::{Bench, Flow};
use super::{BenchError, Block, Bug, Packet, Size, build};
use crate::SimError;
use crate::ffi::Library;
use crate::rng::Rng;
use hw::ir::{Design, Interface};
use std::collections::BTreeMap;

/// Counters of things that the stimulus must have done.
#[derive(Clone, Debug, Default)]
pub struct Cover(BTreeMap<String, u64>);

impl Cover {
    /// Counts `name` if `happened`.
    pub fn count(&mut self, name: &str, happened: bool) {
        if happened {
            *self.0.entry(name.to_string()).or_default() += 1;
        }
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Cover) {
        for (name, n) in &other.0 {
            *self.0.entry(name.clone()).or_default() += n;
        }
    }

    /// How often `name` happened.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, n)| format!("{name} {n}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Packets of a run: the smallest and the largest, then random ones.
const PACKETS: usize = 12;

/// Builds the block and checks it in all runs; returns what was covered.
pub fn check(block: &dyn Block, rng: &mut Rng) -> Result<Cover, SimError> {
    check_mutated(block, rng, None)
}

/// As [`check`], with one piece of the Verilog text replaced: a planted bug.
pub fn check_mutated(block: &dyn Block, rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let mut design = if block.for_simulation() { Design::for_simulation() } else { Design::default() };
    let top = block.build(&mut design)?;
    let library = build(&design, &top, bug)?;
    let mut cover = Cover::default();
    let plain = Flow::default();
    let runs = [
        ("plain", plain),
        ("source gaps", Flow { gaps: true, ..plain }),
        ("sink stalls", Flow { stalls: true, ..plain }),
        ("gaps and stalls", Flow { gaps: true, stalls: true }),
    ];
    for (name, flow) in runs {
        run(block, &library, &top, name, flow, rng, &mut cover)?;
    }
    let optional = |counter: &str| match counter {
        "stall" => !top.ports.iter().any(|p| p.name.ends_with("_ready_i")),
        _ => false,
    };
    for counter in ["gap", "stall", "back_pressure"].iter().chain(block.must_cover()) {
        if cover.get(counter) == 0 && !optional(counter) {
            let (block, counter) = (top.name.clone(), counter.to_string());
            return Err(BenchError::Uncovered { block, counter }.into());
        }
    }
    Ok(cover)
}

fn load(bench: &mut Bench, packets: &[Packet]) {
    for packet in packets {
        for (stream, beats) in &packet.inputs {
            bench.send(stream, beats);
        }
        for (stream, beats) in &packet.outputs {
            bench.expect(stream, beats);
        }
    }
}

fn run(
    block: &dyn Block,
    library: &Library,
    top: &Interface,
    name: &str,
    flow: Flow,
    rng: &mut Rng,
    cover: &mut Cover,
) -> Result<(), SimError> {
    let promise = |what: &str, found: u64, expected: u64| match found == expected {
        true => Ok(()),
        false => {
            let (block, run, what) = (top.name.clone(), name.to_string(), what.to_string());
            Err(BenchError::Promise { block, run, what, found, expected })
        }
    };
    let sizes = |i: usize| [Size::Min, Size::Max].get(i).copied().unwrap_or(Size::Any);
    let after = |run: &str| {
        let wrong = |what| BenchError::After { block: top.name.clone(), run: run.to_string(), what };
        block.after().map_err(wrong)
    };
    let mut bench = Bench::new(library, top, &block.steady(), name, flow, rng.bits())?;
    bench.settle = block.settle();
    if let Some((memory, prefixes)) = block.memory() {
        bench.attach(library, memory, &prefixes)?;
    }
    bench.reset();
    let packets: Vec<Packet> = (0..PACKETS).map(|i| block.packet(rng, sizes(i), cover)).collect();
    load(&mut bench, &packets);
    let cycles = bench.finish(cover)?;
    after(name)?;
    let plain = !flow.gaps && !flow.stalls;
    if let (true, Some((from, to, expected))) = (plain, block.latency()) {
        let (from, to) = (bench.first_beat(from).unwrap_or(0), bench.first_beat(to).unwrap_or(0));
        promise("latency", to.saturating_sub(from), expected)?;
    }
    if let (true, Some(most)) = (plain, block.most_cycles(&packets)) {
        promise("cycles over the promised", cycles.saturating_sub(most), 0)?;
    }
    for port in block.sticky() {
        let expected = packets.iter().any(|p| p.sets.contains(port));
        promise(port, bench.output(library.port(port)?), u64::from(expected))?;
    }

    // reset in the middle of a packet: nothing of it may be left
    bench.run = format!("{name}, after a reset");
    for _ in 0..3 {
        let packets: Vec<Packet> = (0..2).map(|_| block.packet(rng, Size::Any, cover)).collect();
        load(&mut bench, &packets);
        let (all, most) = (bench.missing(), rng.within(1, 60));
        for _ in 0..most {
            if bench.missing() > 0 {
                bench.step(cover)?;
            }
        }
        cover.count("reset_in_packet", bench.missing() > 0 && bench.missing() < all);
        bench.reset();
        block.forget();
        for port in block.sticky() {
            promise(port, bench.output(library.port(port)?), 0)?;
        }
        let packets = [block.packet(rng, Size::Any, cover)];
        load(&mut bench, &packets);
        bench.finish(cover)?;
        after(&bench.run)?;
        bench.reset();
    }
    Ok(())
}
