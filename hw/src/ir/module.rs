//! Modules: ports, wires, registers, memories, read-only tables and instances.

use super::design::Interface;
use super::error::{ExprError, IrError};
use super::expr::{Expr, Op, Ty, bad, cat, lit, uint};
use super::primitive::Primitive;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Direction of a port, seen from inside the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// Driven by the parent.
    In,
    /// Driven by the module.
    Out,
}

/// A port of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its direction.
    pub dir: Dir,
    /// Its type.
    pub ty: Ty,
}

/// What a memory should be made of; printed as the `ram_style` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RamStyle {
    /// LUT RAM, read without a clock.
    Distributed,
    /// Block RAM, read into a register.
    Block,
    /// UltraRAM, read into a register.
    Ultra,
}

impl RamStyle {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            RamStyle::Distributed => "distributed",
            RamStyle::Block => "block",
            RamStyle::Ultra => "ultra",
        }
    }
}

/// Outputs of an instance.
#[derive(Debug)]
pub struct Outputs {
    of: String,
    ports: HashMap<String, Expr>,
}

impl Outputs {
    /// The wire at an output port.
    pub fn get(&self, port: &str) -> Expr {
        let missing = || bad(format!("output of {}", self.of), "one of its outputs".into(), format!("`{port}`"));
        self.ports.get(port).cloned().unwrap_or_else(missing)
    }
}

#[derive(Debug)]
pub(crate) enum Item {
    Comment(String),
    Wire { name: String, value: Expr },
    Net { name: String, ty: Ty },
    Assign { name: String, value: Expr },
    Reg { name: String, ty: Ty },
    Rom { name: String, ty: Ty, index: Expr, values: Vec<u128> },
    Memory { name: String, width: u32, depth: u64, style: RamStyle },
    Instance { name: String, of: String, connections: Vec<(String, Expr)> },
}

/// What a register does at a clock edge.
#[derive(Debug)]
pub(crate) struct RegRule {
    pub(crate) reset: Option<Expr>,
    pub(crate) enable: Option<Expr>,
    pub(crate) next: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct MemWrite {
    pub(crate) memory: String,
    pub(crate) enable: Expr,
    pub(crate) index: Expr,
    pub(crate) data: Expr,
}

/// A module under construction.
///
/// The clock is `clk_i` and the synchronous reset `rst_i`; both ports appear when they are needed.
/// Mistakes are remembered and reported by [`Module::finish`].
#[derive(Debug)]
pub struct Module {
    pub(crate) name: String,
    pub(crate) header: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) items: Vec<Item>,
    pub(crate) regs: Vec<(String, RegRule)>,
    pub(crate) writes: Vec<MemWrite>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(super) primitive: Option<Primitive>,
    names: HashSet<String>,
    undriven: Vec<String>,
    errors: Vec<IrError>,
}

const KEYWORDS: &str = " always and assign automatic begin buf case casex casez cell config deassign default defparam \
    design disable edge else end endcase endconfig endfunction endgenerate endmodule endtask event for force forever \
    fork function generate genvar if initial inout input instance integer join localparam logic module nand negedge \
    nor not or output parameter posedge real reg release repeat signed specify supply0 supply1 table task time tri \
    unsigned use var wait wand while wire wor xnor xor bit byte int do return enum struct union type local global new \
    priority unique static this ref final property sequence ";

