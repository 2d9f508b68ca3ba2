//! What can be wrong with a description of hardware.

use thiserror::Error;

/// An expression that does not type-check.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{expr}: expected {expected}, found {found}")]
pub struct ExprError {
    /// The expression in short.
    pub expr: String,
    /// The type or range that the rule asks for.
    pub expected: String,
    /// What was given.
    pub found: String,
}

/// A module that cannot be built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IrError {
    /// An expression does not type-check.
    #[error("module {module}: {error}")]
    Expr {
        /// The module.
        module: String,
        /// The expression and its types.
        error: ExprError,
    },
    /// A name is not a Verilog identifier, or is a keyword.
    #[error("module {module}: `{name}` is not a usable Verilog name")]
    BadName {
        /// The module.
        module: String,
        /// The name.
        name: String,
    },
    /// Two things in a module have one name.
    #[error("module {module}: `{name}` is declared twice")]
    DuplicateName {
        /// The module.
        module: String,
        /// The name.
        name: String,
    },
    /// An output, net or register has no value.
    #[error("module {module}: `{name}` is never driven")]
    Undriven {
        /// The module.
        module: String,
        /// The name.
        name: String,
    },
    /// An output, net or register has two values.
    #[error("module {module}: `{name}` is driven twice")]
    DrivenTwice {
        /// The module.
        module: String,
        /// The name.
        name: String,
    },
    /// A thing is used as what it is not: a memory as a register, an input as an output.
    #[error("module {module}: `{name}` is not {role} of this module")]
    WrongRole {
        /// The module.
        module: String,
        /// The name.
        name: String,
        /// What it should have been.
        role: &'static str,
    },
    /// An instance names a port that its module does not have, or does not have as an input.
    #[error("module {module}: instance {instance} of {of} has no input `{port}`")]
    NoSuchPort {
        /// The module.
        module: String,
        /// The instance.
        instance: String,
        /// The instantiated module.
        of: String,
        /// The port.
        port: String,
    },
    /// An instance leaves an input open.
    #[error("module {module}: input `{port}` of instance {instance} is not connected")]
    Unconnected {
        /// The module.
        module: String,
        /// The instance.
        instance: String,
        /// The port.
        port: String,
    },
    /// Two modules of different content have one name.
    #[error("two different modules are called {module}")]
    NameClash {
        /// The name.
        module: String,
    },
    /// A design does not hold a module.
    #[error("the design has no module {module}")]
    NoSuchModule {
        /// The name.
        module: String,
    },
}
