//! Levels of logic between registers, from the netlist that Yosys writes: an estimate of what limits the clock.
//!
//! A LUT is one level, so are a read of LUT RAM and the way into a carry chain; along a chain and through wide
//! multiplexers of a slice nothing counts. Modules are looked at once: ways from their inputs and to their outputs
//! join at their instances, port by port (not bit by bit, which can only make a way longer).

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Where a way begins: a register, or an input of the module by its number.
type Start = Option<usize>;

/// The longest way to a place, for each start: levels, and the name of where it begins.
type Ways = BTreeMap<Start, (u32, Rc<str>)>;

/// What a module looks like from outside, and its own longest way.
#[derive(Clone, Default)]
pub struct Timing {
    /// Names of inputs.
    inputs: Vec<String>,
    /// Levels from each input to a register.
    setup: Vec<Option<u32>>,
    /// Ways to each output.
    outputs: BTreeMap<String, Ways>,
    /// Levels, begin and end of the longest way between registers in it and below.
    pub worst: Option<(u32, String, String)>,
    /// Places where ways of each number of levels end.
    pub ends: BTreeMap<u32, u64>,
    /// Most inputs that a net drives, but for clocks, and the net.
    pub fanout: (u64, String),
}

/// What a primitive does.
enum Part {
    /// Outputs follow inputs so many levels later.
    Logic(u32),
    /// A LUT RAM: outputs follow addresses.
    Ram,
    /// Everything ends and begins here.
    Register,
}

/// A way through a multiplier without registers.
const MULTIPLIER: u32 = 4;

fn flag(cell: &Value, name: &str) -> bool {
    let value = &cell["parameters"][name];
    value.as_str().is_some_and(|text| text.contains('1')) || value.as_u64().is_some_and(|n| n != 0)
}

fn part(kind: &str, cell: &Value) -> Part {
    match kind {
        _ if kind.starts_with("LUT") || kind == "INV" => Part::Logic(1),
        _ if kind.starts_with("CARRY") || kind.starts_with("MUXF") || kind.starts_with("MUXCY") => Part::Logic(0),
        _ if kind.starts_with("XORCY") || kind.contains("BUF") => Part::Logic(0),
        _ if kind.starts_with("RAM32") || kind.starts_with("RAM64") || kind.starts_with("RAM128") => Part::Ram,
        "DSP48E2" if !["AREG", "BREG", "MREG", "PREG"].iter().any(|name| flag(cell, name)) => Part::Logic(MULTIPLIER),
        _ => Part::Register,
    }
}

/// Levels on the way into a port of a primitive.
fn entry(kind: &str, port: &str) -> u32 {
    u32::from(kind.starts_with("CARRY") && port != "CI" && port != "CIN")
}

/// Adds a way unless a longer one from the same start is there.
fn join(ways: &mut Ways, start: Start, levels: u32, from: &Rc<str>) {
    let entry = ways.entry(start).or_insert_with(|| (levels, from.clone()));
    if levels > entry.0 {
        *entry = (levels, from.clone());
    }
}

/// One module while it is looked at.
struct Walk<'a> {
    cells: Vec<(&'a str, &'a str, &'a Value)>,
    below: Vec<Option<Rc<Timing>>>,
    /// Cell and port that drives a net.
    drivers: HashMap<u64, (usize, &'a str)>,
    inputs: HashMap<u64, usize>,
    names: HashMap<u64, &'a str>,
    done: HashMap<u64, Rc<Ways>>,
    open: Vec<u64>,
}

fn bits(value: &Value) -> impl Iterator<Item = u64> + '_ {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64)
}

