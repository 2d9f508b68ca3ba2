//! The memories of a design.

use super::design::Design;
use super::module::{Item, Module, RamStyle};
use std::collections::BTreeMap;

/// Memories of one shape: those of a module that differ by a number at the end of their name, in all its copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The module.
    pub module: String,
    /// The memories' name without its number.
    pub memory: String,
    /// Bits of a word.
    pub width: u32,
    /// Words.
    pub depth: u64,
    /// What they are made of.
    pub style: RamStyle,
    /// How many there are in the whole design.
    pub copies: u64,
}

/// What a module holds itself.
#[derive(Default)]
pub(crate) struct Contents {
    /// Name, width, depth, style.
    memories: Vec<(String, u32, u64, RamStyle)>,
    /// Modules of its instances and how many of each.
    children: BTreeMap<String, u64>,
}

impl Contents {
    pub(crate) fn of(module: &Module) -> Contents {
        let mut contents = Contents::default();
        for item in &module.items {
            match item {
                Item::Memory { name, width, depth, style } => {
                    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
                    contents.memories.push((name.to_string(), *width, *depth, *style));
                }
                Item::Instance { of, .. } => *contents.children.entry(of.clone()).or_default() += 1,
                _ => {}
            }
        }
        contents
    }
}

impl Design {
    /// All memories below and in a module.
    pub fn memories(&self, top: &str) -> Vec<Stored> {
        let mut counts = BTreeMap::new();
        self.count(top, 1, &mut counts);
        let mut all: Vec<Stored> = Vec::new();
        for (module, times) in counts {
            let Some(contents) = self.contents.get(&module) else { continue };
            let begin = all.len();
            for (name, width, depth, style) in &contents.memories {
                let same = |s: &&mut Stored| (&s.memory, s.width, s.depth, s.style) == (name, *width, *depth, *style);
                match all[begin..].iter_mut().find(same) {
                    Some(stored) => stored.copies += times,
                    None => all.push(Stored {
                        module: module.clone(),
                        memory: name.clone(),
                        width: *width,
                        depth: *depth,
                        style: *style,
                        copies: times,
                    }),
                }
            }
        }
        all
    }

    fn count(&self, module: &str, times: u64, counts: &mut BTreeMap<String, u64>) {
        *counts.entry(module.to_string()).or_default() += times;
        for (child, n) in self.contents.get(module).iter().flat_map(|c| &c.children) {
            self.count(child, times * n, counts);
        }
    }
}