fn usable_name(name: &str) -> bool {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') && !KEYWORDS.contains(&format!(" {name} "))
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> Module {
        let name = name.into();
        let mut module = Module {
            name: name.clone(),
            header: Vec::new(),
            ports: Vec::new(),
            items: Vec::new(),
            regs: Vec::new(),
            writes: Vec::new(),
            attributes: BTreeMap::new(),
            primitive: None,
            names: HashSet::new(),
            undriven: Vec::new(),
            errors: Vec::new(),
        };
        if !usable_name(&name) {
            module.errors.push(IrError::BadName { module: name.clone(), name });
        }
        module
    }

    /// Adds lines to the comment above the module.
    pub fn header(&mut self, text: &str) {
        self.header.extend(text.lines().map(|line| line.trim_end().to_string()));
    }

    /// A comment at this place of the body.
    pub fn comment(&mut self, text: &str) {
        self.items.push(Item::Comment(text.to_string()));
    }

    pub(crate) fn fail(&mut self, error: IrError) {
        self.errors.push(error);
    }

    fn claim(&mut self, name: &str) {
        let module = self.name.clone();
        if !usable_name(name) {
            self.fail(IrError::BadName { module, name: name.to_string() });
        } else if !self.names.insert(name.to_string()) {
            self.fail(IrError::DuplicateName { module, name: name.to_string() });
        }
    }

    /// Remembers what is wrong with `e`, and whether it uses names of another module.
    pub(super) fn check(&mut self, e: &Expr) {
        let module = self.name.clone();
        if let Some(error) = e.error() {
            let error = error.clone();
            return self.fail(IrError::Expr { module, error });
        }
        let mut open = vec![e];
        while let Some(e) = open.pop() {
            match e.op() {
                Op::Name(name) if !self.names.contains(name) => {
                    let role = "a name";
                    self.errors.push(IrError::WrongRole { module: module.clone(), name: name.clone(), role });
                }
                Op::Name(_) | Op::Lit(_) | Op::Bad(_) => {}
                Op::Not(a) | Op::Neg(a) | Op::Reduce(_, a) | Op::Slice(a, _) | Op::Repeat(_, a) => open.push(a),
                Op::Extend(a) | Op::Cast(a) | Op::Word(_, a) => open.push(a),
                Op::Bin(_, a, b) => open.extend([a, b]),
                Op::Mux(c, t, f) => open.extend([c, t, f]),
                Op::Cat(parts) => open.extend(parts),
            }
        }
    }

    fn check_type(&mut self, what: &str, e: &Expr, ty: Ty) {
        self.check(e);
        if e.error().is_none() && e.ty() != ty {
            let error = ExprError { expr: what.to_string(), expected: ty.to_string(), found: e.describe() };
            self.fail(IrError::Expr { module: self.name.clone(), error });
        }
    }

    fn port(&mut self, name: &str, dir: Dir, ty: Ty) -> Expr {
        self.claim(name);
        self.ports.push(Port { name: name.to_string(), dir, ty });
        let e = Expr::name(name, ty);
        if e.error().is_some() {
            self.check(&e);
        }
        e
    }

    /// An input port.
    pub fn input(&mut self, name: &str, ty: Ty) -> Expr {
        self.port(name, Dir::In, ty)
    }

    /// An output port, to be given a value by [`Module::drive`].
    pub fn output(&mut self, name: &str, ty: Ty) -> Expr {
        self.undriven.push(name.to_string());
        self.port(name, Dir::Out, ty)
    }

    fn implicit_input(&mut self, name: &str) -> Expr {
        if !self.names.contains(name) {
            self.claim(name);
            let at = usize::from(name != "clk_i" && self.ports.first().is_some_and(|p| p.name == "clk_i"));
            self.ports.insert(at, Port { name: name.to_string(), dir: Dir::In, ty: uint(1) });
        }
        Expr::name(name, uint(1))
    }

    /// The reset.
    pub(crate) fn reset(&mut self) -> Expr {
        self.implicit_input("rst_i")
    }

    /// The clock, for cells of a library.
    pub fn clock(&self) -> Expr {
        Expr::name("clk_i", uint(1))
    }

    /// A named value.
    pub fn wire(&mut self, name: &str, value: &Expr) -> Expr {
        self.check(value);
        self.claim(name);
        if value.error().is_some() {
            return value.clone();
        }
        self.items.push(Item::Wire { name: name.to_string(), value: value.clone() });
        Expr::name(name, value.ty())
    }

    /// A wire that gets its value later, by [`Module::drive`].
    pub fn net(&mut self, name: &str, ty: Ty) -> Expr {
        self.claim(name);
        self.undriven.push(name.to_string());
        self.items.push(Item::Net { name: name.to_string(), ty });
        Expr::name(name, ty)
    }

    /// Gives an output or a net its value.
    pub fn drive(&mut self, target: &Expr, value: &Expr) {
        let Op::Name(name) = target.op() else { return self.check(target) };
        let (name, module) = (name.clone(), self.name.clone());
        self.check_type(&format!("value of {name}"), value, target.ty());
        match self.undriven.iter().position(|n| *n == name) {
            Some(at) => {
                self.undriven.remove(at);
                self.items.push(Item::Assign { name, value: value.clone() });
            }
            None if self.items.iter().any(|i| matches!(i, Item::Assign { name: n, .. } if *n == name)) => {
                self.fail(IrError::DrivenTwice { module, name });
            }
            None => self.fail(IrError::WrongRole { module, name, role: "an output or a net" }),
        }
    }

    /// A register without reset; give it a value with [`Module::next`] or [`Module::next_when`].
    pub fn reg(&mut self, name: &str, ty: Ty) -> Expr {
        self.new_reg(name, ty, None)
    }

    /// A register that the synchronous reset sets to `value`.
    pub fn reg_reset(&mut self, name: &str, value: &Expr) -> Expr {
        self.check(value);
        self.implicit_input("rst_i");
        self.new_reg(name, value.ty(), Some(value.clone()))
    }

    fn new_reg(&mut self, name: &str, ty: Ty, reset: Option<Expr>) -> Expr {
        self.implicit_input("clk_i");
        self.claim(name);
        self.items.push(Item::Reg { name: name.to_string(), ty });
        self.regs.push((name.to_string(), RegRule { reset, enable: None, next: None }));
        Expr::name(name, ty)
    }

    /// A register that follows `value` one cycle later.
    pub fn delay(&mut self, name: &str, value: &Expr) -> Expr {
        self.check(value);
        let q = self.reg(name, value.ty());
        self.next(&q, value);
        q
    }

    /// A register without reset that loads `value` with `enable`.
    pub fn held(&mut self, name: &str, enable: &Expr, value: &Expr) -> Expr {
        let q = self.reg(name, value.ty());
        self.next_when(&q, enable, value);
        q
    }

    /// The value of register `q` after each clock edge.
    pub fn next(&mut self, q: &Expr, value: &Expr) {
        self.set_next(q, None, value);
    }

    /// The value of register `q` after a clock edge with `enable`; it holds otherwise.
    pub fn next_when(&mut self, q: &Expr, enable: &Expr, value: &Expr) {
        self.set_next(q, Some(enable), value);
    }

    fn set_next(&mut self, q: &Expr, enable: Option<&Expr>, value: &Expr) {
        let Op::Name(name) = q.op() else { return self.check(q) };
        self.check_type(&format!("next value of {name}"), value, q.ty());
        if let Some(enable) = enable {
            self.check_type(&format!("enable of {name}"), enable, uint(1));
        }
        let (module, name) = (self.name.clone(), name.clone());
        match self.regs.iter_mut().find(|(n, _)| *n == name) {
            None => self.fail(IrError::WrongRole { module, name, role: "a register" }),
            Some((_, rule)) if rule.next.is_some() => self.fail(IrError::DrivenTwice { module, name }),
            Some((_, rule)) => {
                rule.next = Some(value.clone());
                rule.enable = enable.cloned();
            }
        }
    }

    /// An attribute of a wire, register, memory or instance, for example `keep = "true"`.
    pub fn attribute(&mut self, name: &str, attribute: &str) {
        self.attributes.insert(name.to_string(), attribute.to_string());
    }

    /// A read-only table, `index` -> `ty`; an index past the end reads zero.
    pub fn rom(&mut self, name: &str, index: &Expr, ty: Ty, values: &[u128]) -> Expr {
        self.check(index);
        self.claim(name);
        if let Some(value) = values.iter().find(|v| ty.width < 128 && **v >> ty.width != 0) {
            let error = bad(format!("table {name}"), format!("entries of {ty}"), format!("{value}"));
            self.check(&error);
        }
        self.items.push(Item::Rom { name: name.to_string(), ty, index: index.clone(), values: values.to_vec() });
        Expr::name(name, ty)
    }

    /// A memory of `depth` words. Its content is not reset.
    pub fn memory(&mut self, name: &str, width: u32, depth: u64, style: RamStyle) -> Expr {
        self.implicit_input("clk_i");
        self.claim(name);
        if depth == 0 {
            self.check(&bad(format!("memory {name}"), "at least one word".into(), "0".into()));
        }
        self.items.push(Item::Memory { name: name.to_string(), width, depth, style });
        Expr::name(name, uint(width))
    }

    fn memory_of(&mut self, memory: &Expr, index: &Expr) -> Option<(String, u32)> {
        self.check(index);
        let Op::Name(name) = memory.op() else {
            self.check(memory);
            return None;
        };
        let found = self.items.iter().find_map(|item| match item {
            Item::Memory { name: n, width, depth, .. } if n == name => Some((*width, *depth)),
            _ => None,
        });
        let Some((width, depth)) = found else {
            self.fail(IrError::WrongRole { module: self.name.clone(), name: name.clone(), role: "a memory" });
            return None;
        };
        if index.error().is_none() && index.ty() != uint(crate::width::index_width(depth)) {
            let expected = format!("an index of u{}", crate::width::index_width(depth));
            self.check(&bad(format!("index of {name}"), expected, index.describe()));
        }
        Some((name.clone(), width))
    }

    /// A word of a memory, without a clock. Registered by the caller it is a synchronous read.
    pub fn read(&mut self, memory: &Expr, index: &Expr) -> Expr {
        match self.memory_of(memory, index) {
            Some((name, width)) if index.error().is_none() => Expr::make(Op::Word(name, index.clone()), uint(width)),
            _ => zero_bit(),
        }
    }

    /// Writes `data` at a clock edge with `enable`.
    pub fn write(&mut self, memory: &Expr, enable: &Expr, index: &Expr, data: &Expr) {
        let Some((name, width)) = self.memory_of(memory, index) else { return };
        self.check_type(&format!("write enable of {name}"), enable, uint(1));
        self.check_type(&format!("word of {name}"), data, uint(width));
        self.writes.push(MemWrite { memory: name, enable: enable.clone(), index: index.clone(), data: data.clone() });
    }

    /// Instantiates a module. All inputs must be given but for `clk_i` and `rst_i`; each output becomes
    /// a wire `<role>_<port>` without the direction suffix.
    pub fn instance(&mut self, role: &str, of: &Interface, inputs: &[(&str, &Expr)]) -> Outputs {
        let (module, name) = (self.name.clone(), format!("u_{role}"));
        self.claim(&name);
        for (port, _) in inputs {
            if !of.ports.iter().any(|p| p.name == *port && p.dir == Dir::In) {
                let (instance, of) = (name.clone(), of.name.clone());
                self.fail(IrError::NoSuchPort { module: module.clone(), instance, of, port: port.to_string() });
            }
        }
        let (mut connections, mut outputs) = (Vec::new(), HashMap::new());
        for port in &of.ports {
            let given = inputs.iter().find(|(n, _)| *n == port.name).map(|(_, e)| (*e).clone());
            let value = match (port.dir, given) {
                (Dir::In, Some(value)) => {
                    self.check_type(&format!("{name}.{}", port.name), &value, port.ty);
                    value
                }
                (Dir::In, None) if matches!(port.name.as_str(), "clk_i" | "rst_i") => self.implicit_input(&port.name),
                (Dir::In, None) => {
                    let (module, instance) = (module.clone(), name.clone());
                    self.fail(IrError::Unconnected { module, instance, port: port.name.clone() });
                    continue;
                }
                (Dir::Out, _) => {
                    let stem = port.name.strip_suffix("_o").unwrap_or(&port.name);
                    let wire = format!("{role}_{stem}");
                    self.claim(&wire);
                    self.items.push(Item::Net { name: wire.clone(), ty: port.ty });
                    let e = Expr::name(&wire, port.ty);
                    outputs.insert(port.name.clone(), e.clone());
                    e
                }
            };
            connections.push((port.name.clone(), value));
        }
        self.items.push(Item::Instance { name, of: of.name.clone(), connections });
        Outputs { of: of.name.clone(), ports: outputs }
    }

    /// Says that these values are not used, so that lint stays quiet about them.
    pub fn unused(&mut self, name: &str, values: &[Expr]) {
        let mut parts = vec![lit(0, 1)];
        parts.extend_from_slice(values);
        let all = cat(&parts).all();
        self.wire(&format!("unused_{name}"), &all);
    }

    /// The finished module, or the first thing that is wrong with it.
    pub fn finish(mut self) -> Result<Module, IrError> {
        let module = self.name.clone();
        if let Some(name) = self.undriven.first().cloned() {
            self.errors.push(IrError::Undriven { module: module.clone(), name });
        }
        if let Some((name, _)) = self.regs.iter().find(|(_, rule)| rule.next.is_none()) {
            self.errors.push(IrError::Undriven { module, name: name.clone() });
        }
        match self.errors.first() {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }
}

fn zero_bit() -> Expr {
    lit(0, 1)
}