impl Walk<'_> {
    fn name(&self, net: u64) -> Rc<str> {
        self.names.get(&net).copied().unwrap_or("?").into()
    }

    /// Ways to a net.
    fn ways(&mut self, net: u64) -> Rc<Ways> {
        if let Some(ways) = self.done.get(&net) {
            return ways.clone();
        }
        let mut ways = Ways::new();
        if let Some(&input) = self.inputs.get(&net) {
            ways.insert(Some(input), (0, self.name(net)));
        } else if self.open.contains(&net) {
            // ports taken as a whole make loops that bits do not
            return Rc::new(ways);
        } else if let Some(&(cell, port)) = self.drivers.get(&net) {
            self.open.push(net);
            self.through(cell, port, net, &mut ways);
            self.open.pop();
        }
        let ways = Rc::new(ways);
        self.done.insert(net, ways.clone());
        ways
    }

    fn through(&mut self, cell: usize, port: &str, net: u64, ways: &mut Ways) {
        let (_, kind, value) = self.cells[cell];
        let all: Vec<(String, Vec<u64>)> = ports_of(value, "input");
        if let Some(below) = self.below[cell].clone() {
            let Some(outputs) = below.outputs.get(port) else { return };
            for (start, (levels, _)) in outputs {
                match start {
                    None => join(ways, None, *levels, &self.name(net)),
                    Some(input) => {
                        let nets = all.iter().find(|(name, _)| *name == below.inputs[*input]);
                        self.add(nets.map_or(&[][..], |(_, nets)| nets), *levels, ways);
                    }
                }
            }
            return;
        }
        match part(kind, value) {
            Part::Logic(levels) => {
                for (name, nets) in &all {
                    self.add(nets, levels + entry(kind, name), ways);
                }
            }
            Part::Ram => {
                join(ways, None, 1, &self.name(net));
                for (name, nets) in all.iter().filter(|(name, _)| name.starts_with("ADDR") || name.starts_with('A')) {
                    let _ = name;
                    self.add(nets, 1, ways);
                }
            }
            Part::Register => join(ways, None, 0, &self.name(net)),
        }
    }

    fn add(&mut self, nets: &[u64], levels: u32, ways: &mut Ways) {
        for &net in nets {
            for (start, (before, from)) in self.ways(net).iter() {
                join(ways, *start, before + levels, from);
            }
        }
    }
}

/// Nets at the ports of a cell with this direction.
fn ports_of(cell: &Value, direction: &str) -> Vec<(String, Vec<u64>)> {
    let empty = Map::new();
    let connections = cell["connections"].as_object().unwrap_or(&empty);
    let directions = &cell["port_directions"];
    let own = connections.iter().filter(|(name, _)| directions[name.as_str()] == direction);
    own.map(|(name, nets)| (name.clone(), bits(nets).collect())).collect()
}

/// Looks at a module and all below it.
fn module(all: &Map<String, Value>, name: &str, known: &mut BTreeMap<String, Rc<Timing>>) -> Result<Rc<Timing>> {
    if let Some(timing) = known.get(name) {
        return Ok(timing.clone());
    }
    let text = all.get(name).with_context(|| format!("the netlist has no module {name}"))?;
    let empty = Map::new();
    let object = |key: &str| text[key].as_object().unwrap_or(&empty);
    let mut walk = Walk {
        cells: Vec::new(),
        below: Vec::new(),
        drivers: HashMap::new(),
        inputs: HashMap::new(),
        names: HashMap::new(),
        done: HashMap::new(),
        open: Vec::new(),
    };
    for (net_name, net) in object("netnames") {
        for net in bits(&net["bits"]) {
            let old = walk.names.entry(net).or_insert(net_name);
            // names of the text before names that Yosys made
            if old.starts_with('$') && !net_name.starts_with('$') {
                *old = net_name;
            }
        }
    }
    let mut timing = Timing::default();
    for (port_name, port) in object("ports").iter().filter(|(_, port)| port["direction"] == "input") {
        for net in bits(&port["bits"]) {
            walk.inputs.insert(net, timing.inputs.len());
        }
        timing.inputs.push(port_name.clone());
    }
    let mut loads: HashMap<u64, u64> = HashMap::new();
    for (cell_name, cell) in object("cells") {
        let kind = cell["type"].as_str().unwrap_or("");
        // yosys lists every module that it has read, its own library too: those without cells are primitives
        let inside = all.get(kind).is_some_and(|m| m["attributes"]["blackbox"].is_null());
        let below = if inside { Some(module(all, kind, known)?) } else { None };
        let index = walk.cells.len();
        for (port, nets) in cell["connections"].as_object().unwrap_or(&empty) {
            match cell["port_directions"][port.as_str()].as_str() {
                Some("output") => bits(nets).for_each(|net| {
                    walk.drivers.insert(net, (index, port.as_str()));
                }),
                _ if matches!(port.as_str(), "C" | "CLK" | "WCLK" | "CLKARDCLK" | "CLKBWRCLK" | "clk_i" | "aclk") => {}
                _ => bits(nets).for_each(|net| *loads.entry(net).or_default() += 1),
            }
        }
        walk.cells.push((cell_name.as_str(), kind, cell));
        walk.below.push(below);
    }
    let most = loads.iter().map(|(net, count)| (*count, walk.name(*net).to_string())).max();
    timing.fanout = most.unwrap_or_default();
    timing.setup = vec![None; timing.inputs.len()];
    let mut found: Vec<(u64, u32, String)> = Vec::new();
    for index in 0..walk.cells.len() {
        let (cell_name, kind, cell) = walk.cells[index];
        let below = walk.below[index].clone();
        for (port, nets) in ports_of(cell, "input") {
            let extra = match (&below, part(kind, cell)) {
                (Some(below), _) => {
                    below.inputs.iter().position(|input| *input == port).and_then(|input| below.setup[input])
                }
                (None, Part::Logic(_)) => None,
                (None, _) => Some(0),
            };
            if let Some(extra) = extra {
                found.extend(nets.iter().map(|net| (*net, extra, format!("{cell_name}.{port}"))));
            }
        }
        if let Some((levels, from, to)) = below.and_then(|below| below.worst.clone())
            && timing.worst.as_ref().is_none_or(|worst| worst.0 < levels)
        {
            timing.worst = Some((levels, format!("{kind}: {from}"), to));
        }
    }
    for (net, extra, end) in found {
        let ways = walk.ways(net);
        let mut longest = 0;
        for (start, (levels, from)) in ways.iter() {
            let levels = levels + extra;
            match start {
                Some(input) => timing.setup[*input] = Some(timing.setup[*input].unwrap_or(0).max(levels)),
                None => {
                    longest = longest.max(levels);
                    if timing.worst.as_ref().is_none_or(|worst| worst.0 < levels) {
                        let to = walk.name(net);
                        timing.worst = Some((levels, from.to_string(), format!("{to} ({end})")));
                    }
                }
            }
        }
        *timing.ends.entry(longest).or_default() += 1;
    }
    for (port_name, port) in object("ports").iter().filter(|(_, port)| port["direction"] == "output") {
        let mut ways = Ways::new();
        walk.add(&bits(&port["bits"]).collect::<Vec<_>>(), 0, &mut ways);
        timing.outputs.insert(port_name.clone(), ways);
    }
    let timing = Rc::new(timing);
    known.insert(name.to_string(), timing.clone());
    Ok(timing)
}

