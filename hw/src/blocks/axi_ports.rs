//! AXI4 ports of an instance as ports of the module around it.

use crate::ir::{Dir, Expr, Interface, Module, Outputs};

/// AXI4 ports that a module passes on: `m_<x>` of the instance is `<prefix>_<x>` of the module.
pub struct AxiPorts {
    inputs: Vec<(String, Expr)>,
    outputs: Vec<(String, Expr)>,
}

impl AxiPorts {
    /// Makes the ports in the module.
    pub fn new(m: &mut Module, of: &Interface, prefix: &str) -> AxiPorts {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for port in &of.ports {
            let Some(rest) = port.name.strip_prefix("m_") else { continue };
            let name = format!("{prefix}_{rest}");
            match port.dir {
                Dir::In => inputs.push((port.name.clone(), m.input(&name, port.ty))),
                Dir::Out => outputs.push((port.name.clone(), m.output(&name, port.ty))),
            }
        }
        AxiPorts { inputs, outputs }
    }

    /// Inputs of the instance.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Expr)> {
        self.inputs.iter().map(|(name, e)| (name.as_str(), e))
    }

    /// Drives the module's ports from the instance.
    pub fn drive(&self, m: &mut Module, from: &Outputs) {
        for (name, port) in &self.outputs {
            m.drive(port, &from.get(name));
        }
    }
}
