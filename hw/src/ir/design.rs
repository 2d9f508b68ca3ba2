//! A set of modules, each printed once however often it is used.

use super::error::IrError;
use super::inventory::Contents;
use super::module::{Module, Port};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Name and ports of a module: what a parent needs to instantiate it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The module's name.
    pub name: String,
    /// Its ports in order.
    pub ports: Vec<Port>,
}

/// Modules by name. Modules of equal content are kept once, whatever they are called.
#[derive(Default)]
pub struct Design {
    modules: BTreeMap<String, (Rc<Interface>, String)>,
    by_content: HashMap<String, String>,
    /// What each module holds.
    pub(super) contents: BTreeMap<String, Contents>,
    /// Names that turned out to be copies of another module.
    aliases: HashMap<String, String>,
    for_simulation: bool,
}

impl Design {
    /// A design that is to be simulated fast, and never built: blocks may say the same in words that cost a simulator
    /// less.
    pub fn for_simulation() -> Design {
        Design { for_simulation: true, ..Design::default() }
    }

    /// Whether it is one of [`Design::for_simulation`].
    pub fn is_for_simulation(&self) -> bool {
        self.for_simulation
    }

    /// Checks, prints and keeps a module.
    pub fn add(&mut self, module: Module) -> Result<Rc<Interface>, IrError> {
        let module = module.finish()?;
        let content = module.body_text();
        let name = module.name.clone();
        let known = self.by_content.get(&content).cloned();
        if let Some((interface, text)) = self.modules.get(&name) {
            return match text == &module.text_of(&content) {
                true => Ok(interface.clone()),
                false => Err(IrError::NameClash { module: name }),
            };
        }
        if let Some(first) = known {
            self.aliases.insert(name, first.clone());
            return self.get(&first);
        }
        let text = module.text_of(&content);
        self.contents.insert(name.clone(), Contents::of(&module));
        let interface = Rc::new(Interface { name: name.clone(), ports: module.ports });
        self.by_content.insert(content, name.clone());
        self.modules.insert(name, (interface.clone(), text));
        Ok(interface)
    }

    /// The interface of a module that is there already.
    pub fn get(&self, name: &str) -> Result<Rc<Interface>, IrError> {
        let real = self.aliases.get(name).map_or(name, String::as_str);
        let missing = || IrError::NoSuchModule { module: name.to_string() };
        self.modules.get(real).map(|(interface, _)| interface.clone()).ok_or_else(missing)
    }

    /// The Verilog text of a module.
    pub fn verilog(&self, name: &str) -> Result<&str, IrError> {
        let missing = || IrError::NoSuchModule { module: name.to_string() };
        self.modules.get(name).map(|(_, text)| text.as_str()).ok_or_else(missing)
    }

    /// All modules, by name: `(name, Verilog text)`.
    pub fn modules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.iter().map(|(name, (_, text))| (name.as_str(), text.as_str()))
    }

    /// All modules in one text.
    pub fn text(&self) -> String {
        self.modules().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
    }
}