/// Levels of all modules from `top` down, from Yosys's JSON netlist.
pub fn of(netlist: &Value, top: &str) -> Result<BTreeMap<String, Timing>> {
    let all = netlist["modules"].as_object().context("the netlist has no modules")?;
    let mut known = BTreeMap::new();
    module(all, top, &mut known)?;
    Ok(known.into_iter().map(|(name, timing)| (name, (*timing).clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cell(kind: &str, ports: &[(&str, &str, u64)]) -> Value {
        let directions: Map<String, Value> = ports.iter().map(|(n, d, _)| (n.to_string(), json!(d))).collect();
        let nets: Map<String, Value> = ports.iter().map(|(n, _, net)| (n.to_string(), json!([net]))).collect();
        json!({ "type": kind, "port_directions": directions, "connections": nets })
    }

    /// A register, a LUT in a module of its own, a LUT, a carry chain of two, a register: three levels.
    #[test]
    fn ways_go_through_modules() {
        let inner = json!({
            "ports": { "a": { "direction": "input", "bits": [2] }, "y": { "direction": "output", "bits": [3] } },
            "cells": { "lut": cell("LUT1", &[("I0", "input", 2), ("O", "output", 3)]) },
            "netnames": {}
        });
        let top = json!({
            "ports": {},
            "cells": {
                "first": cell("FDRE", &[("D", "input", 9), ("Q", "output", 2)]),
                "below": cell("inner", &[("a", "input", 2), ("y", "output", 3)]),
                "lut": cell("LUT2", &[("I0", "input", 3), ("O", "output", 4)]),
                "low": cell("CARRY4", &[("S", "input", 4), ("CI", "input", 8), ("CO", "output", 5)]),
                "high": cell("CARRY4", &[("CI", "input", 5), ("CO", "output", 6)]),
                "last": cell("FDRE", &[("D", "input", 6), ("Q", "output", 7)]),
            },
            "netnames": { "start_q": { "bits": [2] }, "$1": { "bits": [6] }, "sum": { "bits": [6] } }
        });
        let found = of(&json!({ "modules": { "top": top, "inner": inner } }), "top").unwrap();
        assert_eq!(found["top"].worst, Some((3, "start_q".into(), "sum (last.D)".into())));
        assert_eq!(found["inner"].worst, None);
        assert_eq!(found["inner"].outputs["y"][&Some(0)].0, 1);
        assert_eq!(found["top"].ends, BTreeMap::from([(0, 1), (3, 1)]));
        assert!(of(&json!({ "modules": {} }), "top").is_err());
    }
}
