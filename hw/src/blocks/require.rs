//! Shapes that a block cannot have.

use crate::ir::{ExprError, IrError};

/// An error unless `holds`: `what` of `module` is `found`, not `expected`.
pub(crate) fn require(module: &str, holds: bool, what: &str, expected: &str, found: u64) -> Result<(), IrError> {
    if holds {
        return Ok(());
    }
    let (expr, expected, found) = (what.to_string(), expected.to_string(), found.to_string());
    Err(IrError::Expr { module: module.to_string(), error: ExprError { expr, expected, found } })
}
