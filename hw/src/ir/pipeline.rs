//! Stages of a pipeline that never stalls.

use super::error::IrError;
use super::expr::Expr;
use super::module::{Item, Module};
use super::sink::names;
use std::collections::HashMap;

impl Module {
    /// Makes the registers without reset and enable a pipeline behind the inputs: each stage moves only in the
    /// cycle in which the operands that came with `valid` reach it. That costs no logic, since an enable is a pin
    /// of a register, and saves power and simulation time. `steady` names inputs that do not belong to a stage.
    ///
    /// A value that mixes stages is an error.
    pub fn pipeline(&mut self, valid: &Expr, steady: &[&Expr]) {
        let mut known: HashMap<String, Option<u32>> = HashMap::new();
        for input in steady {
            names(input, &mut |name| {
                known.insert(name.to_string(), None);
            });
        }
        let free = |m: &Module, at: usize| m.regs[at].1.reset.is_none() && m.regs[at].1.enable.is_none();
        let mut stages = Vec::new();
        for at in 0..self.regs.len() {
            let name = self.regs[at].0.clone();
            match self.stage(&name, &mut known) {
                Ok(Some(stage)) if free(self, at) => stages.push((at, stage)),
                Ok(_) => {}
                Err(name) => {
                    let module = self.name.clone();
                    return self.fail(IrError::WrongRole { module, name, role: "a value of one stage" });
                }
            }
        }
        let deepest = stages.iter().map(|(_, stage)| *stage).max().unwrap_or(1);
        let mut moves = vec![valid.clone()];
        for stage in 1..deepest {
            let next = self.delay(&format!("moves{stage}_q"), &moves[stage as usize - 1]);
            moves.push(next);
        }
        for (at, stage) in stages {
            self.regs[at].1.enable = Some(moves[stage as usize - 1].clone());
        }
    }

    /// Registers between the inputs and `name`; `None` for what never changes.
    fn stage(&self, name: &str, known: &mut HashMap<String, Option<u32>>) -> Result<Option<u32>, String> {
        if let Some(stage) = known.get(name) {
            return Ok(*stage);
        }
        let found = if let Some((_, rule)) = self.regs.iter().find(|(n, _)| n == name) {
            // a register that depends on itself, or that is controlled, does not move with the others
            known.insert(name.to_string(), None);
            match &rule.next {
                Some(next) => self.stage_of(name, next, known)?.map(|stage| stage + 1),
                None => None,
            }
        } else {
            let of = self.items.iter().find_map(|item| match item {
                Item::Wire { name: n, value } | Item::Rom { name: n, index: value, .. } if n == name => Some(value),
                Item::Assign { name: n, value } if n == name => Some(value),
                _ => None,
            });
            match of {
                Some(value) => self.stage_of(name, value, known)?,
                None => self.ports.iter().any(|p| p.name == name).then_some(0),
            }
        };
        known.insert(name.to_string(), found);
        Ok(found)
    }

    fn stage_of(&self, name: &str, e: &Expr, known: &mut HashMap<String, Option<u32>>) -> Result<Option<u32>, String> {
        let mut read = Vec::new();
        names(e, &mut |of| read.push(of));
        let mut stage = None;
        for of in read {
            match (stage, self.stage(of, known)?) {
                (Some(a), Some(b)) if a != b => return Err(name.to_string()),
                (_, Some(b)) => stage = Some(b),
                _ => {}
            }
        }
        Ok(stage)
    }
}
