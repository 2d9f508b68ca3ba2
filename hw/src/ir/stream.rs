//! Ready/valid streams as groups of ports.
//!
//! The law: `valid` never waits for `ready`; once `valid` is high, all fields hold until the beat is
//! taken; a beat passes in a cycle with both high.

use super::expr::{Expr, Ty, bad, uint};
use super::module::Module;

/// Ports of a stream that comes in: `<name>_valid_i`, `<name>_ready_o`, `<name>_<field>_i`.
pub struct Sink {
    /// A beat is there.
    pub valid: Expr,
    /// To be driven: the beat is taken.
    pub ready: Expr,
    fields: Vec<(String, Expr)>,
}

/// Ports of a stream that goes out: `<name>_valid_o`, `<name>_ready_i`, `<name>_<field>_o`.
pub struct Source {
    /// To be driven: a beat is there.
    pub valid: Expr,
    /// The beat is taken.
    pub ready: Expr,
    fields: Vec<(String, Expr)>,
}

fn find(fields: &[(String, Expr)], name: &str) -> Expr {
    match fields.iter().find(|(n, _)| n == name) {
        Some((_, e)) => e.clone(),
        None => {
            let have: Vec<&str> = fields.iter().map(|(n, _)| n.as_str()).collect();
            bad(format!("field {name}"), format!("one of {}", have.join(", ")), name.to_string())
        }
    }
}

impl Sink {
    /// A field of the beat.
    pub fn field(&self, name: &str) -> Expr {
        find(&self.fields, name)
    }

    /// A beat passes.
    pub fn fire(&self) -> Expr {
        &self.valid & &self.ready
    }
}

impl Source {
    /// A field of the beat, to be driven.
    pub fn field(&self, name: &str) -> Expr {
        find(&self.fields, name)
    }

    /// A beat passes.
    pub fn fire(&self) -> Expr {
        &self.valid & &self.ready
    }
}

impl Module {
    /// A stream that comes in.
    pub fn sink(&mut self, name: &str, fields: &[(&str, Ty)]) -> Sink {
        let valid = self.input(&format!("{name}_valid_i"), uint(1));
        let ready = self.output(&format!("{name}_ready_o"), uint(1));
        let field = |(f, ty): &(&str, Ty)| (f.to_string(), self.input(&format!("{name}_{f}_i"), *ty));
        let fields = fields.iter().map(field).collect();
        Sink { valid, ready, fields }
    }

    /// A stream that goes out.
    pub fn source(&mut self, name: &str, fields: &[(&str, Ty)]) -> Source {
        let valid = self.output(&format!("{name}_valid_o"), uint(1));
        let ready = self.input(&format!("{name}_ready_i"), uint(1));
        let field = |(f, ty): &(&str, Ty)| (f.to_string(), self.output(&format!("{name}_{f}_o"), *ty));
        let fields = fields.iter().map(field).collect();
        Source { valid, ready, fields }
    }
}
