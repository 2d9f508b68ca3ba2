//! Where the wires of a module are computed.
//!
//! A wire that only registers with one and the same enable read is computed inside their `if`: the reader
//! sees a stage in one place, and a simulator does nothing for a stage that holds.

use super::expr::{Expr, Op};
use super::module::{Item, Module};
use super::print::Printer;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Registers that change together: whether a reset sets them, and the text of their enable.
pub(crate) type Group = (bool, String);

/// Who reads a wire.
#[derive(Clone, PartialEq)]
enum Readers {
    Nobody,
    One(Group),
    Many,
}

impl Readers {
    fn and(self, other: Readers) -> Readers {
        match (self, other) {
            (Readers::Nobody, other) | (other, Readers::Nobody) => other,
            (Readers::One(a), Readers::One(b)) if a == b => Readers::One(a),
            _ => Readers::Many,
        }
    }
}

/// Calls `f` with each name that `e` reads.
pub(crate) fn names<'a>(e: &'a Expr, f: &mut impl FnMut(&'a str)) {
    let mut open = vec![e];
    while let Some(e) = open.pop() {
        match e.op() {
            Op::Name(name) => f(name),
            Op::Lit(_) | Op::Bad(_) => {}
            Op::Word(name, index) => {
                f(name);
                open.push(index);
            }
            Op::Not(a) | Op::Neg(a) | Op::Reduce(_, a) | Op::Slice(a, _) | Op::Repeat(_, a) => open.push(a),
            Op::Extend(a) | Op::Cast(a) => open.push(a),
            Op::Bin(_, a, b) => open.extend([a, b]),
            Op::Mux(c, t, f) => open.extend([c, t, f]),
            Op::Cat(parts) => open.extend(parts),
        }
    }
}

impl Module {
    /// The text of an enable, for comparison.
    pub(crate) fn group_of(reset: bool, enable: &Expr) -> Group {
        (reset, Printer::default().top(enable))
    }

    /// Wires to be computed where their only group of registers is updated, and that group.
    pub(crate) fn sunk_wires(&self) -> BTreeMap<String, Group> {
        let wires: HashMap<&str, &Expr> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Wire { name, value } if !self.attributes.contains_key(name) => Some((name.as_str(), value)),
                _ => None,
            })
            .collect();
        let mut readers: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut direct: HashMap<&str, Readers> = HashMap::new();
        let mut read = |e: &'_ Expr, by: Readers| {
            let mut found = Vec::new();
            names(e, &mut |name| found.push(name.to_string()));
            for name in found {
                if let Some((key, _)) = wires.get_key_value(name.as_str()) {
                    let old = direct.remove(key).unwrap_or(Readers::Nobody);
                    direct.insert(key, old.and(by.clone()));
                }
            }
        };
        for item in &self.items {
            match item {
                Item::Wire { name, value } if !wires.contains_key(name.as_str()) => read(value, Readers::Many),
                Item::Assign { value, .. } | Item::Rom { index: value, .. } => read(value, Readers::Many),
                Item::Instance { connections, .. } => connections.iter().for_each(|(_, e)| read(e, Readers::Many)),
                _ => {}
            }
        }
        for (_, rule) in &self.regs {
            let reset = rule.reset.is_some();
            rule.reset.iter().chain(&rule.enable).for_each(|e| read(e, Readers::Many));
            let by = rule.enable.as_ref().map_or(Readers::Many, |e| Readers::One(Module::group_of(reset, e)));
            rule.next.iter().for_each(|e| read(e, by.clone()));
        }
        for write in &self.writes {
            [&write.enable, &write.index, &write.data].into_iter().for_each(|e| read(e, Readers::Many));
        }
        for (name, value) in &wires {
            names(value, &mut |of| {
                if let Some((key, _)) = wires.get_key_value(of) {
                    readers.entry(key).or_default().push(name);
                }
            });
        }
        // a wire that nobody reads, but for lint's sake, goes where its operands go, or else keeps them
        let in_order: Vec<(&str, &Expr)> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Wire { name, .. } => wires.get_key_value(name.as_str()).map(|(name, value)| (*name, *value)),
                _ => None,
            })
            .collect();
        let mut pinned: HashSet<&str> = HashSet::new();
        loop {
            let mut sunk: BTreeMap<String, Group> = BTreeMap::new();
            let mut known: HashMap<&str, Readers> = HashMap::new();
            for (name, _) in in_order.iter().rev() {
                let mut by = if pinned.contains(name) { Readers::Many } else { Readers::Nobody };
                by = by.and(direct.get(name).cloned().unwrap_or(Readers::Nobody));
                for reader in readers.get(name).into_iter().flatten() {
                    // a wire that is read before its place in the text is a net, and not among these
                    by = by.and(known.get(reader).cloned().unwrap_or(Readers::Many));
                }
                if let Readers::One(group) = &by {
                    sunk.insert(name.to_string(), group.clone());
                }
                known.insert(name, by);
            }
            let mut settled = true;
            for (name, value) in in_order.iter().filter(|(name, _)| known.get(name) == Some(&Readers::Nobody)) {
                let mut operands = Vec::new();
                names(value, &mut |of| operands.extend(wires.get_key_value(of).map(|(key, _)| *key)));
                let groups: Vec<Option<&Group>> = operands.iter().map(|of| sunk.get(*of)).collect();
                match groups.split_first() {
                    Some((Some(first), rest)) if rest.iter().all(|g| *g == Some(*first)) => {
                        let group = (*first).clone();
                        sunk.insert(name.to_string(), group);
                    }
                    _ => {
                        for of in operands.iter().filter(|of| sunk.contains_key(**of)) {
                            settled &= !pinned.insert(of);
                        }
                    }
                }
            }
            if settled {
                return sunk;
            }
        }
    }
}
