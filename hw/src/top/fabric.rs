//! Wiring instances together by the names of their streams.

use crate::blocks::rest::Rest;
use crate::ir::{Dir, Expr, Interface, Module, Outputs, Ty};
use std::collections::BTreeMap;

/// An instance whose inputs are nets, so that it can be wired in any order.
pub struct Placed {
    role: String,
    ports: Vec<crate::ir::Port>,
    inputs: BTreeMap<String, Expr>,
    outputs: Outputs,
    rest: Option<(Rest, Expr)>,
}

impl Placed {
    /// Instantiates `of` under a reset; every other input but the clock becomes a net `to_<role>_<port>`.
    pub fn new(m: &mut Module, role: &str, of: &Interface, rst: &Expr) -> Placed {
        Placed::resting(m, role, of, rst, None)
    }

    /// As [`Placed::new`]; the clock stands still while the unit rests, if `rest` says when it does.
    pub fn resting(m: &mut Module, role: &str, of: &Interface, rst: &Expr, rest: Option<Rest>) -> Placed {
        let rest = rest.map(|rest| (rest, m.net(&format!("to_{role}_on"), crate::ir::uint(1))));
        let clock = rest.as_ref().map(|(rest, on)| rest.clock(m, role, on));
        let mut inputs = BTreeMap::new();
        for port in of.ports.iter().filter(|p| p.dir == Dir::In && p.name != "clk_i" && p.name != "rst_i") {
            let stem = port.name.strip_suffix("_i").unwrap_or(&port.name);
            inputs.insert(port.name.clone(), m.net(&format!("to_{role}_{stem}"), port.ty));
        }
        let mut given: Vec<(&str, &Expr)> = inputs.iter().map(|(name, e)| (name.as_str(), e)).collect();
        if of.ports.iter().any(|p| p.name == "rst_i") {
            given.push(("rst_i", rst));
        }
        given.extend(clock.as_ref().map(|clock| ("clk_i", clock)));
        let outputs = m.instance(role, of, &given);
        Placed { role: role.to_string(), ports: of.ports.clone(), inputs, outputs, rest }
    }

    /// Something passes at a port, in or out.
    fn moves(&self) -> Expr {
        // the slots' levels are no stream
        let single = |port: &&crate::ir::Port| port.ty.width == 1;
        let streams = self.ports.iter().filter(single).filter_map(|p| Some((p, p.name.rsplit_once("_valid_")?.0)));
        let fires = streams.map(|(port, stream)| {
            let ready = format!("{stream}_ready_{}", if port.dir == Dir::In { "o" } else { "i" });
            let valid = self.input(&port.name);
            if self.has(&ready) { valid & self.input(&ready) } else { valid }
        });
        fires.fold(crate::ir::lit(0, 1), |any, fire| any | fire)
    }

    /// Says when the clock of a unit that may rest must run, `always` among others; when everything is wired.
    pub fn wake(&self, m: &mut Module, always: &Expr) {
        let Some((rest, on)) = &self.rest else { return };
        let idle = self.ports.iter().filter(|p| matches!(p.name.as_str(), "idle_o" | "pack_idle_o"));
        let busy = match rest {
            Rest::Still | Rest::Brief => crate::ir::lit(0, 1),
            Rest::Idle => idle.fold(crate::ir::lit(0, 1), |any, port| any | !self.out(&port.name)),
        };
        let moves = self.moves();
        m.drive(on, &(always | busy | moves));
    }

    /// The wire at an output port.
    pub fn out(&self, port: &str) -> Expr {
        self.outputs.get(port)
    }

    /// The net at an input port.
    pub fn input(&self, port: &str) -> Expr {
        self.inputs.get(port).cloned().unwrap_or_else(|| self.outputs.get(port))
    }

    /// Drives an input port.
    pub fn set(&self, m: &mut Module, port: &str, value: &Expr) {
        match self.inputs.get(port) {
            Some(net) => m.drive(net, value),
            None => m.drive(&self.outputs.get(&format!("{}: no input {port}", self.role)), value),
        }
    }

    /// Names of the fields of a stream: ports that begin with its name and with that of no longer stream.
    fn fields(&self, stream: &str, dir: Dir) -> Vec<String> {
        let suffix = if dir == Dir::In { "_i" } else { "_o" };
        let streams = self.ports.iter().filter_map(|p| p.name.rsplit_once("_valid_").map(|(name, _)| name));
        let longer: Vec<String> = streams.filter(|s| s.len() > stream.len()).map(|s| format!("{s}_")).collect();
        let field = |p: &crate::ir::Port| {
            let field = p.name.strip_prefix(stream)?.strip_prefix('_')?.strip_suffix(suffix)?;
            let others = longer.iter().any(|s| p.name.starts_with(s));
            (field != "valid" && field != "ready" && !others).then(|| field.to_string())
        };
        self.ports.iter().filter(|p| p.dir == dir).filter_map(field).collect()
    }

    /// Fields of a sink with their types, in the order of the ports.
    pub fn sink_fields(&self, sink: &str) -> Vec<(String, Ty)> {
        let port = |name: &String| self.ports.iter().find(|p| p.name == format!("{sink}_{name}_i")).map(|p| p.ty);
        self.fields(sink, Dir::In).into_iter().filter_map(|name| Some((name.clone(), port(&name)?))).collect()
    }

    /// Whether the instance has a port of this name.
    pub fn has(&self, port: &str) -> bool {
        self.ports.iter().any(|p| p.name == port)
    }
}

/// Wires the source `from` of one instance to the sink `to` of another. Every field of the sink must be one of
/// the source; fields that only the source has are left alone. A source without `ready` must find one always.
pub fn connect(m: &mut Module, (a, from): (&Placed, &str), (b, to): (&Placed, &str)) {
    b.set(m, &format!("{to}_valid_i"), &a.out(&format!("{from}_valid_o")));
    for field in b.fields(to, Dir::In) {
        b.set(m, &format!("{to}_{field}_i"), &a.out(&format!("{from}_{field}_o")));
    }
    let spare: Vec<Expr> = a
        .fields(from, Dir::Out)
        .into_iter()
        .filter(|field| !b.has(&format!("{to}_{field}_i")))
        .map(|field| a.out(&format!("{from}_{field}_o")))
        .collect();
    let ready = format!("{to}_ready_o");
    match (a.has(&format!("{from}_ready_i")), b.has(&ready)) {
        (true, true) => a.set(m, &format!("{from}_ready_i"), &b.out(&ready)),
        (true, false) => a.set(m, &format!("{from}_ready_i"), &crate::ir::lit(1, 1)),
        (false, true) => m.unused(&format!("{}_{to}_ready", b.role), &[b.out(&ready)]),
        (false, false) => {}
    }
    if !spare.is_empty() {
        m.unused(&format!("{}_{from}", a.role), &spare);
    }
}

/// Makes ports of the module of all ports of an instance that begin with `prefix`, under names that begin with
/// `name` instead.
pub fn expose(m: &mut Module, a: &Placed, prefix: &str, name: &str) {
    for port in a.ports.iter().filter(|p| p.name.starts_with(prefix)) {
        let name = format!("{name}{}", &port.name[prefix.len()..]);
        match port.dir {
            Dir::In => {
                let e = m.input(&name, port.ty);
                a.set(m, &port.name, &e);
            }
            Dir::Out => {
                let out = m.output(&name, port.ty);
                m.drive(&out, &a.out(&port.name));
            }
        }
    }
}
